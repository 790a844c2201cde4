//! Smoothing of a curve, as the notebook draws it.

/// The notebook's span.
pub const SPAN: f64 = 20.0;

/// The exponentially weighted mean of `values`, as long as they are: y_0 = x_0, y_t = (1 - a) y_(t-1) + a x_t with
/// a = 2 / (span + 1). These are the values of pandas' `ewm(span=span, adjust=False).mean()`. `span` is at least 1; a
/// span of 1 smooths nothing.
pub fn exponentially_weighted_mean(values: &[f64], span: f64) -> Vec<f64> {
    let weight = 2.0 / (span + 1.0);
    let mut smoothed: Vec<f64> = Vec::with_capacity(values.len());
    for &value in values {
        let before = *smoothed.last().unwrap_or(&value);
        smoothed.push(before + weight * (value - before));
    }
    smoothed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges() {
        assert_eq!(exponentially_weighted_mean(&[], SPAN), [0.0; 0]);
        assert_eq!(exponentially_weighted_mean(&[3.0, 5.0, 4.0], 1.0), [3.0, 5.0, 4.0]);
        // Weight 1/2.
        assert_eq!(exponentially_weighted_mean(&[1.0, 2.0, 2.0], 3.0), [1.0, 1.5, 1.75]);
    }
}
