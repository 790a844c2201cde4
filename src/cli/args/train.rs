//! Flags of `sdgpu train`, and which of them go together with `--resume`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{Arg, Args};

use super::{ModelArgs, RunArgs};

/// Flags of `sdgpu train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Model, data and training.
    #[command(flatten)]
    pub model: ModelArgs,
    /// What the run leaves.
    #[command(flatten)]
    pub run: RunArgs,
    /// Write where the time of some steps goes, dispatch by dispatch, for chrome://tracing or Perfetto
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Steps that are profiled, the first and the last [default: 10..20, or the second half of a shorter run]
    #[arg(long, value_name = "FIRST..LAST", value_parser = step_range, requires = "profile")]
    pub profile_steps: Option<RangeInclusive<u64>>,
    /// Run directory [default: runs/<arch>-<model>-<n>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the run in this directory, from its last checkpoint
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
    /// Print metrics to stdout as lines of JSON
    #[arg(long)]
    pub json: bool,
}

/// A range of steps, `FIRST..LAST`, both of them in it.
fn step_range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let ends = text.split_once("..").and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    ends.filter(|steps| !steps.is_empty()).ok_or_else(|| "two numbers are needed, as in 10..20".to_string())
}

/// Flags that make sense for a run that goes on: all others are the run's own settings.
const BESIDE_RESUME: [&str; 15] = [
    "resume",
    "device",
    "backend",
    "tune",
    "no_tune",
    "checkpoint_every",
    "keep_checkpoints",
    "profile",
    "profile_steps",
    "csv",
    "tensorboard",
    "no_report",
    "json",
    "quiet",
    "help",
];

/// Has `arg` refused beside `--resume` where a run that goes on has it settled.
pub fn in_spite_of_resume(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "model" => arg
            .required(false)
            .required_unless_present("resume")
            // Never looked at, but there has to be one.
            .default_value_if("resume", ArgPredicate::IsPresent, "stochastic")
            .conflicts_with("resume"),
        id if BESIDE_RESUME.contains(&id) => arg,
        _ => arg.conflicts_with("resume"),
    }
}
