//! An estimated figure and how sure it is.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// What every interval covers.
pub const LEVEL: f64 = 0.95;

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The figure itself.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Two-sided p value of "no difference": of a true figure of 0, or of 1 where the figure is a ratio. At most
    /// 1 - [`LEVEL`] exactly where the interval leaves that out.
    pub p_value: f64,
}

impl Estimate {
    /// Student's interval: `value` +- t(0.975, `freedom`) `standard_error`, and the p value of value / standard error.
    /// `None` if a figure is not finite, or without a degree of freedom.
    pub fn student(value: f64, standard_error: f64, freedom: usize) -> Option<Self> {
        let student = StudentsT::new(0.0, 1.0, freedom as f64).ok()?;
        if !value.is_finite() || !standard_error.is_finite() {
            return None;
        }
        let half = student.inverse_cdf(0.5 + LEVEL / 2.0) * standard_error;
        let p_value = match (value == 0.0, standard_error == 0.0) {
            (true, _) => 1.0,
            (false, true) => 0.0,
            (false, false) => 2.0 * student.sf((value / standard_error).abs()),
        };
        Some(Self { value, low: value - half, high: value + half, p_value })
    }

    /// The ratio whose logarithm this is; the ends of an interval go through a monotone function as they are.
    pub fn exp(self) -> Self {
        Self { value: self.value.exp(), low: self.low.exp(), high: self.high.exp(), p_value: self.p_value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_vary_is_certain() {
        let certain = Estimate::student(2.0, 0.0, 4).unwrap();
        assert_eq!(certain, Estimate { value: 2.0, low: 2.0, high: 2.0, p_value: 0.0 });
        assert_eq!(Estimate::student(0.0, 0.0, 4).unwrap().p_value, 1.0);
        assert_eq!(certain.exp().low, 2f64.exp());
    }

    #[test]
    fn what_is_not_finite_is_no_estimate() {
        assert_eq!(Estimate::student(f64::NAN, 1.0, 4), None);
        assert_eq!(Estimate::student(1.0, f64::INFINITY, 4), None);
        assert_eq!(Estimate::student(1.0, 1.0, 0), None);
    }
}
