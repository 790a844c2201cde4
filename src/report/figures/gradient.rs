//! The paper's figure on vanishing gradients: how large the gradient of the first convolution is.

use std::fmt::Write;

use super::{Drawn, Figure, csv_cell, legend, lines_and_bands, sampled, shown};
use crate::report::chart::{Axis, Drawing, Panel, Plot, Stroke};
use crate::report::comparison::{ComparedFigure, Measure};
use crate::report::curves::{Curve, LEAST_TO_SMOOTH, Spread, late_mean, layers, smooth, spread};
use crate::report::nets::NetRuns;
use crate::report::run::Run;
use crate::report::study::Study;
use crate::report::text::listed;

fn raw(run: &Run) -> Curve {
    let of_steps = run.steps.iter().map(|step| (step.step, step.first_gradient));
    of_steps.filter(|(_, gradient)| gradient.is_finite()).collect()
}

/// Raw and smoothed, on a logarithmic axis.
pub fn draw(study: &Study) -> Drawn {
    let recorded = |net: &NetRuns| net.runs.iter().all(|run| raw(run).len() > 1);
    let nets: Vec<(usize, &NetRuns)> = shown(study).filter(|(_, net)| recorded(net)).collect();
    if nets.is_empty() {
        return Err("Gradient of the first convolution: it was not recorded (setting record-gradients).".into());
    }
    let mut csv = "net,step,raw_mean,smoothed_mean,smoothed_low,smoothed_high\n".to_string();
    let (mut faint, mut strong) = (Vec::new(), Vec::new());
    for &(series, net) in &nets {
        let curves: Vec<Curve> = net.runs.iter().map(raw).collect();
        let smoothed = spread(&curves.iter().map(|curve| smooth(curve)).collect::<Vec<_>>());
        let curves = spread(&curves);
        let runs = net.runs.len();
        faint.extend(layers(series, Stroke::Faint, &curves, runs, |step| step as f64));
        strong.extend(layers(series, Stroke::Strong, &smoothed, runs, |step| step as f64));
        for (raw, Spread { step, mean, low, high }) in sampled(&curves.iter().zip(&smoothed).collect::<Vec<_>>()) {
            let name = csv_cell(&net.name);
            let _ = writeln!(csv, "{name},{step},{:e},{mean:e},{low:e},{high:e}", raw.mean);
        }
    }
    faint.extend(strong);
    let compared = ComparedFigure {
        what: "gradient of the first convolution, mean over the second half of the run",
        measure: Measure::Ratio,
        figure: &|run| late_mean(run, &raw(run)),
    };
    let longest = nets.iter().flat_map(|(_, net)| &net.runs).map(|run| run.steps.len()).max();
    let lines = match longest >= Some(LEAST_TO_SMOOTH) {
        true => "Faint: each step. Strong: the exponentially weighted mean with a span of 20 steps. ",
        false => "",
    };
    let mut text = vec![format!(
        "{lines}A dropped first block does not keep the gradient from the stem, which is always there. {}",
        lines_and_bands(study)
    )];
    let without = shown(study).filter(|(_, net)| !recorded(net)).map(|(_, net)| net.name.clone());
    let without: Vec<String> = without.collect();
    if !without.is_empty() {
        text.push(format!("Not drawn, as not recorded in all its runs: {}.", listed(&without)));
    }
    let (sentences, table) = compared.tell(study);
    text.extend(sentences);
    Ok(Figure {
        name: "gradient",
        title: "Mean absolute gradient of the first convolution\u{2019}s weights in each training step".into(),
        text,
        drawing: Drawing {
            legend: legend(nets.iter().copied()),
            panels: vec![Panel::Plot(Plot {
                title: String::new(),
                x: Axis::tight("training step").whole(),
                y: Axis::log("mean absolute gradient"),
                layers: faint,
            })],
        },
        tables: table.into_iter().collect(),
        csv,
    })
}
