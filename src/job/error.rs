//! Why a job can't be done, or ended before it was done.

use std::fmt;

use thiserror::Error;

use crate::data::DataError;
use crate::device::DeviceError;
use crate::model::weights::WeightsError;
use crate::plan::PlanError;
use crate::run_dir::{ConfigError, RunError};
use crate::train::{CheckpointEvery, OptionError, TrainError};

/// Why a job can't be done. Messages name settings by their fields, in backquotes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JobError {
    /// A setting is out of its range, or changes nothing.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// The images can't be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The net can't be computed with these settings, or not on this device.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no such device, or it failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A folder or a file of a run can't be used.
    #[error(transparent)]
    RunDir(#[from] RunError),
    /// The settings of a run can't be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The training ended early, outside of a run's folder.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A run ended before it was done.
    #[error(transparent)]
    Halted(Box<Halted>),
    /// The weights do not fit the net.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A net that was set up for inference can't be trained.
    #[error("the net was set up for inference alone, and can't be trained")]
    InferenceOnly,
    /// The CPU device has no use for this field.
    #[error("`{field}` has no effect with `device` cpu; leave it out")]
    NoEffectOnCpu {
        /// The field.
        field: &'static str,
    },
    /// The images are not those that a stopped run began with.
    #[error("{data}: the images or labels are not those that the run began with")]
    OtherData {
        /// Where they were loaded from.
        data: String,
    },
    /// The interval of checkpoints can't change on the way of a run that goes back to them.
    #[error("`checkpoint_every` {every} would change what a run with `on_nan` rewind computes")]
    OtherInterval {
        /// The interval asked for.
        every: CheckpointEvery,
    },
    /// A run that goes back to checkpoints can't make them by the clock.
    #[error("`on_nan` rewind needs a `checkpoint_every` in steps: by the clock, no two runs would be the same")]
    IntervalByClock,
}

impl JobError {
    /// Returns whether the caller can mend it before anything starts: settings, files, a device
    /// that is not there.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Device(error) => error.is_bad_request(),
            Self::Train(TrainError::Data(_)) => true,
            Self::Train(_) | Self::Halted(_) => false,
            _ => true,
        }
    }

    /// Returns whether memory was lacking, so that it may do once another run has ended.
    pub(super) fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Device(DeviceError::OutOfMemory { .. }) | Self::Plan(PlanError::OutOfMemory { .. }))
    }

    /// Returns whether a run met a NaN or an infinity.
    pub(super) fn is_not_finite(&self) -> bool {
        let error = match self {
            Self::Halted(halted) => &halted.error,
            _ => &None,
        };
        matches!(error, Some(TrainError::NotFinite { .. }))
    }

    /// Returns after how many steps an observer, a signal or the caller stopped the run; `None` if
    /// it was not stopped but failed.
    pub fn stopped_at(&self) -> Option<u64> {
        let error = match self {
            Self::Train(error) => Some(error),
            Self::Halted(halted) => halted.error.as_ref(),
            _ => None,
        };
        match error {
            Some(TrainError::Interrupted { step }) => Some(*step),
            _ => None,
        }
    }
}

impl From<Halted> for JobError {
    fn from(halted: Halted) -> Self {
        Self::Halted(Box::new(halted))
    }
}

/// Why a job is to stop after the step at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopRequest {
    /// A signal came.
    Signal {
        /// Its number.
        number: i32,
        /// Its name.
        name: &'static str,
    },
    /// Another run of the queue failed.
    OtherRun,
    /// The caller has a reason of its own.
    Caller,
}

/// A run that ended before it was done.
#[derive(Debug, Error)]
pub struct Halted {
    /// Why; `None` if no run was at work.
    pub error: Option<TrainError>,
    /// The signal that ended it: its number and its name.
    pub signal: Option<(i32, &'static str)>,
    /// How to go on, if it can.
    pub go_on: Option<String>,
}

impl fmt::Display for Halted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{error}")?,
            None => write!(f, "stopped between two runs")?,
        }
        if let Some((_, name)) = self.signal {
            write!(f, " by {name}")?;
        }
        match &self.go_on {
            Some(command) => write!(f, "; to go on: {command}"),
            None => Ok(()),
        }
    }
}
