//! Training steps to be timed: of a net as it would be trained, on a batch that stays the same.

use std::collections::VecDeque;
use std::time::Instant;

use super::MeasureError;
use crate::data::Sampler;
use crate::device::{Clock, DeviceError, Ticket};
use crate::plan::{DispatchRow, GateSampling, Gates, Plan};
use crate::train::{Engine, IN_FLIGHT, Step, StepTiming, TrainOptions, UpdateRows};

/// So small that the weights hardly move, and large enough that updates do all of their work.
const LEARNING_RATE: f64 = 1e-6;
/// A burst of steps on a GPU takes about so long, in seconds, and has at most so many steps.
const BURST: (f64, f64) = (0.02, 16.0);

/// Runs and times steps.
pub struct Stepper {
    engine: Engine,
    rows: UpdateRows,
    sampling: GateSampling,
    seed: u64,
    images: u32,
    /// Gives one batch, which stays the same.
    sampler: Sampler,
    /// The next step, from 0.
    next: u64,
    burst: usize,
}

impl Stepper {
    /// On `engine`, made from `options`, with weights loaded. Warms up the device.
    pub fn new(engine: Engine, options: &TrainOptions) -> Result<Self, MeasureError> {
        let blocks = engine.plan.blocks.len();
        let rows = UpdateRows::new(options.optimizer(), options.dropped_update, blocks);
        let (images, seed) = (options.batch_size, options.seed);
        let sampler = Sampler::new((0..images).collect(), images as usize, false, seed)?;
        let mut stepper =
            Self { engine, rows, sampling: options.gate_sampling, seed, images, sampler, next: 0, burst: 1 };
        let all = Gates::all(blocks);
        stepper.whole(&all)?;
        let seconds = stepper.whole(&all)?;
        if stepper.clock() != Clock::Host {
            stepper.burst = (BURST.0 / seconds).ceil().clamp(1.0, BURST.1) as usize;
        }
        Ok(stepper)
    }

    /// The net's plan.
    pub fn plan(&self) -> &Plan {
        &self.engine.plan
    }

    /// The gates of so many draws, from `seed`.
    pub fn draws(&self, seed: u64, draws: u32) -> Vec<Gates> {
        (0..draws).map(|draw| self.plan().draw(self.sampling, seed, draw)).collect()
    }

    /// The engine, for evaluations.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// What dispatches are timed by.
    pub fn clock(&self) -> Clock {
        self.engine.device.clock()
    }

    /// Images in a batch.
    pub fn images(&self) -> f64 {
        f64::from(self.images)
    }

    /// Dispatches of a step under `gates`.
    pub fn rows(&self, gates: &Gates) -> Vec<DispatchRow> {
        self.engine.plan.step_rows(gates)
    }

    /// Seconds that a step under `gates` takes as training runs it: upload, schedule, all dispatches, report. On a GPU
    /// several follow each other, as they do in training, so that the host's work on one hides behind another.
    pub fn whole(&mut self, gates: &Gates) -> Result<f64, MeasureError> {
        let start = Instant::now();
        let mut waiting: VecDeque<Ticket> = VecDeque::new();
        for _ in 0..self.burst {
            waiting.push_back(self.next(gates, Engine::submit)?);
            if waiting.len() > IN_FLIGHT {
                self.report(waiting.pop_front())?;
            }
        }
        while let Some(ticket) = waiting.pop_front() {
            self.report(Some(ticket))?;
        }
        Ok(start.elapsed().as_secs_f64() / self.burst as f64)
    }

    /// A step under `gates`, timed dispatch by dispatch.
    pub fn timed(&mut self, gates: &Gates) -> Result<StepTiming, MeasureError> {
        let (ticket, timing) = self.next(gates, Engine::submit_timed)?;
        self.report(Some(ticket))?;
        Ok(timing)
    }

    /// Seconds that the host takes for a step under `gates` on an idle device: from gates to list, from list to
    /// commands, from commands to a submission. The last two are 0 where nothing is encoded.
    pub fn encoding(&mut self, gates: &Gates) -> Result<[f64; 3], MeasureError> {
        let start = Instant::now();
        let list = self.engine.list(gates);
        let scheduled = start.elapsed();
        if self.clock() == Clock::Host {
            return Ok([scheduled.as_secs_f64(), 0.0, 0.0]);
        }
        self.engine.device.run(&list)?;
        let recorded = start.elapsed();
        let ticket = self.engine.device.request(self.engine.plan.interface.report)?;
        let submitted = start.elapsed();
        self.report(Some(ticket))?;
        Ok([scheduled, recorded - scheduled, submitted - recorded].map(|time| time.as_secs_f64()))
    }

    /// Hands the next step to `submit`.
    fn next<T>(
        &mut self,
        gates: &Gates,
        submit: impl FnOnce(&mut Engine, &Step<'_>) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let rows = self.rows.next(LEARNING_RATE, gates);
        let step = Step::new(self.next, self.seed, &mut self.sampler, gates, &rows);
        self.next += 1;
        submit(&mut self.engine, &step)
    }

    fn report(&mut self, ticket: Option<Ticket>) -> Result<(), MeasureError> {
        let finite = ticket.map_or(Ok(true), |ticket| self.engine.report(ticket).map(|report| report.finite))?;
        if finite { Ok(()) } else { Err(MeasureError::NotFinite) }
    }
}
