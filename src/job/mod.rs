//! Jobs: from settings and data to a net on a device, a run in its folder, and a queue of runs.
//!
//! [`Request`] turns a preset and what was asked for into
//! [`TrainOptions`](crate::train::TrainOptions). [`Setup`] makes of them a net, its plan, an opened
//! and tuned device, and the initial weights: everything that trains, evaluates or measures begins
//! with one. [`Job::run`] does one run in its folder, [`Queue`] does many. Nothing here prints,
//! parses arguments or catches signals: callers listen, and say when to stop.

mod checkpoints;
mod device;
mod error;
mod listener;
mod presets;
mod queue;
mod resume;
mod run;
mod setup;

pub use checkpoints::{KEEP_CHECKPOINTS, checkpoint_every};
pub use device::{DeviceRequest, Tune};
pub use error::{Halted, JobError, StopRequest};
pub use listener::{Listener, Start};
pub use presets::{Preset, Request};
pub use queue::{Queue, QueueOptions, QueueView, QueuedRun};
pub use run::{Context, Finished, Job, Profiled, Recording, export};
pub use setup::{Setup, SetupBuilder};
