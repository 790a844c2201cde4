//! The variance of the accuracy over the run, and the notebook's two claims about it.

use std::fmt::Write;

use super::{Drawn, Figure, cell, legend};
use crate::report::chart::{Axis, Drawing, Key, Layer, Panel, Plot, Sign, Stroke};
use crate::report::claims::{self, Basis, Claims, PairFindings};
use crate::report::curves::{Spread, layers, spread};
use crate::report::nets::{Net, Pair};
use crate::report::run::{Evaluation, Run};
use crate::report::statistics::variance::{Sample, Variance, Window};
use crate::report::study::Study;
use crate::report::text::typeset;
use crate::run_dir::EvaluateOn;

/// Pairs of nets that are looked at.
const PAIRS: usize = 3;
/// A share squared, in points squared.
const POINTS: f64 = 1e4;

/// The variance in windows, in all and beyond sampling, and what it says of the claims.
pub fn draw(study: &Study) -> Drawn {
    let pairs = study.pairs();
    let (mut judged, mut text, mut unjudged) = (Vec::new(), Vec::new(), Vec::new());
    for pair in pairs.iter().take(PAIRS) {
        match Judged::of(pair) {
            Ok(found) => judged.push(found),
            Err(reason) => unjudged.push(format!("{} against {}: {reason}", pair.candidate.name, pair.baseline.name)),
        }
    }
    if judged.is_empty() {
        let reason = unjudged.first().map_or("no two nets can be compared", String::as_str);
        return Err(format!("Variance of the accuracy: {reason}."));
    }
    let all = judged.iter_mut().flat_map(|judged| std::iter::once(&mut judged.claims).chain(&mut judged.whole));
    Claims::correct_together(all);

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
    for Judged { claims, whole, .. } in &judged {
        text.extend(
            claims.answers().map(|answer| typeset(&format!("{} {}", answer.question, answer.sentences.join(" ")))),
        );
        if let Some(whole) = whole {
            let answers = whole.answers().map(|answer| answer.sentences.join(" "));
            text.push(typeset(&format!("Tested on all test images instead: {}", answers.join(" "))));
        } else if claims.pairs.iter().any(|pair| pair.findings.is_of_draws()) {
            text.push("There are too few tests on all test images (--test-every) to ask them the same.".into());
        }
    }
    text.extend(unjudged.iter().map(|reason| format!("Not judged: {reason}.")));
    if pairs.len() > PAIRS {
        text.push(format!("Of {} pairs of nets, only the first {PAIRS} are looked at.", pairs.len()));
    }
    let mut accuracies: Vec<&str> = judged.iter().map(|judged| judged.claims.accuracy.as_str()).collect();
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

/// What is said of a pair of nets.
struct Judged<'a> {
    pair: &'a Pair<'a>,
    /// By the evaluations on the way, or else by the tests on all test images.
    claims: Claims,
    /// By the tests on all test images, where that is something else.
    whole: Option<Claims>,
}

impl<'a> Judged<'a> {
    fn of(pair: &'a Pair<'a>) -> Result<Self, String> {
        let tested = match pair.baseline.first().config.settings.evaluate_on {
            EvaluateOn::TestBatch => Tested::TestBatches,
            EvaluateOn::Validation => Tested::ValidationImages,
        };
        let whole = judge(pair, Tested::AllTestImages).ok();
        match (judge(pair, tested), whole) {
            (Ok(claims), whole) => Ok(Self { pair, claims, whole }),
            (Err(_), Some(claims)) => Ok(Self { pair, claims, whole: None }),
            (Err(reason), None) => Err(reason),
        }
    }
}

/// A net of the judged pairs.
struct DrawnNet<'a> {
    series: usize,
    net: &'a Net,
    /// Whether it is the candidate of its pair.
    side: usize,
    /// Its pair's, seed by seed.
    found: Vec<&'a PairFindings>,
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
fn nets<'a>(study: &'a Study, judged: &'a [Judged<'a>]) -> Vec<DrawnNet<'a>> {
    let of_net = |(series, net): (usize, &'a Net)| {
        let pairs = judged.iter().filter_map(|Judged { pair, claims, .. }| {
            let side = [pair.baseline, pair.candidate].iter().position(|other| std::ptr::eq(*other, net))?;
            Some(DrawnNet { series, net, side, found: claims.pairs.iter().collect() })
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
                let name = cell(&net.name);
                let _ = writeln!(csv, "{name},{seed},{first},{last},{accuracy:.6},{in_all:e},{sampling:e}");
            }
        }
    }
    csv
}

/// What the runs' accuracy was tested on.
#[derive(Clone, Copy, PartialEq)]
enum Tested {
    TestBatches,
    ValidationImages,
    AllTestImages,
}

impl Tested {
    fn accuracy(self) -> &'static str {
        if self == Self::ValidationImages { "validation accuracy" } else { "test accuracy" }
    }

    fn of(self, run: &Run) -> &[Evaluation] {
        match self {
            Self::TestBatches => &run.test_batches,
            Self::ValidationImages => &run.validation,
            Self::AllTestImages => &run.tests,
        }
    }
}

/// The claims by the tests of the runs of `pair`.
fn judge(pair: &Pair, tested: Tested) -> Result<Claims, String> {
    let has_ended = |run: &Run| run.summary.is_some();
    let ended: Vec<(&Run, &Run)> =
        pair.runs().filter(|(baseline, candidate)| has_ended(baseline) && has_ended(candidate)).collect();
    let (first, other) = ended.first().ok_or("no seed has ended in both nets")?;
    let settings = &first.config.settings;
    if settings.steps != other.config.settings.steps {
        return Err("the runs of the two nets are not equally long".into());
    }
    let test_images = first.summary.as_ref().map_or(0, |summary| summary.test.images);
    let sample = match tested {
        Tested::TestBatches => Sample { images: settings.eval_batch as usize, population: test_images },
        Tested::ValidationImages => Sample { images: settings.validation, population: settings.validation },
        Tested::AllTestImages => Sample { images: test_images, population: test_images },
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
