//! Whether every value is finite, told by bits.

use super::inputs::Draw;
use crate::kernels::finite::Finite;
use crate::selftest::row::Row;

/// Rows of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    let mut row = |why, at: Option<(usize, u32)>, words: usize, before: u32| {
        let mut values: Vec<f32> = draw.signed(words).iter().map(|&number| number as f32).collect();
        at.into_iter().for_each(|(index, bits)| values[index] = f32::from_bits(bits));
        let report = |found: u32| vec![11, 12, 13, found, 15];
        let found = at.is_some_and(|(_, bits)| !f32::from_bits(bits).is_finite());
        let expected = report(if found { 1 } else { before });
        rows.push(Row::new(why, Finite { elements: words as u32 }).read(&values).update(&report(before), expected));
    };
    row("one finite word", None, 1, 0);
    row("many finite words", None, 88_065, 0);
    row("found before: it stays found", None, 300, 1);
    row("largest number", Some((17, f32::MAX.to_bits())), 300, 0);
    row("smallest denormal", Some((17, 1)), 300, 0);
    row("largest denormal, negative", Some((17, 0x807f_ffff)), 300, 0);
    row("negative zero", Some((17, 0x8000_0000)), 300, 0);
    row("infinity", Some((17, 0x7f80_0000)), 300, 0);
    row("negative infinity", Some((0, 0xff80_0000)), 300, 0);
    row("quiet NaN", Some((17, 0x7fc0_0000)), 300, 0);
    row("signalling NaN", Some((17, 0x7f80_0001)), 300, 0);
    row("negative NaN with every bit set", Some((17, u32::MAX)), 300, 0);
    row("the last of 300 words", Some((299, 0x7fc0_0000)), 300, 0);
    row("the last word, beyond 7 x 7 x 7 workgroups", Some((88_064, 0x7f80_0000)), 88_065, 0);
    rows
}
