//! Cross-entropy of a softmax with label smoothing: PyTorch's target is (1 - s) onehot + s / classes.

use super::inputs::{Draw, SUBNORMAL};
use crate::kernels::softmax_cross_entropy::SoftmaxCrossEntropy;
use crate::selftest::row::{Row, Sum, Word};

/// A row's softmax, and the logarithm of the sum of exp(logit - largest). An exponential carries over the rounding of
/// its argument.
fn softmax(logits: &[f64]) -> (Vec<Sum>, Sum) {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<Sum> =
        logits.iter().map(|l| Sum::of([l - largest]).then((l - largest).exp(), (l - largest).exp())).collect();
    let total = powers.iter().fold(Sum::default(), |total, &power| total.plus(power));
    let logarithm = total.then(total.value.ln(), 1.0 / total.value);
    (powers.iter().map(|power| power.over(total)).collect(), logarithm)
}

fn target(classes: usize, label: usize, smoothing: f64) -> impl Fn(usize) -> f64 {
    move |c| smoothing / classes as f64 + if c == label { 1.0 - smoothing } else { 0.0 }
}

/// -sum(target * log(softmax)), from the distances to the largest logit.
fn loss(logits: &[f64], label: usize, smoothing: f64) -> Sum {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let target = target(logits.len(), label, smoothing);
    softmax(logits).1.plus(Sum::of((0..logits.len()).map(|c| target(c) * (largest - logits[c]))))
}

/// Gradient of the mean loss over `valid` rows.
fn gradient(logits: &[f64], label: usize, smoothing: f64, valid: usize) -> Vec<Sum> {
    let target = target(logits.len(), label, smoothing);
    let (softmax, _) = softmax(logits);
    let difference = |(c, p): (usize, &Sum)| p.plus(Sum::of([-target(c)])).times(1.0 / valid as f64);
    softmax.iter().enumerate().map(difference).collect()
}

fn first_largest(logits: &[f64]) -> usize {
    (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).expect("a class")
}

/// What is in the table besides the logits.
struct Case {
    batch: usize,
    valid: usize,
    classes: usize,
    smoothing: f32,
    /// `report[3]` before.
    reported: u32,
}

/// Rows of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for (batch, valid, classes, smoothing, size, why) in [
        (1, 1, 1, 0.0, 1.0, "one class: no loss, no gradient"),
        (1, 1, 10, 0.0, 4.0, "one image"),
        (5, 5, 10, 0.1, 4.0, "label smoothing"),
        (8, 5, 7, 0.1, 4.0, "rows behind the last image"),
        (300, 300, 10, 0.0, 4.0, "more rows than threads"),
        (300, 257, 3, 0.1, 4.0, "the second round of rows ends early"),
        (4, 4, 1000, 0.1, 8.0, "ImageNet's classes"),
        (16, 16, 10, 0.0, 80.0, "logits of up to 80: most probabilities are below f32's smallest number"),
        (16, 16, 10, 0.1, 500.0, "logits of up to 500: exp(500) is beyond f32"),
    ] {
        let logits = draw.between(-size, size, batch * classes);
        let case = Case { batch, valid, classes, smoothing, reported: 0 };
        rows.push(row(why, &mut draw, &case, logits));
    }
    let case = Case { batch: 6, valid: 5, classes: 5, smoothing: 0.0, reported: 0 };
    let ties: Vec<f64> = draw.below(2, 30).into_iter().map(f64::from).collect();
    rows.push(row("ties: the first largest counts", &mut draw, &case, ties));
    let mut broken = |index: usize, number: f64| {
        let mut logits = draw.signed(30);
        logits[index] = number;
        logits
    };
    let (first, middle) = (broken(0, f64::NAN), broken(12, f64::NAN));
    let (high, low) = (broken(7, f64::INFINITY), broken(7, f64::NEG_INFINITY));
    let behind = broken(27, f64::NAN);
    rows.push(row("NaN as the first logit", &mut draw, &case, first));
    rows.push(row("NaN", &mut draw, &case, middle));
    rows.push(row("infinity", &mut draw, &case, high));
    rows.push(row("negative infinity", &mut draw, &case, low));
    rows.push(row("NaN behind the last image does not count", &mut draw, &case, behind));
    let small = draw.signed(30);
    let small = draw.among_subnormals(small);
    rows.push(row(SUBNORMAL, &mut draw, &case, small));
    let reported = Case { reported: 1, ..case };
    let fine = draw.signed(30);
    rows.push(row("reported before: it stays reported", &mut draw, &reported, fine));
    rows
}

fn row(why: &'static str, draw: &mut Draw, case: &Case, logits: Vec<f64>) -> Row {
    let &Case { batch, valid, classes, smoothing, reported } = case;
    let labels = draw.below(classes as u32, 3 * batch);
    let indices = draw.below(3 * batch as u32, batch);
    let (mut dlogits, mut losses, mut correct) = (Vec::<Word>::new(), Sum::default(), 0);
    let mut finite = true;
    for (n, logits) in logits.chunks(classes).enumerate() {
        let label = labels[indices[n] as usize] as usize;
        if n >= valid {
            dlogits.extend(vec![Word::Bits(0); classes]);
        } else if logits.iter().all(|logit| logit.is_finite()) {
            dlogits.extend(gradient(logits, label, smoothing.into(), valid).into_iter().map(Word::Near));
            losses = losses.plus(loss(logits, label, smoothing.into()));
            correct += u32::from(first_largest(logits) == label);
        } else {
            dlogits.extend(vec![Word::Any; classes]);
            finite = false;
        }
    }
    let report: [Word; 5] = match finite {
        true => [losses.into(), correct.into(), (valid as u32).into(), reported.into(), 7.into()],
        false => [Word::Nan, Word::Any, (valid as u32).into(), 1.into(), 7.into()],
    };
    let kernel = SoftmaxCrossEntropy { batch: batch as u32, classes: classes as u32, label_smoothing: smoothing };
    let row = Row::new(why, kernel).read(&logits).read(&labels).read(&indices).read(&vec![valid as u32, 0, 0, 0]);
    row.write(dlogits).update(&vec![7, 7, 7, reported, 7], report.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::tables::inputs::assert_gradient;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let logits = Draw::new(2).between(-4.0, 4.0, 7);
        for smoothing in [0.0, 0.1] {
            let gradient = Sum::values(&gradient(&logits, 3, smoothing, 5));
            assert_gradient(&logits, &gradient, |logits| loss(logits, 3, smoothing).value / 5.0);
        }
    }
}
