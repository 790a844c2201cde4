//! What a run leaves behind: its directory, with settings, metrics, timings and weights.

mod config;
mod metrics;
mod run_dir;

pub use config::{ConfigError, DeviceEntry, RunConfig};
pub use metrics::{JsonLines, TestLine};
pub use run_dir::{RunDir, RunError, read_weights, save_weights};
