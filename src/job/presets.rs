//! From a preset and what is asked for to [`TrainOptions`]: defaults computed, everything checked.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::JobError;
use crate::data::DataSet;
use crate::model::survival::Rule;
use crate::plan::BranchScale;
use crate::train::{EvaluateOn, MOST_STEPS, Model, OptimizerKind, OptionError, TrainOptions, check_field, toml_lines};

/// Evaluations of a run, unless `eval_every` says otherwise.
const EVALUATIONS: u64 = 6;

/// A set of defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// MNIST to 99 % in some minutes on two cores.
    #[default]
    Quick,
    /// The notebook's run.
    #[serde(alias = "seed")]
    Notebook,
}

/// How long a preset trains.
enum Length {
    Epochs(u64),
    Steps(u64),
}

impl Preset {
    fn options(self) -> (TrainOptions, Length) {
        match self {
            Self::Quick => (TrainOptions::quick(), Length::Epochs(TrainOptions::QUICK_EPOCHS)),
            Self::Notebook => {
                let options = TrainOptions::notebook();
                let steps = Length::Steps(options.steps);
                (options, steps)
            }
        }
    }
}

/// Wishes for a run. Fields that are left open come from the preset, and those that it leaves open
/// from the data.
#[derive(Clone, Debug)]
pub struct Request {
    preset: Preset,
    /// Settings as TOML, by the names that `config.toml` uses.
    given: BTreeMap<String, String>,
    epochs: Option<u64>,
    drop_path: Option<f64>,
}

impl Request {
    /// Asks for the settings of `preset`.
    pub fn new(preset: Preset) -> Self {
        Self { preset, given: BTreeMap::new(), epochs: None, drop_path: None }
    }

    /// Asks for `value` in the field of [`TrainOptions`] that is called `field`, which counts as
    /// given from now on.
    pub fn set(mut self, field: &str, value: impl Serialize) -> Result<Self, OptionError> {
        self.given.extend(toml_lines(&BTreeMap::from([(field, value)]))?);
        Ok(self)
    }

    /// Asks for all fields that the struct `settings` has: those that are `None` or false stay
    /// open.
    pub fn set_all(mut self, settings: &impl Serialize) -> Result<Self, OptionError> {
        self.given.extend(toml_lines(settings)?.into_iter().filter(|(_, value)| value != "false"));
        Ok(self)
    }

    /// Asks for so many passes over the training images.
    pub fn epochs(mut self, epochs: Option<u64>) -> Self {
        self.epochs = epochs;
        self
    }

    /// Asks for stochastic depth as timm does it, by the drop rate of the last block.
    pub fn drop_path(mut self, rate: Option<f64>) -> Self {
        self.drop_path = rate;
        self
    }

    /// Returns whether `field` was asked for.
    fn has(&self, field: &str) -> bool {
        self.given.contains_key(&field.replace('_', "-"))
    }

    /// Returns the settings on `data`. Errors at the first that is out of its range or has no
    /// effect.
    pub fn resolve(&self, data: &DataSet) -> Result<TrainOptions, JobError> {
        let (preset, length) = self.preset.options();
        let mut options = preset.with(&self.given)?;
        options.data = location(&data.name);
        self.resolve_validation(&mut options, data);
        self.resolve_drop_path(&mut options)?;
        // A default must not stand in the way of a small run or a small data set, here and below.
        let train_images = data.train.len().saturating_sub(options.validation) as u64;
        if !self.has("batch_size") {
            options.batch_size = options.batch_size.min(train_images as u32);
        }
        let batches = train_images.checked_div(options.batch_size.into()).unwrap_or(0);
        self.resolve_steps(&mut options, &length, batches)?;
        self.resolve_evaluations(&mut options, data, batches);
        if !self.has("warmup_steps") {
            options.warmup_steps = options.warmup_steps.min(options.steps / 2);
        }
        options.check(data.train.len(), data.test.len())?;
        self.check_effects(&options)?;
        Ok(options)
    }

    /// Holds a twelfth of the training images out, but none where nothing is chosen by them.
    fn resolve_validation(&self, options: &mut TrainOptions, data: &DataSet) {
        if !self.has("validation") {
            let on_test = options.evaluate_on == EvaluateOn::TestBatch;
            options.validation = if on_test { 0 } else { data.train.len() / 12 };
        }
        if options.validation > 0 && !self.has("evaluate_on") {
            options.evaluate_on = EvaluateOn::Validation;
        }
    }

    fn resolve_drop_path(&self, options: &mut TrainOptions) -> Result<(), OptionError> {
        let Some(rate) = self.drop_path else { return Ok(()) };
        check_field("drop_path", rate, (0.0..1.0).contains(&rate), "in [0, 1)")?;
        options.survival = Rule::Linspace;
        options.survival_first = 1.0;
        options.survival_last = 1.0 - rate;
        options.branch_scale = BranchScale::Train;
        Ok(())
    }

    fn resolve_steps(&self, options: &mut TrainOptions, length: &Length, batches: u64) -> Result<(), OptionError> {
        if let Some(epochs) = self.epochs {
            let most = MOST_STEPS / batches.max(1);
            check_field("epochs", epochs, (1..=most).contains(&epochs), &format!("from 1 to {most}"))?;
        }
        if !self.has("steps") {
            options.steps = match (self.epochs, length) {
                (None, Length::Steps(steps)) => *steps,
                (Some(epochs), _) | (None, &Length::Epochs(epochs)) => epochs * batches,
            };
        }
        Ok(())
    }

    fn resolve_evaluations(&self, options: &mut TrainOptions, data: &DataSet, batches: u64) {
        let on_test = options.evaluate_on == EvaluateOn::TestBatch;
        if !self.has("eval_every") {
            // At most an epoch apart, and no closer than the evaluations are long; in the notebook
            // there is one after each step.
            let length = (options.validation as u64).div_ceil(u64::from(options.batch_size.max(1)));
            let every = options.steps.div_ceil(EVALUATIONS).max(length).clamp(1, batches.max(1));
            let each_step = on_test || self.preset == Preset::Notebook;
            options.eval_every = if each_step { 1 } else { every };
        }
        if !self.has("eval_batch") {
            let evaluated = if on_test { data.test.len() } else { data.test.len().max(options.validation) };
            // As in the notebook: an evaluation is as large as a step.
            let usual = if on_test { options.batch_size } else { options.eval_batch };
            options.eval_batch = usual.min(evaluated as u32);
        }
    }

    /// Errors at the first field asked for that changes nothing beside what `options` have come to.
    fn check_effects(&self, options: &TrainOptions) -> Result<(), OptionError> {
        let adam = (options.optimizer == OptimizerKind::Adam, "`optimizer` adam");
        let plain = (options.model == Model::Resnet, "`model` resnet");
        let uniform = (options.survival == Rule::Uniform, "`survival` uniform");
        let unjudged = (!options.evaluates(), "`validation` 0");
        let fields = [
            ("eval_every", unjudged),
            ("momentum", adam),
            ("nesterov", adam),
            ("survival", plain),
            ("survival_first", plain),
            ("survival_last", plain),
            ("gate_sampling", plain),
            ("branch_scale", plain),
            ("dropped_update", plain),
            ("drop_path", plain),
            ("survival_first", uniform),
        ];
        let given = |field: &str| self.has(field) || (field == "drop_path" && self.drop_path.is_some());
        match fields.into_iter().find(|(field, (idle, _))| *idle && given(field)) {
            Some((field, (_, beside))) => Err(OptionError::NoEffect { field, beside }),
            None => Ok(()),
        }
    }
}

/// Returns `source` as it is found from any folder: a run may be evaluated from another one.
pub(super) fn location(source: &str) -> String {
    if source == DataSet::EMBEDDED { source.into() } else { crate::run_dir::absolute(source.as_ref()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mnist() -> DataSet {
        DataSet::load(DataSet::EMBEDDED).expect("the embedded set")
    }

    #[test]
    fn presets_are_what_a_request_for_nothing_else_comes_to() {
        let data = mnist();
        let resolved = |preset| Request::new(preset).resolve(&data).expect("options");
        assert_eq!(resolved(Preset::Quick), TrainOptions::quick());
        assert_eq!(resolved(Preset::Notebook), TrainOptions::notebook());
        assert_eq!(TrainOptions::default(), TrainOptions::quick());
    }

    #[test]
    fn the_notebook_evaluates_after_each_step_on_whatever_images() {
        let request = Request::new(Preset::Notebook).set("validation", 500).expect("a number");
        let options = request.resolve(&mnist()).expect("options");
        assert_eq!((options.evaluate_on, options.eval_every), (EvaluateOn::Validation, 1));
    }

    #[test]
    fn fields_are_known_by_their_names_alone() {
        let request = |field: &str, value: &str| Request::new(Preset::Quick).set(field, value).expect("a text");
        let error = request("batch_sizes", "3").resolve(&mnist()).expect_err("no such field").to_string();
        assert!(error.contains("batch-sizes"), "{error}");
        let error = request("batch_size", "three").resolve(&mnist()).expect_err("no number").to_string();
        assert!(error.contains("three"), "{error}");
        // Numbers that no table of TOML's values holds.
        let request = Request::new(Preset::Quick).set("seed", u64::MAX).expect("a number");
        assert_eq!(request.resolve(&mnist()).expect("options").seed, u64::MAX);
        let error = Request::new(Preset::Quick).set("lr", f64::NAN).and_then(|request| {
            request.resolve(&mnist()).map_err(|error| match error {
                JobError::Options(error) => error,
                error => panic!("{error}"),
            })
        });
        assert_eq!(error.expect_err("out of range").to_string(), "`lr` is NaN; it must be above 0, at most 1e30");
    }
}
