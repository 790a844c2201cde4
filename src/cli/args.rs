//! What can be said on the command line, as it is said: nothing is checked against the data here.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::ArgPredicate;
use clap::{Arg, Args, Parser, Subcommand};
use serde::de::DeserializeOwned;
use serde::de::value::{Error as NameError, StrDeserializer};

use crate::data::DataSet;
use crate::device::gpu::Backend;
use crate::model::survival::Rule;
use crate::plan::{BranchScale, GateSampling, Gates};
use crate::train::{DroppedUpdate, Every, LearningRateSchedule, Model, OnNan, OptimizerKind};

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
    #[command(mut_args(in_spite_of_resume))]
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
fn in_spite_of_resume(arg: Arg) -> Arg {
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

/// Values of an enum by the names that `config.toml` uses.
fn named<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<NameError>::new(name)).map_err(|error| error.to_string())
}

/// A range of steps, `FIRST..LAST`, both of them in it.
fn step_range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let ends = text.split_once("..").and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    ends.filter(|steps| !steps.is_empty()).ok_or_else(|| "two numbers are needed, as in 10..20".to_string())
}

/// A set of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// MNIST to 99 % in some minutes on two cores.
    Quick,
    /// The notebook's run.
    Seed,
}

/// Flags of one net, the data and the training.
#[derive(Clone, Debug, Args)]
pub struct ModelArgs {
    /// resnet (plain) or stochastic
    #[arg(long, value_parser = named::<Model>)]
    pub model: Model,
    /// Which net.
    #[command(flatten)]
    pub net: NetArgs,
    /// Data and training.
    #[command(flatten)]
    pub training: TrainingArgs,
}

/// Flags that say which net, of those that `sdgpu sweep` takes several values for.
#[derive(Clone, Debug, Default, Args)]
pub struct NetArgs {
    /// resnet18, 34, 50, 101, 152 (torchvision's), or resnetN or cifar-resnetN with N = 6n + 2 [default: resnet20]
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// linear (the paper's), uniform or linspace
    #[arg(long, value_parser = named::<Rule>)]
    pub survival: Option<Rule>,
    /// Survival probability of the last block
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub survival_last: Option<f64>,
}

/// Flags of the data and the training, and of the model beyond its name. What is left out comes from the preset.
#[derive(Clone, Debug, Args)]
pub struct TrainingArgs {
    /// quick, or seed: the notebook's run
    #[arg(long, default_value = "quick", value_parser = named::<Preset>)]
    pub preset: Preset,
    /// mnist, or a folder with the four IDX files, gzipped or not
    #[arg(long, value_name = "mnist|DIR", default_value = DataSet::EMBEDDED)]
    pub data: String,
    /// Images held out of the training set, to choose the best weights on [default: a twelfth]
    #[arg(long, value_name = "N")]
    pub validation: Option<usize>,
    /// Images in a training batch
    #[arg(long, value_name = "N")]
    pub batch_size: Option<u32>,
    /// Passes over the training set
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub epochs: Option<u64>,
    /// Training steps
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Steps between evaluations [default: a sixth of the run, at most an epoch]
    #[arg(long, value_name = "N")]
    pub eval_every: Option<u64>,
    /// Images in an evaluation batch
    #[arg(long, value_name = "N")]
    pub eval_batch: Option<u32>,
    /// Steps between tests on all test images on the way; nothing is chosen by them [default: 0, none]
    #[arg(long, value_name = "N")]
    pub test_every: Option<u64>,
    /// Training batches from which batch norm's running statistics are re-estimated for each evaluation [default: 0,
    /// none]
    #[arg(long, value_name = "N")]
    pub bn_recalibrate: Option<u64>,
    /// adam or sgd
    #[arg(long, value_parser = named::<OptimizerKind>)]
    pub optimizer: Option<OptimizerKind>,
    /// Learning rate at its highest
    #[arg(long, allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Momentum of SGD
    #[arg(long, allow_negative_numbers = true)]
    pub momentum: Option<f64>,
    /// Nesterov's momentum, in SGD
    #[arg(long)]
    pub nesterov: bool,
    /// L2 penalty
    #[arg(long, allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// constant, step (a tenth at 1/2 and 3/4 of the run) or cosine
    #[arg(long, value_parser = named::<LearningRateSchedule>)]
    pub lr_schedule: Option<LearningRateSchedule>,
    /// Steps over which the learning rate rises
    #[arg(long, value_name = "N")]
    pub warmup_steps: Option<u64>,
    /// Survival probability of the first block (linspace), or just before it (linear)
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub survival_first: Option<f64>,
    /// independent (the paper), or systematic: together, so that the number of survivors hardly varies
    #[arg(long, value_parser = named::<GateSampling>)]
    pub gate_sampling: Option<GateSampling>,
    /// eval: branch x p at inference (the paper); train: branch / p in training (torchvision, timm)
    #[arg(long, value_parser = named::<BranchScale>)]
    pub branch_scale: Option<BranchScale>,
    /// zero-grad: a dropped block's optimiser state goes on (the paper); freeze: it stands still
    #[arg(long, value_parser = named::<DroppedUpdate>)]
    pub dropped_update: Option<DroppedUpdate>,
    /// timm's rate: --survival linspace --survival-first 1 --survival-last 1-R --branch-scale train
    #[arg(long, value_name = "R", allow_negative_numbers = true,
          conflicts_with_all = ["survival", "survival_first", "survival_last", "branch_scale"])]
    pub drop_path: Option<f64>,
    /// Dropout before the last layer
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub dropout: Option<f32>,
    /// Label smoothing
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub label_smoothing: Option<f32>,
    /// auto, gpu, gpu:N, cpu, both (every dispatch on both, compared), or part of an adapter's name
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// vulkan, metal or dx12
    #[arg(long, value_parser = str::parse::<Backend>)]
    pub backend: Option<Backend>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Keep the images in the files' order
    #[arg(long)]
    pub no_shuffle: bool,
}

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
    #[arg(long, value_name = "N|TIME", value_parser = str::parse::<Every>)]
    pub checkpoint_every: Option<Every>,
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
