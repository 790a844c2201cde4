//! Everybody who watches a run.

use std::io;
use std::sync::Arc;

use crate::data::DataSet;
use crate::device::Device;
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::plan::Plan;
use crate::run_dir::{ChromeTrace, RunDir};
use crate::train::{
    Checkpoint, EvalRecord, NotFiniteRecord, Observer, ProfileRecord, StepRecord, TraceRecord, TrainOptions,
};

/// A run that is about to begin, or to go on.
pub struct Start<'a> {
    /// The net.
    pub net: &'a ResNet,
    /// Its settings.
    pub settings: &'a TrainOptions,
    /// The images.
    pub data: &'a DataSet,
    /// What is computed.
    pub plan: &'a Plan,
    /// By what.
    pub device: &'a dyn Device,
    /// Why by that, if it needs saying.
    pub device_note: Option<&'a str>,
    /// Steps that are done.
    pub from_step: u64,
    /// What there is to tell of how the run goes on.
    pub notes: &'a [String],
}

/// Shows a run to the user.
pub trait Display: Observer {
    /// Says something on the way to the first step.
    fn line(&mut self, text: &str);
    /// The run is about to begin.
    fn begins(&mut self, start: &Start<'_>);
    /// Warns of what the training survives, also where nothing else is to be printed.
    fn warn(&mut self, text: &str);
    /// No more steps will come.
    fn ends(&mut self);
}

/// Everybody who watches the run.
pub struct Watchers<'a> {
    /// Writes what is to stay.
    pub run_dir: &'a mut RunDir,
    /// Shows how it goes.
    pub display: &'a mut dyn Display,
    /// Writes where the time goes.
    pub profile: Option<ChromeTrace>,
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
        self.display.step(record)
    }

    fn not_finite(&mut self, record: &NotFiniteRecord) -> io::Result<()> {
        let NotFiniteRecord { step, first, goes_on_from } = record;
        let message =
            format!("step {step} is left out: {first}; the run goes on from the weights of step {goes_on_from}");
        self.display.warn(&message);
        Ok(())
    }

    fn eval(&mut self, record: &EvalRecord) -> io::Result<()> {
        self.run_dir.eval(record)?;
        self.display.eval(record)
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
            self.display.warn(&format!("a checkpoint could not be written: {error}; the training goes on"));
        }
        Ok(())
    }

    fn device_lost(&mut self, error: &str, from: u64) -> io::Result<()> {
        self.display.warn(&format!("{error}; it is opened again, and the training goes on from step {from}"));
        Ok(())
    }
}
