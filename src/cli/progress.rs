//! How a run is watched: a bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use super::chart;
use super::console::{Console, duration};
use super::status_area::{LINE_EVERY, StatusArea, smooth};
use crate::train::{EvalRecord, Event, StepRecord, TrainOptions, WhichWeights};

/// Least time between evaluations on the way that are shown.
const EVALUATION_EVERY: Duration = Duration::from_secs(1);

/// Shows a run while it goes on.
pub struct Progress {
    area: StatusArea,
    steps: u64,
    epochs: u64,
    batch_size: u32,
    // Smoothed; `None` before the first step.
    loss: Option<f64>,
    accuracy: Option<f64>,
    seconds: Option<f64>,
    last_line: Instant,
    last_evaluation: Option<Instant>,
}

impl Progress {
    /// For a run under `options`, of whose batches an epoch has `batches`.
    pub fn new(console: Console, options: &TrainOptions, batches: u64) -> Self {
        let (steps, batch_size) = (options.steps, options.batch_size);
        let template = if has_bar(chart::columns()) { "{bar:24} {msg}" } else { "{msg}" };
        Self {
            area: StatusArea::open(console, Some(steps), template),
            steps,
            epochs: steps.div_ceil(batches),
            batch_size,
            loss: None,
            accuracy: None,
            seconds: None,
            last_line: Instant::now(),
            last_evaluation: None,
        }
    }

    /// Returns the area in which it is shown.
    pub fn area(&self) -> &StatusArea {
        &self.area
    }

    /// Takes notice of `event`.
    pub fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::Timing(timing) => smooth(&mut self.seconds, timing.seconds),
            Event::Step(record) => self.step_done(record),
            Event::Eval(record) => self.evaluated(record),
            _ => {}
        }
    }

    fn step_done(&mut self, record: &StepRecord) {
        let is_first = self.loss.is_none();
        smooth(&mut self.loss, record.loss);
        smooth(&mut self.accuracy, record.accuracy);
        if let Some(bar) = self.area.bar() {
            bar.set_position(record.step);
            let columns = chart::columns();
            // The cursor takes the last one.
            let room = if has_bar(columns) { columns - BAR } else { columns };
            bar.set_message(self.status(record, room.saturating_sub(1)));
        } else if is_first || self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            self.area.line(&self.status(record, usize::MAX));
        }
    }

    fn evaluated(&mut self, record: &EvalRecord) {
        let on_the_way = record.weights == WhichWeights::Last && record.step < self.steps;
        if on_the_way && self.last_evaluation.is_some_and(|last| last.elapsed() < EVALUATION_EVERY) {
            return;
        }
        self.last_evaluation = Some(Instant::now());
        let which = if record.weights == WhichWeights::Best { "best weights, of " } else { "" };
        self.area.line(&format!(
            "{:10} {which}step {}: accuracy {:.2} %, loss {:.4} ({} images)",
            record.split.name(),
            record.step,
            100.0 * record.accuracy,
            record.loss,
            record.images,
        ));
    }

    /// Where the run is after `record`, in `columns`.
    fn status(&self, record: &StepRecord, columns: usize) -> String {
        let [loss, accuracy, seconds] = [self.loss, self.accuracy, self.seconds].map(Option::unwrap_or_default);
        let left = seconds * (self.steps - record.step) as f64;
        let part = |needed, text| Part { needed, text };
        let parts = vec![
            part(1, format!("epoch {}/{}", record.epoch + 1, self.epochs)),
            part(7, format!("step {}/{}", record.step, self.steps)),
            part(6, format!("loss {loss:.4}")),
            part(4, format!("accuracy {:5.2} %", 100.0 * accuracy)),
            part(3, format!("{:.0} images/s", f64::from(self.batch_size) / seconds.max(1e-9))),
            part(2, format!("{} of {} blocks", record.gates.survivors(), record.gates.0.len())),
            part(5, format!("{} left", duration(left))),
        ];
        fit(parts, columns)
    }
}

/// Whether a line of `columns` has room for a bar beside what matters most.
fn has_bar(columns: usize) -> bool {
    columns >= 60
}

/// Columns of the bar, and of the space behind it.
const BAR: usize = 25;

/// A part of a line: the more it is needed, the longer it stays.
struct Part {
    needed: u8,
    text: String,
}

/// The parts beside each other, without those needed least for which `columns` have no room.
fn fit(mut parts: Vec<Part>, columns: usize) -> String {
    loop {
        let line = parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("  ");
        let least = (0..parts.len()).min_by_key(|&index| parts[index].needed);
        match least {
            Some(least) if parts.len() > 1 && line.chars().count() > columns => drop(parts.remove(least)),
            _ => return line.chars().take(columns).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, fit};

    #[test]
    fn a_narrow_line_keeps_what_is_needed_most() {
        let line = |columns| {
            let parts = [(1, "epoch 1/2"), (3, "step 10/20"), (2, "0:30 left")];
            fit(parts.map(|(needed, text)| Part { needed, text: text.into() }).into(), columns)
        };
        assert_eq!(line(usize::MAX), "epoch 1/2  step 10/20  0:30 left");
        assert_eq!(line(32), "epoch 1/2  step 10/20  0:30 left");
        assert_eq!(line(31), "step 10/20  0:30 left");
        assert_eq!(line(20), "step 10/20");
        assert_eq!((line(6), line(0)), ("step 1".to_string(), String::new()));
    }
}
