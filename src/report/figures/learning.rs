//! Losses and test error, against epochs and against wall time.

use std::fmt::Write;

use super::{Drawn, Figure, csv_cell, legend, lines_and_bands, sampled, shown};
use crate::report::chart::{Axis, Drawing, Key, Layer, Panel, Plot, Sign, Stroke};
use crate::report::curves::{Curve, LEAST_TO_SMOOTH, Spread, layers, of_evaluations, smooth, spread};
use crate::report::nets::NetRuns;
use crate::report::run::{Evaluation, Run};
use crate::report::study::Study;
use crate::report::text::listed;

/// The evaluations of a kind.
struct Kind {
    name: &'static str,
    of: fn(&Run) -> &[Evaluation],
}

/// From the most telling to the least.
const KINDS: [Kind; 3] = [
    Kind { name: "test", of: |run| &run.tests },
    Kind { name: "validation", of: |run| &run.validation },
    Kind { name: "test batch", of: |run| &run.test_batches },
];

/// Where the steps of a net lie on an axis.
struct StepAxes<'a> {
    /// Steps in an epoch, if all nets' x is to be epochs.
    epoch: Option<f64>,
    /// Mean wall time by step, in units of the axis.
    clock: Curve,
    net: &'a NetRuns,
}

/// Losses and errors of each net.
pub fn draw(study: &Study) -> Drawn {
    let nets: Vec<(usize, &NetRuns)> = shown(study).collect();
    let has = |kind: &Kind, net: &NetRuns| net.runs.iter().all(|run| (kind.of)(run).len() > 1);
    let count = |kind: &Kind| nets.iter().filter(|(_, net)| has(kind, net)).count();
    // The one that most nets have; of equals the first.
    let kind = KINDS.iter().rev().max_by_key(|kind| count(kind)).filter(|kind| count(kind) > 0);
    let by_epoch = nets.iter().all(|(_, net)| net.first().steps_per_epoch().is_some());
    let longest = nets.iter().flat_map(|(_, net)| &net.runs).filter_map(|run| run.steps.last()).map(|step| step.clock);
    let longest = longest.fold(0.0, f64::max);
    let (unit, seconds) = match longest {
        seconds if seconds > 3.0 * 3600.0 => ("h", 3600.0),
        seconds if seconds > 180.0 => ("min", 60.0),
        _ => ("s", 1.0),
    };
    let (mut csv, mut panels) = ("net,curve,step,wall_seconds,mean,low,high\n".to_string(), [const { Vec::new() }; 4]);
    for &(series, net) in &nets {
        let clocks: Vec<Curve> =
            net.runs.iter().map(|run| run.steps.iter().map(|step| (step.step, step.clock)).collect()).collect();
        let steps = StepAxes {
            epoch: net.first().steps_per_epoch().filter(|_| by_epoch).map(|steps| steps as f64),
            clock: spread(&clocks).iter().map(|spread| (spread.step, spread.mean / seconds)).collect(),
            net,
        };
        let training: Vec<Curve> = net.runs.iter().map(|run| smooth(&run.training_loss())).collect();
        let training = spread(&training);
        let stroke = if kind.is_some() { Stroke::Dashed } else { Stroke::Strong };
        steps.add(&mut panels[..2], series, stroke, &training);
        steps.write(&mut csv, "training loss", &training, seconds);
        if let Some(kind) = kind.filter(|kind| has(kind, net)) {
            let of = |figure: fn(&Evaluation) -> f64| {
                spread(&net.runs.iter().map(|run| of_evaluations((kind.of)(run), figure)).collect::<Vec<_>>())
            };
            let (loss, error) = (of(|test| test.loss), of(|test| 100.0 * (1.0 - test.accuracy)));
            steps.add(&mut panels[..2], series, Stroke::Strong, &loss);
            steps.add(&mut panels[2..], series, Stroke::Strong, &error);
            steps.write(&mut csv, &format!("{} loss", kind.name), &loss, seconds);
            steps.write(&mut csv, &format!("{} error in %", kind.name), &error, seconds);
        }
    }
    let [by_step, by_time] = [
        if by_epoch { "epoch".to_string() } else { "training step".into() },
        format!("time in training steps ({unit})"),
    ];
    let name = kind.map_or("", |kind| kind.name);
    let (loss, error) = ("loss (nats)".to_string(), format!("{name} error (%)"));
    let axes = [(&by_step, &loss), (&by_time, &loss), (&by_step, &error), (&by_time, &error)];
    let panels = axes.into_iter().zip(panels).filter(|(_, layers)| !layers.is_empty()).map(|((x, y), layers)| {
        Panel::Plot(Plot { title: String::new(), x: Axis::tight(x.clone()), y: Axis::round(y.clone()), layers })
    });
    let panels: Vec<Panel> = panels.collect();
    let mut keys = legend(nets.iter().copied());
    let mut text = Vec::new();
    if let Some(kind) = kind {
        let key = |name: String, stroke| Key { series: 7, sign: Sign::Line(stroke), name };
        keys.push(key("training loss".into(), Stroke::Dashed));
        keys.push(key(format!("{} loss and error", kind.name), Stroke::Strong));
    } else {
        text.push("No net was evaluated on the way more than once, so only the training loss is drawn.".into());
    }
    let lacks = |net: &NetRuns| kind.is_some_and(|kind| !has(kind, net));
    let without: Vec<String> = nets.iter().filter(|(_, net)| lacks(net)).map(|(_, net)| net.name.clone()).collect();
    if !without.is_empty() {
        let name = kind.map_or("", |kind| kind.name);
        text.push(format!(
            "Without a {name} more than once on the way, and so without its curves: {}.",
            listed(&without)
        ));
    }
    let longest = nets.iter().flat_map(|(_, net)| &net.runs).map(|run| run.steps.len()).max();
    let smoothed = if longest >= Some(LEAST_TO_SMOOTH) { ", smoothed with a span of 20 steps" } else { "" };
    text.push(format!(
        "The training loss is that of the batches, with label smoothing and gates where there are any{smoothed}. Time \
         is that of the training steps, evaluations apart. {}",
        lines_and_bands(study)
    ));
    let what = kind.map_or(String::new(), |kind| format!(", {} loss and {} error", kind.name, kind.name));
    Ok(Figure {
        name: "learning",
        title: format!("Training loss{what}, against {by_step}s and against wall time"),
        text,
        drawing: Drawing { legend: keys, panels },
        tables: Vec::new(),
        csv,
    })
}

impl StepAxes<'_> {
    fn time(&self, step: u64) -> f64 {
        let index = self.clock.binary_search_by_key(&step, |(step, _)| *step);
        index.map_or(f64::NAN, |index| self.clock[index].1)
    }

    /// Adds `spreads` to a panel by steps and to one by wall time.
    fn add(&self, panels: &mut [Vec<Layer>], series: usize, stroke: Stroke, spreads: &[Spread]) {
        let runs = self.net.runs.len();
        panels[0].extend(layers(series, stroke, spreads, runs, |step| step as f64 / self.epoch.unwrap_or(1.0)));
        let timed: Vec<Spread> = spreads.iter().copied().filter(|spread| self.time(spread.step).is_finite()).collect();
        panels[1].extend(layers(series, stroke, &timed, runs, |step| self.time(step)));
    }

    fn write(&self, csv: &mut String, curve: &str, spreads: &[Spread], seconds: f64) {
        for Spread { step, mean, low, high } in sampled(spreads) {
            let clock = seconds * self.time(*step);
            let _ =
                writeln!(csv, "{},{curve},{step},{clock:.3},{mean:.6},{low:.6},{high:.6}", csv_cell(&self.net.name));
        }
    }
}
