//! How often a run makes checkpoints, and how many it keeps.

use std::time::Duration;

use super::error::JobError;
use crate::train::{CheckpointEvery, OnNan, check_field};

/// How often a checkpoint is made, unless somebody says otherwise.
const CHECKPOINT_EVERY: CheckpointEvery = CheckpointEvery::Time(Duration::from_secs(300));
/// Checkpoints that stay, unless somebody says otherwise: one to fall back on if the last is
/// damaged.
pub const KEEP_CHECKPOINTS: usize = 2;

/// Returns how often a checkpoint is made: as `given`, or as `before` the run was stopped, or as
/// usual.
pub fn checkpoint_every(
    given: Option<CheckpointEvery>,
    before: Option<CheckpointEvery>,
    on_nan: OnNan,
) -> Result<CheckpointEvery, JobError> {
    let every = given.or(before).unwrap_or(CHECKPOINT_EVERY);
    // Folders tell intervals as whole numbers.
    let holds = match every {
        CheckpointEvery::Steps(steps) => steps > 0,
        CheckpointEvery::Time(time) => time > Duration::ZERO && time.subsec_nanos() == 0,
    };
    check_field("checkpoint_every", every, holds, "a number of steps, or whole seconds")?;
    if on_nan != OnNan::Rewind {
        return Ok(every);
    }
    match every {
        // The run goes back to checkpoints, so that what it computes depends on when they are made.
        CheckpointEvery::Steps(_) if before.is_some_and(|before| before != every) => {
            Err(JobError::OtherInterval { every })
        }
        CheckpointEvery::Steps(_) => Ok(every),
        CheckpointEvery::Time(_) => Err(JobError::IntervalByClock),
    }
}
