//! What can be wrong with a run directory and with the files in it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::weights::WeightsError;

/// Why a run directory can't be used.
#[derive(Debug, Error)]
pub enum RunError {
    /// The folder is taken.
    #[error("{0} exists already; choose another `out`, or remove it")]
    Exists(PathBuf),
    /// The folder is taken by a run.
    #[error("{0} holds a run already, which goes on with `resume` {0}; choose another `out`, or remove it")]
    HoldsRun(PathBuf),
    /// Another process is at work in the folder.
    #[error("{0} is in use: another sdgpu trains there")]
    InUse(PathBuf),
    /// The path leads through a file.
    #[error("{out} can't be a folder, because {file} is a file; choose another `out`")]
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
    /// The system gives no thread for the checkpoints.
    #[error("can't start the thread that writes checkpoints: {0}; end other programs, or raise `ulimit -u` or `-v`")]
    NoThread(io::Error),
    /// A file of weights, or a checkpoint, is not usable.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: FileError,
    },
    /// A line of a file of lines is not what sdgpu writes.
    #[error("{path}, line {number}: {message}")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        number: usize,
        /// Why.
        message: String,
    },
    /// A file of a run can't be true beside the others.
    #[error("{path}: {message}")]
    Contrary {
        /// The file.
        path: PathBuf,
        /// What is wrong, and beside what.
        message: String,
    },
    /// A run of a series has other settings than it would have now.
    #[error("{run} holds a run with {setting} = {found}, not {wanted}; choose another `out`, or remove it")]
    OtherSettings {
        /// Its directory.
        run: PathBuf,
        /// The first setting that differs, as in `config.toml`.
        setting: String,
        /// What it is there.
        found: String,
        /// What it would be now.
        wanted: String,
    },
    /// No checkpoint is usable.
    #[error("{path}: {error}; no older checkpoint is left, so the run can't go on")]
    NoCheckpointLeft {
        /// The newest checkpoint.
        path: PathBuf,
        /// Why.
        error: FileError,
    },
    /// A file of lines lacks some.
    #[error("{path} has {has} bytes, but had {had} when the last checkpoint was made; put it back to go on")]
    Shortened {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        has: u64,
        /// Its length in the checkpoint.
        had: u64,
    },
    /// The settings can't be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why the bytes of a file can't be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// Not a safetensors file, or with other tensors.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The note is not what this version writes.
    #[error("its settings are from another version of sdgpu ({0})")]
    Note(serde_json::Error),
    /// The content is not what was written.
    #[error("the file is damaged: its checksum is wrong")]
    Damaged,
    /// A checkpoint, but of another run.
    #[error("its settings are not those of the run's config.toml")]
    OtherSettings,
    /// A file of weights, or one of another program.
    #[error("not a checkpoint of sdgpu")]
    NoCheckpoint,
}

/// Why a run's settings can't be read.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not readable.
    #[error("{path}: {error}; a run directory holds a config.toml")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Not what sdgpu writes.
    #[error("{path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why, on one line.
        message: String,
    },
}

/// What [`RunError::Write`] is made of.
pub(super) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_path_buf();
    move |error| RunError::Write { path, error }
}

/// What [`RunError::Read`] is made of.
pub(super) fn read_error(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_path_buf();
    move |error| RunError::Read { path, error }
}
