//! Fully connected layer: y = x w + b.

use super::inputs::{Draw, SUBNORMAL};
use crate::kernels::linear::{Forward, InputGradient, WeightGradient};
use crate::selftest::row::{Row, Sum};

/// Sizes: batch, in_features, out_features.
type LinearShape = [usize; 3];

fn forward([batch, inputs, outputs]: LinearShape, x: &[f64], w: &[f64], b: &[f64]) -> Vec<Sum> {
    let products = |n, o| (0..inputs).map(move |i| x[n * inputs + i] * w[i * outputs + o]);
    (0..batch).flat_map(|n| (0..outputs).map(move |o| Sum::of(products(n, o).chain([b[o]])))).collect()
}

fn input_gradient([batch, inputs, outputs]: LinearShape, dy: &[f64], w: &[f64]) -> Vec<Sum> {
    let products = |n, i| (0..outputs).map(move |o| dy[n * outputs + o] * w[i * outputs + o]);
    (0..batch).flat_map(|n| (0..inputs).map(move |i| Sum::of(products(n, i)))).collect()
}

/// dw, db
fn weight_gradient([batch, inputs, outputs]: LinearShape, x: &[f64], dy: &[f64]) -> [Vec<Sum>; 2] {
    let products = |i, o| (0..batch).map(move |n| x[n * inputs + i] * dy[n * outputs + o]);
    let dw = (0..inputs).flat_map(|i| (0..outputs).map(move |o| Sum::of(products(i, o))));
    let db = (0..outputs).map(|o| Sum::of((0..batch).map(|n| dy[n * outputs + o])));
    [dw.collect(), db.collect()]
}

/// Rows of every kernel of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for (shape, why) in [
        ([1, 1, 1], "one product"),
        ([1, 7, 3], "one image, odd sizes"),
        ([5, 64, 10], "ResNet-20's head"),
        ([3, 513, 10], "ResNet-18's head and one more feature"),
        ([17, 33, 65], "one more than powers of two"),
        ([300, 3, 300], "more than 7 x 7 x 7 workgroups forward"),
        ([2, 300, 301], "more than 7 x 7 x 7 workgroups of weights"),
        ([300, 301, 2], "more than 7 x 7 x 7 workgroups of inputs"),
    ] {
        let [batch, inputs, outputs] = shape;
        let [n, i, o] = shape.map(|n| n as u32);
        let (x, w, b) = (draw.signed(batch * inputs), draw.signed(inputs * outputs), draw.signed(outputs));
        let dy = draw.signed(batch * outputs);
        let y = forward(shape, &x, &w, &b);
        rows.push(Row::new(why, Forward::new(n, i, o)).read(&x).read(&w).read(&b).write(y));
        let dx = input_gradient(shape, &dy, &w);
        rows.push(Row::new(why, InputGradient::new(n, i, o)).read(&dy).read(&w).write(dx));
        let [dw, db] = weight_gradient(shape, &x, &dy);
        rows.push(Row::new(why, WeightGradient::new(n, i, o)).read(&x).read(&dy).write(dw).write(db));
    }
    let (shape, kernel) = ([5, 33, 10], Forward::new(5, 33, 10));
    let (x, w, b) = (draw.signed(5 * 33), draw.signed(33 * 10), draw.signed(10));
    let (x, w) = (draw.among_subnormals(x), draw.among_subnormals(w));
    let y = forward(shape, &x, &w, &b);
    rows.push(Row::new(SUBNORMAL, kernel).read(&x).read(&w).read(&b).write(y));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::tables::inputs::assert_gradient;

    #[test]
    fn backward_is_the_gradient_of_forward() {
        let (mut draw, shape) = (Draw::new(2), [4, 6, 5]);
        let (x, w, b, dy) = (draw.signed(24), draw.signed(30), draw.signed(5), draw.signed(20));
        let loss = |x: &[f64], w: &[f64], b: &[f64]| -> f64 {
            forward(shape, x, w, b).iter().zip(&dy).map(|(y, dy)| y.value * dy).sum()
        };
        let [dw, db] = weight_gradient(shape, &x, &dy);
        assert_gradient(&x, &Sum::values(&input_gradient(shape, &dy, &w)), |x| loss(x, &w, &b));
        assert_gradient(&w, &Sum::values(&dw), |w| loss(&x, w, &b));
        assert_gradient(&b, &Sum::values(&db), |b| loss(&x, &w, b));
    }
}
