//! How the nets of a pair differ: by pairs of runs that share a seed, always with an interval, and corrected where
//! there are several pairs of nets.

use super::chart::number;
use super::nets::NetPair;
use super::run::Run;
use super::statistics::estimate::{Estimate, LEVEL};
use super::statistics::paired::{RUNS_FOR_A_CLAIM, holm, mean_difference};
use super::study::Study;
use super::table::{NONE, Table};
use super::text::{capitalised, p_value, signed};

/// Pairs of nets that are told in sentences; more are told in a table.
const MOST_SENTENCES: usize = 2;

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
pub struct ComparedFigure<'a> {
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
    pub pair: NetPair<'a>,
    /// Mean of the differences, or of the ratios (the geometric one); `None` with fewer than two seeds.
    pub estimate: Option<Estimate>,
    /// Its p value, corrected for all comparisons.
    pub corrected: f64,
    /// Pairs of runs.
    pub seeds: usize,
}

impl ComparedFigure<'_> {
    /// Of every pair of nets in `study`.
    fn over<'a>(&self, study: &'a Study) -> Vec<Comparison<'a>> {
        let mut comparisons: Vec<Comparison> = study.pairs().into_iter().map(|pair| self.of(pair)).collect();
        let judged = |comparison: &&mut Comparison| comparison.estimate.is_some();
        let mut p_values: Vec<f64> = comparisons.iter_mut().filter(judged).map(|judged| judged.corrected).collect();
        holm(&mut p_values);
        comparisons.iter_mut().filter(judged).zip(p_values).for_each(|(judged, p_value)| judged.corrected = p_value);
        comparisons
    }

    fn of<'a>(&self, pair: NetPair<'a>) -> Comparison<'a> {
        let difference = |(baseline, candidate): (&Run, &Run)| {
            let [baseline, candidate] = [(self.figure)(baseline)?, (self.figure)(candidate)?];
            let difference = match self.measure {
                Measure::Difference(_) => candidate - baseline,
                Measure::Ratio => (candidate / baseline).ln(),
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

    /// All of it: a sentence for each pair of nets, or a table where there are many. Of pairs without a figure nothing
    /// is said.
    pub fn tell(&self, study: &Study) -> (Vec<String>, Option<Table>) {
        let comparisons: Vec<Comparison> =
            self.over(study).into_iter().filter(|comparison| comparison.seeds > 0).collect();
        let count = comparisons.iter().filter(|comparison| comparison.estimate.is_some()).count();
        if comparisons.len() <= MOST_SENTENCES {
            return (comparisons.iter().map(|comparison| self.sentence(comparison, count)).collect(), None);
        }
        let method = match count {
            0 => ". One seed gives no interval, and so no conclusion".into(),
            1 => " (paired t)".into(),
            _ => format!(" (paired t); p values after Holm\u{2019}s correction for {count} comparisons"),
        };
        let sentence = format!(
            "{}: each net with stochastic depth against the plain net that is equal to it in everything else, by pairs \
             of runs that share a seed{method}.",
            capitalised(self.what),
        );
        (vec![sentence], Some(self.table(&comparisons)))
    }

    fn table(&self, comparisons: &[Comparison]) -> Table {
        let name = match self.measure {
            Measure::Difference(unit) => format!("difference ({unit})"),
            Measure::Ratio => "ratio".into(),
        };
        let row = |comparison: &Comparison| {
            let names = comparison.pair.candidate.name.clone();
            let seeds = comparison.seeds.to_string();
            match comparison.estimate {
                None => [names, seeds, NONE.into(), NONE.into(), NONE.into(), self.verdict(comparison)],
                Some(Estimate { value, low, high, .. }) => {
                    let interval = format!("{} to {}", self.figure_text(low, 2), self.figure_text(high, 2));
                    let p_value = number(comparison.corrected, 3);
                    [names, seeds, self.figure_text(value, 2), interval, p_value, self.verdict(comparison)]
                }
            }
        };
        let head = ["net", "seeds", &name, "95 % interval", "p, corrected", "shows"];
        Table::new(head, comparisons.iter().map(row))
    }

    fn figure_text(&self, figure: f64, decimals: usize) -> String {
        if self.measure == Measure::Ratio { number(figure, decimals) } else { signed(figure, decimals) }
    }

    fn sentence(&self, comparison: &Comparison, count: usize) -> String {
        let Comparison { pair, estimate, corrected, seeds } = comparison;
        let sign = if self.measure == Measure::Ratio { "/" } else { "\u{2212}" };
        let names = format!("{}, {} {sign} {}", capitalised(self.what), pair.candidate.name, pair.baseline.name);
        let Some(Estimate { value, low, high, .. }) = *estimate else {
            return format!("{names}: one seed gives no interval, and so no conclusion.");
        };
        let decimals = if high - low < 0.1 { 3 } else { 2 };
        let text = |figure| self.figure_text(figure, decimals);
        let (unit, method) = match self.measure {
            Measure::Difference(unit) => (unit, "paired t"),
            Measure::Ratio => ("times", "geometric mean, paired t on the logarithms"),
        };
        format!(
            "{names}: {} {unit}, 95 % interval {} to {} ({method}, {seeds} seeds; {}): {}.",
            text(value),
            text(low),
            text(high),
            p_value(*corrected, count),
            self.verdict(comparison),
        )
    }

    /// What a comparison shows.
    fn verdict(&self, comparison: &Comparison) -> String {
        let neutral = if self.measure == Measure::Ratio { 1.0 } else { 0.0 };
        match comparison.estimate {
            None => "no conclusion".into(),
            Some(_) if comparison.seeds < RUNS_FOR_A_CLAIM => {
                format!("a claim needs {RUNS_FOR_A_CLAIM} seeds")
            }
            Some(_) if comparison.corrected > 1.0 - LEVEL => "no difference is shown".into(),
            Some(estimate) => {
                let larger_or_smaller = if estimate.value > neutral { "larger" } else { "smaller" };
                format!("{larger_or_smaller} for {}", comparison.pair.candidate.name)
            }
        }
    }
}
