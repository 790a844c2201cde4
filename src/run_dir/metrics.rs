//! Metrics as lines of JSON. Numbers are valid JSON always: what is not finite is `null`.

use std::io::{self, Write};

use serde::Serialize;

use crate::train::{EvalRecord, Observer, StepRecord, WhichWeights};

/// A line of `metrics.jsonl`. Field names are part of the format.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum MetricsLine<'a> {
    Train {
        step: u64,
        epoch: u64,
        loss: f64,
        accuracy: f64,
        lr: f64,
        gates: &'a str,
        /// The update was left out, because a value was not finite.
        #[serde(skip_serializing_if = "is_false")]
        left_out: bool,
        /// Not there where it is not recorded.
        #[serde(skip_serializing_if = "Option::is_none")]
        first_gradient: Option<f64>,
    },
    Eval {
        split: &'a str,
        step: u64,
        /// Not there for the last.
        #[serde(skip_serializing_if = "Option::is_none")]
        weights: Option<&'a str>,
        loss: f64,
        accuracy: f64,
        images: usize,
    },
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The test of a file of weights, as a line of JSON.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "eval")]
pub struct TestLine {
    /// `test`.
    pub split: &'static str,
    /// The file.
    pub weights: String,
    /// Mean loss.
    pub loss: f64,
    /// Share of correct predictions.
    pub accuracy: f64,
    /// Number of images.
    pub images: usize,
    /// Wall time of the evaluation, with the data and the weights on the device before it.
    pub seconds: f64,
}

/// Writes a run's metrics to a file or a pipe.
pub struct JsonLines<W> {
    writer: W,
}

impl<W: Write> JsonLines<W> {
    /// Lines go to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer }
    }

    /// Where lines go.
    pub fn writer(&self) -> &W {
        &self.writer
    }

    /// Writes `record` as one line, and sends it on its way.
    pub fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.writer.write_all(&line)?;
        self.writer.flush()
    }
}

impl<W: Write> Observer for JsonLines<W> {
    fn step(&mut self, record: &StepRecord) -> io::Result<()> {
        let &StepRecord { step, epoch, loss, accuracy, lr, left_out, first_gradient, .. } = record;
        let gates = &record.gates.to_string();
        self.write(&MetricsLine::Train { step, epoch, loss, accuracy, lr, gates, left_out, first_gradient })
    }

    fn eval(&mut self, record: &EvalRecord) -> io::Result<()> {
        let &EvalRecord { split, step, weights, loss, accuracy, images } = record;
        let (split, weights) = (split.name(), (weights == WhichWeights::Best).then_some("best"));
        self.write(&MetricsLine::Eval { split, step, weights, loss, accuracy, images })
    }
}
