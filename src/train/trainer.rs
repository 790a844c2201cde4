//! The training loop.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::checkpoint::Checkpoint;
use super::clocks::Clocks;
use super::decision::{Circumstances, Decision};
use super::dedup::Dedup;
use super::engine::{Engine, IN_FLIGHT, Step};
use super::events::{Event, Observer, Outcome, ProfileRecord, StepRecord, TimingRecord, TraceRecord};
use super::options::TrainOptions;
use super::recovery::Recovery;
use super::safeguards::Safeguards;
use super::state::RunState;
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
    /// The safeguards or an observer asked the run to end.
    #[error("stopped after step {step}")]
    Interrupted {
        /// Training steps done.
        step: u64,
    },
}

/// Steps that are timed in a row.
const TIMED_STEPS: u32 = 4;

/// A step that was submitted and has not reported yet.
pub(super) struct InFlight {
    /// From 0.
    step: u64,
    gates: Gates,
    lr: f64,
    pub ticket: Ticket,
    /// Updates of each parameter group before it.
    updates: Vec<u64>,
}

/// Trains a net: what it trains with, how far it is, and the way back after a fault. What it does
/// between two steps is decided in one place, `decision.rs`.
pub struct Trainer<'a> {
    // What it trains with.
    pub(super) engine: Engine,
    pub(super) options: &'a TrainOptions,
    pub(super) data: &'a DataSet,
    pub(super) sampler: Sampler,
    /// Of the batches that running statistics are re-estimated from: a sampler of its own, which keeps their epoch.
    pub(super) recalibration: Sampler,
    pub(super) validation: Vec<u32>,
    pub(super) safeguards: Safeguards<'a>,
    /// Steps, from 1, that are timed dispatch by dispatch.
    profiled: Option<RangeInclusive<u64>>,
    // How far it is.
    pub(super) state: RunState,
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) clocks: Clocks,
    pub(super) recovery: Recovery,
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
        let rows = UpdateRows::new(options.optimizer(), options.dropped_update, engine.plan.blocks.len());
        Ok(Self {
            engine,
            options,
            data,
            recalibration: sampler.clone(),
            sampler,
            validation: split.validation,
            safeguards,
            profiled: None,
            state: RunState::new(rows),
            in_flight: VecDeque::new(),
            clocks: Clocks::begin(Duration::ZERO),
            recovery: Recovery::new(Checkpoint::begin(Weights::default())),
        })
    }

    /// Has each of `steps` (from 1) run alone on the device and timed dispatch by dispatch, for
    /// [`Event::Profile`]; what the run computes stays the same.
    pub fn profile(&mut self, steps: RangeInclusive<u64>) {
        self.profiled = Some(steps);
    }

    fn is_profiled(&self, step: u64) -> bool {
        self.profiled.as_ref().is_some_and(|steps| steps.contains(&step))
    }

    /// Trains from `from`, which was made under the same options, to the end, and tests.
    pub fn run(&mut self, mut from: Checkpoint, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let mut events = Dedup::new(observer, from.counters.step);
        if from.counters.step == 0 {
            events.send(&Event::Initial(&from.weights))?;
        }
        if from.moments.is_empty() {
            // A new device holds zeros.
            from.moments = self.engine.moments()?;
        }
        self.clocks = Clocks::begin(from.counters.time);
        self.recovery = Recovery::new(from);
        let outcome = loop {
            match self.restore().and_then(|()| self.train(&mut events)).and_then(|()| self.conclude()) {
                Ok(outcome) => break outcome,
                Err(error) => self.replace_device(error, &mut events)?,
            }
        };
        for record in outcome.best.iter().chain([&outcome.test]) {
            events.send_anyway(&Event::Eval(record.clone()))?;
        }
        Ok(outcome)
    }

    /// Trains to the last step.
    fn train(&mut self, events: &mut Dedup<'_>) -> Result<(), TrainError> {
        while self.state.next < self.options.steps {
            if self.is_profiled(self.state.next + 1) {
                // A step that was left out has `next` go back.
                self.drain(events)?;
            }
            self.submit(events)?;
            while self.oldest_is_due()? {
                self.finish_step(events)?;
            }
            let done = self.state.next;
            let decision = self.decide(done, events);
            if decision.is_nothing() {
                continue;
            }
            self.drain(events)?;
            if self.state.next != done {
                // A step was left out, and those behind it are submitted again.
                continue;
            }
            self.carry_out(decision, done, events)?;
            self.clocks.restart_step();
        }
        // An observer asked for it at the last step: the tests can wait until the run goes on.
        if events.wants_stop() { Err(TrainError::Interrupted { step: self.state.next }) } else { Ok(()) }
    }

    /// Asks this process's clock, signals and observer what is to be done after `done` steps.
    fn decide(&self, done: u64, events: &Dedup<'_>) -> Decision {
        let circumstances = Circumstances {
            since_checkpoint: self.clocks.since_checkpoint(),
            stop_requested: (self.safeguards.interrupted)() || events.wants_stop(),
        };
        Decision::new(done, self.options, self.safeguards.checkpoint_every, circumstances)
    }

    /// Does what was decided, after `done` steps, none of which is in flight.
    fn carry_out(&mut self, decision: Decision, done: u64, events: &mut Dedup<'_>) -> Result<(), TrainError> {
        let Decision { evaluate, test, milestone, checkpoint, stop } = decision;
        if evaluate || test {
            let began = Instant::now();
            self.evaluate(done, evaluate, test, events)?;
            if self.is_profiled(done) {
                let profile = ProfileRecord::Evaluation { step: done, began, time: began.elapsed() };
                events.send(&Event::Profile(profile))?;
            }
        }
        if milestone {
            self.milestone(done, events)?;
        }
        if checkpoint {
            self.checkpoint(events)?;
        }
        if stop { Err(TrainError::Interrupted { step: done }) } else { Ok(()) }
    }

    /// Returns the gates of `step` (from 0), the same on every device.
    fn gates(&self, step: u64) -> Gates {
        self.engine.plan.draw(self.options.gate_sampling, self.options.seed, step as u32)
    }

    /// Submits the next step.
    fn submit(&mut self, events: &mut Dedup<'_>) -> Result<(), TrainError> {
        let step = self.state.next;
        let gates = self.gates(step);
        let lr = self.options.learning_rate(step);
        let updates = self.state.rows.counts().to_vec();
        let rows = self.state.rows.next(lr, &gates);
        let profiled = self.is_profiled(step + 1);
        let details = Step::new(step, self.options.seed, &mut self.sampler, &gates, &rows);
        events.send(&Event::Trace(TraceRecord {
            step: step + 1,
            indices: Cow::Borrowed(details.indices),
            gates: Cow::Borrowed(&gates),
            lr,
            dropout_seed: details.seed,
            dropout_step: details.number,
        }))?;
        let ticket = if profiled {
            let (ticket, timing) = self.engine.submit_timed(&details)?;
            let rows = self.engine.plan.step_rows(&gates);
            let profile = ProfileRecord::Step { step: step + 1, rows: &rows, timing: &timing };
            events.send(&Event::Profile(profile))?;
            ticket
        } else {
            self.engine.submit(&details)?
        };
        self.in_flight.push_back(InFlight { step, gates, lr, ticket, updates });
        self.state.next += 1;
        Ok(())
    }

    /// Returns whether the oldest step in flight has reported, or so many are in flight that it
    /// must be waited for.
    fn oldest_is_due(&mut self) -> Result<bool, TrainError> {
        match self.in_flight.front() {
            None => Ok(false),
            Some(_) if self.in_flight.len() > IN_FLIGHT => Ok(true),
            Some(oldest) => Ok(self.engine.device.is_ready(&oldest.ticket)?),
        }
    }

    /// Waits for every step in flight.
    fn drain(&mut self, events: &mut Dedup<'_>) -> Result<(), TrainError> {
        while !self.in_flight.is_empty() {
            self.finish_step(events)?;
        }
        Ok(())
    }

    /// Takes the report of the oldest step in flight.
    fn finish_step(&mut self, events: &mut Dedup<'_>) -> Result<(), TrainError> {
        let Some(InFlight { step, gates, lr, ticket, updates }) = self.in_flight.pop_front() else { return Ok(()) };
        let report = self.engine.report(ticket)?;
        if report.finite {
            self.recovery.step_is_finite();
        } else {
            self.leave_out(step, &gates, &updates, events)?;
        }
        let time = self.clocks.step_done();
        let counters = &mut self.state.counters;
        counters.step_time += time;
        counters.all_gates.step_done();
        counters.blocks_run += gates.survivors() as u64;
        events.send(&Event::Timing(TimingRecord::new(step + 1, time, report.images)))?;
        let images = f64::from(report.images);
        events.send(&Event::Step(StepRecord {
            step: step + 1,
            epoch: self.sampler.epoch(step),
            loss: report.loss_sum / images,
            accuracy: f64::from(report.correct) / images,
            lr,
            gates,
            left_out: !report.finite,
            first_gradient: report.first_gradient,
        }))?;
        Ok(())
    }

    /// Hands out the weights, and measures what skipping saves.
    fn milestone(&mut self, step: u64, events: &mut Dedup<'_>) -> Result<(), TrainError> {
        let weights = self.finite_weights(step)?;
        events.send(&Event::LastWeights { step, weights: &weights })?;
        if self.engine.plan.survival.iter().any(|&probability| probability < 1.0) {
            self.time_all_gates(step)?;
        }
        Ok(())
    }

    /// Times the step before `step` with all gates on and an update that is not applied, a few times in a row, as
    /// training steps follow each other.
    fn time_all_gates(&mut self, step: u64) -> Result<(), TrainError> {
        let (gates, rows) = (Gates::all(self.engine.plan.blocks.len()), self.state.rows.skip());
        let all_gates = Step::new(step - 1, self.options.seed, &mut self.sampler, &gates, &rows);
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
            self.state.counters.all_gates.measured(start.elapsed() / TIMED_STEPS);
        } else {
            // All blocks together may overflow where those that survive do not.
            self.engine.forget_step()?;
        }
        Ok(())
    }

    /// Reads the weights on the device; errors if the last update has spoiled them.
    pub(super) fn finite_weights(&mut self, step: u64) -> Result<Weights, TrainError> {
        let weights = self.engine.weights()?;
        match weights.first_not_finite() {
            None => Ok(weights),
            Some(first) => Err(TrainError::NotFinite { step, first: format!("after its update, {first}") }),
        }
    }
}
