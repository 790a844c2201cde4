//! How nets with stochastic depth differ from the plain nets that are equal to them in everything else: by pairs of
//! runs that share a seed, always with an interval, and corrected where there are several pairs of nets.

use super::chart::number;
use super::estimate::{Estimate, LEVEL};
use super::paired::{RUNS_FOR_A_CLAIM, holm, mean_difference};
use super::runs::Run;
use super::study::{Pair, Study};
use super::words::{p_value, signed};

/// How two figures are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// By their difference, in this unit.
    Difference(&'static str),
    /// By their ratio; they are above 0.
    Ratio,
}

/// A figure that nets are compared by.
#[derive(Clone, Copy)]
pub struct Compared<'a> {
    /// What it is called.
    pub what: &'a str,
    /// How.
    pub measure: Measure,
    /// Of a run, if it has it.
    pub figure: &'a dyn Fn(&Run) -> Option<f64>,
}

/// A pair of nets, compared.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The nets.
    pub pair: Pair<'a>,
    /// Mean of the differences, or of the ratios (the geometric one); `None` with fewer than two seeds.
    pub estimate: Option<Estimate>,
    /// Its p value, corrected for all comparisons.
    pub corrected: f64,
    /// Pairs of runs.
    pub seeds: usize,
}

impl Compared<'_> {
    /// Of every pair of nets in `study`.
    pub fn over<'a>(&self, study: &'a Study) -> Vec<Comparison<'a>> {
        let mut comparisons: Vec<Comparison> = study.pairs().into_iter().map(|pair| self.of(pair)).collect();
        let judged = |comparison: &&mut Comparison| comparison.estimate.is_some();
        let mut p_values: Vec<f64> = comparisons.iter_mut().filter(judged).map(|judged| judged.corrected).collect();
        holm(&mut p_values);
        comparisons.iter_mut().filter(judged).zip(p_values).for_each(|(judged, p_value)| judged.corrected = p_value);
        comparisons
    }

    fn of<'a>(&self, pair: Pair<'a>) -> Comparison<'a> {
        let difference = |(plain, stochastic): (&Run, &Run)| {
            let [plain, stochastic] = [(self.figure)(plain)?, (self.figure)(stochastic)?];
            let difference = match self.measure {
                Measure::Difference(_) => stochastic - plain,
                Measure::Ratio => (stochastic / plain).ln(),
            };
            Some(difference).filter(|difference| difference.is_finite())
        };
        let differences: Vec<f64> = pair.runs().filter_map(difference).collect();
        let estimate = mean_difference(&differences);
        let corrected = estimate.map_or(1.0, |estimate| estimate.p_value);
        let estimate = match self.measure {
            Measure::Difference(_) => estimate,
            Measure::Ratio => estimate.map(Estimate::exp),
        };
        Comparison { pair, estimate, corrected, seeds: differences.len() }
    }

    /// All of it in words, a sentence for each pair of nets; of pairs without a figure nothing is said.
    pub fn sentences(&self, study: &Study) -> Vec<String> {
        let comparisons = self.over(study);
        let count = comparisons.iter().filter(|comparison| comparison.estimate.is_some()).count();
        let told = comparisons.iter().filter(|comparison| comparison.seeds > 0);
        told.map(|comparison| self.sentence(comparison, count)).collect()
    }

    fn sentence(&self, comparison: &Comparison, count: usize) -> String {
        let Comparison { pair, estimate, corrected, seeds } = comparison;
        let (what, sign) = (self.what, if self.measure == Measure::Ratio { "/" } else { "\u{2212}" });
        let names = format!("{} {sign} {}", pair.stochastic.name, pair.plain.name);
        let Some(Estimate { value, low, high, .. }) = *estimate else {
            return format!("{names}, {what}: one seed gives no interval, and so no conclusion.");
        };
        let decimals = if high - low < 0.1 { 3 } else { 2 };
        let text = |figure| match self.measure {
            Measure::Difference(_) => signed(figure, decimals),
            Measure::Ratio => number(figure, decimals),
        };
        let unit = match self.measure {
            Measure::Difference(unit) => unit,
            Measure::Ratio => "times",
        };
        format!(
            "{names}, {what}: {} {unit}, 95 % interval {} to {} (paired t, {seeds} seeds; {}): {}.",
            text(value),
            text(low),
            text(high),
            p_value(*corrected, count),
            self.verdict(comparison),
        )
    }

    /// What a comparison shows.
    pub fn verdict(&self, comparison: &Comparison) -> String {
        let neutral = if self.measure == Measure::Ratio { 1.0 } else { 0.0 };
        match comparison.estimate {
            None => "no conclusion".into(),
            Some(_) if comparison.seeds < RUNS_FOR_A_CLAIM => {
                format!("a claim about the nets needs {RUNS_FOR_A_CLAIM} seeds")
            }
            Some(_) if comparison.corrected > 1.0 - LEVEL => "no difference is shown".into(),
            Some(estimate) if estimate.value > neutral => "larger with stochastic depth".into(),
            Some(_) => "smaller with stochastic depth".into(),
        }
    }
}
