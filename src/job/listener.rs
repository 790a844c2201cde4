//! Who listens to a run: its folder, its caller, and the profile.

use std::io;
use std::ops::ControlFlow;

use crate::data::DataSet;
use crate::device::Device;
use crate::model::resnet::ResNet;
use crate::plan::Plan;
use crate::run_dir::{ChromeTrace, RunDir};
use crate::train::{Event, NotFiniteRecord, Observer, TrainOptions};

/// A run that is about to begin, or to go on.
pub struct Start<'a> {
    /// The net.
    pub net: &'a ResNet,
    /// Its settings.
    pub settings: &'a TrainOptions,
    /// The images.
    pub data: &'a DataSet,
    /// The plan of its net.
    pub plan: &'a Plan,
    /// By what.
    pub device: &'a dyn Device,
    /// Why by that, if it needs saying.
    pub device_note: Option<&'a str>,
    /// Steps that are done.
    pub from_step: u64,
    /// Notes for the user on how a stopped run goes on.
    pub notes: &'a [String],
}

/// The caller's ear: sees a run begin, every event of it, and its end.
pub trait Listener: Observer {
    /// Hears what happens on the way to the first step.
    fn say(&mut self, text: &str) {
        let _ = text;
    }
    /// Learns that the run is about to begin.
    fn begins(&mut self, start: &Start<'_>) {
        let _ = start;
    }
    /// Hears of a fault that the training survives.
    fn warn(&mut self, text: &str) {
        let _ = text;
    }
    /// Learns that no more steps will come.
    fn ends(&mut self) {}
}

/// A closure hears the events alone.
impl<F: FnMut(&Event<'_>) -> io::Result<ControlFlow<()>>> Listener for F {}

/// Hands each event to the run's folder, the listener and the profile, in this order.
pub(super) struct Fanout<'a> {
    /// Writes what is to stay.
    pub run_dir: &'a mut RunDir,
    /// Tells the caller.
    pub listener: &'a mut dyn Listener,
    /// Writes where the time goes.
    pub profile: Option<ChromeTrace>,
}

impl Observer for Fanout<'_> {
    fn observe(&mut self, event: &Event<'_>) -> io::Result<ControlFlow<()>> {
        let mut warning = warning(event);
        let mut flow = ControlFlow::Continue(());
        // The run's folder comes first: a listener hears of nothing that is not on its way to the
        // disk.
        let [run_dir, listener]: [&mut dyn Observer; 2] = [self.run_dir, self.listener];
        let profile = self.profile.as_mut().map(|profile| profile as &mut dyn Observer);
        for observer in [run_dir, listener].into_iter().chain(profile) {
            match observer.observe(event) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => flow = ControlFlow::Break(()),
                // There is an older one, and the next may be written again.
                Err(error) if matches!(event, Event::Checkpoint(_)) => {
                    warning = Some(format!("a checkpoint could not be written: {error}; the training goes on"));
                }
                Err(error) => return Err(error),
            }
        }
        warning.iter().for_each(|warning| self.listener.warn(warning));
        Ok(flow)
    }
}

/// Returns the warning for an `event` that is a fault which the training survives.
fn warning(event: &Event<'_>) -> Option<String> {
    match event {
        Event::NotFinite(NotFiniteRecord { step, first, goes_on_from }) => {
            Some(format!("step {step} is left out: {first}; the run goes on from the weights of step {goes_on_from}"))
        }
        Event::DeviceLost { error, goes_on_from } => {
            Some(format!("{error}; it is opened again, and the training goes on from step {goes_on_from}"))
        }
        _ => None,
    }
}
