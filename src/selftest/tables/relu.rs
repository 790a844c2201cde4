//! ReLU: max(x, 0), with NaN let through.

use super::inputs::{Draw, SUBNORMAL};
use crate::kernels::relu::Relu;
use crate::selftest::row::{Row, Sum, relu};

/// Rows of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for (elements, why) in [
        (1, "one element"),
        (256, "one full workgroup"),
        (259, "three elements in the second workgroup"),
        (88_065, "more than 7 x 7 x 7 workgroups"),
    ] {
        let x = draw.signed(elements);
        let y: Vec<Sum> = x.iter().map(|&x| Sum::exact(relu(x))).collect();
        rows.push(Row::new(why, Relu { elements: elements as u32 }).read(&x).write(y));
    }
    let x = vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f32::MAX.into(), f32::MIN.into()];
    let y: Vec<Sum> = x.iter().map(|&x| Sum::exact(relu(x))).collect();
    rows.push(Row::new("values that are no ordinary numbers", Relu { elements: 8 }).read(&x).write(y));
    let x = draw.signed(300);
    let x = draw.among_subnormals(x);
    let y: Vec<Sum> = x.iter().map(|&x| Sum::of([relu(x)])).collect();
    rows.push(Row::new(SUBNORMAL, Relu { elements: 300 }).read(&x).write(y));
    rows
}
