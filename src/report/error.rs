//! Faults of the runs of a report, and of the folder that it goes into.

use std::path::PathBuf;

use thiserror::Error;

use crate::run_dir::{ConfigError, RunError};

/// Why there can be no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A folder without a run.
    #[error("{0} holds no run; give run directories, each with a config.toml, or a folder of them")]
    NoRun(PathBuf),
    /// Not a folder.
    #[error("{0} is no folder; give run directories, or a folder of them")]
    NoFolder(PathBuf),
    /// Runs that have only begun.
    #[error("no run has done a step yet: {0}")]
    NoSteps(String),
    /// A file of a run is not what sdgpu writes, or can't be read; or the report can't be written.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<ConfigError> for ReportError {
    fn from(error: ConfigError) -> Self {
        Self::Run(error.into())
    }
}
