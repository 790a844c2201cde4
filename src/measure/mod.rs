//! What a device can do, what a net's steps cost on it, and whether a dropped block costs nothing.
//!
//! Nothing here prints: the figures come back as structs, which serialise to JSON with SI units.

use thiserror::Error;

use crate::data::DataError;
use crate::device::DeviceError;

mod bench;
mod peak;
mod plot;
mod skipping;
mod spread;
mod stepper;

pub use bench::{BenchReport, Encoding, Figures, Group, StepTime, Stochastic, bench};
pub use peak::Peak;
pub use plot::{Caption, skipping_plot};
pub use skipping::{DrawTime, Skipping, skipping};
pub use spread::Spread;
pub use stepper::Stepper;

/// Why there are no figures.
#[derive(Debug, Error)]
pub enum MeasureError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no batch of this size.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Updates stop at a NaN or an infinity: times would be those of less work.
    #[error("a step was not finite, so its update did not run and its time means nothing")]
    NotFinite,
}
