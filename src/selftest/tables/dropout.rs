//! Dropout with Philox numbers: y = x / (1 - p) where the number is at least p, else 0.

use super::inputs::Draw;
use crate::kernels::dropout::Dropout;
use crate::selftest::row::{Row, Sum};

/// Stream of the numbers: `Stream::Dropout`.
const STREAM: u32 = 3;

/// The random word `index`: Philox 4x32-10 as in Salmon et al. 2011, table 2, with the counter (index / 4, 0, step,
/// stream) and the seed as key.
fn philox(seed: [u32; 2], step: u32, index: u32) -> u32 {
    let ([mut x0, mut x1, mut x2, mut x3], [mut k0, mut k1]) = ([index / 4, 0, step, STREAM], seed);
    for _ in 0..10 {
        let (left, right) = (u64::from(x0) * 0xD2511F53, u64::from(x2) * 0xCD9E8D57);
        [x0, x1, x2, x3] = [(right >> 32) as u32 ^ x1 ^ k0, right as u32, (left >> 32) as u32 ^ x3 ^ k1, left as u32];
        [k0, k1] = [k0.wrapping_add(0x9E3779B9), k1.wrapping_add(0xBB67AE85)];
    }
    [x0, x1, x2, x3][index as usize % 4]
}

/// What is left of x.
fn dropout(x: &[f64], p: f64, seed: [u32; 2], step: u32) -> Vec<Sum> {
    let number = |i: usize| f64::from(philox(seed, step, i as u32) >> 8) / f64::from(1 << 24);
    let kept = |i: usize| if number(i) >= p { Sum::of([x[i] / (1.0 - p)]) } else { Sum::exact(0.0) };
    (0..x.len()).map(kept).collect()
}

/// Rows of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for (elements, p, step, seed, why) in [
        (1, 0.5, 0, [0, 0], "one element of a block of four"),
        (4, 0.5, 1, [42, 0], "one block"),
        (1027, 0.5, 7, [42, 1], "three elements in the second workgroup, seed beyond 32 bits"),
        (1000, 0.1, u32::MAX, [u32::MAX; 2], "largest step and seed"),
        (300, 0.0, 3, [1, 2], "nothing is dropped"),
        (352_000, 0.3, 5, [9, 9], "more than 7 x 7 x 7 workgroups"),
    ] {
        // Away from 0, so that what is dropped is seen.
        let x: Vec<f64> = draw.signed(elements).into_iter().map(|x| if x < 0.0 { x - 1.0 } else { x + 1.0 }).collect();
        let y = dropout(&x, f64::from(p), seed, step);
        let control = vec![0, step, seed[0], seed[1]];
        rows.push(Row::new(why, Dropout::new(elements as u32, p)).read(&x).read(&control).write(y));
    }
    rows
}
