//! Flags of a net, its data and its training.

use clap::Args;
use serde::Serialize;

use super::named;
use crate::data::DataSet;
use crate::device::gpu::Backend;
use crate::job::Preset;
use crate::model::survival::Rule;
use crate::plan::{BranchScale, GateSampling};
use crate::train::{DroppedUpdate, EvaluateOn, LearningRateSchedule, Model, OptimizerKind};

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
#[derive(Clone, Debug, Default, Args, Serialize)]
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
///
/// Each is called as the setting that it gives; those that give none are skipped.
#[derive(Clone, Debug, Args, Serialize)]
pub struct TrainingArgs {
    /// quick, or notebook: the notebook's run
    #[arg(long, default_value = "quick", value_parser = named::<Preset>)]
    #[serde(skip)]
    pub preset: Preset,
    /// mnist, or a folder with the four IDX files, gzipped or not
    #[arg(long, value_name = "mnist|DIR", default_value = DataSet::EMBEDDED)]
    #[serde(skip)]
    pub data: String,
    /// Images held out of the training set, to choose the best weights on [default: a twelfth; 0 with test batches]
    #[arg(long, value_name = "N")]
    pub validation: Option<usize>,
    /// Images in a training batch
    #[arg(long, value_name = "N")]
    pub batch_size: Option<u32>,
    /// Passes over the training set
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    #[serde(skip)]
    pub epochs: Option<u64>,
    /// Training steps
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// validation, or test-batch: a random batch of test images, as in the notebook [default: validation, but
    /// test-batch in `compare` unless --validation is given]
    #[arg(long, value_parser = named::<EvaluateOn>)]
    pub evaluate_on: Option<EvaluateOn>,
    /// Steps between evaluations [default: a sixth of the run, at most an epoch; each step on test batches]
    #[arg(long, value_name = "N")]
    pub eval_every: Option<u64>,
    /// Images in an evaluation batch [default: 250, but as many as in a training batch on test batches]
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
    #[serde(skip)]
    pub drop_path: Option<f64>,
    /// Dropout before the last layer
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub dropout: Option<f32>,
    /// Label smoothing
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub label_smoothing: Option<f32>,
    /// auto, gpu, gpu:N, cpu, both (every dispatch on both, compared), or part of an adapter's name
    #[arg(long, default_value = "auto")]
    #[serde(skip)]
    pub device: String,
    /// vulkan, metal or dx12
    #[arg(long, value_parser = str::parse::<Backend>)]
    #[serde(skip)]
    pub backend: Option<Backend>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    #[serde(skip)]
    pub seed: u64,
    /// Keep the images in the files' order
    #[arg(long)]
    #[serde(skip)]
    pub no_shuffle: bool,
}
