//! Events that an observer knows of already, and whether it wants the run to stop.

use std::io;

use super::events::{EvalRecord, EvalSplit, Event, Observer, ProfileRecord};

/// Passes each event on once.
///
/// Steps that are repeated after the loss of a device, or submitted again behind a step that was
/// left out, compute what they computed the first time: the observer knows of them.
pub(super) struct Dedup<'a> {
    observer: &'a mut dyn Observer,
    /// The last step of which the observer knows each kind of event.
    traced: u64,
    trained: u64,
    evaluated: u64,
    tested: u64,
    wants_stop: bool,
}

impl<'a> Dedup<'a> {
    /// For an `observer` that knows of the first `steps` steps.
    pub fn new(observer: &'a mut dyn Observer, steps: u64) -> Self {
        Self { observer, traced: steps, trained: steps, evaluated: steps, tested: steps, wants_stop: false }
    }

    /// Number of training steps that the observer knows of.
    pub fn trained(&self) -> u64 {
        self.trained
    }

    /// Returns whether the observer has asked for the run to stop.
    pub fn wants_stop(&self) -> bool {
        self.wants_stop
    }

    /// Passes `event` on if it is new.
    pub fn send(&mut self, event: &Event<'_>) -> io::Result<()> {
        let is_new = match event {
            Event::Trace(trace) => advance(&mut self.traced, trace.step),
            Event::Step(step) => advance(&mut self.trained, step.step),
            // After some steps there is one of each.
            Event::Eval(EvalRecord { split: EvalSplit::Test, step, .. }) => advance(&mut self.tested, *step),
            Event::Eval(evaluation) => advance(&mut self.evaluated, evaluation.step),
            // They come before the step.
            Event::Timing(_) | Event::NotFinite(_) | Event::Profile(ProfileRecord::Step { .. }) => {
                event.step() > self.trained
            }
            Event::Initial(_)
            | Event::LastWeights { .. }
            | Event::BestWeights { .. }
            | Event::Checkpoint(_)
            | Event::DeviceLost { .. }
            | Event::Profile(ProfileRecord::Evaluation { .. }) => true,
        };
        if is_new { self.send_anyway(event) } else { Ok(()) }
    }

    /// Passes on what comes after the last step, which no step repeats.
    pub fn send_anyway(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.wants_stop |= self.observer.observe(event)?.is_break();
        Ok(())
    }
}

/// Returns whether `step` is beyond `last`, which becomes `step` then.
fn advance(last: &mut u64, step: u64) -> bool {
    let is_new = step > *last;
    *last = step.max(*last);
    is_new
}
