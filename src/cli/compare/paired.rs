//! Statistics over runs that share a seed.

use statrs::distribution::{ContinuousCDF, StudentsT};

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

/// Half the width of Student's 95 % interval around the mean of paired `differences`; `None` of fewer than 2.
pub fn half_width(differences: &[f64]) -> Option<f64> {
    let deviation = deviation(differences)?;
    let count = differences.len() as f64;
    let student = StudentsT::new(0.0, 1.0, count - 1.0).ok()?;
    Some(student.inverse_cdf(0.975) * deviation / count.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against tables of Student's distribution: 12.706 with 1 degree of freedom, 2.776 with 4.
    #[test]
    fn intervals_are_students() {
        assert_eq!((deviation(&[1.0]), half_width(&[1.0])), (None, None));
        let half = half_width(&[1.0, 3.0]).unwrap();
        assert!((half - 12.706_204_7).abs() < 1e-4, "{half}");
        // Deviation of 1, 2, 3, 4, 5: sqrt(2.5).
        let half = half_width(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert!((half - 2.776_445_1 * (2.5f64 / 5.0).sqrt()).abs() < 1e-4, "{half}");
    }
}
