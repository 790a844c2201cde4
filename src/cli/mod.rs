//! The command line: one file per sub-command, and what they share.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

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
mod report;
mod resolve;
mod runs;
mod selftest;
mod signals;
mod sweep;
mod train;

use args::{Cli, Command, TuneArgs};
use console::Console;

use crate::data::DataError;
use crate::device::gpu::Backend;
use crate::device::open::{self, Chosen, DeviceChoice};
use crate::device::{Device, DeviceError, TuneOptions, Tuning, cache_folder};
use crate::dispatch::Dispatch;
use crate::plan::{Plan, PlanError};
use crate::report::ReportError;
use crate::run_dir::{ConfigError, RunError};
use crate::train::{Engine, OptionError, TrainError};

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
        Err(error) => fail(&format!("{error:#}"), exit_code(&error)),
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

/// Opens the device that the flags `--device` and `--backend` ask for; the flags of `tune` must make sense for it.
fn open_device(device: &str, backend: Option<Backend>, tune: TuneArgs) -> anyhow::Result<Chosen> {
    open_device_with(device, backend, tune, 0)
}

/// The same; the CPU device gets `threads` threads, or if that is 0, as many as there are cores.
fn open_device_with(device: &str, backend: Option<Backend>, tune: TuneArgs, threads: usize) -> anyhow::Result<Chosen> {
    let choice = DeviceChoice::from(device);
    let flags = [("backend", backend.is_some()), ("tune", tune.tune), ("no-tune", tune.no_tune)];
    if let Some((flag, _)) = flags.iter().find(|(_, given)| *given && choice == DeviceChoice::Cpu) {
        return Err(BadInput(format!("--{flag} has no effect with --device cpu; leave it out")).into());
    }
    Ok(open::open(&choice, backend, threads)?)
}

/// How long the variants of shaders are measured at most, on a device that has not been seen before.
const TUNING_TIME: Duration = Duration::from_secs(4);

/// Chooses the variants of the shaders that `plan` needs, and has `device` use them; where that takes a while, says so.
fn tune(args: TuneArgs, say: &mut dyn FnMut(&str), device: &mut dyn Device, plan: &Plan) -> anyhow::Result<Tuning> {
    if args.no_tune {
        return Ok(Tuning::default());
    }
    let options = TuneOptions { forced: args.tune, budget: TUNING_TIME, cache: cache_folder() };
    let name = device.info().name.clone();
    let mut progress = |measured: usize, kernels: usize| {
        if measured == 0 {
            let seconds = TUNING_TIME.as_secs();
            say(&format!("tuning     up to {kernels} kernels on {name}, for about {seconds} s, this once"));
        }
    };
    let dispatches = Engine::dispatches(plan);
    let dispatches: Vec<&Dispatch> = dispatches.iter().collect();
    let tuning = device.tune(&plan.storage, &dispatches, &options, &mut progress)?;
    device.set_tuning(&tuning);
    Ok(tuning)
}

/// Says which device is used, and why if that needs saying.
fn show_device(console: Console, device: &dyn Device, note: Option<&str>) {
    let info = device.info();
    console.line(format!("device     {}: {} ({}, {})", info.kind, info.name, info.backend, info.driver));
    if let Some(note) = note {
        console.line(format!("           {note}"));
    }
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
    match error.downcast_ref::<runs::Halted>() {
        Some(halted) => halted.exit_code(),
        None if is_bad_input(error) => BAD_INPUT,
        None => 1,
    }
}

fn is_bad_input(error: &anyhow::Error) -> bool {
    let device = |error: &DeviceError| {
        matches!(error, DeviceError::NoAdapter(_) | DeviceError::BadLimits(_) | DeviceError::OutOfMemory { .. })
    };
    error.is::<OptionError>()
        || error.is::<DataError>()
        || error.is::<RunError>()
        || error.is::<ConfigError>()
        || error.is::<PlanError>()
        || error.is::<ReportError>()
        || error.is::<BadInput>()
        || matches!(error.downcast_ref(), Some(TrainError::Data(_)))
        || error.downcast_ref::<DeviceError>().is_some_and(device)
}

/// What is wrong with the command line beyond single flags.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadInput(String);
