//! The evaluations of a run: on the way, and at its end.

use std::sync::Arc;

use super::checkpoint::Best;
use super::dedup::Dedup;
use super::events::{EvalRecord, EvalSplit, Event, Outcome, WhichWeights};
use super::options::EvaluateOn;
use super::predict::Score;
use super::trainer::{TrainError, Trainer};
use crate::data::random_batch;
use crate::plan::ImageFile;

fn record(split: EvalSplit, step: u64, weights: WhichWeights, score: Score) -> EvalRecord {
    let Score { loss, accuracy, images } = score;
    EvalRecord { split, step, weights, loss, accuracy, images }
}

impl Trainer<'_> {
    /// Evaluates after `step` (from 1), on the images that the settings choose and on all test
    /// images.
    pub(super) fn evaluate(
        &mut self,
        step: u64,
        chosen: bool,
        test: bool,
        events: &mut Dedup<'_>,
    ) -> Result<(), TrainError> {
        if chosen {
            match self.options.evaluate_on {
                EvaluateOn::Validation => self.validate(step, events)?,
                EvaluateOn::TestBatch => {
                    let batch = self.options.eval_batch as usize;
                    let indices = random_batch(self.data.test.len(), batch, self.options.seed, step - 1);
                    let score = self.recalibrated(|engine| engine.evaluate(ImageFile::Test, &indices))?;
                    events.send(&Event::Eval(record(EvalSplit::TestBatch, step, WhichWeights::Last, score)))?;
                }
            }
        }
        if test {
            let record = self.test(step, WhichWeights::Last)?;
            events.send(&Event::Eval(record))?;
        }
        Ok(())
    }

    /// Evaluates on the validation images, if there are any, and keeps the weights if they are the best so far.
    fn validate(&mut self, step: u64, events: &mut Dedup<'_>) -> Result<(), TrainError> {
        if self.validation.is_empty() {
            return Ok(());
        }
        let validation = self.validation.clone();
        let score = self.recalibrated(|engine| engine.evaluate(ImageFile::Train, &validation))?;
        events.send(&Event::Eval(record(EvalSplit::Validation, step, WhichWeights::Last, score)))?;
        let accuracy = score.accuracy;
        if self.state.best.as_ref().is_none_or(|best| accuracy > best.accuracy) {
            let weights = self.engine.weights()?;
            events.send(&Event::BestWeights { step, weights: &weights })?;
            self.state.best = Some(Arc::new(Best { accuracy, step, weights }));
        }
        Ok(())
    }

    /// Tests the best weights and the last.
    pub(super) fn conclude(&mut self) -> Result<Outcome, TrainError> {
        let (steps, blocks) = (self.options.steps, self.engine.plan.blocks.len() as u64);
        let weights = self.engine.weights()?;
        let images = self.test_images();
        let (score, predictions) = self.recalibrated(|engine| engine.predict(ImageFile::Test, &images))?;
        let last = record(EvalSplit::Test, steps, WhichWeights::Last, score);
        let best = match self.state.best.clone() {
            None => None,
            Some(best) if best.step == steps => Some(EvalRecord { weights: WhichWeights::Best, ..last.clone() }),
            Some(best) => {
                self.engine.load(&best.weights)?;
                let record = self.test(best.step, WhichWeights::Best)?;
                self.engine.load(&weights)?;
                Some(record)
            }
        };
        let counters = &self.state.counters;
        Ok(Outcome {
            test: last,
            predictions,
            best,
            steps_left_out: counters.steps_left_out,
            time: self.clocks.run_time(),
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
