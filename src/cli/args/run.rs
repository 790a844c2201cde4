//! Flags of what a run leaves and how it is guarded.

use std::path::PathBuf;

use clap::Args;

use super::named;
use crate::train::{CheckpointEvery, OnNan};

/// What can be recorded beside the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// Initial weights, and per step what is needed to replay it elsewhere.
    Trace,
    /// In the metrics of each step, the mean absolute gradient of the first convolution.
    Gradients,
}

/// Flags of the choice between variants of shaders.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct TuneArgs {
    /// Run every shader as it does best on most GPUs, without measuring on this one
    #[arg(long, conflicts_with = "tune")]
    pub no_tune: bool,
    /// Measure the variants of shaders on a software adapter too
    #[arg(long)]
    pub tune: bool,
}

/// Flags of what a run leaves and how it is guarded, whatever it computes.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// trace: initial weights, and batch, gates and dropout seed of each step, to replay the run elsewhere; gradients:
    /// the mean absolute gradient of the first convolution of each step, in the metrics
    #[arg(long, value_name = "trace,gradients", value_delimiter = ',', value_parser = named::<Record>)]
    pub record: Vec<Record>,
    /// Whether to measure.
    #[command(flatten)]
    pub tune: TuneArgs,
    /// Weights to start from (safetensors, PyTorch's names and shapes)
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// stop, skip (leave the step's update out), or rewind (to the last checkpoint): a step with a NaN or an infinity
    #[arg(long, value_name = "stop|skip|rewind", default_value = "stop", value_parser = named::<OnNan>)]
    pub on_nan: OnNan,
    /// Steps between checkpoints, or time, as in 30s, 5m or 1h [default: 5m]
    #[arg(long, value_name = "N|TIME", value_parser = str::parse::<CheckpointEvery>)]
    pub checkpoint_every: Option<CheckpointEvery>,
    /// Checkpoints that stay [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_checkpoints: Option<u32>,
    /// Write the metrics as metrics.csv too, a row for each step
    #[arg(long)]
    pub csv: bool,
    /// Write the metrics as TensorBoard's events too
    #[arg(long)]
    pub tensorboard: bool,
    /// Write no report at the end
    #[arg(long)]
    pub no_report: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

impl RunArgs {
    /// Whether `what` is to be recorded.
    pub fn records(&self, what: Record) -> bool {
        self.record.contains(&what)
    }
}
