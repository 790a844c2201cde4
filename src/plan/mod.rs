//! How a net is computed: as lists of dispatches, over values whose memory is planned in advance.
//!
//! [`Plan::new`] lowers a net once into *segments*: the stem; for each residual block its branch, its shortcut, their
//! sum and the bypass that replaces the sum when the block is dropped; the head. Each has a forward and a backward
//! list. [`Plan::schedule`] turns them, for the gates of one step, into the list of dispatches that a device runs:
//! the segments of dropped blocks are left out, and the *trunk* - the value that runs through all blocks - is resolved
//! to whatever value holds it. A dropped identity block's output **is** its input: nothing is copied.
//!
//! The plan never asks which device runs it, and nothing here touches a device.

use crate::dispatch::{Element, Label, SharedKernel, Storage, ValueId, bytes_of};

mod cost;
mod error;
mod estimate;
mod gates;
mod lower;
mod memory;
mod options;
mod peak_memory;
mod schedule;

pub use cost::{DispatchRow, Pass, StepFlop};
pub use error::{Mend, PlanError};
pub use estimate::{DEVICE_CLASSES, DeviceClass, Estimate};
pub use gates::{GateSampling, Gates, InvalidGates, Systematic};
pub use options::{BranchScale, DataSizes, Optimizer, PlanOptions, TrainingOptions};

/// A value of the plan.
#[derive(Clone, Debug)]
pub struct Value {
    /// What it is, e.g. `layer1.0.conv1 output`.
    pub name: String,
    /// Type of its elements.
    pub element: Element,
    /// Number of its elements.
    pub count: usize,
    /// Where it is kept.
    pub allocation: Allocation,
    /// Whether it can hold no negative number, so that ReLU leaves it as it is.
    pub non_negative: bool,
}

impl Value {
    /// Returns its size in bytes.
    pub fn bytes(&self) -> u64 {
        bytes_of(self.element, self.count)
    }
}

/// Where a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// In a buffer of its own, for the whole run.
    Own,
    /// In a range of another value's buffer, of elements of the same type, from number `offset`.
    Part {
        /// The value that it is part of.
        of: ValueId,
        /// First element.
        offset: usize,
    },
    /// In a buffer shared with values that live at other times.
    Pooled,
}

/// A value as a template names it: fixed, or resolved by the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// This value.
    Value(ValueId),
    /// The input of block `k`, or for `k` = number of blocks the input of the head.
    Trunk(usize),
    /// The gradient of [`Operand::Trunk`].
    TrunkGradient(usize),
    /// The images of the split at work.
    Images,
    /// Their labels.
    Labels,
    /// Nothing: the kernel's mode neither reads nor writes this binding.
    Unused,
}

impl From<ValueId> for Operand {
    fn from(value: ValueId) -> Self {
        Self::Value(value)
    }
}

impl From<Option<ValueId>> for Operand {
    fn from(value: Option<ValueId>) -> Self {
        value.map_or(Self::Unused, Self::Value)
    }
}

/// A dispatch whose operands are not resolved yet.
#[derive(Clone, Debug)]
pub struct Template {
    /// Name.
    pub label: Label,
    /// What is computed.
    pub kernel: SharedKernel,
    /// Read, in the order of the shader's bindings.
    pub reads: Vec<Operand>,
    /// Written, likewise.
    pub writes: Vec<Operand>,
}

/// When a segment is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// In every step.
    Always,
    /// When the block survives.
    Kept(usize),
    /// When the block is dropped.
    Dropped(usize),
}

impl Runs {
    /// Whether it is encoded under `gates`.
    fn under(self, gates: &Gates) -> bool {
        match self {
            Self::Always => true,
            Self::Kept(block) => gates.survives(block),
            Self::Dropped(block) => !gates.survives(block),
        }
    }
}

/// A part of the net that is encoded as a whole or not at all.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Name, e.g. `layer1.0 branch`.
    pub name: String,
    /// When it is encoded.
    pub runs: Runs,
    /// Forward dispatches in order.
    pub forward: Vec<Template>,
    /// Backward dispatches in order; a step runs the segments' backward lists from last to first.
    pub backward: Vec<Template>,
}

/// What the scheduler needs to know of a residual block.
#[derive(Clone, Debug)]
pub struct BlockPlan {
    /// The block's output when it survives, or when it is dropped and has a bypass to run.
    pub output: ValueId,
    /// What its output is when it is dropped.
    pub dropped_output: DroppedOutput,
    /// The gradient of its input through the shortcut; `None` for an identity.
    pub shortcut_gradient: Option<ValueId>,
}

/// What a dropped block hands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DroppedOutput {
    /// Its input, untouched: ReLU(x) = x where x is not negative.
    Input,
    /// Its shortcut's output, untouched, for the same reason.
    Shortcut(ValueId),
    /// ReLU of its shortcut's output, written to the block's output.
    Rectified,
}

/// A parameter, or running statistic, and where it lies.
#[derive(Clone, Debug)]
pub struct ParameterValue {
    /// The parameter.
    pub parameter: crate::model::parameters::Parameter,
    /// Its value.
    pub value: ValueId,
    /// Its gradient, or the batch's statistic; not there in a plan for inference.
    pub gradient: Option<ValueId>,
    /// What the optimiser keeps of it, in the order of [`Optimizer::moments`]; nothing for a running statistic.
    pub moments: Vec<ValueId>,
}

/// Values that the host writes or reads.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// Training images, u8, four to a word, and test images; of a file that is streamed, those of a batch.
    pub images: [ValueId; 2],
    /// Labels of both; likewise.
    pub labels: [ValueId; 2],
    /// Whether a file is larger than the device can bind, so that the host writes each batch's images anew.
    pub streamed: [bool; 2],
    /// Mean of each channel, then 1 / deviation.
    pub normalization: ValueId,
    /// Indices of a training batch's images.
    pub indices: ValueId,
    /// Indices of an evaluation batch's images.
    pub eval_indices: ValueId,
    /// The step's number, seed and update rows: see `protocol.rs`.
    pub control: ValueId,
    /// Loss, correct predictions and faults of a step: see `protocol.rs`.
    pub report: ValueId,
    /// Logits of an evaluation batch.
    pub eval_logits: ValueId,
}

/// Where an evaluation's images are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFile {
    /// The training file, where the validation images are too.
    Train,
    /// The test file.
    Test,
}

/// A net, lowered for a batch size.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All values, by [`ValueId`].
    pub values: Vec<Value>,
    /// Where they lie.
    pub storage: Storage,
    /// The training step in segments; empty in a plan for inference.
    pub segments: Vec<Segment>,
    /// Finite check, record of gradients, optimiser and running statistics, after the segments.
    pub update: Vec<Template>,
    /// The statistics of every batch norm on a training batch, with all blocks as in inference. Empty where the plan
    /// was made without.
    pub recalibration: Vec<Template>,
    /// One evaluation batch.
    pub inference: Vec<Template>,
    /// The residual blocks.
    pub blocks: Vec<BlockPlan>,
    /// Parameters and running statistics, in the order of PyTorch's `state_dict`.
    pub parameters: Vec<ParameterValue>,
    /// What the host writes and reads.
    pub interface: Interface,
    /// Contents of the tables that say which group each granule belongs to, written once.
    pub group_tables: Vec<(ValueId, Vec<u32>)>,
    /// Sizes of the data that lies on the device.
    pub data: DataSizes,
    /// Images in an evaluation batch.
    pub eval_batch: u32,
    /// Whether a step reports the mean absolute gradient of the first convolution's weights.
    pub records_gradients: bool,
    /// Survival probability of each block.
    pub survival: Vec<f64>,
    /// How the gates are drawn by systematic sampling.
    pub systematic: Systematic,
    /// Output of the stem: the trunk before the first block; `None` in a plan for inference.
    stem_output: Option<ValueId>,
    /// For each input of a block, and of the head, the buffers that its gradient can be written to.
    gradient_buffers: Vec<[ValueId; 2]>,
    /// First and last use of each pooled value on the plan's time line, for display.
    lifetimes: Vec<Option<(usize, usize)>>,
}
