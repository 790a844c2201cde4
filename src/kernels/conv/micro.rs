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
    ($index:ident < $count:ident => $body:expr) => {
        unroll!(@ $index < $count => $body; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $index:ident < $count:ident => $body:expr; $($value:literal)*) => {
        $(if $value < $count {
            let $index = $value;
            $body
        })*
    };
}

/// `sums += x * weights`.
#[inline(always)]
fn multiply_add<const FUSED: bool>(sums: &mut Lanes, x: f32, weights: &Lanes) {
    for lane in 0..LANES {
        sums[lane] = if FUSED { x.mul_add(weights[lane], sums[lane]) } else { x * weights[lane] + sums[lane] };
    }
}

/// Convolves: the sums of the products of `P` windows of `images` with one panel of weights.
///
/// A window has the words `images[origin + offset..][..run]` for each of `offsets`; `panel` has a row of weights for
/// each of these words.
#[inline(always)]
pub(super) fn convolve<const P: usize, const FUSED: bool>(
    images: &[f32],
    origins: &[usize; P],
    offsets: &[usize],
    run: usize,
    panel: &[Lanes],
) -> [Lanes; P] {
    let mut sums = [[0.0; LANES]; P];
    for (row, offset) in offsets.iter().enumerate() {
        let weights = &panel[row * run..][..run];
        let mut windows: [&[f32]; P] = [&[]; P];
        unroll!(p < P => windows[p] = &images[origins[p] + offset..][..run]);
        for step in 0..run {
            unroll!(p < P => multiply_add::<FUSED>(&mut sums[p], windows[p][step], &weights[step]));
        }
    }
    sums
}

/// Correlates: the sums over windows of the products of `R` words of each, `images[origin + offset..][..R]`, with its
/// row of `gradients`.
#[inline(always)]
pub(super) fn correlate<const R: usize, const FUSED: bool>(
    images: &[f32],
    origins: &[usize],
    offset: usize,
    gradients: &[Lanes],
) -> [Lanes; R] {
    let mut sums = [[0.0; LANES]; R];
    for (origin, gradient) in origins.iter().zip(gradients) {
        let window = &images[origin + offset..][..R];
        unroll!(r < R => multiply_add::<FUSED>(&mut sums[r], window[r], gradient));
    }
    sums
}
