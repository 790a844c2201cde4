//! What a plan is made for.

use serde::{Deserialize, Serialize};

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

impl Optimizer {
    /// What it keeps of each parameter from step to step, by name.
    pub fn moments(&self) -> &'static [&'static str] {
        match self {
            Self::Adam { .. } => &["first_moment", "second_moment"],
            Self::Sgd { .. } => &["momentum"],
        }
    }
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
    /// Whether each step reports the mean absolute gradient of the first convolution's weights.
    pub record_gradients: bool,
    /// Whether running statistics can be re-estimated from training batches.
    pub recalibration: bool,
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
