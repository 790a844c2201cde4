//! What skipping saves, in operations and in time, against what it promises.

use std::fmt::Write;

use super::{Drawn, Figure, beyond_colours, csv_cell, legend, shown};
use crate::report::chart::{
    Axis, COLOURS, DotPlot, Drawing, Key, Layer, Mark, Marker, Panel, Plot, Sign, Stroke, number,
};
use crate::report::comparison::{ComparedFigure, Measure};
use crate::report::curves::{Curve, spread};
use crate::report::nets::NetRuns;
use crate::report::run::Run;
use crate::report::statistics::estimate::Estimate;
use crate::report::statistics::paired::{mean, mean_difference};
use crate::report::study::Study;
use crate::report::table::{NONE, Table};

/// Windows of the curve of images per second.
const WINDOWS: usize = 60;

/// FLOP of a training step.
#[derive(Clone, Copy)]
struct Flop {
    /// With all gates on.
    all_gates: f64,
    /// Expected over the draws of the gates: the promise.
    promised: f64,
    /// By the gates that were drawn.
    done: f64,
}

impl Flop {
    /// Returns the mean over the steps of `run`; `None` if its FLOP are not known.
    fn of(run: &Run) -> Option<Self> {
        let flop = run.facts.flop.as_ref()?;
        let [promised, done] = [run.survival(), run.gates.rates()].map(|rates| flop.at(&rates));
        Some(Self { all_gates: flop.all_gates(), promised, done })
    }
}

/// What a net's steps took.
struct Cost<'a> {
    series: usize,
    net: &'a NetRuns,
    /// Mean over the runs; `None` if it is known of none.
    flop: Option<Flop>,
    /// Of each run with a measurement of all gates, its time over what they would have taken.
    shares: Vec<f64>,
    /// Training images per second in windows along the run.
    speed: Vec<(f64, f64)>,
}

impl<'a> Cost<'a> {
    fn of(series: usize, net: &'a NetRuns) -> Self {
        let flops: Vec<Flop> = net.runs.iter().filter_map(Flop::of).collect();
        let average = |figure: fn(&Flop) -> f64| mean(&flops.iter().map(figure).collect::<Vec<_>>());
        let flop = (!flops.is_empty()).then(|| Flop {
            all_gates: average(|flop| flop.all_gates),
            promised: average(|flop| flop.promised),
            done: average(|flop| flop.done),
        });
        let shares = net.each(|run| {
            let summary = run.summary.as_ref()?;
            Some(summary.step_seconds / summary.all_gates_seconds?).filter(|share| share.is_finite() && *share > 0.0)
        });
        Self { series, net, flop, shares, speed: speed(net) }
    }

    /// Percent of the operations of all gates that are left out, promised and done.
    fn flop_saved(&self) -> Option<[f64; 2]> {
        let flop = self.flop?;
        Some([flop.promised, flop.done].map(|operations| 100.0 * (1.0 - operations / flop.all_gates)))
    }

    fn marks(&self) -> Vec<Mark> {
        let series = self.series;
        let mark = |at, marker, interval| Mark { at, interval, marker, series };
        let mut marks = Vec::new();
        if let Some([promised, done]) = self.flop_saved() {
            marks.extend([mark(promised, Marker::Ring, None), mark(done, Marker::Tick, None)]);
        }
        if let Some(middle) = self.time_saved() {
            let ends = self.shares.iter().map(|&share| saved(share));
            let ends = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
            marks.push(mark(middle, Marker::Dot, Some(ends)));
        }
        marks
    }

    /// Logarithms of the shares: a mean of shares themselves could come with an interval beyond 100 %.
    fn logarithms(&self) -> Vec<f64> {
        self.shares.iter().map(|share| share.ln()).collect()
    }

    /// Percent of the time of all gates, by the geometric mean of the shares.
    fn time_saved(&self) -> Option<f64> {
        (!self.shares.is_empty()).then(|| saved(mean(&self.logarithms()).exp()))
    }

    fn row(&self) -> [String; 9] {
        let summaries = |figure: fn(&Run) -> Option<f64>| {
            let values = self.net.each(figure);
            (!values.is_empty()).then(|| mean(&values))
        };
        let or_dash = |figure: Option<f64>, decimals: usize, unit: &str| {
            figure.map_or(NONE.into(), |figure| format!("{}{unit}", number(figure, decimals)))
        };
        // With one degree of freedom, it says nothing.
        let interval = mean_difference(&self.logarithms()).filter(|_| self.shares.len() > 2).map(Estimate::exp);
        let interval = interval.map_or(String::new(), |Estimate { low, high, .. }| {
            format!(" ({} to {})", number(saved(high), 1), number(saved(low), 1))
        });
        let time = summaries(milliseconds);
        let batch = f64::from(self.net.first().config.settings.batch_size);
        let flop_saved = self.flop_saved();
        [
            self.net.name.clone(),
            self.net.runs.len().to_string(),
            or_dash(summaries(|run| Some(100.0 * run.summary.as_ref()?.blocks_run)), 1, " %"),
            or_dash(self.flop.map(|flop| flop.done / 1e9), 2, ""),
            or_dash(flop_saved.map(|[promised, _]| promised), 1, " %"),
            or_dash(flop_saved.map(|[_, done]| done), 1, " %"),
            or_dash(self.time_saved(), 1, " %") + &interval,
            or_dash(time, 1, ""),
            or_dash(time.map(|milliseconds| 1e3 * batch / milliseconds), 0, ""),
        ]
    }
}

/// Percent saved where a `share` is left.
fn saved(share: f64) -> f64 {
    100.0 * (1.0 - share)
}

/// Mean wall time of a training step.
fn milliseconds(run: &Run) -> Option<f64> {
    let summary = run.summary.as_ref()?;
    Some(1e3 * summary.step_seconds / summary.steps as f64)
}

/// Shares saved, and images per second along the run.
pub fn draw(study: &Study) -> Drawn {
    let costs: Vec<Cost> = study.nets.iter().enumerate().map(|(series, net)| Cost::of(series, net)).collect();
    let mut panels = Vec::new();
    let rows: Vec<(String, Vec<Mark>)> = costs
        .iter()
        .filter(|cost| !cost.net.is_plain())
        .map(|cost| (cost.net.name.clone(), cost.marks()))
        .filter(|(_, marks)| !marks.is_empty())
        .collect();
    let mut keys = legend(shown(study));
    let has_dots = !rows.is_empty();
    if has_dots {
        let grey = |marker, name: &str| Key { series: 7, sign: Sign::Mark(marker), name: name.into() };
        keys.push(grey(Marker::Ring, "FLOP promised"));
        keys.push(grey(Marker::Tick, "FLOP left out"));
        keys.push(grey(Marker::Dot, "time saved"));
        panels.push(Panel::DotPlot(DotPlot {
            title: "saved by skipping".into(),
            x: Axis::round("share of a step with all gates on (%)"),
            rows,
        }));
    }
    let layers: Vec<Layer> = costs
        .iter()
        .take(COLOURS)
        .filter(|cost| cost.speed.len() > 1)
        .map(|cost| Layer::Line { series: cost.series, stroke: Stroke::Strong, points: cost.speed.clone() })
        .collect();
    if !layers.is_empty() {
        panels.push(Panel::Plot(Plot {
            title: "along the run".into(),
            x: Axis::tight("training step").whole(),
            y: Axis::round("training images per second"),
            layers,
        }));
    }
    if panels.is_empty() {
        return Err("Cost: no run has told its time yet.".into());
    }
    let head = [
        "net",
        "runs",
        "blocks run",
        "GFLOP a step",
        "FLOP saved, promised",
        "FLOP saved",
        "time saved (95 % interval)",
        "ms a step",
        "images/s",
    ];
    let table = Table::new(head, costs.iter().map(Cost::row)).dense();
    let explained = "Promised is what the survival probabilities leave out of a step's operations on average; left out \
                     is what the drawn gates did. Time saved is held against steps with all gates on, measured along \
                     the same run; its bar reaches from the lowest run to the highest, and where there are several, \
                     the mean is that of ratios (geometric). Stem, head and down-sampling shortcuts always run.";
    let mut text: Vec<String> = has_dots.then(|| explained.into()).into_iter().collect();
    if study.runs().any(|run| run.facts.jobs > 1) {
        let sentence = "Several runs were made at once: they took from each other, and so no figure of time \
                        here says what skipping saves.";
        text.push(sentence.into());
    }
    let mut devices: Vec<&str> = study.runs().map(|run| run.config.device.name.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    if devices.len() > 1 {
        text.push("The runs were made on several devices, which figures of time compare, too.".into());
    }
    text.extend(beyond_colours(study));
    let compared = ComparedFigure { what: "time per training step", measure: Measure::Ratio, figure: &milliseconds };
    let (sentences, compared) = compared.tell(study);
    text.extend(sentences);
    let mut uncounted = study.runs().filter(|run| run.facts.flop.is_none());
    if let Some(reason) = uncounted.find_map(|run| study.data_of(run).err()) {
        text.push(format!("Operations could not be counted for all runs: {reason}."));
    }
    Ok(Figure {
        name: "cost",
        title: match has_dots {
            true => "Time and FLOP saved by skipping, against the promise".into(),
            false => "Training images per second".into(),
        },
        text,
        drawing: Drawing { legend: keys, panels },
        csv: csv(&costs),
        tables: [table].into_iter().chain(compared).collect(),
    })
}

/// Training images per second in windows along the run, mean over the runs.
fn speed(net: &NetRuns) -> Vec<(f64, f64)> {
    let clock = |run: &Run| -> Curve { run.steps.iter().map(|step| (step.step, step.clock)).collect() };
    let clocks = spread(&net.runs.iter().map(clock).collect::<Vec<_>>());
    let batch = f64::from(net.first().config.settings.batch_size);
    // The first step makes what later ones use again.
    let ends: Vec<(u64, f64)> = clocks.iter().map(|spread| (spread.step, spread.mean)).collect();
    let ends: Vec<(u64, f64)> = ends.iter().copied().step_by(ends.len().div_ceil(WINDOWS).max(1)).collect();
    let window = |ends: &[(u64, f64)]| {
        let (steps, seconds) = ((ends[1].0 - ends[0].0) as f64, ends[1].1 - ends[0].1);
        ((ends[0].0 + ends[1].0) as f64 / 2.0, batch * steps / seconds.max(1e-9))
    };
    ends.windows(2).map(window).collect()
}

fn csv(costs: &[Cost]) -> String {
    let mut text = "net,figure,step,value\n".to_string();
    for cost in costs {
        let name = csv_cell(&cost.net.name);
        if let Some(Flop { all_gates, promised, done }) = cost.flop {
            for (figure, value) in [("all gates", all_gates), ("promised", promised), ("done", done)] {
                let _ = writeln!(text, "{name},FLOP a step: {figure},,{value:.0}");
            }
        }
        for &share in &cost.shares {
            let _ = writeln!(text, "{name},time saved in %,,{:.3}", saved(share));
        }
        for (step, speed) in &cost.speed {
            let _ = writeln!(text, "{name},images per second,{step},{speed:.1}");
        }
    }
    text
}
