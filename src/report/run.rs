//! A run as its directory tells it, read and checked.

use std::path::{Path, PathBuf};

use super::data_sets::DataSets;
use super::error::ReportError;
use crate::run_dir::{
    ConfigError, EvalRecord, EvalSplit, Event, Gates, OptionError, PREDICTIONS, Prediction, RunConfig, RunError,
    RunFacts, StepRecord, Summary, WhichWeights, read_predictions, read_timing, stream_metrics,
};

/// Steps whose gates are kept one by one; of the others, only how often each block ran.
pub const GATES_KEPT: usize = 300;

/// What happened in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// From 1.
    pub step: u64,
    /// From 0.
    pub epoch: u64,
    /// Mean loss over the batch; NaN if it was not finite.
    pub loss: f64,
    /// Mean absolute gradient of the first convolution; NaN if it is not known.
    pub first_gradient: f64,
    /// Wall time from the first step to the end of this one, evaluations apart; NaN if it is not known.
    pub clock: f64,
}

/// An evaluation of the last weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Step of the weights, from 1.
    pub step: u64,
    /// Mean loss; NaN if it was not finite.
    pub loss: f64,
    /// Share of correct predictions.
    pub accuracy: f64,
}

/// How often each block ran, and when.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GateCounts {
    /// Steps.
    pub steps: u64,
    /// Of each block, the steps in which it ran.
    pub ran: Vec<u64>,
    /// The gates of the first [`GATES_KEPT`] steps.
    pub first: Vec<Vec<bool>>,
}

/// A run, as its directory tells it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its directory.
    pub path: PathBuf,
    /// Its settings.
    pub config: RunConfig,
    /// Facts that the run wrote, or that can still be told.
    pub facts: RunFacts,
    /// What came of it, if it has ended well.
    pub summary: Option<Summary>,
    /// Every step in order; there is at least one.
    pub steps: Vec<Step>,
    /// On validation images, in order.
    pub validation: Vec<Evaluation>,
    /// On one random batch of test images each.
    pub test_batches: Vec<Evaluation>,
    /// On all test images.
    pub tests: Vec<Evaluation>,
    /// Which blocks ran.
    pub gates: GateCounts,
    /// What the last weights make of each test image, if the run has ended well.
    pub predictions: Vec<Prediction>,
}

impl Run {
    /// Reads the run in `path`, and its data set into `data`; errors if a file is not what sdgpu
    /// writes.
    pub fn read(path: &Path, data: &mut DataSets) -> Result<Self, ReportError> {
        let config = RunConfig::read(path)?;
        let mut run = Self {
            path: path.to_path_buf(),
            facts: config.facts_with(data.load(&config)),
            config,
            summary: Summary::read(path)?,
            steps: Vec::new(),
            validation: Vec::new(),
            test_batches: Vec::new(),
            tests: Vec::new(),
            gates: GateCounts::default(),
            predictions: read_predictions(path)?,
        };
        let unknown =
            |error: OptionError| ConfigError::Parse { path: path.join(RunConfig::FILE), message: error.to_string() };
        let blocks = run.config.settings.blocks().map_err(unknown)?;
        if let Some(counted) = run.facts.flop.as_ref().map(|flop| flop.blocks.len())
            && counted != blocks
        {
            let message = format!("the FLOP of {counted} blocks, where the net has {blocks}");
            return Err(ConfigError::Parse { path: path.join(RunConfig::FILE), message }.into());
        }
        run.gates.ran = vec![0; blocks];
        stream_metrics(path, |event| run.take(event))?;
        run.read_clock()?;
        run.check_outcome()?;
        Ok(run)
    }

    /// Whether what came of the run fits its steps and its test images.
    fn check_outcome(&self) -> Result<(), ReportError> {
        let Some(summary) = &self.summary else { return Ok(()) };
        let contrary =
            |file: &str, message: String| ReportError::Run(RunError::Contrary { path: self.path.join(file), message });
        let (steps, images) = (self.steps.len() as u64, summary.test.images);
        if summary.steps != steps {
            return Err(contrary(Summary::FILE, format!("{} steps, where metrics.jsonl has {steps}", summary.steps)));
        }
        let accuracies = [Some(summary.test.accuracy), summary.best.as_ref().map(|best| best.accuracy)];
        if let Some(accuracy) = accuracies.into_iter().flatten().find(|accuracy| !(0.0..=1.0).contains(accuracy)) {
            return Err(contrary(Summary::FILE, format!("an accuracy of {accuracy}, where it is a share of 1")));
        }
        let told = self.predictions.len();
        if told != images {
            return Err(contrary(
                PREDICTIONS,
                format!("{told} predictions, where summary.json has {images} test images"),
            ));
        }
        let is_sound = |prediction: &&Prediction| {
            (prediction.image as usize) < images && (0.0..=1.0).contains(&prediction.probability)
        };
        match self.predictions.iter().find(|prediction| !is_sound(prediction)) {
            None => Ok(()),
            Some(Prediction { image, probability, .. }) => {
                let message = format!("image {image} with probability {probability}; there are {images} images");
                Err(contrary(PREDICTIONS, message))
            }
        }
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        let last = self.steps.last().map_or(0, |step| step.step);
        match event {
            Event::Step(StepRecord { step, epoch, loss, gates, first_gradient, .. }) => {
                if step != last + 1 {
                    return Err(format!("step {step} follows step {last}"));
                }
                self.gates.take(gates)?;
                let first_gradient = first_gradient.unwrap_or(f64::NAN);
                self.steps.push(Step { step, epoch, loss, first_gradient, clock: f64::NAN });
            }
            Event::Eval(EvalRecord { weights: WhichWeights::Last, split, step, loss, accuracy, .. }) => {
                let evaluations = match split {
                    EvalSplit::Validation => &mut self.validation,
                    EvalSplit::TestBatch => &mut self.test_batches,
                    EvalSplit::Test => &mut self.tests,
                };
                if step == 0 || step > last || !(0.0..=1.0).contains(&accuracy) {
                    return Err(format!("an evaluation at step {step} with accuracy {accuracy} follows step {last}"));
                }
                // A test at the end can stand beside one on the way.
                if evaluations.last().is_none_or(|before| before.step < step) {
                    evaluations.push(Evaluation { step, loss, accuracy });
                }
            }
            // The best weights are those of an evaluation that is there already.
            _ => {}
        }
        Ok(())
    }

    /// Adds up the times of the steps.
    fn read_clock(&mut self) -> Result<(), ReportError> {
        let mut clock = 0.0;
        for timing in read_timing(&self.path)? {
            if !(timing.seconds >= 0.0 && timing.seconds.is_finite()) {
                let message = format!("step {} took {} seconds; a time is 0 or more", timing.step, timing.seconds);
                return Err(RunError::Contrary { path: self.path.join("timing.jsonl"), message }.into());
            }
            clock += timing.seconds;
            let index = timing.step.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            if let Some(step) = index.and_then(|index| self.steps.get_mut(index)) {
                step.clock = clock;
            }
        }
        Ok(())
    }

    /// That it has not ended, if so, as a sentence begins.
    pub fn unfinished(&self) -> Option<String> {
        let (done, all) = (self.steps.len(), self.config.settings.steps);
        let sentence = || format!("{} has not ended: {done} of {all} steps are done", self.name());
        self.summary.is_none().then(sentence)
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.config.settings.seed
    }

    /// Returns the command that began it, if it is known.
    pub fn command(&self) -> Option<&str> {
        self.config.command.as_deref()
    }

    /// The intended survival probability of each block.
    pub fn survival(&self) -> Vec<f64> {
        self.config.settings.survival_probabilities(self.gates.ran.len()).unwrap_or_default()
    }

    /// Whether no block is ever dropped.
    pub fn is_plain(&self) -> bool {
        self.survival().iter().all(|&probability| probability == 1.0)
    }

    /// What its directory is called.
    pub fn name(&self) -> String {
        let name = self.path.file_name().or_else(|| self.path.parent()?.file_name());
        name.map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// Steps in an epoch; `None` if it did not reach the second.
    pub fn steps_per_epoch(&self) -> Option<u64> {
        let first = self.steps.partition_point(|step| step.epoch == 0);
        (first < self.steps.len()).then_some(first as u64)
    }

    /// The loss on the training batches, by step.
    pub fn training_loss(&self) -> Vec<(u64, f64)> {
        self.steps.iter().map(|step| (step.step, step.loss)).collect()
    }
}

impl GateCounts {
    fn take(&mut self, gates: Gates) -> Result<(), String> {
        if gates.0.len() != self.ran.len() {
            return Err(format!("the gates are {gates}; a 1 or a 0 for each of {} blocks is needed", self.ran.len()));
        }
        self.steps += 1;
        self.ran.iter_mut().zip(&gates.0).for_each(|(ran, &gate)| *ran += u64::from(gate));
        if self.first.len() < GATES_KEPT {
            self.first.push(gates.0);
        }
        Ok(())
    }

    /// Share of the steps in which each block ran.
    pub fn rates(&self) -> Vec<f64> {
        self.ran.iter().map(|&ran| ran as f64 / self.steps as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_counted() {
        let mut gates = GateCounts { ran: vec![0; 3], ..GateCounts::default() };
        for text in ["101", "100", "111", "101"] {
            gates.take(text.parse().expect("gates")).expect("as many as there are blocks");
        }
        assert_eq!((gates.rates(), gates.first.len()), (vec![1.0, 0.25, 0.75], 4));
        assert!(gates.take(Gates::all(2)).is_err());
    }
}
