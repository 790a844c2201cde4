//! The command line: one file per sub-command, and what they share.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

mod args;
mod bench;
mod chart;
mod compare;
mod console;
mod devices;
mod eval;
mod plan;
mod progress;
mod progress_table;
mod report;
mod request;
mod selftest;
mod session;
mod signals;
mod status_area;
mod sweep;
mod train;
mod wording;

use args::{Cli, Command};
use console::Console;
use wording::with_flags;

use crate::data::DataError;
use crate::device::{Device, DeviceError};
use crate::job::{Halted, JobError};
use crate::report::ReportError;
use crate::run_dir::{ConfigError, RunError};
use crate::train::OptionError;

/// Exit code for what the user can mend before anything starts: flags, files, devices that are not there.
const BAD_INPUT: u8 = 2;

/// Parses the command line, does what it says, and returns the exit code. This is the one place that prints errors.
pub fn run() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return misused(&error),
    };
    let result = match command {
        Command::Train(args) => train::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Devices { backend } => devices::run(backend),
        Command::Plan(args) => plan::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Selftest(args) => selftest::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads on: that is no fault.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => fail(&worded(&error), exit_code(&error)),
    }
}

/// Help and version as clap prints them; what it refuses in one line.
fn misused(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { BAD_INPUT } else { 0 })
        }
        _ => fail(&summary(&error.to_string()), BAD_INPUT),
    }
}

/// What clap's `message` says as one line: its first paragraph, a sentence with the arguments that it is about, and
/// what the user may have meant.
fn summary(message: &str) -> String {
    let mut lines = message.trim_start_matches("error: ").lines().map(str::trim);
    let sentence = lines.next().unwrap_or_default();
    let arguments: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let tip = lines.find_map(|line| line.strip_prefix("tip: ").filter(|tip| tip.contains("similar")));
    let arguments = if arguments.is_empty() { String::new() } else { format!(" {}", arguments.join(", ")) };
    let tip = match tip {
        Some(tip) => format!("; {tip}"),
        None if sentence.starts_with("unexpected argument") => "; --help tells which there are".into(),
        None => String::new(),
    };
    WHAT_WOULD_BE_RIGHT
        .iter()
        .fold(format!("{sentence}{arguments}{tip}"), |text, (words, meant)| text.replace(words, meant))
}

/// What the standard library says of a text that is no number, and what that means.
const WHAT_WOULD_BE_RIGHT: [(&str, &str); 5] = [
    ("cannot parse integer from empty string", "a whole number is needed"),
    ("invalid digit found in string", "a whole number is needed, 0 or more"),
    ("number too large to fit in target type", "a smaller whole number is needed"),
    ("cannot parse float from empty string", "a number is needed"),
    ("invalid float literal", "a number is needed, as in 0.5"),
];

/// Says which device is used, and why if that needs saying.
fn show_device(console: Console, device: &dyn Device, note: Option<&str>) {
    let info = device.info();
    console.line(format!("device     {}: {} ({}, {})", info.kind, info.name, info.backend, info.driver));
    if let Some(note) = note {
        console.line(format!("           {}", with_flags(note)));
    }
}

/// Returns what `error` says; what it says of settings, by their flags. Messages about files and
/// what others wrote stay as they are.
fn worded(error: &anyhow::Error) -> String {
    let of_run_dir = |error: &RunError| {
        use RunError::{Blocked, Exists, HoldsRun, OtherSettings};
        matches!(error, Exists(_) | HoldsRun(_) | Blocked { .. } | OtherSettings { .. })
    };
    let of_job = |error: &JobError| match error {
        JobError::RunDir(error) => of_run_dir(error),
        JobError::Data(_) | JobError::Config(_) | JobError::Train(_) | JobError::Halted(_) | JobError::Weights(_) => {
            false
        }
        _ => true,
    };
    let names_settings = error.downcast_ref().is_some_and(of_job)
        || error.downcast_ref().is_some_and(of_run_dir)
        || error.is::<OptionError>()
        || error.is::<DeviceError>();
    let message = format!("{error:#}");
    if names_settings { with_flags(&message) } else { message }
}

/// Prints `message` as one line. A closed pipe does not change the exit code.
fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "sdgpu: {}", message.replace('\n', " "));
    ExitCode::from(code)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    match halted(error) {
        // As shells have it after a signal.
        Some(halted) => halted.signal.map_or(1, |(number, _)| 128 + number as u8),
        None if is_bad_input(error) => BAD_INPUT,
        None => 1,
    }
}

fn halted(error: &anyhow::Error) -> Option<&Halted> {
    match error.downcast_ref() {
        Some(JobError::Halted(halted)) => Some(halted),
        _ => None,
    }
}

fn is_bad_input(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(JobError::is_bad_input)
        || error.downcast_ref().is_some_and(DeviceError::is_bad_request)
        || error.is::<OptionError>()
        || error.is::<DataError>()
        || error.is::<RunError>()
        || error.is::<ConfigError>()
        || error.is::<ReportError>()
        || error.is::<BadInput>()
}

/// What is wrong with the command line beyond single flags.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadInput(String);
