//! What a run leaves behind: its directory, with settings, metrics, timings and weights; and a profile, where it is
//! asked for.

mod config;
mod metrics;
mod profile;
mod run_dir;

pub use config::{ConfigError, DeviceEntry, RunConfig};
pub use metrics::{JsonLines, TestLine};
pub use profile::ChromeTrace;
pub use run_dir::{RunDir, RunError, read_weights, save_weights};
