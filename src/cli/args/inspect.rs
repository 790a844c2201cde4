//! Flags of the commands that look at runs and plans, and train nothing.

use std::path::PathBuf;

use clap::Args;

use super::{ModelArgs, TuneArgs};
use crate::device::gpu::Backend;
use crate::plan::Gates;

/// Flags of `sdgpu eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// A run directory, or a file of weights
    #[arg(value_name = "RUN|FILE")]
    pub target: PathBuf,
    /// mnist, or a folder with the four IDX files [default: the run's]
    #[arg(long, value_name = "mnist|DIR")]
    pub data: Option<String>,
    /// Architecture of a file of weights that does not name its own
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Images in an evaluation batch
    #[arg(long, value_name = "N")]
    pub eval_batch: Option<u32>,
    /// Whether to measure.
    #[command(flatten)]
    pub tune: TuneArgs,
    /// auto, gpu, gpu:N, cpu, both, or part of an adapter's name
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// vulkan, metal or dx12
    #[arg(long, value_parser = str::parse::<Backend>)]
    pub backend: Option<Backend>,
    /// Print the result as lines of JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `sdgpu report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run directories, or folders of them, as `sdgpu compare` and `sdgpu sweep` leave
    #[arg(value_name = "RUN|DIR", required = true)]
    pub runs: Vec<PathBuf>,
    /// Folder that the report goes into [default: where the runs are, if one RUN or DIR is given]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Flags of `sdgpu plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Model, data and training.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Gates of the step shown: one 1 or 0 for each block [default: all 1]
    #[arg(long, value_name = "110111...", value_parser = str::parse::<Gates>)]
    pub gates: Option<Gates>,
}
