//! The evaluations of a run: on the way, and at its end.

use std::sync::Arc;

use super::checkpoint::Best;
use super::events::{EvalRecord, EvalSplit, Observer, Outcome, WhichWeights};
use super::options::EvaluateOn;
use super::predict::Score;
use super::told::Told;
use super::trainer::{TrainError, Trainer};
use crate::data::random_batch;
use crate::plan::ImageFile;

fn record(split: EvalSplit, step: u64, weights: WhichWeights, score: Score) -> EvalRecord {
    let Score { loss, accuracy, images } = score;
    EvalRecord { split, step, weights, loss, accuracy, images }
}

impl Trainer<'_> {
    /// What is to be evaluated after `step` (from 1): what the settings choose, and all test images.
    pub(super) fn evaluate(
        &mut self,
        step: u64,
        chosen: bool,
        test: bool,
        observer: &mut Told<'_>,
    ) -> Result<(), TrainError> {
        if chosen {
            match self.options.evaluate_on {
                EvaluateOn::Validation => self.validate(step, observer)?,
                EvaluateOn::TestBatch => {
                    let batch = self.options.eval_batch as usize;
                    let indices = random_batch(self.data.test.len(), batch, self.options.seed, step - 1);
                    let score = self.recalibrated(|engine| engine.evaluate(ImageFile::Test, &indices))?;
                    observer.eval(&record(EvalSplit::TestBatch, step, WhichWeights::Last, score))?;
                }
            }
        }
        if test {
            let record = self.test(step, WhichWeights::Last)?;
            observer.eval(&record)?;
        }
        Ok(())
    }

    /// Evaluates on the validation images, if there are any, and keeps the weights if they are the best so far.
    fn validate(&mut self, step: u64, observer: &mut Told<'_>) -> Result<(), TrainError> {
        if self.validation.is_empty() {
            return Ok(());
        }
        let validation = self.validation.clone();
        let score = self.recalibrated(|engine| engine.evaluate(ImageFile::Train, &validation))?;
        observer.eval(&record(EvalSplit::Validation, step, WhichWeights::Last, score))?;
        let accuracy = score.accuracy;
        if self.best.as_ref().is_none_or(|best| accuracy > best.accuracy) {
            let weights = self.engine.weights()?;
            observer.best(&weights)?;
            self.best = Some(Arc::new(Best { accuracy, step, weights }));
        }
        Ok(())
    }

    /// Tests the best weights and the last.
    pub(super) fn conclude(&mut self) -> Result<Outcome, TrainError> {
        let (steps, blocks) = (self.options.steps, self.survival.len() as u64);
        let weights = self.engine.weights()?;
        let (images, labels) = (self.test_images(), &self.data.test.labels);
        let (score, predictions) = self.recalibrated(|engine| engine.predict(ImageFile::Test, &images, labels))?;
        let last = record(EvalSplit::Test, steps, WhichWeights::Last, score);
        let best = match self.best.clone() {
            None => None,
            Some(best) if best.step == steps => Some(EvalRecord { weights: WhichWeights::Best, ..last.clone() }),
            Some(best) => {
                self.engine.load(&best.weights)?;
                let record = self.test(best.step, WhichWeights::Best)?;
                self.engine.load(&weights)?;
                Some(record)
            }
        };
        let counters = &self.counters;
        Ok(Outcome {
            test: last,
            predictions,
            best,
            steps_left_out: counters.steps_left_out,
            time: self.elapsed(),
            step_time: counters.step_time,
            blocks_run: counters.blocks_run as f64 / (steps * blocks) as f64,
            all_gates_time: counters.all_gates.estimate(),
        })
    }

    fn test(&mut self, step: u64, weights: WhichWeights) -> Result<EvalRecord, TrainError> {
        let images = self.test_images();
        let score = self.recalibrated(|engine| engine.evaluate(ImageFile::Test, &images))?;
        Ok(record(EvalSplit::Test, step, weights, score))
    }

    fn test_images(&self) -> Vec<u32> {
        (0..self.data.test.len() as u32).collect()
    }
}
