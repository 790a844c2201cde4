//! One command and its jobs: how it was typed, the signals that stop it, its data and its device.

use std::io;

use super::request;
use super::signals::Signals;
use crate::data::DataSet;
use crate::job::{Context, DeviceRequest, StopRequest};

/// A command that does jobs.
pub struct Session {
    command: String,
    stop: Box<dyn Fn() -> Option<StopRequest> + Sync>,
}

impl Session {
    /// Catches signals from now on: the first one asks the jobs to stop.
    pub fn begin() -> io::Result<Self> {
        let signals = Signals::catch()?;
        Ok(Self { command: request::command(), stop: Box::new(move || signals.stop()) })
    }

    /// Returns the context of jobs on `data` and `device`. `go_on` is what is to be typed to go on
    /// with one.
    pub fn context<'a>(&'a self, data: &'a DataSet, device: DeviceRequest, go_on: &'a str) -> Context<'a> {
        let mut context = Context::new(data, device);
        context.stop = self.stop.as_ref();
        (context.go_on, context.command) = (Some(go_on), Some(self.command.as_str()));
        context
    }
}
