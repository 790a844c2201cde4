//! The directory of a run.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use super::config::RunConfig;
use super::metrics::JsonLines;
use crate::model::weights::{Weights, WeightsError};
use crate::train::{EvalRecord, Observer, StepRecord, TraceRecord, TrainOptions};

/// Why a run directory can't be used.
#[derive(Debug, Error)]
pub enum RunError {
    /// `--out` is taken.
    #[error("{0} exists already; choose another --out, or remove it")]
    Exists(PathBuf),
    /// `--out` leads through a file.
    #[error("{out} can't be a folder, because {file} is a file; choose another --out")]
    Blocked {
        /// The run directory.
        out: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// The system refuses.
    #[error("can't write {path}: {error}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The system refuses.
    #[error("can't read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The note in a file of weights is not what this version writes.
    #[error("{path}: its settings are from another version of sdgpu ({error})")]
    Note {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        error: serde_json::Error,
    },
    /// A file of weights is not usable.
    #[error("{path}: {error}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// Why.
        error: WeightsError,
    },
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_path_buf();
    move |error| RunError::Write { path, error }
}

/// A line of `timing.jsonl`: what depends on the clock.
#[derive(Serialize)]
struct TimingLine {
    step: u64,
    seconds: f64,
    images_per_second: f64,
}

/// The directory of a run that goes on; writes what the run tells. Dropped before [`Self::keep`], it leaves nothing
/// behind.
pub struct RunDir {
    metrics: JsonLines<File>,
    timing: JsonLines<File>,
    trace: Option<JsonLines<File>>,
    /// sdgpu's note in files of weights: the settings, and nothing of the machine, so that equal runs give equal files.
    note: String,
    /// Last, because some systems remove no file that is open.
    folder: NewFolder,
}

impl RunDir {
    /// Errors if it shows, before anything is written, that `out` can't become a run directory.
    pub fn check(out: &Path) -> Result<(), RunError> {
        if out.symlink_metadata().is_ok() {
            return Err(RunError::Exists(out.to_path_buf()));
        }
        match out.ancestors().find(|ancestor| ancestor.exists()) {
            Some(file) if !file.is_dir() => Err(RunError::Blocked { out: out.to_path_buf(), file: file.to_path_buf() }),
            _ => Ok(()),
        }
    }

    /// Creates the directory `out`, or else `runs/<arch>-<model>-<n>` with the first free n, and writes `config.toml`.
    pub fn create(out: Option<&Path>, config: &RunConfig) -> Result<Self, RunError> {
        let RunConfig { settings, trace, .. } = config;
        let unwritable = |error| RunError::Write { path: "config.toml".into(), error };
        let text = toml::to_string(config).map_err(io::Error::other).map_err(unwritable)?;
        let note = serde_json::to_string(settings).map_err(io::Error::from).map_err(unwritable)?;

        let folder = match out {
            Some(out) => NewFolder::create(out)?,
            None => numbered(Path::new("runs"), &format!("{}-{}", settings.arch, settings.model.name()))?,
        };
        let path = |name: &str| folder.path.join(name);
        let create_dir = |name: &str| fs::create_dir(path(name)).map_err(write_error(&path(name)));
        let create = |name: &str| File::create(path(name)).map(JsonLines::new).map_err(write_error(&path(name)));
        fs::write(path("config.toml"), text).map_err(write_error(&path("config.toml")))?;
        create_dir("weights")?;
        if *trace {
            create_dir("trace")?;
        }
        Ok(Self {
            metrics: create("metrics.jsonl")?,
            timing: create("timing.jsonl")?,
            trace: trace.then(|| create("trace/steps.jsonl")).transpose()?,
            note,
            folder,
        })
    }

    /// Lets the directory stay, from now on.
    pub fn keep(&mut self) {
        self.folder.keep();
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    fn save(&self, name: &str, weights: &Weights) -> io::Result<()> {
        save_weights(&self.path().join(name), weights, &self.note).map_err(io::Error::other)
    }
}

/// A folder that was created, with those of its parents that were missing. Dropped, it goes again with all that it
/// holds, and they go if they are empty, unless it is to be kept.
struct NewFolder {
    path: PathBuf,
    created: bool,
    /// In the order of their creation.
    parents: Vec<PathBuf>,
}

impl NewFolder {
    /// Creates `path`, which must not exist.
    fn create(path: &Path) -> Result<Self, RunError> {
        let mut folder = Self { path: path.to_path_buf(), created: false, parents: Vec::new() };
        let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        let missing: Vec<&Path> = parents.take_while(|parent| !parent.is_dir()).collect();
        for &parent in missing.iter().rev() {
            match fs::create_dir(parent) {
                Ok(()) => folder.parents.push(parent.to_path_buf()),
                // Somebody else was faster.
                Err(_) if parent.is_dir() => {}
                Err(error) => return Err(RunError::Write { path: parent.to_path_buf(), error }),
            }
        }
        fs::create_dir(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => RunError::Exists(path.to_path_buf()),
            _ => RunError::Write { path: path.to_path_buf(), error },
        })?;
        folder.created = true;
        Ok(folder)
    }

    fn keep(&mut self) {
        self.created = false;
        self.parents.clear();
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // What can't be removed stays: there is an error to report already, and it is another one.
        if self.created {
            let _ = fs::remove_dir_all(&self.path);
        }
        for parent in self.parents.iter().rev() {
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Creates the first free `<parent>/<name>-<n>`.
fn numbered(parent: &Path, name: &str) -> Result<NewFolder, RunError> {
    let mut number = 1u32;
    loop {
        match NewFolder::create(&parent.join(format!("{name}-{number}"))) {
            Err(RunError::Exists(_)) => number += 1,
            result => return result,
        }
    }
}

/// Writes `weights` to a file beside `path`, then renames it, so that `path` is never half-written.
pub fn save_weights(path: &Path, weights: &Weights, note: &str) -> Result<(), RunError> {
    let bytes = weights.to_safetensors(note).map_err(|error| RunError::Weights { path: path.to_path_buf(), error })?;
    let partial = path.with_extension("partial");
    let written = File::create(&partial).and_then(|mut file| {
        io::Write::write_all(&mut file, &bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&partial, path)).map_err(write_error(path))
}

/// Reads a file of weights, with the settings in sdgpu's note in it, if there is one.
pub fn read_weights(path: &Path) -> Result<(Weights, Option<TrainOptions>), RunError> {
    let bytes = fs::read(path).map_err(|error| RunError::Read { path: path.to_path_buf(), error })?;
    let (weights, note) =
        Weights::from_safetensors(&bytes).map_err(|error| RunError::Weights { path: path.to_path_buf(), error })?;
    let settings = note.map(|note| serde_json::from_str(&note)).transpose();
    Ok((weights, settings.map_err(|error| RunError::Note { path: path.to_path_buf(), error })?))
}

impl Observer for RunDir {
    fn initial(&mut self, weights: &Weights) -> io::Result<()> {
        if self.trace.is_some() { self.save("trace/initial.safetensors", weights) } else { Ok(()) }
    }

    fn trace(&mut self, record: &TraceRecord) -> io::Result<()> {
        self.trace.as_mut().map_or(Ok(()), |trace| trace.write(record))
    }

    fn step(&mut self, record: &StepRecord) -> io::Result<()> {
        self.metrics.step(record)?;
        let seconds = record.time.as_secs_f64();
        let images_per_second = f64::from(record.images) / seconds.max(1e-9);
        self.timing.write(&TimingLine { step: record.step, seconds, images_per_second })
    }

    fn eval(&mut self, record: &EvalRecord) -> io::Result<()> {
        self.metrics.eval(record)
    }

    fn last(&mut self, weights: &Weights) -> io::Result<()> {
        self.save("weights/last.safetensors", weights)
    }

    fn best(&mut self, weights: &Weights) -> io::Result<()> {
        self.save("weights/best.safetensors", weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_what_was_created_for_it_unless_it_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("there/a/b/run");
        fs::create_dir(root.path().join("there")).unwrap();

        let folder = NewFolder::create(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        assert!(matches!(NewFolder::create(&path), Err(RunError::Exists(_))));
        assert!(path.join("file").exists(), "what is somebody else's stays");
        // Another run comes into a parent.
        fs::create_dir(root.path().join("there/a/other")).unwrap();
        drop(folder);
        assert!(!root.path().join("there/a/b").exists() && root.path().join("there/a/other").exists());

        NewFolder::create(&path).unwrap().keep();
        assert!(path.exists());
    }
}
