//! Curves over the steps of runs, and what the runs of a net make of one together.

use super::chart::{Layer, Stroke};
use super::run::{Evaluation, Run};
use super::statistics::smoothing::{SPAN, exponentially_weighted_mean};

/// Figures by step, in the order of the steps.
pub type Curve = Vec<(u64, f64)>;

/// A figure of several runs at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// From 1.
    pub step: u64,
    /// Of all runs.
    pub mean: f64,
    /// The lowest run's.
    pub low: f64,
    /// The highest run's.
    pub high: f64,
}

/// The runs' figures at those steps at which all of them have one that is finite.
pub fn spread(curves: &[Curve]) -> Vec<Spread> {
    let Some((first, others)) = curves.split_first() else { return Vec::new() };
    let mut places = vec![0; others.len()];
    let mut spreads = Vec::with_capacity(first.len());
    'steps: for &(step, value) in first {
        let (mut sum, mut low, mut high) = (value, value, value);
        for (curve, place) in others.iter().zip(&mut places) {
            *place += curve[*place..].iter().take_while(|(other, _)| *other < step).count();
            match curve.get(*place) {
                Some(&(other, value)) if other == step => {
                    (sum, low, high) = (sum + value, low.min(value), high.max(value));
                }
                _ => continue 'steps,
            }
        }
        if sum.is_finite() {
            spreads.push(Spread { step, mean: sum / curves.len() as f64, low, high });
        }
    }
    spreads
}

/// Points of a curve below which it is not smoothed: the mean would hardly leave its first value.
pub const LEAST_TO_SMOOTH: usize = 2 * SPAN as usize;

/// `curve`, smoothed as the notebook does it if it is long enough; where it is not finite, it is left out.
pub fn smooth(curve: &[(u64, f64)]) -> Curve {
    let finite: Curve = curve.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    if finite.len() < LEAST_TO_SMOOTH {
        return finite;
    }
    let values: Vec<f64> = finite.iter().map(|&(_, value)| value).collect();
    finite.iter().map(|&(step, _)| step).zip(exponentially_weighted_mean(&values, SPAN)).collect()
}

/// `figure` of each evaluation.
pub fn of_evaluations(evaluations: &[Evaluation], figure: impl Fn(&Evaluation) -> f64) -> Curve {
    evaluations.iter().map(|evaluation| (evaluation.step, figure(evaluation))).collect()
}

/// The mean of `spreads` as a line, and from the lowest run to the highest as a band where there are several `runs`;
/// `x` says where a step is.
pub fn layers(series: usize, stroke: Stroke, spreads: &[Spread], runs: usize, x: impl Fn(u64) -> f64) -> Vec<Layer> {
    let line = spreads.iter().map(|spread| (x(spread.step), spread.mean)).collect();
    let band = spreads.iter().map(|spread| (x(spread.step), spread.low, spread.high)).collect();
    let band = (runs > 1 && stroke == Stroke::Strong).then_some(Layer::Band { series, points: band });
    band.into_iter().chain([Layer::Line { series, stroke, points: line }]).collect()
}

/// The mean over the second half of a run of what `curve` says.
pub fn late_mean(run: &Run, curve: &[(u64, f64)]) -> Option<f64> {
    let half = run.config.settings.steps / 2;
    let late: Vec<f64> = curve.iter().filter(|(step, _)| *step > half).map(|&(_, value)| value).collect();
    let mean = late.iter().sum::<f64>() / late.len() as f64;
    // Not of a run that has not come that far.
    let has_ended = curve.last().is_some_and(|(step, _)| *step as f64 >= 0.9 * run.config.settings.steps as f64);
    (has_ended && mean.is_finite()).then_some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_meet_where_all_of_them_have_a_figure() {
        let curves = [vec![(1, 1.0), (2, 2.0), (4, 4.0)], vec![(2, 4.0), (3, 0.0), (4, f64::NAN)]];
        assert_eq!(spread(&curves), [Spread { step: 2, mean: 3.0, low: 2.0, high: 4.0 }]);
        assert_eq!(spread(&curves[..1]).len(), 3);
        assert!(spread(&[]).is_empty());
    }

    #[test]
    fn gaps_are_smoothed_over() {
        let smoothed = smooth(&[(1, 1.0), (2, f64::NAN), (3, 1.0)]);
        assert_eq!(smoothed, [(1, 1.0), (3, 1.0)]);
        let mut curve: Curve = (0..40).map(|step| (step, if step == 3 { f64::NAN } else { 1.0 })).collect();
        curve.push((40, 2.0));
        let smoothed = smooth(&curve);
        assert_eq!((smoothed.len(), smoothed[2], smoothed[3].0), (40, (2, 1.0), 4));
        assert!((smoothed[39].1 - (1.0 + 2.0 / 21.0)).abs() < 1e-12);
    }

    #[test]
    fn short_curves_stay_as_they_are() {
        let curve: Curve = (1..40).map(|step| (step, step as f64)).collect();
        assert_eq!(smooth(&curve), curve);
    }
}
