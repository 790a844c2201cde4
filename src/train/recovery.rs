//! How a run goes on after a fault: from a checkpoint, without a step that was not finite, on another device.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::dedup::Dedup;
use super::diagnose::first_not_finite;
use super::engine::{Engine, Step};
use super::events::{Event, NotFiniteRecord};
use super::safeguards::OnNan;
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

/// The way back after a fault, and what says whether there is hope.
pub(super) struct Recovery {
    /// The checkpoint that the run goes back to.
    saved: Arc<Checkpoint>,
    /// Steps in a row that were left out.
    left_out_in_a_row: u32,
    /// Losses of the device since the run last got any further than `trained_at_loss` steps.
    losses: u32,
    trained_at_loss: u64,
}

impl Recovery {
    /// Prepares for faults of a run that goes on from `checkpoint`.
    pub fn new(checkpoint: Checkpoint) -> Self {
        Self { saved: Arc::new(checkpoint), left_out_in_a_row: 0, losses: 0, trained_at_loss: 0 }
    }

    /// A step that is not finite is the first in a row again.
    pub fn step_is_finite(&mut self) {
        self.left_out_in_a_row = 0;
    }

    /// Counts a loss of the device after `trained` steps; returns whether the run may still get any
    /// further.
    fn device_is_lost(&mut self, trained: u64) -> bool {
        if trained > self.trained_at_loss {
            self.losses = 0;
        }
        self.trained_at_loss = trained;
        self.losses += 1;
        self.losses <= MOST_LOSSES
    }
}

impl Trainer<'_> {
    /// Hands out a checkpoint, which the run goes back to from now on.
    pub(super) fn checkpoint(&mut self, events: &mut Dedup<'_>) -> Result<(), TrainError> {
        let (weights, moments) = (self.finite_weights(self.state.next)?, self.engine.moments()?);
        self.recovery.saved = Arc::new(self.state.checkpoint(weights, moments, self.clocks.run_time()));
        self.clocks.restart_checkpoint();
        Ok(events.send(&Event::Checkpoint(&self.recovery.saved))?)
    }

    /// Goes back to the last checkpoint.
    pub(super) fn restore(&mut self) -> Result<(), TrainError> {
        self.load_saved()?;
        self.in_flight.clear();
        self.state.restore(&self.recovery.saved);
        self.clocks.restart_checkpoint();
        self.clocks.restart_step();
        Ok(())
    }

    /// Puts the weights and moments of the last checkpoint on the device.
    fn load_saved(&mut self) -> Result<(), DeviceError> {
        let saved = &self.recovery.saved;
        self.engine.load(&saved.weights)?;
        self.engine.load_moments(&saved.moments)
    }

    /// Ends the run at `step` (from 0), whose update the device left out, as it did those of the
    /// steps behind it; or has the run go on with the next step. There were `updates` updates of
    /// each group before `step`.
    pub(super) fn leave_out(
        &mut self,
        step: u64,
        gates: &Gates,
        updates: &[u64],
        events: &mut Dedup<'_>,
    ) -> Result<(), TrainError> {
        while let Some(later) = self.in_flight.pop_front() {
            self.engine.report(later.ticket)?;
        }
        self.recovery.left_out_in_a_row += 1;
        let hopeless = self.recovery.left_out_in_a_row > MOST_LEFT_OUT;
        if self.options.on_nan == OnNan::Stop || hopeless {
            // A write that fails must not hide what happened.
            let saved = self
                .finite_weights(step)
                .and_then(|weights| Ok(events.send(&Event::LastWeights { step, weights: &weights })?));
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
            let saved = &self.recovery.saved.counters;
            self.state.rows.restore(&saved.updates);
            saved.step
        } else {
            self.state.rows.restore(updates);
            step
        };
        self.state.next = step + 1;
        self.state.counters.steps_left_out += 1;
        Ok(events.send(&Event::NotFinite(NotFiniteRecord { step: step + 1, first, goes_on_from }))?)
    }

    /// Replays `step` to name the first value that is not finite.
    fn first_not_finite(&mut self, step: u64, gates: &Gates) -> Result<String, TrainError> {
        let rows = self.state.rows.skip();
        self.engine.upload(&Step::new(step, self.options.seed, &mut self.sampler, gates, &rows))?;
        let list = self.engine.plan.schedule(gates);
        let first = first_not_finite(self.engine.device.as_mut(), &self.engine.plan, &list)?;
        Ok(first.unwrap_or_else(|| "a replay of the step found none".into()))
    }

    /// Replaces the device, if it is its loss that `error` reports and there is hope; returns
    /// `error` if not.
    pub(super) fn replace_device(&mut self, error: TrainError, events: &mut Dedup<'_>) -> Result<(), TrainError> {
        let TrainError::Device(lost @ DeviceError::Lost { .. }) = &error else { return Err(error) };
        let is_hopeful = self.recovery.device_is_lost(events.trained());
        let Some(reopen) = self.safeguards.reopen.as_mut().filter(|_| is_hopeful) else { return Err(error) };
        events.send(&Event::DeviceLost { error: lost, goes_on_from: self.recovery.saved.counters.step })?;
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
        let plan = self.engine.plan.clone();
        self.engine = Engine::new(device, plan, self.data)?;
        Ok(())
    }
}
