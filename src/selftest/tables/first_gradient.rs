//! The mean of |gradient|.

use super::inputs::Draw;
use crate::kernels::first_gradient::FirstGradient;
use crate::selftest::row::{Row, Sum, Word};

fn mean_absolute(gradient: &[f64]) -> Sum {
    Sum::of(gradient.iter().map(|g| g.abs())).times(1.0 / gradient.len() as f64)
}

/// Rows of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    let mut row = |why, gradient: Vec<f64>| {
        let kernel = FirstGradient { elements: gradient.len() as u32 };
        let report: Vec<Word> = vec![11.into(), 12.into(), 13.into(), 1.into(), mean_absolute(&gradient).into()];
        rows.push(Row::new(why, kernel).read(&gradient).update(&vec![11, 12, 13, 1, 15], report));
    };
    row("one word", vec![-0.75]);
    row("zeros", vec![0.0; 300]);
    row("fewer words than lanes", draw.signed(144));
    row("one word in the second round", draw.signed(257));
    row("torchvision's stem: many rounds, the last partial", draw.signed(7 * 7 * 3 * 64));
    row("a NaN, as the last word", [draw.signed(299), vec![f64::NAN]].concat());
    rows
}
