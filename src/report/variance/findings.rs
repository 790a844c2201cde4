//! Findings on the variance of two nets' accuracies from test to test: is the candidate's (in the
//! notebook, that of the net with stochastic depth) larger, and does it shrink as training goes on?
//!
//! Within a run, intervals come from its tests: a moving-block bootstrap of both nets together, and
//! the windows' line. They say how sure the figure is for *these* two runs, not what another seed
//! would give. Claims about the nets take pairs of runs as the unit, at least [`RUNS_FOR_A_CLAIM`]
//! of them.

use thiserror::Error;

use super::windows::{Detrended, GOOD_WINDOW, Sample, Variance, Window, tests_needed};
use crate::report::statistics::bootstrap::{MovingBlocks, block_length};
use crate::report::statistics::estimate::{Estimate, LEVEL};
use crate::report::statistics::paired::{RUNS_FOR_A_CLAIM, holm, mean, mean_difference};

/// Questions asked of a pair of nets: is its ratio of variances 1, is the baseline's trend in all
/// 0, is the candidate's, and where images are drawn, is the variances' difference beyond sampling
/// 0?
const QUESTIONS: usize = 4;

/// The tests of the baseline and of the candidate with one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedTests {
    /// Seed of both runs.
    pub seed: u64,
    /// Steps, which ascend, and the accuracies of the baseline and the candidate on the same
    /// images.
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
        /// Seed of the pair.
        seed: u64,
        /// Tests that both nets have.
        tests: usize,
        /// Tests that would do.
        needed: usize,
    },
    /// A net's accuracy lies on its windows' lines.
    #[error("seed {seed}: the accuracy of {net} does not vary, so there is no ratio of variances")]
    Constant {
        /// Seed of the pair.
        seed: u64,
        /// Its name.
        net: String,
    },
}

/// Runs that findings rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The tests of one pair of runs.
    Tests {
        /// Seed of the pair.
        seed: u64,
        /// Tests in a block of the bootstrap.
        block: usize,
        /// Windows.
        windows: usize,
    },
    /// So many pairs of runs, taken together.
    Runs(usize),
}

/// Change of a net's variance, in shares squared per step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Ratio of the variances in all.
    pub in_all: Estimate,
    /// Ratio of the variances beyond sampling.
    pub beyond_sampling: Estimate,
    /// The variance in all in the first window and in the last, in shares squared.
    pub ends: [f64; 2],
}

/// How the variance of the candidate's accuracy stands to the baseline's. Pairs of figures:
/// baseline, candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// Runs that they rest on.
    pub basis: Basis,
    /// Over all windows.
    pub variance: [Variance; 2],
    /// Candidate's variance in all / baseline's.
    pub ratio: Estimate,
    /// Candidate's variance in all - baseline's; told where nothing is beyond sampling.
    pub difference: Estimate,
    /// Difference of the variances beyond sampling.
    pub difference_beyond_sampling: Estimate,
    /// Trend of each net's variance.
    pub trends: [Trend; 2],
    /// p values of the [`QUESTIONS`] after Holm's correction; 1 of what is not asked.
    pub corrected: [f64; QUESTIONS],
    /// Comparisons that they are corrected for.
    pub comparisons: usize,
}

/// Answer that a figure gives, after the correction.
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

    /// Returns whether the images of a test were drawn, so that a part of the variance is the
    /// draw's.
    pub fn is_of_draws(&self) -> bool {
        self.variance.iter().any(|variance| variance.sampling != 0.0)
    }

    /// Returns the p values of the questions that are asked, before any correction.
    fn p_values(&self) -> Vec<f64> {
        let [baseline, candidate] = self.trends.map(|trend| trend.in_all.p_value);
        let beyond = self.is_of_draws().then_some(self.difference_beyond_sampling.p_value);
        [self.ratio.p_value, baseline, candidate].into_iter().chain(beyond).collect()
    }

    /// Answers whether the candidate's variance is larger.
    pub fn larger(&self) -> Verdict {
        verdict(self.ratio.value > 1.0, self.corrected[0])
    }

    /// Answers whether its part beyond sampling is larger.
    pub fn larger_beyond_sampling(&self) -> Verdict {
        verdict(self.difference_beyond_sampling.value > 0.0, self.corrected[3])
    }

    /// Answers whether the variance of `net` (0: baseline, 1: candidate) shrinks.
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
pub struct SeedFindings {
    /// From its tests.
    pub findings: Findings,
    /// Windows of the baseline and of the candidate.
    pub windows: [Vec<Window>; 2],
}

impl SeedFindings {
    fn of(pair: &PairedTests, nets: &[String; 2], sample: Sample) -> Result<Self, Unjudged> {
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

/// Over pairs of runs: paired t of the ratios' logarithms and of the differences, and Student's
/// interval around the mean of each net's trends.
fn over_runs(pairs: &[SeedFindings]) -> Option<Findings> {
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

/// Findings from the pairs of runs of a pair of nets.
#[derive(Clone, Debug, PartialEq)]
pub struct NetPairFindings {
    /// Which accuracy it is: `test accuracy` or `validation accuracy`.
    pub accuracy: String,
    /// Names of the baseline and the candidate.
    pub nets: [String; 2],
    /// In the order of the pairs.
    pub pairs: Vec<SeedFindings>,
    /// `None` of fewer than [`RUNS_FOR_A_CLAIM`] pairs.
    pub over_runs: Option<Findings>,
}

impl NetPairFindings {
    /// Judges the `accuracy` in `pairs` of runs of the `nets` (baseline, candidate), the tests
    /// drawn as `sample` says.
    pub fn of(accuracy: &str, nets: [&str; 2], pairs: &[PairedTests], sample: Sample) -> Result<Self, Unjudged> {
        let nets = nets.map(String::from);
        if pairs.is_empty() {
            return Err(Unjudged::NoPairs);
        }
        let pairs: Result<Vec<_>, _> = pairs.iter().map(|pair| SeedFindings::of(pair, &nets, sample)).collect();
        let pairs = pairs?;
        let over_runs = over_runs(&pairs);
        let mut findings = Self { accuracy: accuracy.into(), nets, pairs, over_runs };
        correct(findings.reported());
        Ok(findings)
    }

    /// Corrects the p values of `all`, which are told together, for all their questions.
    pub fn correct_together<'a>(all: impl Iterator<Item = &'a mut Self>) {
        correct(all.flat_map(Self::reported));
    }

    /// Returns what the answers are about: all runs together if there are enough, else each pair.
    fn reported(&mut self) -> impl Iterator<Item = &mut Findings> {
        let pairs = if self.over_runs.is_some() { &mut [] } else { self.pairs.as_mut_slice() };
        self.over_runs.iter_mut().chain(pairs.iter_mut().map(|pair| &mut pair.findings))
    }
}
