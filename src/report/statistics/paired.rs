//! Statistics over runs: the unit is the run, and runs of two nets are paired by their seed.

use super::estimate::Estimate;

/// Pairs of runs below which nothing is claimed about the nets. With 5, Student's interval is 2.8 standard errors to
/// each side; with 2 it is 12.7, and says next to nothing.
pub const RUNS_FOR_A_CLAIM: usize = 5;

/// Mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation of a sample; `None` of fewer than 2 values.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// Mean of paired `differences`, with the interval and the p value of the paired t test (Student 1908): standard error
/// deviation / sqrt(count), count - 1 degrees of freedom. `None` of fewer than 2.
pub fn mean_difference(differences: &[f64]) -> Option<Estimate> {
    let count = differences.len();
    let standard_error = deviation(differences)? / (count as f64).sqrt();
    Estimate::student(mean(differences), standard_error, count - 1)
}

/// Holm's correction of the p values of several comparisons: of the m values, the one with rank k (from 0) becomes
/// (m - k) times itself, no less than those of lower ranks, at most 1. To call what stays at or below 0.05 a difference
/// keeps the chance of any false one at 0.05 (Holm, "A simple sequentially rejective multiple test procedure", 1979).
pub fn holm(p_values: &mut [f64]) {
    let count = p_values.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut largest = 0f64;
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max((count - rank) as f64 * p_values[index]).min(1.0);
        p_values[index] = largest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Against tables of Student's distribution: 12.706 with 1 degree of freedom, 2.776 with 4.
    #[test]
    fn intervals_are_students() {
        assert_eq!((deviation(&[1.0]), mean_difference(&[1.0]), mean_difference(&[])), (None, None, None));
        let two = mean_difference(&[1.0, 3.0]).unwrap();
        assert!(two.value == 2.0 && (two.high - 2.0 - 12.706_204_7).abs() < 1e-6, "{two:?}");
        // Deviation of 1, 2, 3, 4, 5: sqrt(2.5).
        let five = mean_difference(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert!((3.0 - five.low - 2.776_445_1 * (2.5f64 / 5.0).sqrt()).abs() < 1e-6, "{five:?}");
    }

    proptest! {
        #[test]
        fn holms_correction_lies_between_none_and_bonferronis(p_values in prop::array::uniform6(0.0..1.0)) {
            let mut corrected = p_values;
            holm(&mut corrected);
            for (a, corrected_a) in p_values.iter().zip(corrected) {
                prop_assert!(*a <= corrected_a && corrected_a <= (6.0 * a).min(1.0));
                for (b, corrected_b) in p_values.iter().zip(corrected) {
                    prop_assert!(a > b || corrected_a <= corrected_b, "the order has changed");
                }
            }
        }
    }
}
