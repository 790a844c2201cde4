//! Flags of the commands that measure and test a device.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::{ModelArgs, TuneArgs};
use crate::device::gpu::Backend;

/// Nets with their batch sizes, as `NET:BATCH,...`.
#[derive(Clone, Debug)]
pub struct SkippedNets(pub Vec<(String, u32)>);

impl FromStr for SkippedNets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = |text: &str| {
            let (arch, batch_size) = text.split_once(':')?;
            Some((arch.to_string(), batch_size.parse().ok()?))
        };
        let nets: Option<Vec<_>> = text.split(',').map(net).collect();
        nets.map(Self).ok_or_else(|| "nets with batch sizes are needed, as in resnet20:128,resnet110:16".to_string())
    }
}

/// Flags of `sdgpu bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Model, data and training.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Whether to measure variants.
    #[command(flatten)]
    pub tune: TuneArgs,
    /// Times that everything is measured
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub repeats: u32,
    /// Show each dispatch, or with --skipping each draw
    #[arg(long)]
    pub each: bool,
    /// Print one JSON document with all figures
    #[arg(long)]
    pub json: bool,
    /// Measure steps with dropped blocks against the times of exactly their dispatches [default nets:
    /// resnet20:128,resnet110:16]
    #[arg(long, value_name = "NET:BATCH,...", value_parser = str::parse::<SkippedNets>, num_args = 0..=1,
          default_missing_value = "resnet20:128,resnet110:16", conflicts_with_all = ["arch", "batch_size"])]
    pub skipping: Option<SkippedNets>,
    /// Draws of the gates for --skipping
    #[arg(long, value_name = "N", default_value_t = 50, requires = "skipping")]
    pub draws: u32,
    /// Plot what --skipping measures
    #[arg(long, value_name = "FILE", requires = "skipping")]
    pub svg: Option<PathBuf>,
}

/// Flags of `sdgpu selftest`.
#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// all (adapters), gpu (the preferred one), gpu:N, part of an adapter's name, or cpu (the CPU device alone)
    #[arg(long, default_value = "all")]
    pub device: String,
    /// vulkan, metal or dx12
    #[arg(long, value_parser = str::parse::<Backend>)]
    pub backend: Option<Backend>,
    /// Leave out all but the first variant of each kernel, and folded grids
    #[arg(long)]
    pub quick: bool,
    /// Print one JSON document, to attach to a bug report
    #[arg(long)]
    pub json: bool,
}
