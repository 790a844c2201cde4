//! What a plan is made for, and why it can be refused.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::dispatch::Limits;

/// Where the survival probability scales the branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BranchScale {
    /// The branch times p in inference (the paper).
    Eval,
    /// A surviving branch divided by p in training (torchvision, timm).
    Train,
}

/// An optimiser and its constants; the learning rate comes with each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Kingma and Ba 2015, as PyTorch computes it.
    Adam {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
        /// L2 penalty added to the gradient.
        weight_decay: f64,
    },
    /// Stochastic gradient descent with momentum, as PyTorch computes it.
    Sgd {
        /// Decay of the momentum buffer.
        momentum: f64,
        /// Whether to look ahead (Nesterov).
        nesterov: bool,
        /// L2 penalty added to the gradient.
        weight_decay: f64,
    },
}

/// What only training needs.
#[derive(Clone, Debug)]
pub struct TrainingOptions {
    /// Images in a batch.
    pub batch: u32,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Share of the target spread over all classes (PyTorch's label smoothing).
    pub label_smoothing: f32,
}

/// Sizes of the data set that lies on the device.
#[derive(Clone, Copy, Debug)]
pub struct DataSizes {
    /// Height of an image.
    pub height: u32,
    /// Width of an image.
    pub width: u32,
    /// Images of the training file.
    pub train: usize,
    /// Images of the test file.
    pub test: usize,
}

/// What a plan is made for.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// The data.
    pub data: DataSizes,
    /// Training, or inference alone.
    pub training: Option<TrainingOptions>,
    /// Images in an evaluation batch.
    pub eval_batch: u32,
    /// Survival probability of each block; all 1 for a plain net.
    pub survival: Vec<f64>,
    /// Where it scales the branch.
    pub branch_scale: BranchScale,
    /// Limits of the device.
    pub limits: Limits,
}

/// Why a plan is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A convolution's or pool's window is larger than the padded image.
    #[error("images of {height}x{width} are too small for {arch}: nothing is left at {layer}")]
    ImageTooSmall {
        /// The net.
        arch: String,
        /// Image height.
        height: u32,
        /// Image width.
        width: u32,
        /// Where.
        layer: String,
    },
    /// Batch norm over a single value.
    #[error(
        "batch size {batch} is too small for {arch}: {layer} normalises one value a channel, and batch norm needs at \
         least two; use --batch-size 2 or more"
    )]
    SingleValue {
        /// The net.
        arch: String,
        /// The batch size.
        batch: u32,
        /// Where.
        layer: String,
    },
    /// A value exceeds the device's largest binding.
    #[error(
        "{what} needs {} MiB, and this device binds at most {} MiB at once{}",
        needed_words >> 18, limit_words >> 18, advice(mend.as_ref())
    )]
    TooLarge {
        /// The value.
        what: String,
        /// Words that it needs.
        needed_words: usize,
        /// Words that the device can bind.
        limit_words: usize,
        /// What would fit, if anything does.
        mend: Option<Mend>,
    },
    /// All values together exceed the device's memory.
    #[error(
        "{arch} needs {} MiB with these batch sizes, and this device has {} MiB free{}",
        needed_words >> 18, total_words >> 18, advice(mend.as_ref())
    )]
    OutOfMemory {
        /// The net.
        arch: String,
        /// Words that all buffers need.
        needed_words: usize,
        /// Words that the device has free.
        total_words: usize,
        /// What would fit, if anything does.
        mend: Option<Mend>,
    },
}

/// The largest batch sizes that fit; `None` where what was asked for does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mend {
    /// For `--batch-size`.
    pub batch_size: Option<u32>,
    /// For `--eval-batch`.
    pub eval_batch: Option<u32>,
}

fn advice(mend: Option<&Mend>) -> String {
    let Some(mend) = mend else { return "; no batch size fits".into() };
    let flag = |name: &str, batch: Option<u32>| batch.map(|batch| format!("--{name} {batch}"));
    let flags = [flag("batch-size", mend.batch_size), flag("eval-batch", mend.eval_batch)];
    let flags: Vec<String> = flags.into_iter().flatten().collect();
    format!("; the largest that fits is {}", flags.join(" "))
}
