//! sdgpu trains residual networks with stochastic depth on any GPU, through wgpu and WGSL compute
//! shaders, or on the CPU. A dropped block costs nothing: it is left out of the list of dispatches
//! that a step is.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use sdgpu::{DataSet, DeviceRequest, Error, Event, Setup, TrainOptions};
//!
//! fn main() -> Result<(), Error> {
//!     let data = DataSet::load("mnist")?;
//!     let mut options = TrainOptions::quick();
//!     options.arch = "resnet14".into();
//!     options.survival_last = 0.8;
//!     let setup = Setup::new(&options, &data, &DeviceRequest::from("auto"))?;
//!     println!("{:.1} blocks expected in a step", setup.plan.expected_depth());
//!     let outcome = setup.train(&mut |event: &Event<'_>| {
//!         if let Event::Eval(record) = event {
//!             println!("step {}: {:.2} %", record.step, 100.0 * record.accuracy);
//!         }
//!         Ok(ControlFlow::Continue(()))
//!     })?;
//!     println!("test accuracy {:.2} %", 100.0 * outcome.test.accuracy);
//!     Ok(())
//! }
//! ```
//!
//! # How a step flows
//!
//! 1. [`TrainOptions`] and a [`DataSet`] make a [`Setup`]: a [`ResNet`], the [`Plan`] that it is
//!    lowered to, an opened and tuned [`Device`], and the initial [`Weights`].
//! 2. For each step, [`Gates`] are drawn: a function of the seed and the step, as is the order of
//!    the images.
//! 3. [`Plan::schedule`] turns the gates into a list of [`Dispatch`](kernel::Dispatch)es. The
//!    segments of a dropped block are not in it; an identity block's output then *is* its input.
//! 4. The [`Engine`] uploads which images the batch has, appends the update, and hands the list to
//!    the device, which runs [`Kernel`](kernel::Kernel)s on values and knows nothing of nets.
//! 5. What happens is told as [`Event`]s to an [`Observer`]: a closure is one, and it can stop the
//!    run.
//!
//! The same seed on the same device gives the same bits.
//!
//! # Features
//!
//! `cli`, on by default, is the command line with its reports; a library has no use for it and its
//! dependencies.

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod report;

mod measure;
mod selftest;

mod job;

mod run_dir;

mod train;

mod device;
mod plan;

mod data;
mod model;

mod kernels;

mod dispatch;
mod protocol;
mod rng;

pub use data::{DataSet, Images};
pub use device::Device;
pub use dispatch::Limits;
pub use job::{DeviceRequest, JobError as Error, Setup, SetupBuilder, Tune};
pub use model::resnet::ResNet;
pub use model::weights::{Tensor, Weights};
pub use plan::{Gates, ImageFile, Plan};
pub use run_dir::{read_weights, save_weights};
pub use train::{Engine, EvalRecord, Event, Observer, Outcome, Prediction, Score, StepRecord, TrainOptions};

/// Values for the fields of [`TrainOptions`] and of [`DeviceRequest`].
pub mod options {
    pub use crate::device::gpu::Backend;
    pub use crate::device::open::DeviceChoice;
    pub use crate::model::init::Init;
    pub use crate::model::survival::Rule;
    pub use crate::plan::{BranchScale, GateSampling};
    pub use crate::train::{DroppedUpdate, EvaluateOn, LearningRateSchedule, Model, OnNan, OptimizerKind};
}

/// The parts of a [`ResNet`].
pub mod net {
    pub use crate::model::parameters::Parameter;
    pub use crate::model::resnet::{Block, Conv, NormSettings, Shortcut};
}

/// The errors that an [`Error`] can hold, for those who tell them apart.
pub mod errors {
    pub use crate::data::DataError;
    pub use crate::device::DeviceError;
    pub use crate::job::Halted;
    pub use crate::model::weights::WeightsError;
    pub use crate::plan::PlanError;
    pub use crate::run_dir::{ConfigError, RunError};
    pub use crate::train::{OptionError, TrainError};
}

/// The records that [`Event`]s hold, apart from those of steps and evaluations.
pub mod events {
    pub use crate::train::{
        Best, Checkpoint, Counters, EvalSplit, NotFiniteRecord, ProfileRecord, TimingRecord, TraceRecord, WhichWeights,
    };
}

/// A run in a folder of its own, with metrics and checkpoints, as `sdgpu train` makes it and goes
/// on with it: `examples/run_folder.rs` does both.
pub mod runs {
    pub use crate::job::{Context, Finished, Job, Listener, Preset, Profiled, Recording, Request, Start, StopRequest};
    pub use crate::run_dir::{RunConfig, StoppedRun, Summary, Test, read_metrics, read_predictions, read_timing};
    pub use crate::train::CheckpointEvery;
}

/// The parts of a kernel of one's own, and the harness that tests it: `examples/kernel.rs` writes
/// one.
pub mod kernel {
    pub use crate::device::cpu::CpuDevice;
    pub use crate::device::gpu::{GpuDevice, GpuRequest};
    pub use crate::dispatch::{
        Bindings, Cost, Dispatch, Element, Family, Input, Kernel, Output, ParamField, Parameters, Record, Region,
        Scalar, Shader, SharedKernel, Storage, ValueId, Variant,
    };
    pub use crate::protocol::WORKGROUP;
    pub use crate::selftest::{Implementation, Row, Sum, check};
}

/// Runs the command line of this process and returns its exit code.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub fn run_command_line() -> std::process::ExitCode {
    cli::run()
}

/// The door through which tests and benchmarks reach inside. No part of the library: anything here
/// can change.
#[doc(hidden)]
pub mod internals {
    /// Opens rooms.
    macro_rules! open {
        ($($(#[$meta:meta])* $room:ident,)*) => {
            $($(#[$meta])* pub mod $room { pub use crate::$room::*; })*
        };
    }

    open! {
        data, device, dispatch, job, kernels, measure, model, plan, protocol, rng, run_dir, selftest, train,
        #[cfg(feature = "cli")] report,
    }
}
