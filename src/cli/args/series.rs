//! Flags of the commands that train many runs.

use std::path::PathBuf;

use clap::Args;

use super::{NetArgs, RunArgs, TrainingArgs, named};
use crate::model::survival::Rule;
use crate::train::Model;

/// Flags of `sdgpu compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Which net.
    #[command(flatten)]
    pub net: NetArgs,
    /// Data and training.
    #[command(flatten)]
    pub training: TrainingArgs,
    /// What each run leaves.
    #[command(flatten)]
    pub run: RunArgs,
    /// Seeds for each net: --seed and those that follow it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub seeds: u32,
    /// The net that the other one is held against
    #[arg(long, value_name = "MODEL", default_value = "resnet", value_parser = named::<Model>)]
    pub baseline: Model,
    /// The net that is held against it
    #[arg(long, value_name = "MODEL", default_value = "stochastic", value_parser = named::<Model>)]
    pub candidate: Model,
    /// Folder of the runs; those that are there already go on, or are done [default: runs/compare-<arch>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Flags of `sdgpu sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// Survival probabilities of the last block
    #[arg(
        long,
        value_name = "P,...",
        value_delimiter = ',',
        default_value = "0.2,0.4,0.6,0.8,1",
        allow_negative_numbers = true
    )]
    pub survival_last: Vec<f64>,
    /// Survival rules: linear, uniform, linspace
    #[arg(long, value_name = "RULE,...", value_delimiter = ',', default_value = "linear",
          value_parser = named::<Rule>)]
    pub survival: Vec<Rule>,
    /// Architectures, as in `sdgpu train` [default: resnet20]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub arch: Vec<String>,
    /// Data and training.
    #[command(flatten)]
    pub training: TrainingArgs,
    /// What each run leaves.
    #[command(flatten)]
    pub run: RunArgs,
    /// Seeds for each cell: --seed and those that follow it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub seeds: u32,
    /// Runs at once, fewer where memory does not allow so many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: u32,
    /// Folder of the runs; those that are there already go on, or are done [default: runs/sweep]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
