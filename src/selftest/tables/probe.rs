//! The probes of a device's peaks: chains of multiply-adds, and the triad x + factor * z.

use super::inputs::Draw;
use crate::kernels::probe::{MultiplyAdd, Triad};
use crate::selftest::row::{Row, Sum};

/// The sum of eight chains that begin at x, x + 1, ... and take `steps` steps t -> factor * t + addend.
fn chains(x: f64, steps: u32, factor: f64, addend: f64) -> Sum {
    let step = |t: Sum| t.times(factor).plus(Sum::of([addend]));
    let chain = |start: u32| (0..steps).fold(Sum::of([x, start.into()]), |t, _| step(t));
    (0..8).map(chain).fold(Sum::default(), Sum::plus)
}

/// Rows of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for (elements, rounds, factor, addend, why) in [
        (1, 1, 0.75, -0.5, "one element, one round"),
        (259, 3, -0.875, 1.25, "three elements in the second workgroup, a partial vector"),
        (4, 0, 0.5, 1.0, "no round: the sum of the starts"),
        (88_065, 1, 0.5, 1.0, "more than 7 x 7 x 7 workgroups"),
    ] {
        let x = draw.signed(elements);
        let y: Vec<Sum> = x.iter().map(|&x| chains(x, 8 * rounds, factor.into(), addend.into())).collect();
        rows.push(Row::new(why, MultiplyAdd { elements: elements as u32, rounds, factor, addend }).read(&x).write(y));
    }
    for (elements, factor, why) in [
        (1, 0.75, "one element"),
        (259, -1.5, "three elements in the second workgroup"),
        (88_065, 0.1, "more than 7 x 7 x 7 workgroups"),
    ] {
        let (x, z) = (draw.signed(elements), draw.signed(elements));
        let y: Vec<Sum> = x.iter().zip(&z).map(|(x, z)| Sum::of([*x, f64::from(factor) * z])).collect();
        rows.push(Row::new(why, Triad { elements: elements as u32, factor }).read(&x).read(&z).write(y));
    }
    rows
}
