//! The gradient of the weights.

use std::ops::Range;

use multiversion::multiversion;
use multiversion::target::match_target;
use rayon::prelude::*;

use super::super::layout::{Frame, Sizes};
use super::super::micro::{self, LANES, Lanes, unroll};
use super::transform::{both_ways, filter_gradient, gradient_frequencies};
use super::{BLOCK, FREQUENCIES, Frequencies, IN, ImageTile, ImageTiles, Memory, OUT, TAPS, transform_inputs};
use crate::kernels::batch_norm::Norm;

/// The gradient of U for [`LANES`] input channels and as many output channels.
type FilterFrequencies = [[Lanes; LANES]; FREQUENCIES];

/// The partial sums of dw of every `images` images, in at most that many tasks each.
pub fn weight_gradient(
    sizes: &Sizes,
    images: usize,
    tasks: usize,
    x: &[f32],
    norm: Option<&Norm>,
    dy: &[f32],
    partials: &mut [f32],
) {
    let frame = Frame::of_tiles(sizes, OUT);
    let tiles = ImageTiles::new(sizes, &frame, images);
    // Each task has some of the input channels: for each tap, contiguous rows of dw.
    let channels = sizes.in_channels.div_ceil(tasks).next_multiple_of(LANES);
    let mut tasks = Vec::new();
    for (split, partial) in partials.chunks_mut(TAPS * sizes.in_channels * sizes.out_channels).enumerate() {
        let taps = partial.chunks_mut(sizes.in_channels * sizes.out_channels);
        let mut taps: Vec<_> = taps.map(|tap| tap.chunks_mut(channels * sizes.out_channels)).collect();
        for first in (0..sizes.in_channels).step_by(channels) {
            let dw: Vec<&mut [f32]> = taps.iter_mut().filter_map(Iterator::next).collect();
            tasks.push((split, first..sizes.in_channels.min(first + channels), dw));
        }
    }
    tasks.into_par_iter().for_each(|(split, channels, mut dw)| {
        let images = split * images..sizes.batch.min((split + 1) * images);
        let x = &x[images.start * sizes.in_elements()..images.end * sizes.in_elements()];
        let dy = &dy[images.start * sizes.out_elements()..images.end * sizes.out_elements()];
        frame.around(x, norm, |x| correlate(x, &tiles, dy, channels, &mut dw));
    });
}

/// Rows of dw for those input channels, for each tap.
fn correlate(images: &[f32], tiles: &ImageTiles, dy: &[f32], channels: Range<usize>, dw: &mut [&mut [f32]]) {
    let (groups, panels) = (channels.len().div_ceil(LANES), tiles.out_channels.div_ceil(LANES));
    Memory::with(|memory| {
        let v = memory.inputs.arrays(groups);
        let dm = memory.outputs.arrays(panels);
        let du: &mut [FilterFrequencies] = memory.filters.arrays(groups * panels);
        du.as_flattened_mut().fill([[0.0; LANES]; LANES]);
        for block in tiles.blocks(dy.len()) {
            correlate_block(images, tiles, block, dy, channels.clone(), v, dm, du);
        }
        filter_gradients(du, tiles.out_channels, dw);
    });
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn correlate_block(
    images: &[f32],
    tiles: &ImageTiles,
    block: &[ImageTile],
    dy: &[f32],
    channels: Range<usize>,
    v: &mut [Frequencies],
    dm: &mut [Frequencies],
    du: &mut [FilterFrequencies],
) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma" => correlate_tiles::<8, 2, true>(images, tiles, block, dy, channels, v, dm, du),
        "x86_64+avx2+fma" => correlate_tiles::<4, 1, true>(images, tiles, block, dy, channels, v, dm, du),
        "aarch64+neon" => correlate_tiles::<4, 1, true>(images, tiles, block, dy, channels, v, dm, du),
        _ => correlate_tiles::<2, 1, false>(images, tiles, block, dy, channels, v, dm, du),
    }
}

/// In register tiles of `R` rows times `Q` panels.
#[inline(always)]
fn correlate_tiles<const R: usize, const Q: usize, const FMA: bool>(
    images: &[f32],
    tiles: &ImageTiles,
    block: &[ImageTile],
    dy: &[f32],
    channels: Range<usize>,
    v: &mut [Frequencies],
    dm: &mut [Frequencies],
    du: &mut [FilterFrequencies],
) {
    transform_inputs::<FMA>(images, tiles, block, channels, v);
    transform_gradients::<FMA>(tiles, block, dy, dm);
    add_products::<R, Q, FMA>(block.len(), v, dm, du);
}

/// The gradient of M, for each panel.
#[inline(always)]
fn transform_gradients<const FMA: bool>(tiles: &ImageTiles, block: &[ImageTile], dy: &[f32], dm: &mut [Frequencies]) {
    for (dm, first) in dm.iter_mut().zip((0..tiles.out_channels).step_by(LANES)) {
        match tiles.out_channels - first {
            LANES.. => transform_gradient::<true, FMA>(tiles, block, dy, first, LANES, dm),
            lanes => transform_gradient::<false, FMA>(tiles, block, dy, first, lanes, dm),
        }
    }
}

/// The gradient of M for `lanes` channels from `first` on: for [`LANES`] if `WHOLE`.
#[inline(always)]
fn transform_gradient<const WHOLE: bool, const FMA: bool>(
    tiles: &ImageTiles,
    block: &[ImageTile],
    dy: &[f32],
    first: usize,
    lanes: usize,
    dm: &mut Frequencies,
) {
    for (index, tile) in block.iter().enumerate().take(BLOCK) {
        let mut d = [[[0.0; LANES]; OUT]; OUT];
        unroll!(y < OUT => if y < tile.rows {
            let row = &dy[(tile.pixel + y * tiles.out_width) * tiles.out_channels + first..];
            unroll!(x < OUT => if x < tile.columns {
                d[y][x] = micro::load::<WHOLE>(&row[x * tiles.out_channels..], lanes);
            });
        });
        let frequencies = both_ways(d, gradient_frequencies::<FMA>);
        unroll!(y < IN => unroll!(x < IN => dm[IN * y + x][index] = frequencies[y][x]));
    }
}

/// Adds the products of V and the gradient of M, summed over `count` tiles, to the gradient of U, for each panel and
/// group: in register tiles of `R` rows times `Q` panels.
#[inline(always)]
fn add_products<const R: usize, const Q: usize, const FMA: bool>(
    count: usize,
    v: &[Frequencies],
    dm: &[Frequencies],
    du: &mut [FilterFrequencies],
) {
    for frequency in 0..FREQUENCIES {
        for (dm, du) in dm.chunks(Q).zip(du.chunks_mut(Q * v.len())) {
            if let Some(dm) = dm.first_chunk::<Q>() {
                add_panels::<R, Q, FMA>(count, frequency, v, dm, du);
            } else {
                for (dm, du) in dm.iter().zip(du.chunks_mut(v.len())) {
                    add_panels::<R, 1, FMA>(count, frequency, v, std::array::from_ref(dm), du);
                }
            }
        }
    }
}

#[inline(always)]
fn add_panels<const R: usize, const Q: usize, const FMA: bool>(
    count: usize,
    frequency: usize,
    v: &[Frequencies],
    dm: &[Frequencies; Q],
    du: &mut [FilterFrequencies],
) {
    let groups = v.len();
    let mut gradients = [&[[0.0; LANES]; BLOCK]; Q];
    unroll!(q < Q => gradients[q] = &dm[q][frequency]);
    for (group, v) in v.iter().enumerate() {
        for part in 0..LANES / R {
            let mut sums = [[[0.0; LANES]; R]; Q];
            unroll!(q < Q => sums[q] = du[q * groups + group][frequency].as_chunks::<R>().0[part]);
            sums = micro::multiply_transposed::<BLOCK, R, Q, FMA>(&v[frequency], part, &gradients, count, sums);
            unroll!(q < Q => du[q * groups + group][frequency].as_chunks_mut::<R>().0[part] = sums[q]);
        }
    }
}

/// dw, `[input channels, out_channels]` for each tap, out of the gradient of U.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn filter_gradients(du: &[FilterFrequencies], out_channels: usize, dw: &mut [&mut [f32]]) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma" => transform_filter_gradients::<true>(du, out_channels, dw),
        "x86_64+avx2+fma" => transform_filter_gradients::<true>(du, out_channels, dw),
        "aarch64+neon" => transform_filter_gradients::<true>(du, out_channels, dw),
        _ => transform_filter_gradients::<false>(du, out_channels, dw),
    }
}

#[inline(always)]
fn transform_filter_gradients<const FMA: bool>(du: &[FilterFrequencies], out_channels: usize, dw: &mut [&mut [f32]]) {
    let channels = dw[0].len() / out_channels;
    let groups = channels.div_ceil(LANES);
    for (du, first) in du.chunks(groups).zip((0..out_channels).step_by(LANES)) {
        match out_channels - first {
            LANES.. => transform_filter_gradient::<true, FMA>(du, out_channels, channels, first, LANES, dw),
            lanes => transform_filter_gradient::<false, FMA>(du, out_channels, channels, first, lanes, dw),
        }
    }
}

/// `lanes` columns of dw from `first` on: [`LANES`] if `WHOLE`.
#[inline(always)]
fn transform_filter_gradient<const WHOLE: bool, const FMA: bool>(
    du: &[FilterFrequencies],
    out_channels: usize,
    channels: usize,
    first: usize,
    lanes: usize,
    dw: &mut [&mut [f32]],
) {
    for channel in 0..channels {
        let du = &du[channel / LANES];
        let mut frequencies = [[[0.0; LANES]; IN]; IN];
        unroll!(y < IN => unroll!(x < IN => frequencies[y][x] = du[IN * y + x][channel % LANES]));
        let kernel = both_ways(frequencies, filter_gradient::<FMA>);
        unroll!(y < 3 => unroll!(x < 3 => {
            micro::store::<WHOLE>(&kernel[y][x], lanes, &mut dw[3 * y + x][channel * out_channels + first..]);
        }));
    }
}
