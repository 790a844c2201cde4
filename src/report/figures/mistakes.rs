//! Which classes are taken for which, and the mistakes that a net was surest of.

use std::fmt::Write;

use super::{Drawn, Figure, csv_cell};
use crate::report::chart::{Cell, Drawing, Gallery, HeatMap, Key, Panel, Picture, Sign, number};
use crate::report::nets::NetRuns;
use crate::report::png;
use crate::report::run::Run;
use crate::report::study::Study;
use crate::report::text::{counted, listed};
use crate::run_dir::Prediction;

/// Nets that are drawn.
const NETS: usize = 4;
/// Pictures of each.
const PICTURES: usize = 11;
/// Classes that a confusion matrix has room for.
const CLASSES: usize = 20;

/// A confusion matrix and some pictures of each net.
pub fn draw(study: &Study) -> Drawn {
    let has = |net: &&NetRuns| net.runs.iter().any(|run| !run.predictions.is_empty());
    let nets: Vec<&NetRuns> = study.nets.iter().filter(has).take(NETS).collect();
    if nets.is_empty() {
        return Err("Mistakes: no run has ended, so there are no predictions.".into());
    }
    let (mut panels, mut text) = (Vec::new(), Vec::new());
    let mut csv = "net,label,predicted,images\n".to_string();
    for net in &nets {
        let matrix = Matrix::of(net);
        for (label, row) in matrix.means.iter().enumerate() {
            for (predicted, images) in row.iter().enumerate().filter(|(_, images)| **images > 0.0) {
                let _ = writeln!(csv, "{},{label},{predicted},{images:.2}", csv_cell(&net.name));
            }
        }
        if matrix.means.len() <= CLASSES {
            panels.push(Panel::HeatMap(matrix.cells(net)));
        } else {
            text.push(format!("{}: a matrix of {} classes is in the CSV alone.", net.name, matrix.means.len()));
        }
    }
    for net in &nets {
        let Some(run) = net.runs.iter().find(|run| !run.predictions.is_empty()) else { continue };
        match gallery(study, net, run) {
            Ok(gallery) if gallery.pictures.is_empty() => text.push(format!("{} makes no mistake.", net.name)),
            Ok(gallery) => panels.push(Panel::Gallery(gallery)),
            Err(reason) => text.push(format!("{}: no pictures, as {reason}.", net.name)),
        }
    }
    let left_out: Vec<String> = study.nets.iter().filter(has).skip(NETS).map(|net| net.name.clone()).collect();
    if !left_out.is_empty() {
        text.push(format!("Not drawn: {}.", listed(&left_out)));
    }
    text.insert(
        0,
        "Numbers of test images, mean over the seeds: what they are, downward, and what the last weights take them \
         for. Off the diagonal, the shade grows with the number. The pictures are the mistakes of one seed with the \
         highest softmax of the wrong class: below each, what it is, what it was taken for, and that softmax."
            .into(),
    );
    let key = |(series, name): (usize, &str)| Key { series, sign: Sign::Swatch, name: name.into() };
    Ok(Figure {
        name: "mistakes",
        title: "What is taken for what, and the mistakes that the nets were surest of".into(),
        text,
        drawing: Drawing { legend: [(7, "right"), (1, "wrong")].map(key).into(), panels },
        tables: Vec::new(),
        csv,
    })
}

/// Test images by label and prediction.
struct Matrix {
    /// `[label][predicted]`, mean over the runs.
    means: Vec<Vec<f64>>,
    runs: usize,
}

impl Matrix {
    fn of(net: &NetRuns) -> Self {
        let tested: Vec<&Run> = net.runs.iter().filter(|run| !run.predictions.is_empty()).collect();
        let all = || tested.iter().flat_map(|run| &run.predictions);
        let classes = all().map(|prediction| prediction.label.max(prediction.predicted)).max().unwrap_or(0);
        let mut means = vec![vec![0.0; usize::from(classes) + 1]; usize::from(classes) + 1];
        for &Prediction { label, predicted, .. } in all() {
            means[usize::from(label)][usize::from(predicted)] += 1.0 / tested.len() as f64;
        }
        Self { means, runs: tested.len() }
    }

    fn cells(&self, net: &NetRuns) -> HeatMap {
        let wrong =
            |(label, predicted): (usize, usize)| if label == predicted { 0.0 } else { self.means[label][predicted] };
        let classes = self.means.len();
        let places = (0..classes).flat_map(|label| (0..classes).map(move |predicted| (label, predicted)));
        let most = places.map(wrong).fold(1.0, f64::max);
        let names: Vec<String> = (0..self.means.len()).map(|class| class.to_string()).collect();
        let draw = |(label, row): (usize, &Vec<f64>)| {
            let sum: f64 = row.iter().sum::<f64>().max(1.0);
            let cell = |(predicted, &images): (usize, &f64)| {
                let is_right = predicted == label;
                let (series, shade) = if is_right { (7, 0.45 * images / sum) } else { (1, images / most) };
                let decimals = usize::from(self.runs > 1 && images < 9.95);
                let text = if images > 0.0 { number(images, decimals) } else { String::new() };
                Some(Cell { shade, series, text })
            };
            row.iter().enumerate().map(cell).collect()
        };
        HeatMap {
            title: format!("{}, {}", net.name, counted(self.runs, "seed", "seeds")),
            columns: "taken for".into(),
            rows: "what it is".into(),
            column_names: names.clone(),
            row_names: names,
            cells: self.means.iter().enumerate().map(draw).collect(),
        }
    }
}

/// The surest mistakes of `run`.
fn gallery(study: &Study, net: &NetRuns, run: &Run) -> Result<Gallery, String> {
    let data = study.data_of(run)?;
    let mut wrong: Vec<&Prediction> =
        run.predictions.iter().filter(|prediction| prediction.label != prediction.predicted).collect();
    // Of equally sure ones, the first.
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.image.cmp(&b.image)));
    let picture = |prediction: &&Prediction| {
        let index = prediction.image as usize;
        let [height, width, channels] = data.test.shape();
        let source = png::address(height, width, channels, data.test.image(index));
        let Prediction { label, predicted, probability, .. } = prediction;
        let sure = format!("{} %", number(100.0 * f64::from(*probability), 1));
        Picture { source, lines: [format!("{label} \u{2192} {predicted}"), sure] }
    };
    let in_set = |prediction: &&&Prediction| (prediction.image as usize) < data.test.len();
    Ok(Gallery {
        title: format!("{}, seed {}", net.name, run.seed()),
        pictures: wrong.iter().filter(in_set).take(PICTURES).map(picture).collect(),
    })
}
