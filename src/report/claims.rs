//! The notebook's claims about the variance of the accuracy, as figures and in words: is the candidate's (there, with
//! stochastic depth) larger, and does it shrink as training goes on?
//!
//! Within a run, intervals come from its tests: a moving-block bootstrap of both nets together, and the windows' line.
//! They say how sure the figure is for *these* two runs, not what another seed would give. Claims about the nets take
//! pairs of runs as the unit, at least [`RUNS_FOR_A_CLAIM`] of them.

use thiserror::Error;

use super::statistics::bootstrap::{MovingBlocks, block_length};
use super::statistics::estimate::{Estimate, LEVEL};
use super::statistics::paired::{RUNS_FOR_A_CLAIM, holm, mean, mean_difference};
use super::statistics::variance::{Detrended, GOOD_WINDOW, Sample, Variance, Window, tests_needed};
use super::text::p_value;

/// What is asked of a pair of nets: is its ratio of variances 1, is the baseline's trend in all 0, is the candidate's,
/// and where images are drawn, is the variances' difference beyond sampling 0?
const QUESTIONS: usize = 4;

/// The tests of the baseline and of the candidate with one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Of both runs.
    pub seed: u64,
    /// Steps, which ascend, and the accuracies of the baseline and the candidate on the same images.
    pub tests: Vec<(u64, [f64; 2])>,
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Unjudged {
    /// No pair.
    #[error("no runs of both nets share a seed")]
    NoPairs,
    /// Too few tests for windows.
    #[error("seed {seed}: both nets were tested at {tests} steps; at least {needed} are needed to say something")]
    TooFew {
        /// Of the pair.
        seed: u64,
        /// That both nets have.
        tests: usize,
        /// That would do.
        needed: usize,
    },
    /// A net's accuracy lies on its windows' lines.
    #[error("seed {seed}: the accuracy of {net} does not vary, so there is no ratio of variances")]
    Constant {
        /// Of the pair.
        seed: u64,
        /// Its name.
        net: String,
    },
}

/// What findings rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The tests of one pair of runs.
    Tests {
        /// Of the pair.
        seed: u64,
        /// Tests in a block of the bootstrap.
        block: usize,
        /// Windows.
        windows: usize,
    },
    /// That many pairs of runs.
    Runs(usize),
}

/// Change of a net's variance, in shares squared per step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Of the variance in all.
    pub in_all: Estimate,
    /// Of the variance beyond sampling.
    pub beyond_sampling: Estimate,
    /// The variance in all in the first window and in the last, in shares squared.
    pub ends: [f64; 2],
}

/// How the variance of the candidate's accuracy stands to the baseline's. Pairs of figures: baseline, candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// What they rest on.
    pub basis: Basis,
    /// Over all windows.
    pub variance: [Variance; 2],
    /// Candidate's variance in all / baseline's.
    pub ratio: Estimate,
    /// Candidate's variance in all - baseline's; told where nothing is beyond sampling.
    pub difference: Estimate,
    /// The same of the variance beyond sampling.
    pub difference_beyond_sampling: Estimate,
    /// Of each net.
    pub trends: [Trend; 2],
    /// p values of the [`QUESTIONS`] after Holm's correction; 1 of what is not asked.
    pub corrected: [f64; QUESTIONS],
    /// Comparisons that they are corrected for.
    pub comparisons: usize,
}

/// What a figure shows, after the correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A larger variance, or one that grows.
    More,
    /// A smaller variance, or one that shrinks.
    Less,
    /// Neither: a result too.
    NoDifference,
}

impl Findings {
    fn new(
        basis: Basis,
        variance: [Variance; 2],
        [ratio, difference, difference_beyond_sampling]: [Estimate; 3],
        trends: [Trend; 2],
    ) -> Self {
        let (corrected, comparisons) = ([1.0; QUESTIONS], QUESTIONS);
        let mut findings =
            Self { basis, variance, ratio, difference, difference_beyond_sampling, trends, corrected, comparisons };
        correct([&mut findings].into_iter());
        findings
    }

    /// Whether the images of a test were drawn, so that a part of the variance is the draw's.
    pub fn is_of_draws(&self) -> bool {
        self.variance.iter().any(|variance| variance.sampling != 0.0)
    }

    /// Of the questions that are asked, before any correction.
    fn p_values(&self) -> Vec<f64> {
        let [baseline, candidate] = self.trends.map(|trend| trend.in_all.p_value);
        let beyond = self.is_of_draws().then_some(self.difference_beyond_sampling.p_value);
        [self.ratio.p_value, baseline, candidate].into_iter().chain(beyond).collect()
    }

    /// Whether the candidate's variance is larger.
    pub fn larger(&self) -> Verdict {
        verdict(self.ratio.value > 1.0, self.corrected[0])
    }

    /// Whether its part beyond sampling is.
    pub fn larger_beyond_sampling(&self) -> Verdict {
        verdict(self.difference_beyond_sampling.value > 0.0, self.corrected[3])
    }

    /// Whether the variance of `net` (0: baseline, 1: candidate) shrinks.
    pub fn trend(&self, net: usize) -> Verdict {
        verdict(self.trends[net].in_all.value > 0.0, self.corrected[1 + net])
    }
}

/// Corrects the p values of `findings`, which are told together, for all their questions.
fn correct<'a>(findings: impl Iterator<Item = &'a mut Findings>) {
    let findings: Vec<&mut Findings> = findings.collect();
    let mut p_values: Vec<f64> = findings.iter().flat_map(|findings| findings.p_values()).collect();
    holm(&mut p_values);
    let comparisons = p_values.len();
    let mut corrected = p_values.into_iter();
    for findings in findings {
        let asked = findings.p_values().len();
        findings.corrected[..asked].iter_mut().zip(&mut corrected).for_each(|(old, new)| *old = new);
        findings.comparisons = comparisons;
    }
}

fn verdict(more: bool, p_value: f64) -> Verdict {
    match p_value <= 1.0 - LEVEL {
        true if more => Verdict::More,
        true => Verdict::Less,
        false => Verdict::NoDifference,
    }
}

/// One pair of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct PairFindings {
    /// From its tests.
    pub findings: Findings,
    /// Of the baseline and the candidate.
    pub windows: [Vec<Window>; 2],
}

impl PairFindings {
    fn of(pair: &Pair, nets: &[String; 2], sample: Sample) -> Result<Self, Unjudged> {
        let (seed, tests, needed) = (pair.seed, pair.tests.len(), tests_needed(GOOD_WINDOW));
        let too_few = Unjudged::TooFew { seed, tests, needed };
        if tests < needed {
            return Err(too_few);
        }
        let detrended = |net: usize| {
            let tests: Vec<(u64, f64)> = pair.tests.iter().map(|(step, accuracies)| (*step, accuracies[net])).collect();
            let detrended = Detrended::of(&tests, sample)?;
            let in_all = detrended.slope(|variance| variance.in_all)?;
            let ends = [detrended.windows.first()?, detrended.windows.last()?].map(|window| window.variance.in_all);
            let trend = Trend { in_all, beyond_sampling: detrended.slope(Variance::beyond_sampling)?, ends };
            Some((detrended, trend))
        };
        let Some(((baseline, baseline_trend), (candidate, candidate_trend))) = detrended(0).zip(detrended(1)) else {
            return Err(too_few);
        };
        let variance = [baseline.variance(), candidate.variance()];
        if let Some(net) = variance.iter().position(|variance| variance.in_all == 0.0) {
            return Err(Unjudged::Constant { seed, net: nets[net].clone() });
        }
        let parts = (&baseline.contributions, &candidate.contributions);
        let differences: Vec<f64> = parts.0.iter().zip(parts.1).map(|(b, c)| c.in_all - b.in_all).collect();
        let block = block_length(&differences).ceil() as usize;
        let blocks = MovingBlocks { count: differences.len(), length: block, seed };
        let [logarithm, difference, beyond] = blocks.estimates(|indices| {
            let [baseline, candidate] =
                [parts.0, parts.1].map(|parts| Variance::mean(indices.iter().map(|&index| &parts[index])));
            let difference = |part: fn(Variance) -> f64| part(candidate) - part(baseline);
            [log_ratio([baseline, candidate]), difference(|v| v.in_all), difference(Variance::beyond_sampling)]
        });
        let basis = Basis::Tests { seed, block, windows: baseline.windows.len() };
        let estimates = [logarithm.exp(), difference, beyond];
        let findings = Findings::new(basis, variance, estimates, [baseline_trend, candidate_trend]);
        Ok(Self { findings, windows: [baseline.windows, candidate.windows] })
    }
}

/// Logarithm of candidate's variance / baseline's; 0 of a resample in which neither varies.
fn log_ratio([baseline, candidate]: [Variance; 2]) -> f64 {
    if baseline.in_all == candidate.in_all { 0.0 } else { (candidate.in_all / baseline.in_all).ln() }
}

/// Over pairs of runs: paired t of the ratios' logarithms and of the differences, and Student's interval around the
/// mean of each net's trends.
fn over_runs(pairs: &[PairFindings]) -> Option<Findings> {
    if pairs.len() < RUNS_FOR_A_CLAIM {
        return None;
    }
    let all = |figure: &dyn Fn(&Findings) -> f64| pairs.iter().map(|pair| figure(&pair.findings)).collect::<Vec<_>>();
    let of = |figure: &dyn Fn(&Findings) -> f64| mean_difference(&all(figure));
    let variance = [0, 1].map(|net| Variance {
        in_all: mean(&all(&|run| run.variance[net].in_all)),
        sampling: mean(&all(&|run| run.variance[net].sampling)),
    });
    let estimates = [
        of(&|run| run.ratio.value.ln())?.exp(),
        of(&|run| run.difference.value)?,
        of(&|run| run.difference_beyond_sampling.value)?,
    ];
    let trend = |net: usize| {
        let in_all = of(&|run| run.trends[net].in_all.value)?;
        let ends = [0, 1].map(|end| mean(&all(&|run| run.trends[net].ends[end])));
        Some(Trend { in_all, beyond_sampling: of(&|run| run.trends[net].beyond_sampling.value)?, ends })
    };
    Some(Findings::new(Basis::Runs(pairs.len()), variance, estimates, [trend(0)?, trend(1)?]))
}

/// A question and its answer, a sentence or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// As a heading.
    pub question: String,
    /// Each with its figures and intervals.
    pub sentences: Vec<String>,
}

/// What pairs of runs say of the notebook's claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// Which accuracy it is: `test accuracy` or `validation accuracy`.
    pub accuracy: String,
    /// Names of the baseline and the candidate.
    pub nets: [String; 2],
    /// In the order of the pairs.
    pub pairs: Vec<PairFindings>,
    /// `None` of fewer than [`RUNS_FOR_A_CLAIM`] pairs.
    pub over_runs: Option<Findings>,
}

impl Claims {
    /// Of the `accuracy` of `pairs` of runs of the `nets` (baseline, candidate), the tests drawn as `sample` says.
    pub fn of(accuracy: &str, nets: [&str; 2], pairs: &[Pair], sample: Sample) -> Result<Self, Unjudged> {
        let nets = nets.map(String::from);
        if pairs.is_empty() {
            return Err(Unjudged::NoPairs);
        }
        let pairs: Result<Vec<_>, _> = pairs.iter().map(|pair| PairFindings::of(pair, &nets, sample)).collect();
        let pairs = pairs?;
        let over_runs = over_runs(&pairs);
        let mut claims = Self { accuracy: accuracy.into(), nets, pairs, over_runs };
        correct(claims.told());
        Ok(claims)
    }

    /// Corrects the p values of `all`, which are told together, for all their questions.
    pub fn correct_together<'a>(all: impl Iterator<Item = &'a mut Self>) {
        correct(all.flat_map(Self::told));
    }

    /// What the answers are about: all runs together if there are enough, else each pair.
    fn told(&mut self) -> impl Iterator<Item = &mut Findings> {
        let pairs = if self.over_runs.is_some() { &mut [] } else { self.pairs.as_mut_slice() };
        self.over_runs.iter_mut().chain(pairs.iter_mut().map(|pair| &mut pair.findings))
    }

    /// The two questions. Variances are in points squared.
    pub fn answers(&self) -> [Answer; 2] {
        let ([baseline, candidate], accuracy) = (&self.nets, &self.accuracy);
        let question = format!("Is the variance of the {accuracy} larger for {candidate} than for {baseline}?");
        let larger = Answer { question, sentences: self.sentences(|findings| vec![self.on_size(findings)]) };
        let question = format!("Does the variance of the {accuracy} shrink as training goes on?");
        let on_trends = |findings: &Findings| [0, 1].map(|net| self.on_trend(findings, net)).into();
        [larger, Answer { question, sentences: self.sentences(on_trends) }]
    }

    /// Of all runs together if there are enough, else of each pair, with the reason.
    fn sentences(&self, of: impl Fn(&Findings) -> Vec<String>) -> Vec<String> {
        if let Some(over_runs) = &self.over_runs {
            return of(over_runs);
        }
        let (here, these) = match self.pairs.len() {
            1 => ("is 1 seed".to_string(), "this seed's runs"),
            count => (format!("are {count} seeds"), "each seed's runs"),
        };
        let mut sentences: Vec<String> = self.pairs.iter().flat_map(|pair| of(&pair.findings)).collect();
        sentences.push(format!(
            "A claim about the nets needs {RUNS_FOR_A_CLAIM} seeds or more, and here {here}: the intervals are \
             about {these} only."
        ));
        sentences
    }

    fn on_size(&self, findings: &Findings) -> String {
        let [baseline, candidate] = &self.nets;
        let Findings { variance, ratio, difference_beyond_sampling: beyond, .. } = findings;
        let (scope, method) = match findings.basis {
            Basis::Tests { seed, block, .. } => (
                format!("With seed {seed}"),
                format!("moving-block bootstrap of both nets together, blocks of {block} tests"),
            ),
            Basis::Runs(count) => {
                (format!("Over {count} seeds"), "paired t on the logarithms of the ratios".to_string())
            }
        };
        let verdict = |verdict| match verdict {
            Verdict::More => "larger",
            Verdict::Less => "smaller",
            Verdict::NoDifference => "no difference is shown",
        };
        let [of_baseline, of_candidate] = variance.map(|variance| points(variance.in_all));
        let bound = |bound: f64| if bound.is_finite() { format!("{bound:.2}") } else { "without bound".into() };
        let in_all = format!(
            "{scope}, the variance of {candidate}'s {} is {:.2} times {baseline}'s (95 % interval {} to {}, {method}; \
             {}): {}. In all it is {of_candidate} against {of_baseline} points squared",
            self.accuracy,
            ratio.value,
            bound(ratio.low),
            bound(ratio.high),
            p_value(findings.corrected[0], findings.comparisons),
            verdict(findings.larger()),
        );
        if !findings.is_of_draws() {
            return format!("{in_all}, a difference of {}.", interval(&findings.difference, 1e4));
        }
        let [own_baseline, own_candidate] = variance.map(|variance| points(variance.beyond_sampling()));
        let negative = match variance.iter().any(|variance| variance.beyond_sampling() < 0.0) {
            true => "; a negative variance is less than the draw of test images is expected to give: none of its own",
            false => "",
        };
        format!(
            "{in_all}; beyond the sampling of test images {own_candidate} against {own_baseline}, a difference of {}, \
             {}: {}{negative}.",
            interval(beyond, 1e4),
            p_value(findings.corrected[3], findings.comparisons),
            verdict(findings.larger_beyond_sampling()),
        )
    }

    fn on_trend(&self, findings: &Findings, net: usize) -> String {
        let (scope, method) = match findings.basis {
            Basis::Tests { seed, windows, .. } => {
                (format!("With seed {seed}"), format!("t on the slope over {windows} windows"))
            }
            Basis::Runs(count) => (format!("Over {count} seeds"), "t on the runs' slopes".to_string()),
        };
        let verdict = match findings.trend(net) {
            Verdict::More => "it grows",
            Verdict::Less => "it shrinks",
            Verdict::NoDifference => "no change is shown",
        };
        let Trend { in_all, beyond_sampling, ends } = &findings.trends[net];
        let [first, last] = ends.map(points);
        // Points squared per 1,000 steps.
        let scale = 1e4 * 1e3;
        let beyond = match findings.is_of_draws() {
            true => format!(" Beyond the sampling of test images it changes by {}.", interval(beyond_sampling, scale)),
            false => String::new(),
        };
        format!(
            "{scope}, the variance of {}'s {} changes by {} points squared per 1,000 steps ({method}; {}): \
             {verdict}; it is {first} in the first window and {last} in the last.{beyond}",
            self.nets[net],
            self.accuracy,
            interval(in_all, scale),
            p_value(findings.corrected[1 + net], findings.comparisons),
        )
    }
}

/// A variance as points squared.
fn points(variance: f64) -> String {
    significant(1e4 * variance)
}

/// `scale` times a difference, with its interval.
fn interval(estimate: &Estimate, scale: f64) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|figure| signed(scale * figure));
    format!("{value} (95 % interval {low} to {high})")
}

/// Three significant digits, and no more than nine behind the point.
fn significant(value: f64) -> String {
    let magnitude = value.abs().log10().floor();
    let decimals = if magnitude.is_finite() { (2.0 - magnitude).clamp(0.0, 9.0) as usize } else { 0 };
    format!("{value:.decimals$}")
}

fn signed(value: f64) -> String {
    format!("{}{}", if value > 0.0 { "+" } else { "" }, significant(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::random_batch;
    use crate::rng::{Stream, uniform};

    const SAMPLE: Sample = Sample { images: 400, population: 10_000 };

    /// Two nets that classify each of 10,000 images rightly or not: a share of mistakes that falls along the run to
    /// `least`, and on top of it, `swing` times a number between -1 and 1 that is new in each step. Tested on as many
    /// images as `sample` says after each of 1,000 steps.
    fn pair_tested_on(sample: Sample, seed: u64, least: [f64; 2], swing: impl Fn(usize, u64) -> f64) -> Pair {
        // Which images are hard is the same for all steps and both nets.
        let ease: Vec<f64> = (0..10_000).map(|image| uniform(seed, Stream::Init, 0, image).into()).collect();
        let tests = (1..=1000u64).map(|step| {
            let images = random_batch(sample.population, sample.images, seed, step);
            let accuracies = [0, 1].map(|net| {
                let noise = 2.0 * f64::from(uniform(seed, Stream::Gates, net as u32, step as u32)) - 1.0;
                let mistakes = least[net] + 0.2 * (-(step as f64) / 60.0).exp() + swing(net, step) * noise;
                let wrong = images.iter().filter(|&&image| ease[image as usize] < mistakes).count();
                1.0 - wrong as f64 / images.len() as f64
            });
            (step, accuracies)
        });
        Pair { seed, tests: tests.collect() }
    }

    fn pair(seed: u64, least: [f64; 2], swing: impl Fn(usize, u64) -> f64) -> Pair {
        pair_tested_on(SAMPLE, seed, least, swing)
    }

    fn claims(pairs: &[Pair]) -> Claims {
        Claims::of("test accuracy", ["resnet", "stochastic"], pairs, SAMPLE).unwrap()
    }

    #[test]
    fn nets_that_only_the_draw_makes_vary_do_not_differ() {
        let pairs: Vec<Pair> = (0..5).map(|seed| pair(seed, [0.02, 0.02], |_, _| 0.0)).collect();
        let claims = claims(&pairs);
        let over = claims.over_runs.as_ref().unwrap();
        assert_eq!(over.larger(), Verdict::NoDifference);
        for variance in over.variance {
            assert!(variance.beyond_sampling().abs() < 0.1 * variance.in_all, "{variance:?}");
        }
        // The same net twice: the pairs leave nothing to chance.
        assert_eq!((over.difference.value, over.ratio.low, over.ratio.high), (0.0, 1.0, 1.0));
        let [larger, shrinks] = claims.answers();
        assert!(larger.sentences.len() == 1 && shrinks.sentences.len() == 2);
        assert!(larger.sentences[0].contains("no difference is shown"), "{larger:?}");
    }

    #[test]
    fn a_net_with_a_variance_of_its_own_is_found_out() {
        // Uniform to 1.5 points: a variance of about 0.75 points squared.
        let swing = |net: usize, _| 0.015 * net as f64;
        let pairs: Vec<Pair> = (0..5).map(|seed| pair(seed, [0.02; 2], swing)).collect();
        let claims = claims(&pairs);
        // Tests on all images see what lies beyond sampling, and that alone.
        let all = Sample { images: 10_000, ..SAMPLE };
        let tests = pair_tested_on(all, 0, [0.02; 2], swing).tests;
        let tests: Vec<(u64, f64)> = tests.into_iter().map(|(step, [_, candidate])| (step, candidate)).collect();
        let own = Detrended::of(&tests, all).unwrap().variance();
        let beyond = &claims.pairs[0].findings.difference_beyond_sampling;
        assert!(own.sampling == 0.0 && beyond.low < own.in_all && own.in_all < beyond.high, "{beyond:?} {own:?}");
        let over = claims.over_runs.as_ref().unwrap();
        for findings in claims.pairs.iter().map(|pair| &pair.findings).chain([over]) {
            assert_eq!(findings.larger(), Verdict::More, "{findings:?}");
            assert!(findings.difference_beyond_sampling.low > 0.4e-4, "{findings:?}");
            assert_eq!([findings.trend(0), findings.trend(1)], [Verdict::NoDifference; 2], "{findings:?}");
        }
    }

    /// Where no images are drawn, nothing is beyond their draw, and nothing is asked about it.
    #[test]
    fn tests_on_all_images_ask_one_question_less() {
        let all = Sample { images: 10_000, ..SAMPLE };
        let swing = |net: usize, _| 0.01 + 0.02 * net as f64;
        let pairs: Vec<Pair> = (0..5).map(|seed| pair_tested_on(all, seed, [0.03; 2], swing)).collect();
        let whole = Claims::of("validation accuracy", ["a", "b"], &pairs, all).unwrap();
        let over = whole.over_runs.as_ref().unwrap();
        assert!(!over.is_of_draws() && over.comparisons == 3 && over.corrected[3] == 1.0, "{over:?}");
        let [larger, shrinks] = whole.answers();
        let text = [larger.question, larger.sentences.concat(), shrinks.sentences.concat()].concat();
        for expected in ["variance of the validation accuracy larger for b", "for 3 comparisons): larger. In all"] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(!text.contains("ampling") && !text.contains("test accuracy"), "{text}");
        // Beside batches, they are corrected for with them.
        let mut batches = claims(&(0..5).map(|seed| pair(seed, [0.03; 2], swing)).collect::<Vec<_>>());
        let mut whole = whole;
        Claims::correct_together([&mut whole, &mut batches].into_iter());
        let [whole, batches] = [whole, batches].map(|claims| claims.over_runs.unwrap());
        assert_eq!((whole.comparisons, batches.comparisons), (7, 7));
        let (beyond, p_value) = (batches.corrected[3], batches.difference_beyond_sampling.p_value);
        assert!(p_value < beyond && beyond <= 7.0 * p_value, "{batches:?}");
    }

    #[test]
    fn a_less_accurate_net_varies_more_but_not_by_itself() {
        let pairs: Vec<Pair> = (0..5).map(|seed| pair(seed, [0.01, 0.04], |_, _| 0.0)).collect();
        let claims = claims(&pairs);
        let over = claims.over_runs.as_ref().unwrap();
        assert_eq!((over.larger(), over.larger_beyond_sampling()), (Verdict::More, Verdict::NoDifference));
        let beyond = &over.difference_beyond_sampling;
        assert!(beyond.low < 0.0 && 0.0 < beyond.high, "{beyond:?}");
        let [larger, _] = claims.answers();
        assert!(larger.sentences[0].contains("for 4 comparisons): larger. In all"), "{larger:?}");
        assert!(larger.sentences[0].contains("for 4 comparisons: no difference is shown"), "{larger:?}");
    }

    #[test]
    fn what_is_told_together_is_corrected_together() {
        let pairs: Vec<Pair> = (0..4).map(|seed| pair(seed, [0.01, 0.04], |_, _| 0.0)).collect();
        let alone = claims(&pairs[..1]);
        let [mut one, mut others] = [claims(&pairs[..1]), claims(&pairs)];
        // Each seed is told by itself.
        assert_eq!((alone.pairs[0].findings.comparisons, others.pairs[0].findings.comparisons), (4, 16));
        Claims::correct_together([&mut one, &mut others].into_iter());
        let (alone, together) = (&alone.pairs[0].findings, &one.pairs[0].findings);
        assert_eq!(together.comparisons, 20);
        for (alone, together) in alone.corrected.iter().zip(together.corrected) {
            assert!(*alone <= together && together <= (5.0 * alone).min(1.0), "{alone} {together}");
        }
    }

    #[test]
    fn a_variance_that_shrinks_is_told_from_one_that_does_not() {
        let swing = |net: usize, step: u64| if net == 0 { 0.02 * (1.0 - step as f64 / 1100.0) } else { 0.01 };
        let claims = claims(&[pair(3, [0.03; 2], swing)]);
        let findings = &claims.pairs[0].findings;
        assert_eq!([findings.trend(0), findings.trend(1)], [Verdict::Less, Verdict::NoDifference], "{findings:?}");
        let [_, shrinks] = claims.answers();
        let [of_baseline, of_candidate, note] = &shrinks.sentences[..] else { panic!("{shrinks:?}") };
        assert!(of_baseline.contains("resnet's") && of_baseline.contains(": it shrinks; it is "), "{of_baseline}");
        assert!(of_candidate.contains("stochastic's") && of_candidate.contains("no change is shown"), "{of_candidate}");
        let expected = "A claim about the nets needs 5 seeds or more, and here is 1 seed: the intervals are about \
                        this seed's runs only.";
        assert_eq!(note, expected);
    }

    #[test]
    fn four_runs_make_no_claim() {
        let pairs: Vec<Pair> = (0..4).map(|seed| pair(seed, [0.01, 0.04], |_, _| 0.0)).collect();
        let claims = claims(&pairs);
        assert_eq!(claims.over_runs, None);
        let [larger, shrinks] = claims.answers();
        assert_eq!([larger.sentences.len(), shrinks.sentences.len()], [5, 9]);
        assert!(larger.sentences[3].starts_with("With seed 3, ") && larger.sentences[4].contains("here are 4 seeds"));
    }

    #[test]
    fn what_cannot_be_judged_is_named() {
        let nets = ["resnet", "stochastic"];
        let judge = |pairs: &[Pair]| Claims::of("test accuracy", nets, pairs, SAMPLE).map(|_| ()).unwrap_err();
        assert_eq!(judge(&[]), Unjudged::NoPairs);
        let tests = |count: u64| Pair { seed: 7, tests: (1..=count).map(|step| (step, [0.9, 0.8])).collect() };
        assert_eq!(judge(&[tests(31)]), Unjudged::TooFew { seed: 7, tests: 31, needed: 32 });
        assert_eq!(judge(&[tests(32)]), Unjudged::Constant { seed: 7, net: "resnet".into() });
        let at_once = Pair { seed: 7, tests: vec![(1, [0.9, 0.8]); 63] };
        assert!(matches!(judge(&[at_once]), Unjudged::TooFew { .. }));
    }

    #[test]
    fn figures_have_three_digits() {
        let figures = [0.0, 1.0, -12.345, 0.001_234_5, 123_456.0, 1e-30].map(signed);
        assert_eq!(figures, ["0", "+1.00", "-12.3", "+0.00123", "+123456", "+0.000000000"]);
    }
}
