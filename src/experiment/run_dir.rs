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

/// The directory of a run that goes on; writes what the run tells.
pub struct RunDir {
    path: PathBuf,
    metrics: JsonLines<File>,
    timing: JsonLines<File>,
    trace: Option<JsonLines<File>>,
    /// sdgpu's note in files of weights: the settings, and nothing of the machine, so that equal runs give equal files.
    note: String,
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
        let path = match out {
            Some(out) => {
                if let Some(parent) = out.parent() {
                    fs::create_dir_all(parent).map_err(write_error(parent))?;
                }
                claim(out)?;
                out.to_path_buf()
            }
            None => claim_numbered(Path::new("runs"), &format!("{}-{}", settings.arch, settings.model.name()))?,
        };
        let create = |name: &str| {
            let file = path.join(name);
            File::create(&file).map(JsonLines::new).map_err(write_error(&file))
        };
        fs::create_dir(path.join("weights")).map_err(write_error(&path))?;
        let text = toml::to_string(config)
            .map_err(|error| RunError::Write { path: path.join("config.toml"), error: io::Error::other(error) })?;
        fs::write(path.join("config.toml"), text).map_err(write_error(&path))?;
        if *trace {
            fs::create_dir(path.join("trace")).map_err(write_error(&path))?;
        }
        Ok(Self {
            metrics: create("metrics.jsonl")?,
            timing: create("timing.jsonl")?,
            trace: trace.then(|| create("trace/steps.jsonl")).transpose()?,
            note: serde_json::to_string(settings).unwrap_or_default(),
            path,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the last weights.
    pub fn save_last(&self, weights: &Weights) -> Result<(), RunError> {
        save_weights(&self.path.join("weights/last.safetensors"), weights, &self.note)
    }
}

/// Creates the folder `path`, which must not exist.
fn claim(path: &Path) -> Result<(), RunError> {
    fs::create_dir(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => RunError::Exists(path.to_path_buf()),
        _ => RunError::Write { path: path.to_path_buf(), error },
    })
}

/// Creates the first free `<parent>/<name>-<n>`.
fn claim_numbered(parent: &Path, name: &str) -> Result<PathBuf, RunError> {
    fs::create_dir_all(parent).map_err(write_error(parent))?;
    let mut number = 1u32;
    loop {
        let path = parent.join(format!("{name}-{number}"));
        match claim(&path) {
            Err(RunError::Exists(_)) => number += 1,
            Err(error) => return Err(error),
            Ok(()) => return Ok(path),
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
    Ok((weights, note.and_then(|note| serde_json::from_str(&note).ok())))
}

impl Observer for RunDir {
    fn initial(&mut self, weights: &Weights) -> io::Result<()> {
        if self.trace.is_none() {
            return Ok(());
        }
        save_weights(&self.path.join("trace/initial.safetensors"), weights, &self.note).map_err(io::Error::other)
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

    fn best(&mut self, weights: &Weights) -> io::Result<()> {
        save_weights(&self.path.join("weights/best.safetensors"), weights, &self.note).map_err(io::Error::other)
    }
}
