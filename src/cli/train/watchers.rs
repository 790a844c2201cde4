//! Everybody who watches a run.

use std::io;
use std::sync::Arc;

use crate::cli::progress::Progress;
use crate::experiment::{ChromeTrace, JsonLines, RunDir};
use crate::model::weights::Weights;
use crate::train::{Checkpoint, EvalRecord, NotFiniteRecord, Observer, ProfileRecord, StepRecord, TraceRecord};

/// Everybody who watches the run.
pub struct Watchers<'a> {
    /// Writes what is to stay.
    pub run_dir: &'a mut RunDir,
    /// Shows how it goes.
    pub progress: Progress,
    /// Prints metrics as JSON.
    pub stdout: Option<JsonLines<io::Stdout>>,
    /// Writes where the time goes.
    pub profile: Option<ChromeTrace>,
}

impl Watchers<'_> {
    /// Tells stdout, until it is closed.
    fn tell(&mut self, tell: impl FnOnce(&mut JsonLines<io::Stdout>) -> io::Result<()>) {
        if self.stdout.as_mut().is_some_and(|stdout| tell(stdout).is_err()) {
            self.stdout = None;
        }
    }
}

impl Observer for Watchers<'_> {
    fn initial(&mut self, weights: &Weights) -> io::Result<()> {
        self.run_dir.initial(weights)
    }

    fn trace(&mut self, record: &TraceRecord) -> io::Result<()> {
        self.run_dir.trace(record)
    }

    fn profile(&mut self, record: &ProfileRecord<'_>) -> io::Result<()> {
        self.profile.as_mut().map_or(Ok(()), |profile| profile.profile(record))
    }

    fn step(&mut self, record: &StepRecord) -> io::Result<()> {
        self.run_dir.step(record)?;
        self.tell(|stdout| stdout.step(record));
        self.progress.step(record)
    }

    fn not_finite(&mut self, record: &NotFiniteRecord) -> io::Result<()> {
        let NotFiniteRecord { step, first, goes_on_from } = record;
        let message =
            format!("step {step} is left out: {first}; the run goes on from the weights of step {goes_on_from}");
        self.progress.warn(&message);
        Ok(())
    }

    fn eval(&mut self, record: &EvalRecord) -> io::Result<()> {
        self.run_dir.eval(record)?;
        self.tell(|stdout| stdout.eval(record));
        self.progress.eval(record)
    }

    fn last(&mut self, weights: &Weights) -> io::Result<()> {
        self.run_dir.last(weights)
    }

    fn best(&mut self, weights: &Weights) -> io::Result<()> {
        self.run_dir.best(weights)
    }

    fn checkpoint(&mut self, checkpoint: &Arc<Checkpoint>) -> io::Result<()> {
        if let Err(error) = self.run_dir.checkpoint(checkpoint) {
            // There is an older one, and the next may be written again.
            self.progress.warn(&format!("a checkpoint could not be written: {error}; the training goes on"));
        }
        Ok(())
    }

    fn device_lost(&mut self, error: &str, from: u64) -> io::Result<()> {
        self.progress.warn(&format!("{error}; it is opened again, and the training goes on from step {from}"));
        Ok(())
    }
}
