//! Events of a run, observers of them, and the outcome.

use std::borrow::Cow;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use super::checkpoint::Checkpoint;
use super::engine::StepTiming;
use super::predict::Prediction;
use crate::device::DeviceError;
use crate::model::weights::Weights;
use crate::plan::{DispatchRow, Gates};

/// Something that has happened in a run.
///
/// [`Step`](Self::Step) and [`Eval`](Self::Eval) are the lines of `metrics.jsonl`: this type writes
/// them and reads them. They are functions of settings and seed. The other events have no line
/// there, and serde refuses them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Event<'a> {
    /// A new run begins with these weights.
    #[serde(skip)]
    Initial(&'a Weights),
    /// A step is about to be submitted, up to [`IN_FLIGHT`](super::IN_FLIGHT) steps before it is
    /// done.
    #[serde(skip)]
    Trace(TraceRecord<'a>),
    /// The time of the step that comes next.
    #[serde(skip)]
    Timing(TimingRecord),
    /// A step is done.
    #[serde(rename = "train")]
    Step(StepRecord),
    /// A step was not finite, and the run goes on. Comes before the step itself.
    #[serde(skip)]
    NotFinite(NotFiniteRecord),
    /// An evaluation is done.
    #[serde(rename = "eval")]
    Eval(EvalRecord),
    /// The weights after `step` steps: some times in a run, after the last step, and before a run
    /// that is not finite ends.
    #[serde(skip)]
    LastWeights {
        /// Steps done.
        step: u64,
        /// Parameters and running statistics.
        weights: &'a Weights,
    },
    /// The weights after `step` steps are the best on the validation images so far.
    #[serde(skip)]
    BestWeights {
        /// Steps done.
        step: u64,
        /// Parameters and running statistics.
        weights: &'a Weights,
    },
    /// The run can go on from here, and never has to go on from anywhere earlier.
    #[serde(skip)]
    Checkpoint(&'a Arc<Checkpoint>),
    /// The device was lost; the steps behind step `goes_on_from` are computed once more, on another
    /// one.
    #[serde(skip)]
    DeviceLost {
        /// The device's error.
        error: &'a DeviceError,
        /// Step of the checkpoint that the run goes back to.
        goes_on_from: u64,
    },
    /// A step or an evaluation that [`Trainer::profile`](super::Trainer::profile) asked for.
    #[serde(skip)]
    Profile(ProfileRecord<'a>),
}

impl Event<'_> {
    /// The step that it is about, from 1; 0 for what comes before the first.
    pub fn step(&self) -> u64 {
        match self {
            Self::Initial(_) => 0,
            Self::Trace(TraceRecord { step, .. })
            | Self::Timing(TimingRecord { step, .. })
            | Self::Step(StepRecord { step, .. })
            | Self::NotFinite(NotFiniteRecord { step, .. })
            | Self::Eval(EvalRecord { step, .. })
            | Self::LastWeights { step, .. }
            | Self::BestWeights { step, .. }
            | Self::DeviceLost { goes_on_from: step, .. }
            | Self::Profile(ProfileRecord::Step { step, .. } | ProfileRecord::Evaluation { step, .. }) => *step,
            Self::Checkpoint(checkpoint) => checkpoint.counters.step,
        }
    }
}

/// A training step: a line of `metrics.jsonl` of the kind `train`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// From 1.
    pub step: u64,
    /// From 0.
    pub epoch: u64,
    /// Mean loss over the batch; NaN where a file says `null`, as it does for all that is not
    /// finite.
    #[serde(deserialize_with = "null_as_nan")]
    pub loss: f64,
    /// Share of correct predictions in the batch, in [0, 1].
    pub accuracy: f64,
    /// Learning rate.
    pub lr: f64,
    /// Which blocks ran.
    pub gates: Gates,
    /// Whether its update was left out, because a value was not finite.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
    /// Mean absolute gradient of the first convolution's weights, of the loss alone; `None` if it
    /// is not recorded, or where a file says `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_gradient: Option<f64>,
}

/// The time of a step: a line of `timing.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimingRecord {
    /// From 1.
    pub step: u64,
    /// Wall time since the step before was done, in seconds, evaluations apart.
    pub seconds: f64,
    /// Images of the batch by that time.
    pub images_per_second: f64,
}

impl TimingRecord {
    /// Returns the record of `step`, from 1, which took `time` for `images` images.
    pub(super) fn new(step: u64, time: Duration, images: u32) -> Self {
        let seconds = time.as_secs_f64();
        Self { step, seconds, images_per_second: f64::from(images) / seconds.max(1e-9) }
    }
}

/// Everything needed, with initial weights and settings, to replay a step elsewhere: a line of
/// `trace/steps.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceRecord<'a> {
    /// From 1.
    pub step: u64,
    /// Images of the batch, by their place in the training file.
    pub indices: Cow<'a, [u32]>,
    /// Which blocks run.
    pub gates: Cow<'a, Gates>,
    /// Learning rate.
    pub lr: f64,
    /// Dropout mask: the Philox key.
    pub dropout_seed: u64,
    /// Dropout mask: the Philox counter's third word.
    pub dropout_step: u32,
}

/// A step whose loss or gradient was not finite, after which the run goes on.
#[derive(Clone, Debug)]
pub struct NotFiniteRecord {
    /// From 1.
    pub step: u64,
    /// The first value that was not finite, described.
    pub first: String,
    /// Step of the weights and moments that the run goes on with; the step's own update was left
    /// out.
    pub goes_on_from: u64,
}

/// Which weights were evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhichWeights {
    /// Those of the step.
    #[default]
    Last,
    /// The best on the validation images.
    Best,
}

impl WhichWeights {
    fn is_last(&self) -> bool {
        *self == Self::Last
    }
}

/// Which images a net was evaluated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvalSplit {
    /// All validation images.
    Validation,
    /// One random batch of test images.
    TestBatch,
    /// All test images.
    Test,
}

impl EvalSplit {
    /// All, in the order of their columns in tables.
    pub const ALL: [Self; 3] = [Self::Validation, Self::TestBatch, Self::Test];

    /// Returns the name that metrics have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::TestBatch => "test-batch",
            Self::Test => "test",
        }
    }
}

/// An evaluation: a line of `metrics.jsonl` of the kind `eval`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvalRecord {
    /// Which images.
    pub split: EvalSplit,
    /// Step of the weights, from 1.
    pub step: u64,
    /// Which weights; a line names them only if they are not the last.
    #[serde(default, skip_serializing_if = "WhichWeights::is_last")]
    pub weights: WhichWeights,
    /// Mean loss; NaN where a file says `null`, as it does for all that is not finite.
    #[serde(deserialize_with = "null_as_nan")]
    pub loss: f64,
    /// Share of correct predictions, in [0, 1].
    pub accuracy: f64,
    /// Number of images.
    pub images: usize,
}

fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A step or an evaluation, timed for the profile of a run.
#[derive(Clone, Debug)]
pub enum ProfileRecord<'a> {
    /// A step, dispatch by dispatch.
    Step {
        /// From 1.
        step: u64,
        /// Its dispatches, in the order of `timing`.
        rows: &'a [DispatchRow],
        /// When they ran.
        timing: &'a StepTiming,
    },
    /// An evaluation after one of the steps.
    Evaluation {
        /// Step of the weights, from 1.
        step: u64,
        /// When it began.
        began: Instant,
        /// How long it took.
        time: Duration,
    },
}

/// Listens to a run. Closures are observers.
///
/// An event comes once, also if the run computes the step again after the device was lost.
pub trait Observer {
    /// Takes notice of `event`.
    ///
    /// `Break` stops the run as a signal does: with a checkpoint, where checkpoints are made, after
    /// the step that was submitted last; [`Trainer::run`](super::Trainer::run) then returns
    /// [`TrainError::Interrupted`](super::TrainError::Interrupted). An error ends the run at once.
    fn observe(&mut self, event: &Event<'_>) -> io::Result<ControlFlow<()>>;
}

impl<F: FnMut(&Event<'_>) -> io::Result<ControlFlow<()>>> Observer for F {
    fn observe(&mut self, event: &Event<'_>) -> io::Result<ControlFlow<()>> {
        self(event)
    }
}

/// How a run ended that did all of its steps.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The last weights on the test images.
    pub test: EvalRecord,
    /// Predictions of the last weights, one for each test image, in the order of the file.
    pub predictions: Vec<Prediction>,
    /// The best weights on the test images, if any were chosen.
    pub best: Option<EvalRecord>,
    /// Steps whose update was left out because a value was not finite.
    pub steps_left_out: u64,
    /// Wall time of the run, evaluations included, without the time between a stop and its
    /// resumption.
    pub time: Duration,
    /// Wall time of the training steps.
    pub step_time: Duration,
    /// Share of all blocks in all steps that ran, in [0, 1].
    pub blocks_run: f64,
    /// Time that the steps would have taken with all gates on, by measurements along the run of
    /// steps whose update was not applied, and the number of measurements; `None` if every gate was
    /// on anyway.
    pub all_gates_time: Option<(Duration, usize)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(loss: f64, left_out: bool, first_gradient: Option<f64>) -> Event<'static> {
        let gates = Gates(vec![true, false, true]);
        Event::Step(StepRecord { step: 7, epoch: 1, loss, accuracy: 0.5, lr: 1e-3, gates, left_out, first_gradient })
    }

    fn evaluation(split: EvalSplit, weights: WhichWeights, loss: f64) -> Event<'static> {
        Event::Eval(EvalRecord { split, step: 7, weights, loss, accuracy: 1.0, images: 60 })
    }

    /// Lines as every version has written them: run directories depend on each byte.
    #[test]
    fn lines_are_written_and_read_alike() {
        use EvalSplit::{Test, TestBatch, Validation};
        use WhichWeights::{Best, Last};
        let train = r#"{"kind":"train","step":7,"epoch":1,"loss":LOSS,"accuracy":0.5,"lr":0.001,"gates":"101"MORE}"#;
        let train = |loss: &str, more: &str| train.replace("LOSS", loss).replace("MORE", more);
        let eval = |names: &str, loss: &str| {
            let [head, tail] = [r#"{"kind":"eval","split":"#, r#","accuracy":1.0,"images":60}"#];
            format!("{head}{names},\"loss\":{loss}{tail}")
        };
        let lines = [
            (step(2.25, false, None), train("2.25", "")),
            (step(f64::NAN, true, None), train("null", r#","left_out":true"#)),
            (step(0.1, false, Some(0.125)), train("0.1", r#","first_gradient":0.125"#)),
            (evaluation(Validation, Last, 0.5), eval(r#""validation","step":7"#, "0.5")),
            (evaluation(TestBatch, Last, f64::NAN), eval(r#""test-batch","step":7"#, "null")),
            (evaluation(Test, Best, 1e-9), eval(r#""test","step":7,"weights":"best""#, "1e-9")),
        ];
        for (event, line) in lines {
            assert_eq!(serde_json::to_string(&event).expect("a line"), line);
            let read: Event<'static> = serde_json::from_str(&line).expect("an event");
            // Text, as a NaN is not equal to itself.
            assert_eq!(format!("{read:?}"), format!("{event:?}"));
        }
        // An infinite number comes back as NaN, or as not recorded.
        let infinite = serde_json::to_string(&step(f64::INFINITY, false, Some(f64::INFINITY))).expect("a line");
        assert_eq!(infinite, train("null", r#","first_gradient":null"#));
        let read: Event<'static> = serde_json::from_str(&infinite).expect("an event");
        assert!(matches!(read, Event::Step(StepRecord { loss, first_gradient: None, .. }) if loss.is_nan()));
    }

    #[test]
    fn fields_of_newer_versions_are_no_error_and_foreign_values_are() {
        let line = r#"{"kind":"eval","split":"test","step":1,"loss":1,"accuracy":0.5,"images":4,"seconds":[1]}"#;
        assert!(serde_json::from_str::<Event<'_>>(line).is_ok());
        for (from, to) in [("\"test\"", "\"moon\""), ("eval", "checkpoint"), ("\"images\":4,", ""), ("1,", "-1,")] {
            let foreign = line.replacen(from, to, 1);
            assert!(serde_json::from_str::<Event<'_>>(&foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn events_without_a_line_are_not_written() {
        assert!(serde_json::to_string(&Event::Initial(&Weights::default())).is_err());
    }

    #[test]
    fn images_to_evaluate_on_have_one_name() {
        for split in EvalSplit::ALL {
            assert_eq!(serde_json::to_value(split).expect("a name"), split.name());
        }
    }
}
