//! The transforms of F(2, 3), which are applied both ways.

use super::super::micro::{LANES, Lanes, unroll};

/// Applies a transform to the columns, then to the rows of a tile of `I` x `I`.
#[inline(always)]
pub fn both_ways<const I: usize, const O: usize>(
    tile: [[Lanes; I]; I],
    transform: impl Fn([Lanes; I]) -> [Lanes; O],
) -> [[Lanes; O]; O] {
    let mut columns = [[[0.0; LANES]; O]; I];
    unroll!(x < I => {
        let mut column = [[0.0; LANES]; I];
        unroll!(y < I => column[y] = tile[y][x]);
        columns[x] = transform(column);
    });
    let mut rows = [[[0.0; LANES]; O]; O];
    unroll!(y < O => {
        let mut row = [[0.0; LANES]; I];
        unroll!(x < I => row[x] = columns[x][y]);
        rows[y] = transform(row);
    });
    rows
}

/// Of an input's tile.
#[inline(always)]
pub fn input_frequencies([d0, d1, d2, d3]: [Lanes; 4]) -> [Lanes; 4] {
    [minus(d0, d2), plus(d1, d2), minus(d2, d1), minus(d3, d1)]
}

/// Of the kernel's taps.
#[inline(always)]
pub fn filter_frequencies([g0, g1, g2]: [Lanes; 3]) -> [Lanes; 4] {
    let outer = half(plus(g0, g2));
    let middle = half(g1);
    [g0, plus(outer, middle), minus(outer, middle), g2]
}

/// The output's pixels.
#[inline(always)]
pub fn outputs([m0, m1, m2, m3]: [Lanes; 4]) -> [Lanes; 2] {
    [plus(plus(m0, m1), m2), plus(minus(m1, m2), m3)]
}

/// The transpose of [`outputs`].
#[inline(always)]
pub fn gradient_frequencies([y0, y1]: [Lanes; 2]) -> [Lanes; 4] {
    [y0, plus(y0, y1), minus(y0, y1), y1]
}

/// The transpose of [`filter_frequencies`].
#[inline(always)]
pub fn taps([u0, u1, u2, u3]: [Lanes; 4]) -> [Lanes; 3] {
    let sum = half(plus(u1, u2));
    [plus(u0, sum), half(minus(u1, u2)), plus(sum, u3)]
}

#[inline(always)]
fn plus(a: Lanes, b: Lanes) -> Lanes {
    let mut sum = [0.0; LANES];
    for lane in 0..LANES {
        sum[lane] = a[lane] + b[lane];
    }
    sum
}

#[inline(always)]
fn minus(a: Lanes, b: Lanes) -> Lanes {
    let mut difference = [0.0; LANES];
    for lane in 0..LANES {
        difference[lane] = a[lane] - b[lane];
    }
    difference
}

#[inline(always)]
fn half(a: Lanes) -> Lanes {
    let mut half = [0.0; LANES];
    for lane in 0..LANES {
        half[lane] = 0.5 * a[lane];
    }
    half
}
