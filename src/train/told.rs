//! What an observer has been told already.

use std::io;
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::events::{EvalRecord, EvalSplit, NotFiniteRecord, Observer, ProfileRecord, StepRecord, TraceRecord};
use crate::model::weights::Weights;

/// Tells an observer everything once. Steps that are repeated after the loss of a device, or submitted again behind a
/// step that was left out, compute what they computed the first time: the observer knows of them.
pub(super) struct Told<'a> {
    observer: &'a mut dyn Observer,
    traced: u64,
    trained: u64,
    evaluated: u64,
    tested: u64,
}

impl<'a> Told<'a> {
    /// `observer` knows of the first `steps` steps.
    pub fn new(observer: &'a mut dyn Observer, steps: u64) -> Self {
        Self { observer, traced: steps, trained: steps, evaluated: steps, tested: steps }
    }

    /// Number of training steps that the observer knows of.
    pub fn trained(&self) -> u64 {
        self.trained
    }

    /// Ends the filter: what comes after the last step is told as it comes.
    pub fn observer(&mut self) -> &mut dyn Observer {
        self.observer
    }
}

/// Whether `step` is beyond the `last` one told, which it becomes then.
fn is_news(last: &mut u64, step: u64) -> bool {
    let news = step > *last;
    *last = step.max(*last);
    news
}

impl Observer for Told<'_> {
    fn trace(&mut self, record: &TraceRecord) -> io::Result<()> {
        if is_news(&mut self.traced, record.step) { self.observer.trace(record) } else { Ok(()) }
    }

    fn profile(&mut self, record: &ProfileRecord<'_>) -> io::Result<()> {
        let known = matches!(record, ProfileRecord::Step { step, .. } if *step <= self.trained);
        if known { Ok(()) } else { self.observer.profile(record) }
    }

    fn step(&mut self, record: &StepRecord) -> io::Result<()> {
        if is_news(&mut self.trained, record.step) { self.observer.step(record) } else { Ok(()) }
    }

    fn eval(&mut self, record: &EvalRecord) -> io::Result<()> {
        // After some steps there is one of each.
        let last = if record.split == EvalSplit::Test { &mut self.tested } else { &mut self.evaluated };
        if is_news(last, record.step) { self.observer.eval(record) } else { Ok(()) }
    }

    fn not_finite(&mut self, record: &NotFiniteRecord) -> io::Result<()> {
        if record.step > self.trained { self.observer.not_finite(record) } else { Ok(()) }
    }

    fn last(&mut self, weights: &Weights) -> io::Result<()> {
        self.observer.last(weights)
    }

    fn best(&mut self, weights: &Weights) -> io::Result<()> {
        self.observer.best(weights)
    }

    fn checkpoint(&mut self, checkpoint: &Arc<Checkpoint>) -> io::Result<()> {
        self.observer.checkpoint(checkpoint)
    }

    fn device_lost(&mut self, error: &str, from: u64) -> io::Result<()> {
        self.observer.device_lost(error, from)
    }
}
