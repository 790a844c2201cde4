//! The figure: the variance of the accuracy over the run, and what it says of the notebook's two
//! claims.

use std::fmt::Write;

use super::findings::{Basis, NetPairFindings, SeedFindings};
use super::judged_pair::JudgedPair;
use super::windows::{Variance, Window};
use crate::report::chart::{Axis, Drawing, Key, Layer, Panel, Plot, Sign, Stroke};
use crate::report::curves::{Spread, layers, spread};
use crate::report::figures::{Drawn, Figure, csv_cell, legend};
use crate::report::nets::NetRuns;
use crate::report::study::Study;
use crate::report::text::typeset;

/// Pairs of nets that are looked at.
const PAIRS: usize = 3;
/// A share squared, in points squared.
const POINTS: f64 = 1e4;

/// The variance in windows, in all and beyond sampling, and what it says of the claims.
pub fn draw(study: &Study) -> Drawn {
    let pairs = study.pairs();
    let (mut judged, mut text, mut unjudged) = (Vec::new(), Vec::new(), Vec::new());
    for pair in pairs.iter().take(PAIRS) {
        match JudgedPair::of(pair) {
            Ok(found) => judged.push(found),
            Err(reason) => unjudged.push(format!("{} against {}: {reason}", pair.candidate.name, pair.baseline.name)),
        }
    }
    if judged.is_empty() {
        let reason = unjudged.first().map_or("no two nets can be compared", String::as_str);
        return Err(format!("Variance of the accuracy: {reason}."));
    }
    let all = judged.iter_mut().flat_map(|judged| std::iter::once(&mut judged.findings).chain(&mut judged.whole));
    NetPairFindings::correct_together(all);

    let nets = nets(study, &judged);
    let is_of_draws = nets.iter().flat_map(|net| &net.found).any(|found| found.findings.is_of_draws());
    let mut method = "The first fifth of the run is left out, and the rest is cut into windows, ten where there are \
                      tests enough; in each, what is looked at is the distance of the accuracy from the \
                      window\u{2019}s own line, so that learning counts as no variance."
        .to_string();
    if is_of_draws {
        method += " Beyond sampling is what is left when the part that the draw of test images is expected to have is \
                   subtracted; it can be negative by chance.";
    }
    if nets.iter().any(|net| net.found.len() > 1) {
        method += " Bands reach from the lowest run to the highest.";
    }
    text.push(method);
    for JudgedPair { findings, whole, .. } in &judged {
        text.extend(
            findings.answers().map(|answer| typeset(&format!("{} {}", answer.question, answer.sentences.join(" ")))),
        );
        if let Some(whole) = whole {
            let answers = whole.answers().map(|answer| answer.sentences.join(" "));
            text.push(typeset(&format!("Tested on all test images instead: {}", answers.join(" "))));
        } else if findings.pairs.iter().any(|pair| pair.findings.is_of_draws()) {
            text.push("There are too few tests on all test images (setting test-every) to ask them the same.".into());
        }
    }
    text.extend(unjudged.iter().map(|reason| format!("Not judged: {reason}.")));
    if pairs.len() > PAIRS {
        text.push(format!("Of {} pairs of nets, only the first {PAIRS} are looked at.", pairs.len()));
    }
    let mut accuracies: Vec<&str> = judged.iter().map(|judged| judged.findings.accuracy.as_str()).collect();
    accuracies.dedup();
    let accuracy = if let [one] = accuracies.as_slice() { one } else { "accuracy" };
    Ok(Figure {
        name: "variance",
        title: format!("Variance of the {accuracy} from one test to the next, over the run"),
        text,
        drawing: drawing(&nets, is_of_draws),
        tables: Vec::new(),
        csv: csv(&nets),
    })
}

/// A net of the judged pairs.
struct DrawnNet<'a> {
    series: usize,
    net: &'a NetRuns,
    /// Whether it is the candidate of its pair.
    side: usize,
    /// Its pair's, seed by seed.
    found: Vec<&'a SeedFindings>,
}

impl DrawnNet<'_> {
    fn windows(&self) -> impl Iterator<Item = &[Window]> {
        self.found.iter().map(|found| found.windows[self.side].as_slice())
    }

    /// A part of the variance along the run.
    fn curve(&self, part: fn(Variance) -> f64) -> Vec<Spread> {
        let point = |window: &Window| ((window.first + window.last) / 2, POINTS * part(window.variance));
        spread(&self.windows().map(|windows| windows.iter().map(point).collect()).collect::<Vec<_>>())
    }

    fn layers(&self, stroke: Stroke, part: fn(Variance) -> f64) -> Vec<Layer> {
        layers(self.series, stroke, &self.curve(part), self.found.len(), |step| step as f64)
    }
}

/// Each net of the pairs once, by the pair with the most seeds.
fn nets<'a>(study: &'a Study, judged: &'a [JudgedPair<'a>]) -> Vec<DrawnNet<'a>> {
    let of_net = |(series, net): (usize, &'a NetRuns)| {
        let pairs = judged.iter().filter_map(|JudgedPair { pair, findings, .. }| {
            let side = [pair.baseline, pair.candidate].iter().position(|other| std::ptr::eq(*other, net))?;
            Some(DrawnNet { series, net, side, found: findings.pairs.iter().collect() })
        });
        // Of equals the first.
        pairs.collect::<Vec<_>>().into_iter().rev().max_by_key(|drawn| drawn.found.len())
    };
    study.nets.iter().enumerate().filter_map(of_net).collect()
}

fn drawing(nets: &[DrawnNet], is_of_draws: bool) -> Drawing {
    let of = |stroke, part: fn(Variance) -> f64| nets.iter().flat_map(move |net| net.layers(stroke, part));
    let panel = |title: &str, y: fn(&'static str) -> Axis, layers: Vec<Layer>| {
        let x = Axis::tight("training step, middle of the window").whole();
        Panel::Plot(Plot { title: title.into(), x, y: y("variance (points\u{b2})"), layers })
    };
    // Nets of which one varies far more than another can't both be seen on a linear axis; a logarithmic one has no 0.
    let runs = nets.iter().flat_map(|net| net.found.iter().map(|found| found.findings.variance[net.side].in_all));
    let (least, most) = runs.fold((f64::INFINITY, 0f64), |(least, most), run| (least.min(run), most.max(run)));
    let has_zero = nets.iter().flat_map(DrawnNet::windows).flatten().any(|window| window.variance.in_all == 0.0);
    let axis = if most > 20.0 * least && !has_zero { Axis::log } else { Axis::round };
    let mut legend = legend(nets.iter().map(|net| (net.series, net.net)));
    let in_all = of(Stroke::Strong, |variance| variance.in_all);
    if !is_of_draws {
        let panels = vec![panel("about the windows\u{2019} lines", axis, in_all.collect())];
        return Drawing { legend, panels };
    }
    let key = |stroke, name: &str| Key { series: 7, sign: Sign::Line(stroke), name: name.into() };
    legend.push(key(Stroke::Strong, "found"));
    legend.push(key(Stroke::Dashed, "expected of the draw of test images alone"));
    let sampling = of(Stroke::Dashed, |variance| variance.sampling);
    let beyond = of(Stroke::Strong, Variance::beyond_sampling);
    let panels = vec![
        panel("in all", axis, in_all.chain(sampling).collect()),
        panel("beyond sampling", Axis::round, beyond.collect()),
    ];
    Drawing { legend, panels }
}

fn csv(nets: &[DrawnNet]) -> String {
    let mut csv = "net,seed,first_step,last_step,accuracy,variance_in_all,variance_of_sampling\n".to_string();
    for DrawnNet { net, side, found, .. } in nets {
        for found in found {
            let Basis::Tests { seed, .. } = found.findings.basis else { continue };
            for Window { first, last, accuracy, variance } in &found.windows[*side] {
                let Variance { in_all, sampling } = variance;
                let name = csv_cell(&net.name);
                let _ = writeln!(csv, "{name},{seed},{first},{last},{accuracy:.6},{in_all:e},{sampling:e}");
            }
        }
    }
    csv
}
