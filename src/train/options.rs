//! Every setting of a training run, resolved: what `config.toml` records.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::safeguards::OnNan;
use crate::data::DataSet;
use crate::dispatch::Limits;
use crate::model::init::Init;
use crate::model::resnet::{NormSettings, ResNet, UnknownArchitecture};
use crate::model::survival::{self, Rule};
use crate::plan::{BranchScale, DataSizes, GateSampling, Optimizer, PlanOptions, TrainingOptions};

/// The plain net, or the net with stochastic depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// Every block runs in every step.
    Resnet,
    /// Blocks are dropped at random.
    Stochastic,
}

impl Model {
    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet => "resnet",
            Self::Stochastic => "stochastic",
        }
    }
}

/// Which optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam with beta1 0.9, beta2 0.999, epsilon 1e-8.
    Adam,
    /// SGD with momentum.
    Sgd,
}

/// How the learning rate changes over the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearningRateSchedule {
    /// Not at all.
    Constant,
    /// Divided by 10 at 1/2 and at 3/4 of the run (Huang et al. 2016, section 4).
    Step,
    /// Half a cosine down to 0 (Loshchilov and Hutter 2017).
    Cosine,
}

/// What the optimiser does with a dropped block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DroppedUpdate {
    /// Its gradient is zero: moments decay and weights move on, as in the paper's code.
    ZeroGrad,
    /// Parameters and moments stand still, as in PyTorch when a Python `if` skips the block.
    Freeze,
}

/// What the evaluations on the way look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvaluateOn {
    /// All validation images.
    Validation,
    /// One random test batch, as in the notebook. Nothing is chosen by it.
    TestBatch,
}

/// Every setting of a training run: what decides what it computes, and what `config.toml` records.
///
/// Begin with [`Self::quick`] or [`Self::notebook`] and change fields. Whatever trains checks them
/// first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainOptions {
    /// Plain or stochastic.
    pub model: Model,
    /// Architecture.
    pub arch: String,
    /// `mnist`, or a folder with four IDX files.
    pub data: String,
    /// Images held out of the training set.
    pub validation: usize,
    /// Images in a training batch.
    pub batch_size: u32,
    /// Training steps.
    pub steps: u64,
    /// Steps between evaluations.
    pub eval_every: u64,
    /// Images in an evaluation batch.
    pub eval_batch: u32,
    /// What the evaluations on the way look at.
    pub evaluate_on: EvaluateOn,
    /// Steps between tests on all test images on the way; 0 for none.
    #[serde(default)]
    pub test_every: u64,
    /// Training batches, those of the first steps, from which batch norm's running statistics are re-estimated for each
    /// evaluation; 0 for none.
    #[serde(default)]
    pub bn_recalibrate: u64,
    /// The optimiser.
    pub optimizer: OptimizerKind,
    /// Learning rate at its highest.
    pub lr: f64,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Nesterov's momentum, in SGD.
    pub nesterov: bool,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Course of the learning rate.
    pub lr_schedule: LearningRateSchedule,
    /// Steps over which the learning rate rises from near 0.
    pub warmup_steps: u64,
    /// Course of the survival probability over the blocks.
    pub survival: Rule,
    /// Survival probability before the first block (linear) or at it (linspace).
    pub survival_first: f64,
    /// Survival probability of the last block.
    pub survival_last: f64,
    /// How gates are drawn.
    #[serde(default)]
    pub gate_sampling: GateSampling,
    /// Where it scales the branch.
    pub branch_scale: BranchScale,
    /// What the optimiser does with a dropped block.
    pub dropped_update: DroppedUpdate,
    /// Dropout before the last layer.
    pub dropout: f32,
    /// Label smoothing.
    pub label_smoothing: f32,
    /// How weights begin, where they do not come from a file.
    pub initialisation: Init,
    /// Batch norm's epsilon.
    pub norm_epsilon: f32,
    /// Batch norm's momentum, in PyTorch's sense.
    pub norm_momentum: f32,
    /// Seed of everything random.
    pub seed: u64,
    /// Whether each epoch has an order of its own.
    pub shuffle: bool,
    /// What becomes of a step that is not finite.
    pub on_nan: OnNan,
    /// Whether each step reports the mean absolute gradient of the first convolution.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub record_gradients: bool,
}

/// A setting that can't be, or that changes nothing. Messages name fields in backquotes.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum OptionError {
    /// Out of range.
    #[error("`{field}` is {value}; it must be {range}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        range: String,
    },
    /// The field changes nothing beside another setting.
    #[error("`{field}` has no effect with {beside}; leave it out")]
    NoEffect {
        /// The field.
        field: &'static str,
        /// The other setting.
        beside: &'static str,
    },
    /// There is no field of that name, or the value is not of its type.
    #[error("settings: {0}")]
    Unreadable(String),
    /// No such net.
    #[error(transparent)]
    UnknownArchitecture(#[from] UnknownArchitecture),
}

/// Errors unless `holds`: unless the `value` of `field` is in `range`, which a message can name.
pub fn check_field(field: &'static str, value: impl Display, holds: bool, range: &str) -> Result<(), OptionError> {
    let out_of_range = || OptionError::OutOfRange { field, value: value.to_string(), range: range.to_string() };
    if holds { Ok(()) } else { Err(out_of_range()) }
}

/// Returns each field of the struct or map `settings` as TOML, by its name with hyphens; what is
/// `None` is left out. As text, since a table of TOML's values would hold no number above 2^63.
pub(crate) fn toml_lines(settings: &impl Serialize) -> Result<BTreeMap<String, String>, OptionError> {
    let unreadable = |message: String| OptionError::Unreadable(message.trim().replace('\n', " "));
    let text = toml::to_string(settings).map_err(|error| unreadable(error.to_string()))?;
    let entry = |line: &str| {
        let (name, value) = line.split_once(" = ")?;
        Some((name.replace('_', "-"), value.to_string()))
    };
    let entries = text.lines().map(entry).collect::<Option<_>>();
    entries.ok_or_else(|| unreadable(format!("each value must fit on a line, unlike in {text:?}")))
}

impl Default for TrainOptions {
    /// Returns [`Self::quick`].
    fn default() -> Self {
        Self::quick()
    }
}

impl TrainOptions {
    /// Passes over the training images in [`Self::quick`].
    pub(crate) const QUICK_EPOCHS: u64 = 2;

    /// Returns the settings of a quick run: ResNet-20 with stochastic depth to 99 % on MNIST, in
    /// some minutes on two cores.
    pub fn quick() -> Self {
        Self {
            model: Model::Stochastic,
            arch: "resnet20".into(),
            data: DataSet::EMBEDDED.into(),
            validation: 5000,
            batch_size: 64,
            steps: Self::QUICK_EPOCHS * (55_000 / 64),
            eval_every: 287,
            // Few enough for small GPUs, enough to keep large ones busy and to make little of what
            // each dispatch costs.
            eval_batch: 250,
            evaluate_on: EvaluateOn::Validation,
            test_every: 0,
            bn_recalibrate: 0,
            optimizer: OptimizerKind::Adam,
            lr: 5e-3,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            lr_schedule: LearningRateSchedule::Cosine,
            warmup_steps: 100,
            survival: Rule::Linear,
            survival_first: 1.0,
            survival_last: 0.5,
            gate_sampling: GateSampling::Independent,
            branch_scale: BranchScale::Eval,
            dropped_update: DroppedUpdate::ZeroGrad,
            dropout: 0.0,
            label_smoothing: 0.1,
            initialisation: Init::KaimingNormal,
            norm_epsilon: NormSettings::PYTORCH.epsilon,
            norm_momentum: NormSettings::PYTORCH.momentum,
            seed: 0,
            shuffle: true,
            on_nan: OnNan::Stop,
            record_gradients: false,
        }
    }

    /// Returns the settings of the notebook's run: ResNet-50 with stochastic depth, batch 400,
    /// 1,000 steps, evaluated on a random test batch after each.
    pub fn notebook() -> Self {
        Self {
            arch: "resnet50".into(),
            validation: 0,
            batch_size: 400,
            steps: 1000,
            eval_every: 1,
            eval_batch: 400,
            evaluate_on: EvaluateOn::TestBatch,
            lr: 1e-3,
            lr_schedule: LearningRateSchedule::Constant,
            warmup_steps: 0,
            survival: Rule::Linspace,
            survival_last: 0.6,
            dropout: 0.4,
            label_smoothing: 0.0,
            initialisation: Init::GlorotUniform,
            norm_epsilon: NormSettings::NOTEBOOK.epsilon,
            norm_momentum: NormSettings::NOTEBOOK.momentum,
            ..Self::quick()
        }
    }

    /// Returns these settings with those `given` in their place: values as TOML, by the names that
    /// `config.toml` uses.
    pub(crate) fn with(&self, given: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        let unreadable = |message: &str| OptionError::Unreadable(message.trim().replace('\n', " "));
        let mut all = toml_lines(self)?;
        all.extend(given.clone());
        let text: String = all.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        toml::from_str(&text).map_err(|error| unreadable(error.message()))
    }

    /// Checks every setting against its range, and against `train` and `test`, the images there are.
    pub fn check(&self, train: usize, test: usize) -> Result<(), OptionError> {
        let left = train.saturating_sub(self.validation);
        let unit = |x: f64| (0.0..1.0).contains(&x);
        let probability = |x: f64| x > 0.0 && x <= 1.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        check_field(
            "validation",
            self.validation,
            self.validation < train,
            &format!("less than the {train} training images"),
        )?;
        let batch_range = format!("from 1 to the {left} training images left by `validation`");
        check_field("batch_size", self.batch_size, (1..=left).contains(&(self.batch_size as usize)), &batch_range)?;
        let evaluated = match self.evaluate_on {
            EvaluateOn::Validation => test.max(self.validation),
            EvaluateOn::TestBatch => test,
        };
        let eval_range = format!("from 1 to the {evaluated} images evaluated");
        check_field("eval_batch", self.eval_batch, (1..=evaluated).contains(&(self.eval_batch as usize)), &eval_range)?;
        check_field("steps", self.steps, (1..=MOST_STEPS).contains(&self.steps), &format!("from 1 to {MOST_STEPS}"))?;
        check_field("eval_every", self.eval_every, self.eval_every > 0, "at least 1")?;
        let recalibrates = self.bn_recalibrate <= self.steps;
        check_field("bn_recalibrate", self.bn_recalibrate, recalibrates, "at most the number of steps")?;
        check_field(
            "lr",
            self.lr,
            self.lr > 0.0 && self.lr <= HIGHEST_RATE,
            &format!("above 0, at most {HIGHEST_RATE:e}"),
        )?;
        check_field("momentum", self.momentum, unit(self.momentum), "in [0, 1)")?;
        check_field("weight_decay", self.weight_decay, not_negative(self.weight_decay), "a number, 0 or more")?;
        check_field("warmup_steps", self.warmup_steps, self.warmup_steps <= self.steps, "at most the number of steps")?;
        check_field("survival_first", self.survival_first, probability(self.survival_first), "in (0, 1]")?;
        check_field("survival_last", self.survival_last, probability(self.survival_last), "in (0, 1]")?;
        check_field("dropout", self.dropout, unit(self.dropout.into()), "in [0, 1)")?;
        check_field("label_smoothing", self.label_smoothing, unit(self.label_smoothing.into()), "in [0, 1)")?;
        let nesterov = !self.nesterov || self.momentum > 0.0;
        check_field("nesterov", self.nesterov, nesterov, "used with a `momentum` above 0")
    }

    /// Whether there are evaluations on the way.
    pub fn evaluates(&self) -> bool {
        self.evaluate_on == EvaluateOn::TestBatch || self.validation > 0
    }

    /// The net, for images of `in_channels` channels and `classes` classes.
    pub fn net(&self, in_channels: u32, classes: u32) -> Result<ResNet, OptionError> {
        let mut net = ResNet::named(&self.arch, in_channels, classes)?;
        net.dropout = self.dropout;
        net.norm = NormSettings { epsilon: self.norm_epsilon, momentum: self.norm_momentum };
        Ok(net)
    }

    /// Number of residual blocks of the net, which no image changes.
    pub fn blocks(&self) -> Result<usize, OptionError> {
        Ok(self.net(1, 10)?.blocks.len())
    }

    /// Survival probability of each of `blocks` blocks: all 1 for the plain net.
    pub fn survival_probabilities(&self, blocks: usize) -> Result<Vec<f64>, OptionError> {
        let (rule, first, last) = match self.model {
            Model::Resnet => (Rule::Uniform, 1.0, 1.0),
            Model::Stochastic => (self.survival, self.survival_first, self.survival_last),
        };
        survival::probabilities(rule, first, last, blocks).map_err(|error| OptionError::OutOfRange {
            field: "survival_last",
            value: error.0.to_string(),
            range: "in (0, 1]".into(),
        })
    }

    /// Errors unless `probabilities` are in (0, 1], one for each of `blocks` blocks.
    pub(crate) fn check_survival(&self, probabilities: &[f64], blocks: usize) -> Result<(), OptionError> {
        let is_probability = |p: &f64| *p > 0.0 && *p <= 1.0;
        let holds = probabilities.len() == blocks && probabilities.iter().all(is_probability);
        let range = format!("one number in (0, 1] for each of the {blocks} blocks");
        check_field("survival_probabilities", format!("{probabilities:?}"), holds, &range)
    }

    /// Returns the options of a plan for training on `data`, on a device of these `limits`, of a
    /// net whose blocks survive with the probabilities `survival`.
    pub fn plan_options(&self, survival: Vec<f64>, data: DataSizes, limits: Limits) -> PlanOptions {
        PlanOptions {
            data,
            training: Some(TrainingOptions {
                batch: self.batch_size,
                optimizer: self.optimizer(),
                label_smoothing: self.label_smoothing,
                record_gradients: self.record_gradients,
                recalibration: self.bn_recalibrate > 0,
            }),
            eval_batch: self.eval_batch,
            survival,
            branch_scale: self.branch_scale,
            limits,
        }
    }

    /// The optimiser and its constants.
    pub fn optimizer(&self) -> Optimizer {
        let &Self { momentum, nesterov, weight_decay, .. } = self;
        match self.optimizer {
            OptimizerKind::Adam => Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay },
            OptimizerKind::Sgd => Optimizer::Sgd { momentum, nesterov, weight_decay },
        }
    }
}

/// The longest run: steps are counted in 32 bits on the device.
pub const MOST_STEPS: u64 = u32::MAX as u64;

/// The device knows the learning rate, and its quotient by Adam's bias correction, in f32: an infinite one would spoil
/// the weights in an update that has no fault to find.
const HIGHEST_RATE: f64 = 1e30;
