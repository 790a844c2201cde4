//! Findings about the variance in sentences: two questions, each with its figures, intervals and
//! verdict.

use super::findings::{Basis, Findings, NetPairFindings, Trend, Verdict};
use crate::report::statistics::estimate::Estimate;
use crate::report::statistics::paired::RUNS_FOR_A_CLAIM;
use crate::report::text::p_value;

/// A question and its answer, a sentence or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// As a heading.
    pub question: String,
    /// Each with its figures and intervals.
    pub sentences: Vec<String>,
}

impl NetPairFindings {
    /// Answers the notebook's two questions. Variances are in points squared.
    pub fn answers(&self) -> [Answer; 2] {
        let ([baseline, candidate], accuracy) = (&self.nets, &self.accuracy);
        let question = format!("Is the variance of the {accuracy} larger for {candidate} than for {baseline}?");
        let larger = Answer { question, sentences: self.sentences(|findings| vec![self.on_size(findings)]) };
        let question = format!("Does the variance of the {accuracy} shrink as training goes on?");
        let on_trends = |findings: &Findings| [0, 1].map(|net| self.on_trend(findings, net)).into();
        [larger, Answer { question, sentences: self.sentences(on_trends) }]
    }

    /// Returns the sentences on all runs together if there are enough, else on each pair, with the
    /// reason.
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
    use super::signed;

    #[test]
    fn figures_have_three_digits() {
        let figures = [0.0, 1.0, -12.345, 0.001_234_5, 123_456.0, 1e-30].map(signed);
        assert_eq!(figures, ["0", "+1.00", "-12.3", "+0.00123", "+123456", "+0.000000000"]);
    }
}
