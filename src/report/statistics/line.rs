//! Straight lines by least squares.

use super::estimate::Estimate;

/// The line with the least sum of squared vertical distances from some points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    mean: (f64, f64),
    slope: f64,
    /// Sum of (x - mean of x)^2.
    squares: f64,
}

impl Line {
    /// The line of `points` (x, y); `None` unless two of them differ in x.
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        let mean = (sum_x / count, sum_y / count);
        let squares: f64 = points.iter().map(|(x, _)| (x - mean.0).powi(2)).sum();
        let products: f64 = points.iter().map(|(x, y)| (x - mean.0) * (y - mean.1)).sum();
        (squares > 0.0).then(|| Self { mean, slope: products / squares, squares })
    }

    /// Its y at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.mean.1 + self.slope * (x - self.mean.0)
    }
}

/// Slope of the line of `points` (x, y), with Student's interval of count - 2 degrees of freedom: the standard error is
/// sqrt(sum of squared residuals / (count - 2) / sum of (x - mean of x)^2). It takes the points' errors as independent
/// and of one variance. `None` of fewer than 3 points.
pub fn slope(points: &[(f64, f64)]) -> Option<Estimate> {
    let freedom = points.len().checked_sub(2)?;
    let line = Line::through(points)?;
    let residuals: f64 = points.iter().map(|&(x, y)| (y - line.at(x)).powi(2)).sum();
    Estimate::student(line.slope, (residuals / freedom as f64 / line.squares).sqrt(), freedom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_needs_two_points_and_its_interval_a_third() {
        assert_eq!(Line::through(&[]), None);
        assert_eq!(Line::through(&[(2.0, 1.0), (2.0, 3.0)]), None);
        assert_eq!(Line::through(&[(1.0, 1.0), (3.0, 5.0)]).unwrap().at(4.0), 7.0);
        assert_eq!(slope(&[(1.0, 1.0), (3.0, 5.0)]), None);
        let exact = slope(&[(1.0, 1.0), (2.0, 3.0), (3.0, 5.0)]).unwrap();
        assert_eq!((exact.value, exact.low, exact.high), (2.0, 2.0, 2.0));
    }
}
