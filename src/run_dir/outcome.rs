//! What a run that ended well leaves: `summary.json`, and before it `predictions.csv`.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::durable;
use super::error::{RunError, read_error, write_error};
use crate::train::{EvalRecord, Outcome, Prediction, TrainOptions};

/// Name of the predictions in a run directory.
pub const PREDICTIONS: &str = "predictions.csv";
/// Its first line.
const COLUMNS: &str = "image,label,predicted,probability";

/// The contents of `summary.json`. A run directory without one is of a run that has not ended, or not well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Training steps.
    pub steps: u64,
    /// Wall time of the run, evaluations included, without the time between a stop and its resumption.
    pub seconds: f64,
    /// Wall time of the training steps.
    pub step_seconds: f64,
    /// Training images in a second, by the time of the training steps.
    pub images_per_second: f64,
    /// Share of all blocks in all steps that ran.
    pub blocks_run: f64,
    /// Steps whose update was left out because a value was not finite.
    pub steps_left_out: u64,
    /// Seconds that all training steps would have taken with all gates on, by measurements along the run; `None`
    /// without a measurement, as where every gate was on anyway.
    pub all_gates_seconds: Option<f64>,
    /// Those measurements.
    pub all_gates_measurements: usize,
    /// The last weights on the test images.
    pub test: Test,
    /// The best weights on the test images, if any were chosen.
    pub best: Option<Test>,
}

/// A test on all test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Step of the weights, from 1.
    pub step: u64,
    /// Mean loss; `None` if it is not finite.
    pub loss: Option<f64>,
    /// Share of correct predictions.
    pub accuracy: f64,
    /// Number of images.
    pub images: usize,
}

impl From<&EvalRecord> for Test {
    fn from(record: &EvalRecord) -> Self {
        let &EvalRecord { step, loss, accuracy, images, .. } = record;
        Self { step, loss: Some(loss).filter(|loss| loss.is_finite()), accuracy, images }
    }
}

impl Summary {
    /// Name of the file in a run directory.
    pub const FILE: &str = "summary.json";

    /// Of a run under `settings` that ended in `outcome`.
    pub fn new(outcome: &Outcome, settings: &TrainOptions) -> Self {
        let step_seconds = outcome.step_time.as_secs_f64();
        let images = settings.steps as f64 * f64::from(settings.batch_size);
        let (all_gates, all_gates_measurements) = outcome.all_gates_time.unzip();
        Self {
            steps: settings.steps,
            seconds: outcome.time.as_secs_f64(),
            step_seconds,
            images_per_second: images / step_seconds.max(1e-9),
            blocks_run: outcome.blocks_run,
            steps_left_out: outcome.steps_left_out,
            all_gates_seconds: all_gates.map(|time| time.as_secs_f64()),
            all_gates_measurements: all_gates_measurements.unwrap_or(0),
            test: Test::from(&outcome.test),
            best: outcome.best.as_ref().map(Test::from),
        }
    }

    /// The summary of the run in `folder`; `None` if it has not ended, or not well.
    pub fn read(folder: &Path) -> Result<Option<Self>, RunError> {
        let path = folder.join(Self::FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(read_error(&path))?,
        };
        let line = |error: serde_json::Error| RunError::Line { path, number: error.line(), message: error.to_string() };
        serde_json::from_str(&text).map(Some).map_err(line)
    }

    /// Writes the file into the run directory `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<(), RunError> {
        let path = folder.join(Self::FILE);
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other);
        let written = text.and_then(|text| durable::write(&path, format!("{text}\n").as_bytes()));
        written.map_err(write_error(&path))
    }
}

/// The predictions of the run in `folder`; none if it has not ended, or not well.
pub fn read_predictions(folder: &Path) -> Result<Vec<Prediction>, RunError> {
    let path = folder.join(PREDICTIONS);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(read_error(&path))?,
    };
    let line = |number: usize, message: String| RunError::Line { path: path.clone(), number, message };
    let mut lines = text.lines().zip(1..);
    if lines.next().is_none_or(|(head, _)| head != COLUMNS) {
        return Err(line(1, format!("should be {COLUMNS}")));
    }
    let parse = |(text, number)| {
        prediction(text).ok_or_else(|| line(number, format!("{COLUMNS} are needed, as in 7,9,4,0.83")))
    };
    lines.map(parse).collect()
}

fn prediction(line: &str) -> Option<Prediction> {
    let mut cells = line.split(',');
    let mut next = || cells.next();
    let prediction = Prediction {
        image: next()?.parse().ok()?,
        label: next()?.parse().ok()?,
        predicted: next()?.parse().ok()?,
        probability: next()?.parse().ok()?,
    };
    next().is_none().then_some(prediction)
}

/// Writes the predictions of the last weights into the run directory `folder`: a line for each test image.
pub(super) fn write_predictions(folder: &Path, predictions: &[Prediction]) -> Result<(), RunError> {
    let mut text = format!("{COLUMNS}\n");
    for Prediction { image, label, predicted, probability } in predictions {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{image},{label},{predicted},{probability}");
    }
    let path = folder.join(PREDICTIONS);
    durable::write(&path, text.as_bytes()).map_err(write_error(&path))
}
