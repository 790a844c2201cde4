//! The rules of `ARCHITECTURE.md`, held against the sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The layers, lowest first. A file may name its own layer, and those that stand before it.
const LAYERS: &[&[&str]] = &[
    &["rng", "dispatch", "protocol"],
    &["kernels"],
    // `plan` and `device` are siblings, and so are `data` and `model`, and `measure` and
    // `selftest`: none names the other.
    &["data"],
    &["model"],
    &["device"],
    &["plan"],
    &["train"],
    &["run_dir"],
    &["job"],
    &["measure", "selftest"],
    &["report"],
    &["cli"],
];

/// Pairs that the order alone would allow.
const FORBIDDEN: &[(&str, &str)] = &[
    ("model", "data"),
    ("model", "kernels"),
    ("data", "kernels"),
    ("device", "model"),
    ("device", "data"),
    ("plan", "device"),
    ("plan", "data"),
    ("measure", "run_dir"),
    ("measure", "job"),
    ("selftest", "run_dir"),
    ("measure", "selftest"),
    ("selftest", "measure"),
    // A report knows what run directories say, and how a run is made is none of its business.
    ("report", "dispatch"),
    ("report", "kernels"),
    ("report", "device"),
    ("report", "plan"),
    ("report", "train"),
    ("report", "job"),
    ("report", "measure"),
    ("report", "selftest"),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path());
    let nested = entries.map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    nested.flatten().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Every source file below `src`, with its layer and its text without comments.
fn files() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let file = |path: PathBuf| {
        let relative = path.strip_prefix(&root).expect("a source").to_path_buf();
        let layer = relative.components().next().expect("a layer").as_os_str().to_string_lossy().replace(".rs", "");
        let text = fs::read_to_string(&path).expect("a text");
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (relative, layer, code.join("\n"))
    };
    sources(&root).into_iter().map(file).collect()
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|layers| layers.contains(&layer))
}

#[test]
fn layers_import_only_downward() {
    for (path, layer, code) in files() {
        let Some(own) = rank(&layer) else { continue };
        assert!(!code.contains("crate::{"), "{} imports several rooms at once, unseen by this test", path.display());
        for import in code.split("crate::").skip(1) {
            let name: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(other) = rank(&name) else { continue };
            let forbidden = FORBIDDEN.contains(&(layer.as_str(), name.as_str()));
            assert!(other <= own && !forbidden, "{} imports {name}, which is not below {layer}", path.display());
        }
    }
}

#[test]
fn every_source_has_a_layer() {
    for (path, layer, _) in files() {
        assert!(rank(&layer).is_some() || ["lib", "main"].contains(&layer.as_str()), "{} has no layer", path.display());
    }
}

#[test]
fn only_the_gpu_device_names_wgpu() {
    for (path, _, code) in files() {
        let allowed = path.starts_with("device/gpu");
        for name in ["wgpu", "naga::", "pollster"] {
            assert!(allowed || !code.contains(name), "{} names {name}", path.display());
        }
    }
}

/// A library without the command line has no use for them.
#[test]
fn only_the_report_names_statrs() {
    for (path, layer, code) in files() {
        assert!(layer == "report" || !code.contains("statrs"), "{} names statrs", path.display());
    }
}

#[test]
fn only_the_command_line_prints() {
    for (path, layer, code) in files() {
        for name in ["println!", "eprintln!", "print!(", "dbg!", "io::stdout", "io::stderr"] {
            assert!(layer == "cli" || !code.contains(name), "{} holds {name}", path.display());
        }
    }
}

/// Others call the rooms below the command line, too, and have no flags: messages there name
/// fields.
#[test]
fn only_the_command_line_names_flags() {
    // It reads the command that an older version of sdgpu recorded.
    let reads_commands = "run_dir/older.rs";
    for (path, layer, code) in files() {
        if layer == "cli" || path.ends_with(reads_commands) {
            continue;
        }
        let flag = code.match_indices("--").find(|(at, _)| {
            let (before, behind) = (&code[..*at], &code[at + 2..]);
            let name = behind.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(behind.len());
            // A page's style sheet has variables, which look alike: `--paper:#fff` and
            // `var(--paper)`.
            let is_variable = before.ends_with("var(") || behind[name..].starts_with(':');
            let begins =
                !before.ends_with(char::is_alphanumeric) && behind.starts_with(|c: char| c.is_ascii_lowercase());
            begins && !is_variable
        });
        assert!(flag.is_none(), "{} names a flag: {}", path.display(), &code[flag.map_or(0, |(at, _)| at)..][..20]);
    }
}

/// Packages that only a command line needs.
const OF_THE_COMMAND_LINE: [&str; 6] = ["anyhow", "clap", "indicatif", "signal-hook", "statrs", "terminal_size"];

#[test]
fn the_library_alone_has_none_of_the_command_line() {
    let tree = |features: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
        let output = cargo.args(features).output().expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a text")
    };
    let names = |tree: &str| -> Vec<String> {
        tree.lines().filter_map(|line| line.split(' ').next()).map(String::from).collect()
    };
    let (library, all) = (names(&tree(&["--no-default-features"])), names(&tree(&[])));
    for package in OF_THE_COMMAND_LINE {
        assert!(all.iter().any(|name| name == package), "{package} is gone from the command line, too");
        assert!(!library.iter().any(|name| name == package), "the library alone depends on {package}");
    }
}

/// `unsafe` has named places, each with a reason; elsewhere the compiler refuses it, and nobody lifts that.
#[test]
fn unsafe_code_stays_in_its_places() {
    for (path, _, code) in files() {
        let allowed = path.ends_with("device/gpu/pipeline.rs");
        // Also `allow(unsafe_code)`, and `unsafe` before `fn` or `impl`.
        assert!(allowed || !code.contains("unsafe"), "{} holds or allows unsafe code", path.display());
    }
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("a text");
    assert!(manifest.contains("\nunsafe_code = \"deny\"\n"), "Cargo.toml does not deny unsafe code");
}
