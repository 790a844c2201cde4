//! The training loop.

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::checkpoint::{Best, Checkpoint, Counters};
use super::engine::{Engine, IN_FLIGHT, Step};
use super::events::{Observer, Outcome, ProfileRecord, StepRecord, TraceRecord};
use super::learning_rate::learning_rate;
use super::options::{Model, TrainOptions};
use super::safeguards::{Every, Safeguards};
use super::told::Told;
use super::update_rows::UpdateRows;
use crate::data::{DataError, DataSet, Sampler, split};
use crate::device::{DeviceError, Ticket};
use crate::model::weights::Weights;
use crate::plan::Gates;

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
    /// The run was asked to end.
    #[error("stopped after step {step}")]
    Interrupted {
        /// Training steps done.
        step: u64,
    },
}

/// Times in a run at which the weights are handed out and the cost of all blocks is measured.
const MILESTONES: u64 = 6;
/// Steps that are timed in a row.
const TIMED_STEPS: u32 = 4;

/// A step that was submitted and has not reported yet.
pub(super) struct Submitted {
    pub step: u64,
    pub gates: Gates,
    pub lr: f64,
    pub ticket: Ticket,
    /// Updates of each group before it.
    pub updates: Vec<u64>,
}

/// Trains a net.
pub struct Trainer<'a> {
    pub(super) engine: Engine,
    pub(super) options: &'a TrainOptions,
    pub(super) data: &'a DataSet,
    pub(super) safeguards: Safeguards<'a>,
    pub(super) sampler: Sampler,
    /// Of the batches that running statistics are re-estimated from: a sampler of its own, which keeps their epoch.
    pub(super) recalibration: Sampler,
    pub(super) validation: Vec<u32>,
    pub(super) survival: Vec<f64>,
    pub(super) rows: UpdateRows,
    /// The next step to submit, from 0.
    pub(super) next: u64,
    pub(super) submitted: VecDeque<Submitted>,
    /// When the last step was done, or the training went on after an evaluation.
    clock: Instant,
    /// What the run has counted up to the last step that reported; its `step`, `updates` and `time` are filled in for
    /// a checkpoint.
    pub(super) counters: Counters,
    pub(super) best: Option<Arc<Best>>,
    /// What the run goes back to.
    pub(super) saved: Arc<Checkpoint>,
    pub(super) saved_at: Instant,
    /// When the run would have begun, had it never been interrupted.
    began: Instant,
    /// Steps in a row that were left out.
    pub(super) left_out_in_a_row: u32,
    /// Losses of the device since the run last got any further than `trained_at_loss` steps.
    pub(super) losses: u32,
    pub(super) trained_at_loss: u64,
    /// Steps, from 1, that are timed dispatch by dispatch.
    profiled: Option<RangeInclusive<u64>>,
}

/// What is to be done after a step.
struct Due {
    evaluation: bool,
    test: bool,
    milestone: bool,
    checkpoint: bool,
    end: bool,
}

impl<'a> Trainer<'a> {
    /// Trains the net on `engine`, whose plan was made from `options`, on `data`.
    pub fn new(
        engine: Engine,
        options: &'a TrainOptions,
        data: &'a DataSet,
        safeguards: Safeguards<'a>,
    ) -> Result<Self, TrainError> {
        let split = split(data.train.len(), options.validation, options.seed)?;
        let sampler = Sampler::new(split.train, options.batch_size as usize, options.shuffle, options.seed)?;
        let blocks = engine.plan.blocks.len();
        Ok(Self {
            recalibration: sampler.clone(),
            sampler,
            validation: split.validation,
            survival: engine.plan.survival.clone(),
            rows: UpdateRows::new(options.optimizer(), options.dropped_update, blocks),
            engine,
            options,
            data,
            safeguards,
            next: 0,
            submitted: VecDeque::new(),
            clock: Instant::now(),
            counters: Counters::default(),
            best: None,
            saved: Arc::new(Checkpoint::begin(Weights::default())),
            saved_at: Instant::now(),
            began: Instant::now(),
            left_out_in_a_row: 0,
            losses: 0,
            trained_at_loss: 0,
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

    /// Trains from `from`, which was made under the same options, to the end, and tests.
    pub fn run(&mut self, mut from: Checkpoint, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        if from.counters.step == 0 {
            observer.initial(&from.weights)?;
        }
        if from.moments.is_empty() {
            // A new device holds zeros.
            from.moments = self.engine.moments()?;
        }
        let now = Instant::now();
        self.began = now.checked_sub(from.counters.time).unwrap_or(now);
        let mut told = Told::new(observer, from.counters.step);
        self.saved = Arc::new(from);
        let outcome = loop {
            match self.restore().and_then(|()| self.train(&mut told)).and_then(|()| self.conclude()) {
                Ok(outcome) => break outcome,
                Err(error) => self.replace_device(error, &mut told)?,
            }
        };
        for record in outcome.best.iter().chain([&outcome.test]) {
            told.observer().eval(record)?;
        }
        Ok(outcome)
    }

    /// Trains to the last step.
    fn train(&mut self, observer: &mut Told<'_>) -> Result<(), TrainError> {
        while self.next < self.options.steps {
            self.submit(self.next, observer)?;
            self.next += 1;
            while self.front_is_due()? {
                self.finish_step(observer)?;
            }
            let done = self.next;
            let due = self.due(done);
            if !(due.evaluation || due.test || due.milestone || due.checkpoint || due.end) {
                continue;
            }
            self.drain(observer)?;
            if self.next != done {
                // A step was left out, and those behind it are submitted again.
                continue;
            }
            if due.evaluation || due.test {
                let began = Instant::now();
                self.evaluate(done, due.evaluation, due.test, observer)?;
                if self.is_profiled(done) {
                    observer.profile(&ProfileRecord::Evaluation { step: done, began, time: began.elapsed() })?;
                }
            }
            if due.milestone {
                self.milestone(done, observer)?;
            }
            if due.checkpoint {
                self.checkpoint(observer)?;
            }
            if due.end {
                return Err(TrainError::Interrupted { step: done });
            }
            self.restart_clock();
        }
        Ok(())
    }

    /// What is to be done when `done` steps are.
    fn due(&self, done: u64) -> Due {
        let steps = self.options.steps;
        let end = (self.safeguards.interrupted)();
        let checkpoint = self.safeguards.checkpoint_every.is_some_and(|every| match every {
            _ if end || done == steps => true,
            Every::Steps(steps) => done.is_multiple_of(steps),
            Every::Time(time) => self.saved_at.elapsed() >= time,
        });
        Due {
            evaluation: done.is_multiple_of(self.options.eval_every) || done == steps,
            // The last step's comes at the end anyway. A multiple of 0 is 0 alone.
            test: done.is_multiple_of(self.options.test_every) && done < steps,
            milestone: done * MILESTONES / steps > (done - 1) * MILESTONES / steps,
            checkpoint,
            end,
        }
    }

    /// Wall time of the run.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The next step's time counts from now.
    pub(super) fn restart_clock(&mut self) {
        self.clock = Instant::now();
    }

    /// The gates of `step` (from 0), the same on every device.
    pub(super) fn gates(&self, step: u64) -> Gates {
        match self.options.model {
            Model::Resnet => Gates::all(self.survival.len()),
            Model::Stochastic => self.engine.plan.draw(self.options.gate_sampling, self.options.seed, step as u32),
        }
    }

    fn submit(&mut self, step: u64, observer: &mut Told<'_>) -> Result<(), TrainError> {
        let options = self.options;
        let gates = self.gates(step);
        let lr = learning_rate(options.lr_schedule, options.lr, options.warmup_steps, step, options.steps);
        let updates = self.rows.counts().to_vec();
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
        self.submitted.push_back(Submitted { step, gates, lr, ticket, updates });
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
    fn drain(&mut self, observer: &mut Told<'_>) -> Result<(), TrainError> {
        while !self.submitted.is_empty() {
            self.finish_step(observer)?;
        }
        Ok(())
    }

    /// Takes the report of the oldest step submitted.
    fn finish_step(&mut self, observer: &mut Told<'_>) -> Result<(), TrainError> {
        let Some(Submitted { step, gates, lr, ticket, updates }) = self.submitted.pop_front() else { return Ok(()) };
        let report = self.engine.report(ticket)?;
        if report.finite {
            self.left_out_in_a_row = 0;
        } else {
            self.leave_out(step, &gates, &updates, observer)?;
        }
        let now = Instant::now();
        let time = now - self.clock;
        self.clock = now;
        self.counters.step_time += time;
        self.counters.all_gates.step_done();
        self.counters.blocks_run += gates.survivors() as u64;
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
            left_out: !report.finite,
            first_gradient: report.first_gradient,
        })?;
        Ok(())
    }

    /// Some times in a run: hands out the weights, and measures what skipping saves.
    fn milestone(&mut self, step: u64, observer: &mut Told<'_>) -> Result<(), TrainError> {
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
            self.counters.all_gates.measured(start.elapsed() / TIMED_STEPS);
        } else {
            // All blocks together may overflow where those that survive do not.
            self.engine.forget_step()?;
        }
        Ok(())
    }

    /// The weights on the device; an error if the last update has spoiled them.
    pub(super) fn finite_weights(&mut self, step: u64) -> Result<Weights, TrainError> {
        let weights = self.engine.weights()?;
        match weights.first_not_finite() {
            None => Ok(weights),
            Some(first) => Err(TrainError::NotFinite { step, first: format!("after its update, {first}") }),
        }
    }
}
