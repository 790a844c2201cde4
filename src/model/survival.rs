//! How likely each residual block is to survive a training step.
//!
//! Huang, Sun, Liu, Sedra and Weinberger, "Deep networks with stochastic depth", 2016, section 3.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How the survival probability falls from the first block to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// `p_l = first - l / L * (first - last)`, l = 1..L: the paper's linear decay, whose first block is already below
    /// `first`.
    Linear,
    /// `p_l = last` for every block.
    Uniform,
    /// From `first` at the first block to `last` at the last, as the notebook and timm space them.
    Linspace,
}

impl Rule {
    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Uniform => "uniform",
            Self::Linspace => "linspace",
        }
    }
}

/// A probability outside (0, 1].
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("survival probability {0} is outside (0, 1]")]
pub struct InvalidProbability(pub f64);

/// The survival probability of each of `blocks` blocks, in order, each in (0, 1].
///
/// Errors if `first` or `last` is outside (0, 1].
pub fn probabilities(rule: Rule, first: f64, last: f64, blocks: usize) -> Result<Vec<f64>, InvalidProbability> {
    for probability in [first, last] {
        // Written so that NaN fails too.
        if !(probability > 0.0 && probability <= 1.0) {
            return Err(InvalidProbability(probability));
        }
    }
    let share = |block: usize| match rule {
        Rule::Linear => (block + 1) as f64 / blocks as f64,
        Rule::Uniform => 1.0,
        Rule::Linspace if blocks == 1 => 0.0,
        Rule::Linspace => block as f64 / (blocks - 1) as f64,
    };
    Ok((0..blocks).map(|block| first - share(block) * (first - last)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_give_their_formulas() {
        let close = |a: Result<Vec<f64>, _>, b: &[f64]| {
            a.is_ok_and(|a| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12))
        };
        assert!(close(probabilities(Rule::Linear, 1.0, 0.5, 5), &[0.9, 0.8, 0.7, 0.6, 0.5]));
        assert!(close(probabilities(Rule::Uniform, 1.0, 0.5, 3), &[0.5, 0.5, 0.5]));
        assert!(close(probabilities(Rule::Linspace, 1.0, 0.6, 5), &[1.0, 0.9, 0.8, 0.7, 0.6]));
        assert!(close(probabilities(Rule::Linspace, 1.0, 0.6, 1), &[1.0]));
    }

    #[test]
    fn expected_depth_of_the_papers_net() {
        // 54 blocks, p_L = 0.5: 40.25 (section 3 counts it as about 3L/4).
        let depth: f64 = probabilities(Rule::Linear, 1.0, 0.5, 54).map_or(0.0, |p| p.iter().sum());
        assert!((depth - 40.25).abs() < 1e-9);
    }

    #[test]
    fn probabilities_outside_are_refused() {
        for bad in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
            assert!(probabilities(Rule::Linear, 1.0, bad, 3).is_err(), "{bad}");
            assert!(probabilities(Rule::Linspace, bad, 0.5, 3).is_err(), "{bad}");
        }
    }
}
