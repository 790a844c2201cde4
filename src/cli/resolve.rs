//! From flags and data to [`TrainOptions`]: presets filled in, defaults computed, everything checked.

use std::path::Path;

use super::BadInput;
use super::args::{ModelArgs, NetArgs, Preset, TrainingArgs};
use crate::data::DataSet;
use crate::model::init::Init;
use crate::model::resnet::NormSettings;
use crate::model::survival::Rule;
use crate::plan::{BranchScale, GateSampling};
use crate::train::{
    DroppedUpdate, EvaluateOn, LearningRateSchedule, MOST_STEPS, Model, OnNan, OptimizerKind, TrainOptions, check_flag,
};

/// Images in an evaluation batch, unless a preset or `--eval-batch` says otherwise: few enough for small GPUs, enough
/// to keep large ones busy and to make little of what each dispatch costs.
pub(super) const EVAL_BATCH: u32 = 250;

/// Evaluations of a run, unless `--eval-every` says otherwise.
const EVALUATIONS: u64 = 6;

/// How long a preset trains.
enum Length {
    Epochs(u64),
    Steps(u64),
}

/// The preset's settings; `validation`, `steps` and `eval_every` are filled in by [`resolve`].
fn preset(preset: Preset, model: Model) -> (TrainOptions, Length) {
    let quick = TrainOptions {
        model,
        arch: "resnet20".into(),
        data: DataSet::EMBEDDED.into(),
        validation: 0,
        batch_size: 64,
        steps: 0,
        eval_every: 0,
        eval_batch: EVAL_BATCH,
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
    };
    match preset {
        Preset::Quick => (quick, Length::Epochs(2)),
        Preset::Seed => {
            let seed = TrainOptions {
                arch: "resnet50".into(),
                batch_size: 400,
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
                ..quick
            };
            (seed, Length::Steps(1000))
        }
    }
}

/// The settings that `args` ask for, on `data`; errors at the first that is out of its range or has no effect.
pub fn resolve(args: &ModelArgs, data: &DataSet) -> anyhow::Result<TrainOptions> {
    let ModelArgs { model, net, training: args } = args;
    let (mut options, length) = preset(args.preset, *model);
    set(&mut options.evaluate_on, args.evaluate_on);
    // Nothing is chosen by test batches.
    let twelfth = if options.evaluate_on == EvaluateOn::TestBatch { 0 } else { data.train.len() / 12 };
    options.data = location(&args.data);
    options.seed = args.seed;
    options.shuffle = !args.no_shuffle;
    options.nesterov = args.nesterov;
    options.validation = args.validation.unwrap_or(twelfth);
    if options.validation > 0 && args.evaluate_on.is_none() {
        options.evaluate_on = EvaluateOn::Validation;
    }
    let on_test = options.evaluate_on == EvaluateOn::TestBatch;
    set(&mut options.arch, net.arch.clone());
    set(&mut options.optimizer, args.optimizer);
    set(&mut options.lr, args.lr);
    set(&mut options.momentum, args.momentum);
    set(&mut options.weight_decay, args.weight_decay);
    set(&mut options.lr_schedule, args.lr_schedule);
    set(&mut options.survival, net.survival);
    set(&mut options.survival_first, args.survival_first);
    set(&mut options.survival_last, net.survival_last);
    set(&mut options.gate_sampling, args.gate_sampling);
    set(&mut options.branch_scale, args.branch_scale);
    set(&mut options.dropped_update, args.dropped_update);
    set(&mut options.dropout, args.dropout);
    set(&mut options.label_smoothing, args.label_smoothing);
    if let Some(rate) = args.drop_path {
        check_flag("drop-path", rate, (0.0..1.0).contains(&rate), "in [0, 1)")?;
        options.survival = Rule::Linspace;
        options.survival_first = 1.0;
        options.survival_last = 1.0 - rate;
        options.branch_scale = BranchScale::Train;
    }
    // A default must not stand in the way of a small run or a small data set, here and below.
    let train_images = data.train.len().saturating_sub(options.validation) as u64;
    options.batch_size = args.batch_size.unwrap_or(options.batch_size.min(train_images as u32));
    let batches = train_images.checked_div(options.batch_size.into()).unwrap_or(0);
    if let Some(epochs) = args.epochs {
        let most = MOST_STEPS / batches.max(1);
        check_flag("epochs", epochs, (1..=most).contains(&epochs), &format!("from 1 to {most}"))?;
    }
    options.steps = match (args.steps, args.epochs, length) {
        (Some(steps), _, _) | (None, None, Length::Steps(steps)) => steps,
        (None, Some(epochs), _) | (None, None, Length::Epochs(epochs)) => epochs * batches,
    };
    if on_test {
        // As in the notebook: an evaluation is as large as a step, and there is one after each.
        (options.eval_every, options.eval_batch) = (1, options.batch_size);
    }
    if options.eval_every == 0 {
        // At most an epoch apart, and no closer than the evaluations are long.
        let length = (options.validation as u64).div_ceil(u64::from(options.batch_size.max(1)));
        options.eval_every = options.steps.div_ceil(EVALUATIONS).max(length).clamp(1, batches.max(1));
    }
    set(&mut options.eval_every, args.eval_every);
    set(&mut options.test_every, args.test_every);
    set(&mut options.bn_recalibrate, args.bn_recalibrate);
    options.warmup_steps = args.warmup_steps.unwrap_or(options.warmup_steps.min(options.steps / 2));
    let evaluated = if on_test { data.test.len() } else { data.test.len().max(options.validation) } as u32;
    options.eval_batch = args.eval_batch.unwrap_or(options.eval_batch.min(evaluated));
    options.check(data.train.len(), data.test.len())?;
    check_effects(net, args, &options)?;
    Ok(options)
}

/// Errors at the first flag of `net` or `args` that changes nothing beside what `options` have come to.
fn check_effects(net: &NetArgs, args: &TrainingArgs, options: &TrainOptions) -> Result<(), BadInput> {
    let adam = options.optimizer == OptimizerKind::Adam;
    let plain = options.model == Model::Resnet;
    let uniform = options.survival == Rule::Uniform;
    let without_effect = [
        ("eval-every", args.eval_every.is_some(), !options.evaluates(), "--validation 0"),
        ("momentum", args.momentum.is_some(), adam, "--optimizer adam"),
        ("nesterov", args.nesterov, adam, "--optimizer adam"),
        ("survival", net.survival.is_some(), plain, "--model resnet"),
        ("survival-first", args.survival_first.is_some(), plain, "--model resnet"),
        ("survival-last", net.survival_last.is_some(), plain, "--model resnet"),
        ("gate-sampling", args.gate_sampling.is_some(), plain, "--model resnet"),
        ("branch-scale", args.branch_scale.is_some(), plain, "--model resnet"),
        ("dropped-update", args.dropped_update.is_some(), plain, "--model resnet"),
        ("drop-path", args.drop_path.is_some(), plain, "--model resnet"),
        ("survival-first", args.survival_first.is_some(), uniform, "--survival uniform"),
    ];
    match without_effect.into_iter().find(|(_, given, idle, _)| *given && *idle) {
        Some((flag, _, _, beside)) => Err(BadInput(format!("--{flag} has no effect with {beside}; leave it out"))),
        None => Ok(()),
    }
}

/// `source` as it is found from any folder: a run may be evaluated from another one.
fn location(source: &str) -> String {
    if source == DataSet::EMBEDDED { source.into() } else { absolute(source.as_ref()) }
}

/// `path` as it is found from any folder.
pub fn absolute(path: &Path) -> String {
    std::path::absolute(path).as_deref().unwrap_or(path).display().to_string()
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *setting = value;
    }
}
