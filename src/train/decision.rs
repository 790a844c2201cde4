//! Decisions between two steps, made in one place.

use std::time::Duration;

use super::options::TrainOptions;
use super::safeguards::CheckpointEvery;

/// Times in a run at which the weights are handed out and the cost of all blocks is measured.
const MILESTONES: u64 = 6;

/// Circumstances that this process alone knows. All else that a decision depends on are the step
/// and the settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// Time since the last checkpoint, or since the run went on from one.
    pub since_checkpoint: Duration,
    /// Whether a signal or an observer has asked for the run to stop.
    pub stop_requested: bool,
}

/// Work between a step and the next one. Plain data: where several processes train
/// together, one decides and the others do the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// Evaluate on the images that the settings choose.
    pub evaluate: bool,
    /// Evaluate on all test images.
    pub test: bool,
    /// Hand out the weights, and measure what skipping saves.
    pub milestone: bool,
    /// Make a checkpoint.
    pub checkpoint: bool,
    /// End the run here, after all of the above.
    pub stop: bool,
}

impl Decision {
    /// Decides what a run under `options`, which makes checkpoints `checkpoint_every` so often,
    /// does after `done` steps (at least 1).
    pub fn new(
        done: u64,
        options: &TrainOptions,
        checkpoint_every: Option<CheckpointEvery>,
        circumstances: Circumstances,
    ) -> Self {
        let &TrainOptions { steps, eval_every, test_every, .. } = options;
        let Circumstances { since_checkpoint, stop_requested: stop } = circumstances;
        let is_last = done == steps;
        let checkpoint_is_due = |every| match every {
            CheckpointEvery::Steps(steps) => done.is_multiple_of(steps),
            CheckpointEvery::Time(time) => since_checkpoint >= time,
        };
        Self {
            evaluate: is_last || done.is_multiple_of(eval_every),
            // The last step's comes at the end anyway. A multiple of 0 is 0 alone.
            test: !is_last && done.is_multiple_of(test_every),
            milestone: done * MILESTONES / steps > (done - 1) * MILESTONES / steps,
            checkpoint: checkpoint_every.is_some_and(|every| is_last || stop || checkpoint_is_due(every)),
            stop,
        }
    }

    /// Returns whether the next step can follow at once.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Circumstances = Circumstances { since_checkpoint: Duration::ZERO, stop_requested: false };
    const STOP: Circumstances = Circumstances { stop_requested: true, ..NOW };

    /// A run of 20 steps with evaluations after every 5 and tests after every 10.
    fn run() -> TrainOptions {
        TrainOptions { steps: 20, eval_every: 5, test_every: 10, ..TrainOptions::default() }
    }

    fn steps_with(
        every: Option<CheckpointEvery>,
        circumstances: Circumstances,
        what: fn(Decision) -> bool,
    ) -> Vec<u64> {
        (1..=20).filter(|&done| what(Decision::new(done, &run(), every, circumstances))).collect()
    }

    #[test]
    fn settings_decide_what_is_evaluated() {
        assert_eq!(steps_with(None, NOW, |decision| decision.evaluate), [5, 10, 15, 20]);
        // The test at the end is another one.
        assert_eq!(steps_with(None, NOW, |decision| decision.test), [10]);
        assert_eq!(steps_with(None, NOW, |decision| decision.milestone), [4, 7, 10, 14, 17, 20]);
        assert!(steps_with(None, NOW, |decision| decision.checkpoint || decision.stop).is_empty());
        let without = TrainOptions { test_every: 0, eval_every: 7, ..run() };
        let decisions = (1..=20).map(|done| Decision::new(done, &without, None, NOW));
        assert_eq!(decisions.clone().filter(|decision| decision.test).count(), 0);
        assert_eq!(decisions.filter(|decision| decision.evaluate).count(), 3, "7, 14, and the last");
        // Each step of a short run is a milestone.
        let short = TrainOptions { steps: 3, ..run() };
        assert!((1..=3).all(|done| Decision::new(done, &short, None, NOW).milestone));
    }

    #[test]
    fn steps_or_the_clock_decide_when_checkpoints_are_made() {
        let checkpoint = |decision: Decision| decision.checkpoint;
        assert_eq!(steps_with(Some(CheckpointEvery::Steps(6)), NOW, checkpoint), [6, 12, 18, 20]);
        let minute = Some(CheckpointEvery::Time(Duration::from_secs(60)));
        let later = |seconds| Circumstances { since_checkpoint: Duration::from_secs(seconds), ..NOW };
        assert_eq!(steps_with(minute, later(59), checkpoint), [20]);
        assert_eq!(steps_with(minute, later(60), checkpoint).len(), 20);
    }

    #[test]
    fn a_run_that_is_to_stop_makes_a_checkpoint_first_if_it_makes_any() {
        let hour = Some(CheckpointEvery::Time(Duration::from_secs(3600)));
        assert_eq!(
            Decision::new(3, &run(), hour, STOP),
            Decision { checkpoint: true, stop: true, ..Decision::default() }
        );
        assert_eq!(Decision::new(3, &run(), None, STOP), Decision { stop: true, ..Decision::default() });
        assert!(Decision::new(3, &run(), hour, NOW).is_nothing());
        // Work that is due anyway is done, too.
        let due = Decision { evaluate: true, test: true, milestone: true, checkpoint: true, stop: true };
        assert_eq!(Decision::new(10, &run(), hour, STOP), due);
    }
}
