//! The notebook's figure: accuracy on test images as training goes on.

use std::fmt::Write;

use super::{Drawn, Figure, cell, legend, lines_and_bands, sampled, shown};
use crate::report::chart::{Axis, Drawing, Layer, Panel, Plot, Point, Stroke};
use crate::report::comparison::{Compared, Measure};
use crate::report::curves::{Curve, Spread, late_mean, layers, of_evaluations, smooth, spread};
use crate::report::runs::Run;
use crate::report::study::{Net, Study};

/// Tests on all test images that are drawn.
const MOST_DOTS: usize = 60;

/// Accuracy in percent, raw, of the evaluations that the figure is about.
fn raw(run: &Run) -> Curve {
    let on_test = if run.test_batches.is_empty() { &run.validation } else { &run.test_batches };
    of_evaluations(on_test, |evaluation| 100.0 * evaluation.accuracy)
}

/// Raw and smoothed accuracy of each net, whole and in the second half of the run.
pub fn draw(study: &Study) -> Drawn {
    let is_on_test = study.runs().any(|run| !run.test_batches.is_empty());
    let drawn = |net: &Net| net.runs.iter().all(|run| raw(run).len() > 1 && run.test_batches.is_empty() != is_on_test);
    let nets: Vec<(usize, &Net)> = shown(study).filter(|(_, net)| drawn(net)).collect();
    let Some(&(_, first)) = nets.first() else {
        return Err("Accuracy after each step: no net was evaluated on the way more than once.".into());
    };
    let settings = &first.first().config.settings;
    let (title, label) = match is_on_test {
        true => (format!("Accuracy on a random batch of {} test images", settings.eval_batch), "test accuracy (%)"),
        false => (format!("Accuracy on {} validation images", settings.validation), "validation accuracy (%)"),
    };
    let mut csv = "net,step,raw_mean,smoothed_mean,smoothed_low,smoothed_high\n".to_string();
    let (mut whole, mut late) = (Vec::new(), Vec::new());
    for &(series, net) in &nets {
        let curves: Vec<Curve> = net.runs.iter().map(raw).collect();
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
            let _ = writeln!(
                csv,
                "{},{},{:.4},{:.4},{:.4},{:.4}",
                cell(&net.name),
                raw.step,
                raw.mean,
                smooth.mean,
                smooth.low,
                smooth.high
            );
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
    let mut text = vec![format!(
        "Faint: each evaluation{}. Strong: the exponentially weighted mean with a span of 20 evaluations, as the \
         notebook draws it. {}{}",
        if first.runs.len() > 1 { ", mean over the seeds" } else { "" },
        if is_on_test && has_tests { "Dots: tests on all test images. " } else { "" },
        lines_and_bands(study)
    )];
    let compared = Compared {
        what: "accuracy, mean over the second half of the run",
        measure: Measure::Difference("points"),
        figure: &|run| late_mean(run, &raw(run)),
    };
    let (sentences, table) = compared.tell(study);
    text.extend(sentences);
    Ok(Figure {
        name: "accuracy",
        title: format!("{title}, after {}", every(settings.eval_every)),
        text,
        drawing: Drawing { legend: legend(nets.iter().copied()), panels },
        tables: table.into_iter().collect(),
        csv,
    })
}

fn every(steps: u64) -> String {
    if steps == 1 { "each training step".into() } else { format!("every {steps} training steps") }
}
