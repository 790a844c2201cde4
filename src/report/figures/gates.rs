//! Gates: which blocks ran in the first steps, and how often each ran in all.

use std::fmt::Write;

use statrs::distribution::{ContinuousCDF, Normal};

use super::{Drawn, Figure, beyond_colours, csv_cell, legend, shown};
use crate::report::chart::{Axis, BarCode, Drawing, Key, Layer, Panel, Plot, Point, Sign, Stroke, number};
use crate::report::nets::NetRuns;
use crate::report::study::Study;
use crate::report::table::Table;
use crate::report::text::listed;

/// Nets whose bar codes are drawn.
const BAR_CODES: usize = 4;

/// Width over which the points of one block are spread, in blocks.
const SPREAD: f64 = 0.6;

/// A bar code of each net with stochastic depth, and the empirical against the intended survival rate.
pub fn draw(study: &Study) -> Drawn {
    let nets: Vec<(usize, &NetRuns)> = study.nets.iter().enumerate().filter(|(_, net)| !net.is_plain()).collect();
    if nets.is_empty() {
        return Err("Gates: every block of every net ran in every step.".into());
    }
    let drawn: Vec<(usize, &NetRuns)> = shown(study).filter(|(_, net)| !net.is_plain()).collect();
    let mut panels = Vec::new();
    for &(series, net) in drawn.iter().take(BAR_CODES) {
        let run = net.first();
        let name = if nets.len() > 1 { format!("{}, ", net.name) } else { String::new() };
        panels.push(Panel::BarCode(BarCode {
            title: format!("{name}seed {}", run.seed()),
            columns: "training step".into(),
            rows: "block, from the input down".into(),
            series,
            bars: run.gates.first.clone(),
        }));
    }
    let mut csv = "net,block,intended,ran,steps,low,high\n".to_string();
    let mut text = vec![
        "A bar stands where the block ran. The empirical rates have Wilson\u{2019}s intervals, 95 % for all blocks of \
         all nets together (Bonferroni)."
            .to_string(),
    ];
    let (mut layers, mut intended_layers) = (Vec::new(), Vec::new());
    let z = simultaneous_quantile(nets.iter().map(|(_, net)| net.survival().len()).sum());
    let mut rows = Vec::new();
    for &(series, net) in &nets {
        let rates = Rate::of(net);
        let mut points = Vec::new();
        // Nets stand beside each other around a block's number.
        let place = drawn.iter().position(|&(other, _)| other == series);
        let beside = place.map_or(0.0, |place| SPREAD * ((place as f64 + 0.5) / drawn.len() as f64 - 0.5));
        for (block, rate) in (1u32..).zip(&rates) {
            let (low, high) = rate.interval(z);
            let percent = |share: f64| 100.0 * share;
            points.push(Point {
                x: f64::from(block) + beside,
                y: percent(rate.share()),
                interval: Some((percent(low), percent(high))),
            });
            let Rate { intended, ran, steps } = rate;
            let _ = writeln!(csv, "{},{block},{intended:.6},{ran},{steps},{low:.6},{high:.6}", csv_cell(&net.name));
        }
        let line = (1u32..).zip(&rates).map(|(block, rate)| (block.into(), 100.0 * rate.intended)).collect();
        if place.is_some() {
            intended_layers.push(Layer::Line { series, stroke: Stroke::Dashed, points: line });
            layers.push(Layer::Points { series, points });
        }
        rows.push(verdict(net, &rates, z));
    }
    intended_layers.extend(layers);
    let blocks = nets.iter().map(|(_, net)| net.survival().len()).max().unwrap_or(0);
    panels.push(Panel::Plot(Plot {
        title: "how often each block ran".into(),
        x: Axis::fixed("block, from the input to the output", 0.5, blocks as f64 + 0.5).whole(),
        y: Axis::round("survival rate (%)"),
        layers: intended_layers,
    }));
    let mut keys = legend(drawn.iter().copied());
    let grey = |sign, name: &str| Key { series: 7, sign, name: name.into() };
    keys.push(grey(Sign::Line(Stroke::Dashed), "intended"));
    keys.push(grey(Sign::Mark(crate::report::chart::Marker::Dot), "empirical, with its interval"));
    if nets.len() > BAR_CODES {
        text.push(format!("Of {} nets, the first {BAR_CODES} have their bar codes drawn.", nets.len()));
    }
    text.extend(beyond_colours(study));
    Ok(Figure {
        name: "gates",
        title: "Gates: which blocks ran in the first steps, and how often each ran in all".into(),
        text,
        drawing: Drawing { legend: keys, panels },
        tables: vec![Table::new(
            ["net", "steps", "blocks run in a step", "intended", "of", "intervals that leave the intended rate out"],
            rows.into_iter(),
        )],
        csv,
    })
}

/// How often a block ran, in all runs of a net.
struct Rate {
    intended: f64,
    ran: u64,
    steps: u64,
}

impl Rate {
    /// Of each block of `net`.
    fn of(net: &NetRuns) -> Vec<Self> {
        let steps = net.runs.iter().map(|run| run.gates.steps).sum();
        let rate = |(block, &intended): (usize, &f64)| {
            let ran = net.runs.iter().filter_map(|run| run.gates.ran.get(block)).sum();
            Self { intended, ran, steps }
        };
        net.survival().iter().enumerate().map(rate).collect()
    }

    fn share(&self) -> f64 {
        self.ran as f64 / self.steps as f64
    }

    /// Wilson's score interval, `z` standard errors to each side (Wilson 1927).
    fn interval(&self, z: f64) -> (f64, f64) {
        let (share, count, square) = (self.share(), self.steps as f64, z * z);
        let middle = (share + square / (2.0 * count)) / (1.0 + square / count);
        let half = z / (1.0 + square / count) * (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt();
        ((middle - half).max(0.0), (middle + half).min(1.0))
    }

    fn is_as_intended(&self, z: f64) -> bool {
        let (low, high) = self.interval(z);
        low - 1e-12 <= self.intended && self.intended <= high + 1e-12
    }
}

/// Quantile of the normal distribution for `count` intervals that hold all together with 95 % (Bonferroni).
fn simultaneous_quantile(count: usize) -> f64 {
    Normal::new(0.0, 1.0).map_or(f64::NAN, |normal| normal.inverse_cdf(1.0 - 0.025 / count.max(1) as f64))
}

/// A row about the blocks of `net` together.
fn verdict(net: &NetRuns, rates: &[Rate], z: f64) -> [String; 6] {
    let outside: Vec<String> = (1..)
        .zip(rates)
        .filter(|(_, rate)| !rate.is_as_intended(z))
        .map(|(block, _)| format!("block {block}"))
        .collect();
    let (ran, intended) = rates.iter().fold((0.0, 0.0), |sum, rate| (sum.0 + rate.share(), sum.1 + rate.intended));
    let outside = match outside.len() {
        0 => "none".to_string(),
        1..=3 => listed(&outside),
        count => format!("{count} of {}", rates.len()),
    };
    let steps = rates.first().map_or(0, |rate| rate.steps);
    [net.name.clone(), number(steps as f64, 0), number(ran, 2), number(intended, 2), rates.len().to_string(), outside]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the formula, computed apart.
    #[test]
    fn intervals_are_wilsons() {
        let rate = Rate { intended: 0.8, ran: 45, steps: 60 };
        let z = simultaneous_quantile(1);
        assert!((z - 1.959_964).abs() < 1e-5, "{z}");
        let (low, high) = rate.interval(z);
        assert!((low - 0.6277).abs() < 1e-4 && (high - 0.8422).abs() < 1e-4, "{low} {high}");
        assert!(rate.is_as_intended(z) && !Rate { intended: 0.9, ..rate }.is_as_intended(z));
        assert!(Rate { intended: 1.0, ran: 60, steps: 60 }.is_as_intended(z));
    }
}
