//! The variance of the accuracy over the run, and the notebook's two claims about it.

use std::fmt::Write;

use super::{Drawn, Figure, cell, legend, tests_on_batches};
use crate::report::chart::{Axis, Drawing, Key, Layer, Panel, Plot, Sign, Stroke};
use crate::report::claims::{self, Basis, Claims};
use crate::report::curves::{Spread, layers, spread};
use crate::report::runs::{Evaluation, Run};
use crate::report::study::{Pair, Study};
use crate::report::variance::{Sample, Variance, Window};
use crate::report::words::typeset;

/// Pairs of nets that are drawn.
const PAIRS: usize = 3;
/// A share squared, in points squared.
const POINTS: f64 = 1e4;

/// The variance in windows, in all and beyond sampling, and what it says of the claims.
pub fn draw(study: &Study) -> Drawn {
    let pairs = study.pairs();
    let tested = if tests_on_batches(study) { Tested::OnBatches } else { Tested::OnValidation };
    let what = format!("Variance of the {}", tested.accuracy());
    let mut reason = "no net without stochastic depth is equal to one with it in everything else".to_string();
    let mut judged = Vec::new();
    for pair in pairs.iter().take(PAIRS) {
        match judge(pair, tested) {
            Ok(claims) => judged.push((pair, claims)),
            Err(error) => reason = error,
        }
    }
    if judged.is_empty() {
        return Err(format!("{what}: {}.", reason.trim_end_matches('.')));
    }
    let (mut in_all, mut sampling, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    let mut csv = "net,seed,first_step,last_step,accuracy,variance_in_all,variance_of_sampling\n".to_string();
    let mut drawn: Vec<usize> = Vec::new();
    for (pair, claims) in &judged {
        for (side, net) in [pair.baseline, pair.candidate].into_iter().enumerate() {
            let series = study.nets.iter().position(|other| std::ptr::eq(other, net)).unwrap_or(0);
            if drawn.contains(&series) {
                continue;
            }
            drawn.push(series);
            let of = |part: fn(Variance) -> f64| -> Vec<Spread> {
                let point = |window: &Window| ((window.first + window.last) / 2, POINTS * part(window.variance));
                spread(
                    &claims.pairs.iter().map(|pair| pair.windows[side].iter().map(point).collect()).collect::<Vec<_>>(),
                )
            };
            let (runs, x) = (claims.pairs.len(), |step: u64| step as f64);
            in_all.extend(layers(series, Stroke::Strong, &of(|variance| variance.in_all), runs, x));
            sampling.extend(layers(series, Stroke::Dashed, &of(|variance| variance.sampling), runs, x));
            beyond.extend(layers(series, Stroke::Strong, &of(Variance::beyond_sampling), runs, x));
            for found in &claims.pairs {
                let Basis::Tests { seed, .. } = found.findings.basis else { continue };
                for Window { first, last, accuracy, variance } in &found.windows[side] {
                    let Variance { in_all, sampling } = variance;
                    let name = cell(&net.name);
                    let _ = writeln!(csv, "{name},{seed},{first},{last},{accuracy:.6},{in_all:e},{sampling:e}");
                }
            }
        }
    }
    let is_of_draws = tested == Tested::OnBatches;
    if is_of_draws {
        in_all.extend(sampling);
    }
    let panel = |title: &str, y: fn(&'static str) -> Axis, layers: Vec<Layer>| {
        let x = Axis::tight("training step, middle of the window").whole();
        Panel::Plot(Plot { title: title.into(), x, y: y("variance (points\u{b2})"), layers })
    };
    // Nets of which one varies far more than another can't both be seen on a linear axis.
    let variances = judged.iter().flat_map(|(_, claims)| &claims.pairs).flat_map(|pair| pair.findings.variance);
    let (least, most) =
        variances.fold((f64::INFINITY, 0f64), |(least, most), v| (least.min(v.in_all), most.max(v.in_all)));
    let axis = if most > 20.0 * least { Axis::log } else { Axis::round };
    let mut panels = vec![panel(if is_of_draws { "in all" } else { "about the windows\u{2019} lines" }, axis, in_all)];
    let mut keys = legend(drawn.iter().map(|&series| (series, &study.nets[series])));
    let key = |stroke, name: &str| Key { series: 7, sign: Sign::Line(stroke), name: name.into() };
    let mut method = "The first fifth of the run is left out, and the rest is cut into windows, ten where there are \
                      tests enough; in each, what is looked at is the distance of the accuracy from the \
                      window\u{2019}s own line, so that learning counts as no variance."
        .to_string();
    if is_of_draws {
        panels.push(panel("beyond sampling", Axis::round, beyond));
        keys.push(key(Stroke::Strong, "found"));
        keys.push(key(Stroke::Dashed, "expected of the draw of test images alone"));
        method += " Beyond sampling is what is left when the part that the draw of test images is expected to have is \
                   subtracted; it can be negative by chance.";
    }
    method += " Bands reach from the lowest run to the highest.";
    let mut text = vec![method];
    // On all test images, nothing is left to the draw.
    let mut whole: Vec<_> = judged.iter().map(|(pair, _)| judge(pair, Tested::OnAll)).collect();
    let first = judged.iter_mut().map(|(_, claims)| claims);
    Claims::correct_together(first.chain(whole.iter_mut().flatten()));
    for ((_, claims), whole) in judged.iter().zip(whole) {
        text.extend(
            claims.answers().map(|answer| typeset(&format!("{} {}", answer.question, answer.sentences.join(" ")))),
        );
        text.push(match whole {
            Ok(whole) => {
                let answers = whole.answers().map(|answer| answer.sentences.join(" "));
                typeset(&format!("Tested on all test images instead: {}", answers.join(" ")))
            }
            Err(reason) => format!("Tested on all test images instead (--test-every): {reason}."),
        });
    }
    if pairs.len() > PAIRS {
        text.push(format!("Of {} pairs of nets, the first {PAIRS} are judged and drawn.", pairs.len()));
    }
    Ok(Figure {
        name: "variance",
        title: format!("{what} from one test to the next, over the run"),
        text,
        drawing: Drawing { legend: keys, panels },
        tables: Vec::new(),
        csv,
    })
}

/// What the runs' accuracy was tested on.
#[derive(Clone, Copy, PartialEq)]
enum Tested {
    OnBatches,
    OnValidation,
    OnAll,
}

impl Tested {
    fn accuracy(self) -> &'static str {
        if self == Self::OnValidation { "validation accuracy" } else { "test accuracy" }
    }

    fn of(self, run: &Run) -> &[Evaluation] {
        match self {
            Self::OnBatches => &run.test_batches,
            Self::OnValidation => &run.validation,
            Self::OnAll => &run.tests,
        }
    }
}

/// The claims by the tests of the runs of `pair`.
fn judge(pair: &Pair, tested: Tested) -> Result<Claims, String> {
    let has_ended = |run: &Run| run.summary.is_some();
    let ended: Vec<(&Run, &Run)> =
        pair.runs().filter(|(baseline, candidate)| has_ended(baseline) && has_ended(candidate)).collect();
    let (first, _) = ended.first().ok_or("no seed has ended in both nets")?;
    let settings = &first.config.settings;
    let test_images = first.summary.as_ref().map_or(0, |summary| summary.test.images);
    let sample = match tested {
        Tested::OnBatches => Sample { images: settings.eval_batch as usize, population: test_images },
        Tested::OnValidation => Sample { images: settings.validation, population: settings.validation },
        Tested::OnAll => Sample { images: test_images, population: test_images },
    };
    let tests = |(baseline, candidate): &(&Run, &Run)| {
        let mut others = tested.of(candidate).iter().peekable();
        let mut tests = Vec::new();
        for test in tested.of(baseline) {
            while others.next_if(|other| other.step < test.step).is_some() {}
            if let Some(other) = others.next_if(|other| other.step == test.step) {
                tests.push((test.step, [test.accuracy, other.accuracy]));
            }
        }
        claims::Pair { seed: baseline.seed(), tests }
    };
    let pairs: Vec<claims::Pair> = ended.iter().map(tests).collect();
    let nets = [pair.baseline, pair.candidate].map(|net| net.name.as_str());
    Claims::of(tested.accuracy(), nets, &pairs, sample).map_err(|error| error.to_string())
}
