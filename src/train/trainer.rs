//! The training loop.

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::diagnose::first_not_finite;
use super::engine::{Engine, IN_FLIGHT, Step};
use super::optimizer::UpdateRows;
use super::options::{EvaluateOn, Model, TrainOptions};
use super::record::{EvalRecord, Observer, Outcome, ProfileRecord, StepRecord, TraceRecord, WhichWeights};
use super::schedule::learning_rate;
use super::skipping::AllGatesTime;
use crate::data::{DataError, DataSet, Sampler, random_batch, split};
use crate::device::{DeviceError, Ticket};
use crate::model::weights::Weights;
use crate::plan::{Gates, ImageFile};

/// Why a run stopped early.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The data do not allow it.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An observer could not write.
    #[error(transparent)]
    Observer(#[from] io::Error),
    /// A NaN or an infinity.
    #[error("step {step}: the loss, a gradient or a weight is not finite; {first}")]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// The first value that is not finite.
        first: String,
    },
}

/// Times in a run at which the weights are handed out and the cost of all blocks is measured.
const MILESTONES: u64 = 6;
/// Steps that are timed in a row.
const TIMED_STEPS: u32 = 4;

/// A step that was submitted and has not reported yet.
struct Submitted {
    step: u64,
    gates: Gates,
    lr: f64,
    ticket: Ticket,
}

/// Trains a net.
pub struct Trainer<'a> {
    engine: Engine,
    options: &'a TrainOptions,
    sampler: Sampler,
    validation: Vec<u32>,
    test_images: usize,
    survival: Vec<f64>,
    rows: UpdateRows,
    submitted: VecDeque<Submitted>,
    /// When the last step was done, or the training went on after an evaluation.
    clock: Instant,
    step_time: Duration,
    blocks_run: u64,
    /// What the steps would have taken with all gates on.
    all_gates: AllGatesTime,
    best: Option<(f64, u64, Weights)>,
    /// Steps, from 1, that are timed dispatch by dispatch.
    profiled: Option<RangeInclusive<u64>>,
}

impl<'a> Trainer<'a> {
    /// Trains the net on `engine`, whose plan was made from `options`, on `data`.
    pub fn new(engine: Engine, options: &'a TrainOptions, data: &DataSet) -> Result<Self, TrainError> {
        let split = split(data.train.len(), options.validation, options.seed)?;
        let sampler = Sampler::new(split.train, options.batch_size as usize, options.shuffle, options.seed)?;
        let blocks = engine.plan.blocks.len();
        Ok(Self {
            sampler,
            validation: split.validation,
            test_images: data.test.len(),
            survival: engine.plan.survival.clone(),
            rows: UpdateRows::new(options.optimizer(), options.dropped_update, blocks),
            engine,
            options,
            submitted: VecDeque::new(),
            clock: Instant::now(),
            step_time: Duration::ZERO,
            blocks_run: 0,
            all_gates: AllGatesTime::default(),
            best: None,
            profiled: None,
        })
    }

    /// Has each of `steps` (from 1) run alone on the device and timed dispatch by dispatch, for [`Observer::profile`];
    /// what the run computes stays the same.
    pub fn profile(&mut self, steps: RangeInclusive<u64>) {
        self.profiled = Some(steps);
    }

    fn is_profiled(&self, step: u64) -> bool {
        self.profiled.as_ref().is_some_and(|steps| steps.contains(&step))
    }

    /// Trains from `initial` to the end, and tests.
    pub fn run(&mut self, initial: &Weights, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let start = Instant::now();
        observer.initial(initial)?;
        self.engine.load(initial)?;
        self.clock = Instant::now();
        for step in 0..self.options.steps {
            self.submit(step, observer)?;
            while self.front_is_due()? {
                self.finish_step(observer)?;
            }
            let done = step + 1;
            let evaluation = done % self.options.eval_every == 0 || done == self.options.steps;
            let milestone = done * MILESTONES / self.options.steps > step * MILESTONES / self.options.steps;
            if evaluation || milestone {
                self.drain(observer)?;
            }
            if evaluation {
                let began = Instant::now();
                self.evaluate(done, observer)?;
                if self.is_profiled(done) {
                    observer.profile(&ProfileRecord::Evaluation { step: done, began, time: began.elapsed() })?;
                }
            }
            if milestone {
                self.milestone(done, observer)?;
            }
            if evaluation || milestone {
                self.clock = Instant::now();
            }
        }
        self.conclude(start, observer)
    }

    /// The gates of `step` (from 0), the same on every device.
    fn gates(&self, step: u64) -> Gates {
        match self.options.model {
            Model::Resnet => Gates::all(self.survival.len()),
            Model::Stochastic => Gates::draw(&self.survival, self.options.seed, step as u32),
        }
    }

    fn submit(&mut self, step: u64, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let options = self.options;
        let gates = self.gates(step);
        let lr = learning_rate(options.lr_schedule, options.lr, options.warmup_steps, step, options.steps);
        let rows = self.rows.next(lr, &gates);
        let profiled = self.is_profiled(step + 1);
        if profiled {
            self.drain(observer)?;
        }
        let indices = self.sampler.batch(step);
        let (number, seed) = (step as u32, options.seed);
        observer.trace(&TraceRecord {
            step: step + 1,
            indices: indices.to_vec(),
            gates: gates.to_string(),
            lr,
            dropout_seed: seed,
            dropout_step: number,
        })?;
        let details = Step { number, seed, indices, gates: &gates, rows: &rows };
        let ticket = if profiled {
            let (ticket, timing) = self.engine.submit_timed(&details)?;
            let rows = self.engine.plan.step_rows(&gates);
            observer.profile(&ProfileRecord::Step { step: step + 1, rows: &rows, timing: &timing })?;
            ticket
        } else {
            self.engine.submit(&details)?
        };
        self.submitted.push_back(Submitted { step, gates, lr, ticket });
        Ok(())
    }

    /// Whether the oldest step submitted has reported, or so many are under way that it must be waited for.
    fn front_is_due(&mut self) -> Result<bool, TrainError> {
        match self.submitted.front() {
            None => Ok(false),
            Some(_) if self.submitted.len() > IN_FLIGHT => Ok(true),
            Some(front) => Ok(self.engine.device.is_ready(&front.ticket)?),
        }
    }

    /// Waits for every step submitted.
    fn drain(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        while !self.submitted.is_empty() {
            self.finish_step(observer)?;
        }
        Ok(())
    }

    /// Takes the report of the oldest step submitted.
    fn finish_step(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let Some(Submitted { step, gates, lr, ticket }) = self.submitted.pop_front() else { return Ok(()) };
        let report = self.engine.report(ticket)?;
        if !report.finite {
            return Err(self.not_finite(step, &gates, observer)?);
        }
        let now = Instant::now();
        let time = now - self.clock;
        self.clock = now;
        self.step_time += time;
        self.all_gates.step_done();
        self.blocks_run += gates.survivors() as u64;
        let images = f64::from(report.images);
        observer.step(&StepRecord {
            step: step + 1,
            epoch: self.sampler.epoch(step),
            loss: report.loss_sum / images,
            accuracy: f64::from(report.correct) / images,
            lr,
            gates,
            time,
            images: report.images,
        })?;
        Ok(())
    }

    /// Replays `step`, whose update the device left out, to name the first value that is not finite.
    fn not_finite(&mut self, step: u64, gates: &Gates, observer: &mut dyn Observer) -> Result<TrainError, TrainError> {
        while let Some(later) = self.submitted.pop_front() {
            self.engine.report(later.ticket)?;
        }
        // A write that fails must not hide what happened.
        let saved = self.finite_weights(step).and_then(|weights| Ok(observer.last(&weights)?));
        let rows = self.rows.skip();
        let (number, seed, indices) = (step as u32, self.options.seed, self.sampler.batch(step));
        self.engine.upload(&Step { number, seed, indices, gates, rows: &rows })?;
        let list = self.engine.plan.schedule(gates);
        let first = first_not_finite(self.engine.device.as_mut(), &self.engine.plan, &list)?;
        let first = first.unwrap_or_else(|| "a replay of the step found none".into());
        let kept = match saved {
            Ok(()) => "the weights of the step before are kept".to_string(),
            Err(error) => format!("the weights of the step before could not be kept: {error}"),
        };
        let first = format!("{first}; {kept}");
        Ok(TrainError::NotFinite { step: step + 1, first })
    }

    /// Evaluates after `step` (from 1) and keeps the weights if they are the best on the validation images.
    fn evaluate(&mut self, step: u64, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let (split_name, score) = match self.options.evaluate_on {
            EvaluateOn::Validation if self.validation.is_empty() => return Ok(()),
            EvaluateOn::Validation => ("validation", self.engine.evaluate(ImageFile::Train, &self.validation)?),
            EvaluateOn::TestBatch => {
                let batch = self.options.eval_batch as usize;
                let indices = random_batch(self.test_images, batch, self.options.seed, step - 1);
                ("test", self.engine.evaluate(ImageFile::Test, &indices)?)
            }
        };
        let (loss, accuracy, images) = (score.loss, score.accuracy, score.images);
        observer.eval(&EvalRecord { split: split_name, step, weights: WhichWeights::Last, loss, accuracy, images })?;
        let better = self.best.as_ref().is_none_or(|(best, ..)| accuracy > *best);
        if self.options.evaluate_on == EvaluateOn::Validation && better {
            let weights = self.engine.weights()?;
            observer.best(&weights)?;
            self.best = Some((accuracy, step, weights));
        }
        Ok(())
    }

    /// Some times in a run: hands out the weights, and measures what skipping saves.
    fn milestone(&mut self, step: u64, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let weights = self.finite_weights(step)?;
        observer.last(&weights)?;
        if self.survival.iter().any(|&probability| probability < 1.0) {
            self.time_all_gates(step)?;
        }
        Ok(())
    }

    /// Times the step before `step` with all gates on and an update that is not applied, a few times in a row, as
    /// training steps follow each other.
    fn time_all_gates(&mut self, step: u64) -> Result<(), TrainError> {
        let (gates, rows) = (Gates::all(self.survival.len()), self.rows.skip());
        let (number, seed) = ((step - 1) as u32, self.options.seed);
        let indices = self.sampler.batch(step - 1);
        let all_gates = Step { number, seed, indices, gates: &gates, rows: &rows };
        // The first one warms up what an evaluation has cooled down.
        let ticket = self.engine.submit(&all_gates)?;
        let mut finite = self.engine.report(ticket)?.finite;
        let start = Instant::now();
        let tickets: Result<Vec<Ticket>, DeviceError> =
            (0..TIMED_STEPS).map(|_| self.engine.submit(&all_gates)).collect();
        for ticket in tickets? {
            finite &= self.engine.report(ticket)?.finite;
        }
        if finite {
            self.all_gates.measured(start.elapsed() / TIMED_STEPS);
        } else {
            // All blocks together may overflow where those that survive do not.
            self.engine.forget_step()?;
        }
        Ok(())
    }

    /// The weights on the device; an error if the last update has spoiled them.
    fn finite_weights(&mut self, step: u64) -> Result<Weights, TrainError> {
        let weights = self.engine.weights()?;
        match weights.first_not_finite() {
            None => Ok(weights),
            Some(first) => Err(TrainError::NotFinite { step, first: format!("after its update, {first}") }),
        }
    }

    /// Tests the best weights and the last, in this order.
    fn conclude(&mut self, start: Instant, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let (steps, blocks) = (self.options.steps, self.survival.len() as u64);
        let weights = self.engine.weights()?;
        let last = self.test(steps, WhichWeights::Last)?;
        let best = match self.best.take() {
            None => None,
            Some((_, step, _)) if step == steps => Some(EvalRecord { weights: WhichWeights::Best, ..last.clone() }),
            Some((_, step, best)) => {
                self.engine.load(&best)?;
                let record = self.test(step, WhichWeights::Best)?;
                self.engine.load(&weights)?;
                Some(record)
            }
        };
        for record in best.iter().chain([&last]) {
            observer.eval(record)?;
        }
        Ok(Outcome {
            test: last,
            best,
            time: start.elapsed(),
            step_time: self.step_time,
            blocks_run: self.blocks_run as f64 / (steps * blocks) as f64,
            all_gates_time: self.all_gates.estimate(),
        })
    }

    fn test(&mut self, step: u64, weights: WhichWeights) -> Result<EvalRecord, TrainError> {
        let indices: Vec<u32> = (0..self.test_images as u32).collect();
        let score = self.engine.evaluate(ImageFile::Test, &indices)?;
        let (loss, accuracy, images) = (score.loss, score.accuracy, score.images);
        Ok(EvalRecord { split: "test", step, weights, loss, accuracy, images })
    }
}
