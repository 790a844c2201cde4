//! The innermost loops of the convolution twins: tiles of sums that stay in registers.
//!
//! The functions are generic over the size of the tile and over fused multiply-add, and always inlined, so that each
//! caller compiles them for its own instruction set.

/// Output channels in a tile: one AVX-512 register, two of AVX2, four of NEON or SSE.
pub(super) const LANES: usize = 16;

/// Sums of one row of a tile.
pub(super) type Lanes = [f32; LANES];

/// Runs `body` for `index` = 0, 1, ... below the constant `count` (at most 16), written out.
///
/// A loop would be unrolled only after the compiler has placed the tile in memory; written out, each row of the tile
/// becomes a register at once.
macro_rules! unroll {
    ($index:ident < $count:tt => $body:expr) => {
        unroll!(@ $index < $count => $body; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $index:ident < $count:tt => $body:expr; $($value:literal)*) => {
        {
            $(if $value < $count {
                let $index = $value;
                $body
            })*
        }
    };
}
pub(super) use unroll;

/// The first `lanes` words, then zeros; the first [`LANES`] if `WHOLE`, which is one instruction.
#[inline(always)]
pub(super) fn load<const WHOLE: bool>(words: &[f32], lanes: usize) -> Lanes {
    let mut loaded = [0.0; LANES];
    if WHOLE {
        loaded.copy_from_slice(&words[..LANES]);
    } else {
        loaded[..lanes].copy_from_slice(&words[..lanes]);
    }
    loaded
}

/// Writes the first `lanes` of the values; all if `WHOLE`, which is one instruction.
#[inline(always)]
pub(super) fn store<const WHOLE: bool>(values: &Lanes, lanes: usize, words: &mut [f32]) {
    if WHOLE {
        words[..LANES].copy_from_slice(values);
    } else {
        words[..lanes].copy_from_slice(&values[..lanes]);
    }
}

/// `sums += x * weights`.
#[inline(always)]
fn multiply_add<const FMA: bool>(sums: &mut Lanes, x: f32, weights: &Lanes) {
    for lane in 0..LANES {
        sums[lane] = if FMA { x.mul_add(weights[lane], sums[lane]) } else { x * weights[lane] + sums[lane] };
    }
}

/// Convolves: the sums of the products of `P` windows of `images` with each of `Q` panels of weights.
///
/// A window has the words `images[origin + offset..][..run]` for each of `offsets`; a panel has a row of weights for
/// each of these words.
#[inline(always)]
pub(super) fn convolve<const P: usize, const Q: usize, const FMA: bool>(
    images: &[f32],
    origins: &[usize; P],
    offsets: &[usize],
    run: usize,
    panels: &[&[Lanes]; Q],
) -> [[Lanes; P]; Q] {
    let mut sums = [[[0.0; LANES]; P]; Q];
    for (row, offset) in offsets.iter().enumerate() {
        let mut weights: [&[Lanes]; Q] = [&[]; Q];
        unroll!(q < Q => weights[q] = &panels[q][row * run..][..run]);
        let mut windows: [&[f32]; P] = [&[]; P];
        unroll!(p < P => windows[p] = &images[origins[p] + offset..][..run]);
        for step in 0..run {
            unroll!(p < P => {
                let x = windows[p][step];
                unroll!(q < Q => multiply_add::<FMA>(&mut sums[q][p], x, &weights[q][step]));
            });
        }
    }
    sums
}

/// Correlates: the sums over windows of the products of `R` words of each, `images[origin + offset..][..R]`, with its
/// row of `gradients`.
#[inline(always)]
pub(super) fn correlate<const R: usize, const FMA: bool>(
    images: &[f32],
    origins: &[usize],
    offset: usize,
    gradients: &[Lanes],
) -> [Lanes; R] {
    let mut sums = [[0.0; LANES]; R];
    for (origin, gradient) in origins.iter().zip(gradients) {
        let window = &images[origin + offset..][..R];
        unroll!(r < R => multiply_add::<FMA>(&mut sums[r], window[r], gradient));
    }
    sums
}

/// Adds to `sums` the matrix products `[P, LANES] x [LANES, LANES]` of `rows` with each of `Q` panels of weights.
#[inline(always)]
pub(super) fn multiply<const P: usize, const Q: usize, const FMA: bool>(
    rows: &[Lanes; P],
    weights: &[&[Lanes; LANES]; Q],
    mut sums: [[Lanes; P]; Q],
) -> [[Lanes; P]; Q] {
    for step in 0..LANES {
        unroll!(p < P => {
            let x = rows[p][step];
            unroll!(q < Q => multiply_add::<FMA>(&mut sums[q][p], x, &weights[q][step]));
        });
    }
    sums
}

/// Adds to `sums` the matrix products `[R, rows] x [rows, LANES]` of words `R part..` of `rows`, transposed, with each
/// of `Q` panels of gradients; `count` rows of them.
#[inline(always)]
pub(super) fn multiply_transposed<const N: usize, const R: usize, const Q: usize, const FMA: bool>(
    rows: &[Lanes; N],
    part: usize,
    gradients: &[&[Lanes; N]; Q],
    count: usize,
    mut sums: [[Lanes; R]; Q],
) -> [[Lanes; R]; Q] {
    for row in 0..count.min(N) {
        let words = &rows[row].as_chunks::<R>().0[part];
        unroll!(r < R => {
            let x = words[r];
            unroll!(q < Q => multiply_add::<FMA>(&mut sums[q][r], x, &gradients[q][row]));
        });
    }
    sums
}
