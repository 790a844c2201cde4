//! What can be said on the command line, as it is said: nothing is checked against the data here.

use clap::{Parser, Subcommand};
use serde::de::DeserializeOwned;
use serde::de::value::{Error as NameError, StrDeserializer};

use crate::device::gpu::Backend;

mod inspect;
mod measure;
mod net;
mod run;
mod series;
mod train;

pub use inspect::{EvalArgs, PlanArgs, ReportArgs};
pub use measure::{BenchArgs, SelftestArgs, SkippedNets};
pub use net::{ModelArgs, NetArgs, TrainingArgs};
pub use run::{Record, RunArgs, TuneArgs};
pub use series::{CompareArgs, SweepArgs};
pub use train::TrainArgs;

/// Trains residual networks with stochastic depth on any GPU: a dropped block costs nothing.
#[derive(Debug, Parser)]
#[command(name = "sdgpu", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trains a net
    #[command(mut_args(train::in_spite_of_resume))]
    Train(TrainArgs),
    /// Trains the plain net and the net with stochastic depth alike, and says how they differ
    Compare(CompareArgs),
    /// Trains a grid of nets with stochastic depth over survival probabilities, rules and depths
    Sweep(SweepArgs),
    /// Writes a page with figures about runs: what they say together, and how their nets differ
    Report(ReportArgs),
    /// Tests a run's weights, or a file of weights
    Eval(EvalArgs),
    /// Lists the adapters of this machine, and which one `auto` takes
    Devices {
        /// Only this backend: vulkan, metal or dx12
        #[arg(long, value_parser = str::parse::<Backend>)]
        backend: Option<Backend>,
    },
    /// Shows the dispatches, costs and memory of a training step, without training
    Plan(PlanArgs),
    /// Measures what a training step costs, by kernel and as a whole, or what skipping saves
    #[command(mut_arg("model", |model| model.required(false).default_value("stochastic")))]
    Bench(BenchArgs),
    /// Tests every kernel and a short training on this machine's adapters
    Selftest(SelftestArgs),
}

/// Values of an enum by the names that `config.toml` uses.
fn named<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<NameError>::new(name)).map_err(|error| error.to_string())
}
