//! The command line: one file per sub-command, and what they share.

use std::io;
use std::process::ExitCode;

use clap::Parser;

mod args;
mod console;
mod devices;
mod eval;
mod plan;
mod progress;
mod resolve;
mod train;

use args::{Cli, Command};

use crate::data::DataError;
use crate::device::DeviceError;
use crate::experiment::{ConfigError, RunError};
use crate::plan::PlanError;
use crate::train::{OptionError, TrainError};

/// Exit code for what the user can mend before anything starts: flags, files, devices that are not there.
const BAD_INPUT: u8 = 2;

/// Parses the command line, does what it says, and returns the exit code. This is the one place that prints errors.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Devices { backend } => devices::run(backend),
        Command::Plan(args) => plan::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads on: that is no fault.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sdgpu: {}", one_line(&error));
            ExitCode::from(if is_bad_input(&error) { BAD_INPUT } else { 1 })
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn is_bad_input(error: &anyhow::Error) -> bool {
    let device = |error: &DeviceError| matches!(error, DeviceError::NoAdapter(_) | DeviceError::OutOfMemory { .. });
    match error.downcast_ref::<TrainError>() {
        Some(TrainError::Data(_)) => true,
        // The training was under way.
        Some(TrainError::Device(_) | TrainError::Observer(_) | TrainError::NotFinite { .. }) => false,
        None => {
            error.is::<OptionError>()
                || error.is::<DataError>()
                || error.is::<RunError>()
                || error.is::<ConfigError>()
                || error.is::<PlanError>()
                || error.is::<BadInput>()
                || error.downcast_ref::<DeviceError>().is_some_and(device)
        }
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

/// What is wrong with the command line beyond single flags.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadInput(String);
