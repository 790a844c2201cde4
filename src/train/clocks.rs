//! The times that a run keeps.

use std::time::{Duration, Instant};

/// When the parts of a run began.
pub(super) struct Clocks {
    /// When the run would have begun, had it never been stopped.
    began: Instant,
    /// When the step before was done, or the training went on after something else.
    step: Instant,
    /// When the last checkpoint was made, or the run went on from it.
    checkpoint: Instant,
}

impl Clocks {
    /// Starts the clocks of a run that has taken `time` before now.
    pub fn begin(time: Duration) -> Self {
        let now = Instant::now();
        Self { began: now.checked_sub(time).unwrap_or(now), step: now, checkpoint: now }
    }

    /// Wall time of the run.
    pub fn run_time(&self) -> Duration {
        self.began.elapsed()
    }

    /// Time since the last checkpoint.
    pub fn since_checkpoint(&self) -> Duration {
        self.checkpoint.elapsed()
    }

    /// Returns the time of the step that is done now; the next one's begins.
    pub fn step_done(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.step, now)
    }

    /// The next step's time begins now.
    pub fn restart_step(&mut self) {
        self.step = Instant::now();
    }

    /// A checkpoint was made, or loaded.
    pub fn restart_checkpoint(&mut self) {
        self.checkpoint = Instant::now();
    }
}
