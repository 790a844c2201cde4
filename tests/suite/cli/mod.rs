//! The `sdgpu` binary itself, run in a fresh directory.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sdgpu::internals::data::FILES;
use serde_json::Value;
use tempfile::TempDir;

use crate::data::idx_file;

mod bad_input;
mod bench;
mod devices_and_plan;
mod eval;
mod export;
mod old_runs;
mod profile;
mod report;
mod resume;
mod run;
mod selftest;
mod series;
#[cfg(target_os = "linux")]
mod terminal;

/// A training that takes no time, on the set `tiny`; 12 steps of 2 epochs, an evaluation every 2.
const TRAIN: &str = "train --model stochastic --arch resnet8 --data tiny --device cpu --batch-size 8 --epochs 2";

/// A fresh directory to run the binary in.
struct Workspace(TempDir);

impl Workspace {
    /// Empty.
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// With the set `tiny`: 60 training and 20 test images of 9x9 pixels, in 3 classes.
    fn with_tiny() -> Self {
        let workspace = Self::new();
        workspace.write_set("tiny", 60, 20, 9, 3);
        workspace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}; there are {:?}", self.names()))
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// The lines of a file of JSON lines, each one an object.
    fn json(&self, name: &str) -> Vec<Value> {
        json_lines(&self.text(name))
    }

    /// Writes a set of square images into the folder `name`: class c has its quadrant c bright, under noise.
    fn write_set(&self, name: &str, train: usize, test: usize, side: usize, classes: usize) {
        fs::create_dir(self.path(name)).unwrap();
        let half = side.div_ceil(2);
        let pixel = |image: usize, y: usize, x: usize| {
            let noise = (image * 7919 + y * 104_729 + x * 1_299_709) % 41;
            let bright = 2 * usize::from(y >= half) + usize::from(x >= half) == image % classes;
            (noise + if bright { 180 } else { 20 }) as u8
        };
        for (files, count) in [(&FILES[..2], train), (&FILES[2..], test)] {
            let places = (0..count).flat_map(|image| (0..side * side).map(move |at| (image, at / side, at % side)));
            let pixels: Vec<u8> = places.map(|(image, y, x)| pixel(image, y, x)).collect();
            let labels: Vec<u8> = (0..count).map(|image| (image % classes) as u8).collect();
            let folder = self.path(name);
            let sizes = [count as u32, side as u32, side as u32];
            fs::write(folder.join(files[0]), idx_file(&sizes, &pixels)).unwrap();
            fs::write(folder.join(files[1]), idx_file(&sizes[..1], &labels)).unwrap();
        }
    }

    /// Everything below the directory with its contents; folders and dangling links have none.
    fn contents(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        fn add(root: &Path, folder: &Path, found: &mut BTreeMap<String, Option<Vec<u8>>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                if path.is_dir() {
                    found.insert(name, None);
                    add(root, &path, found);
                } else {
                    found.insert(name, fs::read(&path).ok());
                }
            }
        }
        let mut found = BTreeMap::new();
        add(self.0.path(), self.0.path(), &mut found);
        found
    }

    /// Everything below the directory.
    fn names(&self) -> Vec<String> {
        self.contents().into_keys().collect()
    }

    /// Everything below the folder `name`.
    fn names_in(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}/");
        self.names().iter().filter_map(|path| Some(path.strip_prefix(&prefix)?.to_string())).collect()
    }

    /// The binary with `arguments` that hold no spaces.
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sdgpu"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        // Mesa complains on stderr without it.
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
        // Not the user's cache.
        command.env("XDG_CACHE_HOME", std::env::temp_dir().join("sdgpu-tests"));
        command
    }

    /// The binary where no Vulkan driver can be found.
    #[cfg(target_os = "linux")]
    fn command_without_adapters(&self, arguments: &str) -> Command {
        let mut command = self.command(arguments);
        command.env("VK_ICD_FILENAMES", "/nonexistent").env("VK_DRIVER_FILES", "/nonexistent");
        command
    }

    /// Runs `command` to its end.
    fn run(&self, command: &mut Command) -> Ran {
        let Output { status, stdout, stderr } = command.output().unwrap();
        Ran {
            command: format!("{command:?}"),
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
            names: self.names(),
        }
    }

    /// Runs the binary to its end; it must succeed.
    fn sdgpu(&self, arguments: &str) -> Ran {
        let ran = self.run(&mut self.command(arguments));
        assert_eq!(ran.code, Some(0), "{ran}");
        ran
    }

    /// Runs the binary, and reads one line of its stdout before closing it.
    fn sdgpu_head(&self, arguments: &str) -> Ran {
        use std::io::{BufRead, BufReader, Read};
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut stdout).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let code = child.wait().unwrap().code();
        Ran { command: format!("{command:?} | head -1"), code, stdout, stderr, names: self.names() }
    }
}

/// What came of a command.
struct Ran {
    command: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
    names: Vec<String>,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr, names } = self;
        let listing = names.join("\n");
        write!(f, "{command}\nexit code {code:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}\n-- directory\n{listing}\n")
    }
}

/// Lines of JSON, each one an object.
fn json_lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Value::Object(object),
        other => panic!("no object of JSON: {line} ({other:?})"),
    };
    text.lines().map(parse).collect()
}
