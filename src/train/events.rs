//! What a run tells of itself while it goes on.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::engine::StepTiming;
use super::predict::Prediction;
use crate::model::weights::Weights;
use crate::plan::{DispatchRow, Gates};

/// A training step that is done.
#[derive(Clone, Debug)]
pub struct StepRecord {
    /// From 1.
    pub step: u64,
    /// From 0.
    pub epoch: u64,
    /// Mean loss over the batch.
    pub loss: f64,
    /// Share of correct predictions in the batch.
    pub accuracy: f64,
    /// Learning rate.
    pub lr: f64,
    /// Which blocks ran.
    pub gates: Gates,
    /// Time since the step before was done, evaluations apart.
    pub time: Duration,
    /// Images in the batch.
    pub images: u32,
    /// Whether its update was left out, because a value was not finite.
    pub left_out: bool,
    /// Mean absolute gradient of the first convolution's weights, of the loss alone, if it is recorded.
    pub first_gradient: Option<f64>,
}

/// A step whose loss or gradient was not finite, after which the run goes on.
#[derive(Clone, Debug)]
pub struct NotFiniteRecord {
    /// From 1.
    pub step: u64,
    /// The first value that was not finite, described.
    pub first: String,
    /// Step of the weights and moments that the run goes on with; the step's own update was left out.
    pub goes_on_from: u64,
}

/// Which weights were evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichWeights {
    /// Those of the step.
    Last,
    /// The best on the validation images.
    Best,
}

/// Which images a net was evaluated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalSplit {
    /// All validation images.
    Validation,
    /// One random batch of test images.
    TestBatch,
    /// All test images.
    Test,
}

impl EvalSplit {
    /// Its name in a run's metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::TestBatch => "test-batch",
            Self::Test => "test",
        }
    }
}

/// An evaluation that is done.
#[derive(Clone, Debug)]
pub struct EvalRecord {
    /// Which images.
    pub split: EvalSplit,
    /// Step of the weights, from 1.
    pub step: u64,
    /// Which weights.
    pub weights: WhichWeights,
    /// Mean loss.
    pub loss: f64,
    /// Share of correct predictions.
    pub accuracy: f64,
    /// Number of images.
    pub images: usize,
}

/// What is needed, with the initial weights and the settings, to replay a step elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct TraceRecord {
    /// From 1.
    pub step: u64,
    /// Images of the batch, by their place in the training file.
    pub indices: Vec<u32>,
    /// Which blocks run.
    pub gates: String,
    /// Learning rate.
    pub lr: f64,
    /// Dropout mask: the Philox key.
    pub dropout_seed: u64,
    /// Dropout mask: the Philox counter's third word.
    pub dropout_step: u32,
}

/// What the profile of a run gets to know.
#[derive(Clone, Debug)]
pub enum ProfileRecord<'a> {
    /// A step, dispatch by dispatch.
    Step {
        /// From 1.
        step: u64,
        /// Its dispatches, in the order of `timing`.
        rows: &'a [DispatchRow],
        /// When they ran.
        timing: &'a StepTiming,
    },
    /// An evaluation after one of the steps.
    Evaluation {
        /// Step of the weights, from 1.
        step: u64,
        /// When it began.
        began: Instant,
        /// How long it took.
        time: Duration,
    },
}

/// Listens to a run.
pub trait Observer {
    /// The weights before the first step.
    fn initial(&mut self, _: &Weights) -> io::Result<()> {
        Ok(())
    }
    /// A step is about to be submitted.
    fn trace(&mut self, _: &TraceRecord) -> io::Result<()> {
        Ok(())
    }
    /// A step or an evaluation that the trainer was asked to profile.
    fn profile(&mut self, _: &ProfileRecord<'_>) -> io::Result<()> {
        Ok(())
    }
    /// A step is done.
    fn step(&mut self, _: &StepRecord) -> io::Result<()> {
        Ok(())
    }
    /// A step was not finite, and the run goes on; told before the step itself.
    fn not_finite(&mut self, _: &NotFiniteRecord) -> io::Result<()> {
        Ok(())
    }
    /// An evaluation is done.
    fn eval(&mut self, _: &EvalRecord) -> io::Result<()> {
        Ok(())
    }
    /// These weights are the latest, some times in a run and before its tests.
    fn last(&mut self, _: &Weights) -> io::Result<()> {
        Ok(())
    }
    /// These weights are the best so far.
    fn best(&mut self, _: &Weights) -> io::Result<()> {
        Ok(())
    }
    /// The run can go on from here, and from no earlier point does it have to.
    fn checkpoint(&mut self, _: &Arc<Checkpoint>) -> io::Result<()> {
        Ok(())
    }
    /// The device was lost, as `error` says; the steps behind step `from` are computed once more on another one.
    fn device_lost(&mut self, error: &str, from: u64) -> io::Result<()> {
        let _ = (error, from);
        Ok(())
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The last weights on the test images.
    pub test: EvalRecord,
    /// What the last weights make of each test image, in the order of the file.
    pub predictions: Vec<Prediction>,
    /// The best weights on the test images, if any were chosen.
    pub best: Option<EvalRecord>,
    /// Steps whose update was left out because a value was not finite.
    pub steps_left_out: u64,
    /// Wall time of the run, evaluations included.
    pub time: Duration,
    /// Wall time of the training steps.
    pub step_time: Duration,
    /// Share of all blocks in all steps that ran.
    pub blocks_run: f64,
    /// What the steps would have taken with all gates on, by measurements along the run of steps whose update was not
    /// applied, and the number of measurements; `None` if every gate was on anyway.
    pub all_gates_time: Option<(Duration, usize)>,
}
