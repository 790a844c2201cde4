//! The transforms of F(4, 3), which are applied both ways.
//!
//! They evaluate polynomials at the points 0, `A`, `-A`, `B`, `-B` and infinity, and interpolate (Toom and Cook). At a
//! point p, the kernel's polynomial has the value g0 + p g1 + p^2 g2, and output pixel k is the sum of p^k m over the
//! points; at infinity only the highest power counts. The input's frequency at a point is the polynomial that is 0 at
//! the others, its coefficients multiplied with the pixels. With the usual points, ±1 and ±2, errors are more than
//! twice as large; these are among the best of those whose powers are exact in f32.

use super::super::micro::{LANES, Lanes};

const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// What the kernel's values at the points are scaled by: 1 over the product of p - q over the other finite points q.
const AT_0: f32 = 1.0 / (A2 * B2);
const AT_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const AT_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

/// Applies a transform to the columns, then to the rows of a tile of `I` x `I`.
///
/// All of it within one loop over lanes, which the compiler turns into vectors as a whole.
#[inline(always)]
pub fn both_ways<const I: usize, const O: usize>(
    tile: [[Lanes; I]; I],
    transform: impl Fn([f32; I]) -> [f32; O],
) -> [[Lanes; O]; O] {
    let mut transformed = [[[0.0; LANES]; O]; O];
    for lane in 0..LANES {
        let mut columns = [[0.0; O]; I];
        for x in 0..I {
            let mut column = [0.0; I];
            for y in 0..I {
                column[y] = tile[y][x][lane];
            }
            columns[x] = transform(column);
        }
        for y in 0..O {
            let mut row = [0.0; I];
            for x in 0..I {
                row[x] = columns[x][y];
            }
            let row = transform(row);
            for x in 0..O {
                transformed[y][x][lane] = row[x];
            }
        }
    }
    transformed
}

/// Of an input's tile.
#[inline(always)]
pub fn input_frequencies<const FMA: bool>([d0, d1, d2, d3, d4, d5]: [f32; 6]) -> [f32; 6] {
    let (even_a, odd_a) = (multiply_add::<FMA>(-B2, d2, d4), multiply_add::<FMA>(-B2, d1, d3));
    let (even_b, odd_b) = (multiply_add::<FMA>(-A2, d2, d4), multiply_add::<FMA>(-A2, d1, d3));
    [
        multiply_add::<FMA>(A2 * B2, d0, multiply_add::<FMA>(-A2 - B2, d2, d4)),
        multiply_add::<FMA>(A, odd_a, even_a),
        multiply_add::<FMA>(-A, odd_a, even_a),
        multiply_add::<FMA>(B, odd_b, even_b),
        multiply_add::<FMA>(-B, odd_b, even_b),
        multiply_add::<FMA>(A2 * B2, d1, multiply_add::<FMA>(-A2 - B2, d3, d5)),
    ]
}

/// Of the kernel's taps.
#[inline(always)]
pub fn filter_frequencies<const FMA: bool>([g0, g1, g2]: [f32; 3]) -> [f32; 6] {
    let (even_a, even_b) = (multiply_add::<FMA>(A2, g2, g0), multiply_add::<FMA>(B2, g2, g0));
    [
        AT_0 * g0,
        AT_A * multiply_add::<FMA>(A, g1, even_a),
        AT_A * multiply_add::<FMA>(-A, g1, even_a),
        AT_B * multiply_add::<FMA>(B, g1, even_b),
        AT_B * multiply_add::<FMA>(-B, g1, even_b),
        g2,
    ]
}

/// The output's pixels.
#[inline(always)]
pub fn outputs<const FMA: bool>([m0, m1, m2, m3, m4, m5]: [f32; 6]) -> [f32; 4] {
    let (even_a, odd_a) = (m1 + m2, m1 - m2);
    let (even_b, odd_b) = (m3 + m4, m3 - m4);
    [
        m0 + even_a + even_b,
        multiply_add::<FMA>(A, odd_a, B * odd_b),
        multiply_add::<FMA>(A2, even_a, B2 * even_b),
        multiply_add::<FMA>(A * A2, odd_a, multiply_add::<FMA>(B * B2, odd_b, m5)),
    ]
}

/// The transpose of [`outputs`].
#[inline(always)]
pub fn gradient_frequencies<const FMA: bool>([y0, y1, y2, y3]: [f32; 4]) -> [f32; 6] {
    let (even_a, odd_a) = (multiply_add::<FMA>(A2, y2, y0), multiply_add::<FMA>(A2, y3, y1));
    let (even_b, odd_b) = (multiply_add::<FMA>(B2, y2, y0), multiply_add::<FMA>(B2, y3, y1));
    [
        y0,
        multiply_add::<FMA>(A, odd_a, even_a),
        multiply_add::<FMA>(-A, odd_a, even_a),
        multiply_add::<FMA>(B, odd_b, even_b),
        multiply_add::<FMA>(-B, odd_b, even_b),
        y3,
    ]
}

/// The transpose of [`filter_frequencies`].
#[inline(always)]
pub fn filter_gradient<const FMA: bool>([u0, u1, u2, u3, u4, u5]: [f32; 6]) -> [f32; 3] {
    let (even_a, odd_a) = (AT_A * (u1 + u2), AT_A * (u1 - u2));
    let (even_b, odd_b) = (AT_B * (u3 + u4), AT_B * (u3 - u4));
    [
        multiply_add::<FMA>(AT_0, u0, even_a + even_b),
        multiply_add::<FMA>(A, odd_a, B * odd_b),
        multiply_add::<FMA>(A2, even_a, multiply_add::<FMA>(B2, even_b, u5)),
    ]
}

/// `factor * x + sum`.
#[inline(always)]
fn multiply_add<const FMA: bool>(factor: f32, x: f32, sum: f32) -> f32 {
    if FMA { factor.mul_add(x, sum) } else { factor * x + sum }
}
