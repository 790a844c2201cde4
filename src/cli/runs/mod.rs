//! What `train`, `compare` and `sweep` share: one run from its settings to its outcome, and folders of many.

mod board;
mod one;
mod resume;
mod series;
mod watchers;

use std::time::Duration;

pub use one::{Begin, Finished, Halted, Job, Profiled, Site, plan, train_one};
pub use resume::{device_flags, settings_of};
pub use series::Series;
pub use watchers::{Display, Start};

use super::BadInput;
use crate::train::{CheckpointEvery, OnNan, TrainOptions};

/// How often a checkpoint is made, unless `--checkpoint-every` says otherwise.
pub const CHECKPOINT_EVERY: CheckpointEvery = CheckpointEvery::Time(Duration::from_secs(300));
/// Checkpoints that stay, unless `--keep-checkpoints` says otherwise: one to fall back on if the last is damaged.
pub const KEEP_CHECKPOINTS: u32 = 2;

/// A run of a series.
#[derive(Clone, Debug)]
pub struct SeriesRun {
    /// Name of its folder in the series'.
    pub name: String,
    /// Its settings.
    pub settings: TrainOptions,
}

/// How often a checkpoint is made: as `given`, or as `before` the run was stopped, or as usual.
pub fn checkpoint_every(
    given: Option<CheckpointEvery>,
    before: Option<CheckpointEvery>,
    on_nan: OnNan,
) -> Result<CheckpointEvery, BadInput> {
    let every = given.or(before).unwrap_or(CHECKPOINT_EVERY);
    if on_nan != OnNan::Rewind {
        return Ok(every);
    }
    match every {
        // What the run computes depends on it.
        CheckpointEvery::Steps(_) if before.is_some_and(|before| before != every) => {
            Err(BadInput(format!("--checkpoint-every {every} would change what a run with --on-nan rewind computes")))
        }
        CheckpointEvery::Steps(_) => Ok(every),
        CheckpointEvery::Time(_) => Err(BadInput(
            "--on-nan rewind needs a --checkpoint-every in steps: by the clock, no two runs would be the same".into(),
        )),
    }
}
