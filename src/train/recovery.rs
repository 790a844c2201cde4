//! How a run goes on after a fault: from a checkpoint, without a step that was not finite, on another device.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Counters};
use super::diagnose::first_not_finite;
use super::engine::{Engine, Step};
use super::events::{NotFiniteRecord, Observer};
use super::safeguards::OnNan;
use super::told::Told;
use super::trainer::{TrainError, Trainer};
use crate::device::DeviceError;
use crate::dispatch::Storage;
use crate::plan::Gates;

/// Steps in a row that may be left out: beyond, the weights are what is wrong.
const MOST_LEFT_OUT: u32 = 10;
/// Times that a device may be lost before the run gets any further.
const MOST_LOSSES: u32 = 3;
/// Times that a device is asked for, and the pause between them: a driver that was reset needs some seconds.
const MOST_REQUESTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

impl Trainer<'_> {
    /// Hands out a checkpoint, which the run goes back to from now on.
    pub(super) fn checkpoint(&mut self, observer: &mut Told<'_>) -> Result<(), TrainError> {
        let checkpoint = Checkpoint {
            weights: self.finite_weights(self.next)?,
            moments: self.engine.moments()?,
            best: self.best.clone(),
            counters: Counters {
                step: self.next,
                updates: self.rows.counts().to_vec(),
                time: self.elapsed(),
                ..self.counters.clone()
            },
        };
        self.saved = Arc::new(checkpoint);
        self.saved_at = Instant::now();
        Ok(observer.checkpoint(&self.saved)?)
    }

    /// Goes back to the last checkpoint.
    pub(super) fn restore(&mut self) -> Result<(), TrainError> {
        self.load_saved()?;
        self.submitted.clear();
        self.counters = self.saved.counters.clone();
        self.next = self.counters.step;
        self.best = self.saved.best.clone();
        self.saved_at = Instant::now();
        self.restart_clock();
        Ok(())
    }

    /// Puts the weights and moments of the last checkpoint on the device.
    fn load_saved(&mut self) -> Result<(), DeviceError> {
        let saved = Arc::clone(&self.saved);
        self.engine.load(&saved.weights)?;
        self.engine.load_moments(&saved.moments)?;
        self.rows.restore(&saved.counters.updates);
        Ok(())
    }

    /// Deals with `step`, whose update the device left out, and those of the steps behind it: errors, or has the run go
    /// on with the next step. It had `updates` updates of each group before it.
    pub(super) fn leave_out(
        &mut self,
        step: u64,
        gates: &Gates,
        updates: &[u64],
        observer: &mut Told<'_>,
    ) -> Result<(), TrainError> {
        while let Some(later) = self.submitted.pop_front() {
            self.engine.report(later.ticket)?;
        }
        self.left_out_in_a_row += 1;
        let hopeless = self.left_out_in_a_row > MOST_LEFT_OUT;
        if self.options.on_nan == OnNan::Stop || hopeless {
            // A write that fails must not hide what happened.
            let saved = self.finite_weights(step).and_then(|weights| Ok(observer.last(&weights)?));
            let kept = match saved {
                Ok(()) => "the weights of the step before are kept".to_string(),
                Err(error) => format!("the weights of the step before could not be kept: {error}"),
            };
            let row = if hopeless { format!("; {MOST_LEFT_OUT} steps before it were left out") } else { String::new() };
            let first = format!("{}{row}; {kept}", self.first_not_finite(step, gates)?);
            return Err(TrainError::NotFinite { step: step + 1, first });
        }
        let first = self.first_not_finite(step, gates)?;
        self.engine.forget_step()?;
        let goes_on_from = if self.options.on_nan == OnNan::Rewind {
            self.load_saved()?;
            self.saved.counters.step
        } else {
            self.rows.restore(updates);
            step
        };
        self.next = step + 1;
        self.counters.steps_left_out += 1;
        observer.not_finite(&NotFiniteRecord { step: step + 1, first, goes_on_from })?;
        Ok(())
    }

    /// Replays `step` to name the first value that is not finite.
    fn first_not_finite(&mut self, step: u64, gates: &Gates) -> Result<String, TrainError> {
        let rows = self.rows.skip();
        let (number, seed, indices) = (step as u32, self.options.seed, self.sampler.batch(step));
        self.engine.upload(&Step { number, seed, indices, gates, rows: &rows })?;
        let list = self.engine.plan.schedule(gates);
        let first = first_not_finite(self.engine.device.as_mut(), &self.engine.plan, &list)?;
        Ok(first.unwrap_or_else(|| "a replay of the step found none".into()))
    }

    /// Replaces the device, if it is the loss of it that `error` reports and there is hope; returns `error` if not.
    pub(super) fn replace_device(&mut self, error: TrainError, observer: &mut Told<'_>) -> Result<(), TrainError> {
        let TrainError::Device(lost @ DeviceError::Lost { .. }) = &error else { return Err(error) };
        let message = lost.to_string();
        if observer.trained() > self.trained_at_loss {
            self.losses = 0;
        }
        self.trained_at_loss = observer.trained();
        self.losses += 1;
        let Some(reopen) = self.safeguards.reopen.as_mut().filter(|_| self.losses <= MOST_LOSSES) else {
            return Err(error);
        };
        observer.device_lost(&message, self.saved.counters.step)?;
        // What the old device may still hold is freed before the new one asks for as much; it can't do more than fail.
        let _ = self.engine.device.prepare(&Storage::default(), &[]);
        let mut request = 1;
        let device = loop {
            match reopen() {
                Ok(device) => break device,
                Err(_) if request < MOST_REQUESTS => request += 1,
                Err(_) => return Err(error),
            }
            thread::sleep(PAUSE);
        };
        let (plan, eval_batch) = (self.engine.plan.clone(), self.engine.eval_batch() as u32);
        self.engine = Engine::new(device, plan, eval_batch, self.data)?;
        Ok(())
    }
}
