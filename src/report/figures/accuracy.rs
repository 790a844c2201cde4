//! The notebook's figure: accuracy on test images as training goes on.

use std::fmt::Write;

use super::{Drawn, Figure, csv_cell, legend, lines_and_bands, sampled, shown};
use crate::report::chart::{Axis, Drawing, Layer, Panel, Plot, Point, Stroke};
use crate::report::comparison::{ComparedFigure, Measure};
use crate::report::curves::{Curve, LEAST_TO_SMOOTH, Spread, late_mean, layers, of_evaluations, smooth, spread};
use crate::report::nets::NetRuns;
use crate::report::run::Run;
use crate::report::study::Study;
use crate::report::text::listed;
use crate::run_dir::TrainOptions;

/// Tests on all test images that are drawn.
const MOST_DOTS: usize = 60;

/// Accuracy in percent, raw, on random test batches or on the validation images.
fn raw(run: &Run, on_test: bool) -> Curve {
    let evaluations = if on_test { &run.test_batches } else { &run.validation };
    of_evaluations(evaluations, |evaluation| 100.0 * evaluation.accuracy)
}

/// Raw and smoothed accuracy of each net, whole and in the second half of the run.
pub fn draw(study: &Study) -> Drawn {
    let is_on_test = study.runs().any(|run| run.test_batches.len() > 1);
    let has_curve = |net: &NetRuns| net.runs.iter().all(|run| raw(run, is_on_test).len() > 1);
    let (nets, others): (Vec<(usize, &NetRuns)>, Vec<_>) = shown(study).partition(|(_, net)| has_curve(net));
    if nets.is_empty() {
        return Err("Accuracy after each step: no net was evaluated on the way more than once.".into());
    }
    let images = |settings: &TrainOptions| match is_on_test {
        true => format!("a random batch of {} test images", settings.eval_batch),
        false => format!("{} validation images", settings.validation),
    };
    let rhythm = |settings: &TrainOptions| match settings.eval_every {
        1 => "each training step".to_string(),
        every => format!("every {every} training steps, and at the end"),
    };
    let any = if is_on_test { "random batches of test images" } else { "validation images" };
    let images = shared(&nets, images).unwrap_or_else(|| any.into());
    let rhythm = shared(&nets, rhythm).unwrap_or_else(|| "each evaluation".into());
    let label = if is_on_test { "test accuracy (%)" } else { "validation accuracy (%)" };
    let mut csv = "net,step,raw_mean,smoothed_mean,smoothed_low,smoothed_high,all_test_images_mean\n".to_string();
    let (mut whole, mut late) = (Vec::new(), Vec::new());
    for &(series, net) in &nets {
        let curves: Vec<Curve> = net.runs.iter().map(|run| raw(run, is_on_test)).collect();
        let smoothed: Vec<Curve> = curves.iter().map(|curve| smooth(curve)).collect();
        let (curves, smoothed) = (spread(&curves), spread(&smoothed));
        let tests: Vec<Curve> =
            net.runs.iter().map(|run| of_evaluations(&run.tests, |test| 100.0 * test.accuracy)).collect();
        let whole_tests = spread(&tests);
        let half = net.first().config.settings.steps / 2;
        for (panel, from) in [(&mut whole, 0), (&mut late, half)] {
            let of = |spreads: &[_], stroke| {
                let begin = spreads.partition_point(|spread: &Spread| spread.step <= from);
                layers(series, stroke, &spreads[begin..], net.runs.len(), |step| step as f64)
            };
            panel.extend(of(&curves, Stroke::Faint).into_iter().map(|layer| (0, layer)));
            panel.extend(of(&smoothed, Stroke::Strong).into_iter().map(|layer| (1, layer)));
            panel.extend((is_on_test && whole_tests.len() > 1).then(|| {
                let every = whole_tests.len().div_ceil(MOST_DOTS);
                let tests = whole_tests.iter().step_by(every).filter(|spread| spread.step > from);
                let point = |spread: &Spread| Point { x: spread.step as f64, y: spread.mean, interval: None };
                (2, Layer::Points { series, points: tests.map(point).collect() })
            }));
        }
        for (raw, smooth) in sampled(&curves.iter().zip(&smoothed).collect::<Vec<_>>()) {
            let (name, step, raw) = (csv_cell(&net.name), raw.step, raw.mean);
            let Spread { mean, low, high, .. } = smooth;
            let whole = whole_tests.iter().find(|test| test.step == step);
            let whole = whole.map_or(String::new(), |test| format!("{:.4}", test.mean));
            let _ = writeln!(csv, "{name},{step},{raw:.4},{mean:.4},{low:.4},{high:.4},{whole}");
        }
    }
    let panel = |title: &str, mut layers: Vec<(u8, _)>| {
        // Faint lines lie below all others.
        layers.sort_by_key(|&(height, _)| height);
        let layers = layers.into_iter().map(|(_, layer)| layer).collect();
        Panel::Plot(Plot {
            title: title.into(),
            x: Axis::tight("training step").whole(),
            y: Axis::round(label),
            layers,
        })
    };
    let panels = vec![panel("the whole run", whole), panel("its second half", late)];
    let has_tests = nets.iter().any(|(_, net)| net.runs.iter().all(|run| run.tests.len() > 1));
    let longest = nets.iter().flat_map(|(_, net)| &net.runs).map(|run| raw(run, is_on_test).len()).max();
    let mut text = vec![format!(
        "{} {}{}",
        match longest >= Some(LEAST_TO_SMOOTH) {
            true => format!(
                "Faint: each evaluation{}. Strong: the exponentially weighted mean with a span of 20 evaluations, as \
                 the notebook draws it.",
                if nets.iter().any(|(_, net)| net.runs.len() > 1) { ", mean over the seeds" } else { "" }
            ),
            false => "The lines join the evaluations, which are too few to be smoothed.".into(),
        },
        if is_on_test && has_tests { "Dots: tests on all test images. " } else { "" },
        lines_and_bands(study)
    )];
    if !others.is_empty() {
        let names: Vec<String> = others.iter().map(|(_, net)| net.name.clone()).collect();
        text.push(format!("Not drawn, as not evaluated on {any} more than once: {}.", listed(&names)));
    }
    let compared = ComparedFigure {
        what: "accuracy, mean over the second half of the run",
        measure: Measure::Difference("points"),
        figure: &|run| late_mean(run, &raw(run, is_on_test)),
    };
    let (sentences, table) = compared.tell(study);
    text.extend(sentences);
    Ok(Figure {
        name: "accuracy",
        title: format!("Accuracy on {images}, after {rhythm}"),
        text,
        drawing: Drawing { legend: legend(nets.iter().copied()), panels },
        tables: table.into_iter().collect(),
        csv,
    })
}

/// What all `nets` have in common.
fn shared<T: PartialEq>(nets: &[(usize, &NetRuns)], of: impl Fn(&TrainOptions) -> T) -> Option<T> {
    let mut all = nets.iter().map(|(_, net)| of(&net.first().config.settings));
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}
