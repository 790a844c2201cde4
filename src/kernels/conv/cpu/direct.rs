//! Direct convolution, without a matrix of windows.
//!
//! In NHWC, what one row of a kernel sees of an image is one contiguous run of words. So a window is an origin in the
//! image plus a few offsets, one per row of the kernel ([`Windows`]), and a convolution multiplies its runs with
//! weights that are as contiguous ([`Panels`], of [`LANES`] output channels), in tiles of several windows times one or
//! two panels. The input gradient is the same convolution of dy with the kernel turned round, once per phase of the
//! stride.

use multiversion::multiversion;
use multiversion::target::match_target;
use rayon::prelude::*;

use super::epilogue::Epilogue;
use super::layout::{Frame, Order, Panels, Phase, Sizes, Windows, in_panels};
use super::micro::{self, LANES, Lanes, unroll};
use crate::kernels::batch_norm::Norm;

/// A convolution of a few images at a time.
pub(super) struct Convolution {
    pub frame: Frame,
    /// The windows that make some of the pixels, and their weights.
    phases: Vec<(Windows, Panels)>,
}

impl Convolution {
    /// x to y, for at most that many images.
    pub fn forward(sizes: &Sizes, w: &[f32], images: usize) -> Self {
        let frame = Frame::of_input(sizes);
        let windows = Windows::of_output(sizes, &frame, images);
        let panels = Panels::pack(w, &windows.taps.concat(), sizes, Order::AsStored);
        Self { frame, phases: vec![(windows, panels)] }
    }

    /// dy to dx, for at most that many images.
    pub fn input_gradient(sizes: &Sizes, w: &[f32], images: usize) -> Self {
        let frame = Frame::of_output(sizes);
        let phases = (0..sizes.stride * sizes.stride).map(|phase| {
            let phase = Phase::new(sizes, phase / sizes.stride, phase % sizes.stride);
            let windows = phase.windows(sizes, &frame, images);
            let panels = Panels::pack(w, &windows.taps.concat(), sizes, Order::Transposed);
            (windows, panels)
        });
        Self { phases: phases.collect(), frame }
    }

    /// Convolves the framed `images`.
    pub fn run(&self, images: &[f32], epilogue: Epilogue<'_>, out: &mut [f32]) {
        for (windows, panels) in &self.phases {
            convolve(images, windows, panels, &epilogue, out);
        }
    }
}

/// The partial sums of dw of every `images` images, in at most that many tasks each.
pub(super) fn weight_gradient(
    sizes: &Sizes,
    images: usize,
    tasks: usize,
    x: &[f32],
    norm: Option<&Norm>,
    dy: &[f32],
    partials: &mut [f32],
) {
    let frame = Frame::of_input(sizes);
    let windows = Windows::of_output(sizes, &frame, images);
    let depth = sizes.kernel_height * sizes.kernel_width * sizes.in_channels;
    let rows = depth.div_ceil(tasks).next_multiple_of(LANES);
    let x = x.par_chunks(images * sizes.in_elements());
    let dy = dy.par_chunks(images * sizes.out_elements());
    let partials = partials.par_chunks_mut(depth * sizes.out_channels);
    x.zip(dy).zip(partials).for_each(|((x, dy), partial)| {
        partial.par_chunks_mut(rows * sizes.out_channels).enumerate().for_each(|(task, dw)| {
            frame.around(x, norm, |x| {
                in_panels(dy, sizes.out_channels, |dy| {
                    correlate(x, &windows, dy, sizes, task * rows, dw);
                });
            });
        });
    });
}

/// Writes the pixels of `out` that `windows` of the framed `images` make, `[pixels, panels.columns]`.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn convolve(images: &[f32], windows: &Windows, panels: &Panels, epilogue: &Epilogue<'_>, out: &mut [f32]) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma" => convolve_in_tiles::<8, 2, true>(images, windows, panels, epilogue, out),
        "x86_64+avx2+fma" => convolve_in_tiles::<6, 1, true>(images, windows, panels, epilogue, out),
        "aarch64+neon" => convolve_in_tiles::<6, 1, true>(images, windows, panels, epilogue, out),
        _ => convolve_in_tiles::<3, 1, false>(images, windows, panels, epilogue, out),
    }
}

#[inline(always)]
fn convolve_in_tiles<const P: usize, const Q: usize, const FMA: bool>(
    images: &[f32],
    windows: &Windows,
    panels: &Panels,
    epilogue: &Epilogue<'_>,
    out: &mut [f32],
) {
    let mut first = 0;
    while first < panels.columns {
        first += match panels.columns - first {
            left if left >= Q * LANES => {
                convolve_panels::<P, Q, FMA, true>(images, windows, panels, first, epilogue, out)
            }
            LANES.. => convolve_panels::<P, 1, FMA, true>(images, windows, panels, first, epilogue, out),
            _ => convolve_panels::<P, 1, FMA, false>(images, windows, panels, first, epilogue, out),
        }
    }
}

/// Makes the columns of `Q` panels, the first of which begins with the column `first`, in register tiles of `P` pixels;
/// all panels have [`LANES`] columns if `WHOLE`. Returns the number of columns.
#[inline(always)]
fn convolve_panels<const P: usize, const Q: usize, const FMA: bool, const WHOLE: bool>(
    images: &[f32],
    windows: &Windows,
    panels: &Panels,
    first: usize,
    epilogue: &Epilogue<'_>,
    out: &mut [f32],
) -> usize {
    let columns = panels.columns;
    let count = windows.targets.partition_point(|&target| target < out.len() / columns);
    let mut weights: [&[Lanes]; Q] = [&[]; Q];
    unroll!(q < Q => weights[q] = panels.panel(first / LANES + q));
    for (origins, targets) in windows.origins[..count].chunks(P).zip(windows.targets[..count].chunks(P)) {
        // The last tile repeats its last window.
        let last = origins.len() - 1;
        let origins = std::array::from_fn(|p| origins[p.min(last)]);
        let sums = micro::convolve::<P, Q, FMA>(images, &origins, &windows.offsets, windows.run, &weights);
        unroll!(q < Q => {
            let (first, lanes) = (first + q * LANES, columns - first - q * LANES);
            let mut words = [0; P];
            unroll!(p < P => words[p] = targets[p.min(last)] * columns + first);
            let sums = epilogue.columns::<WHOLE>(first, lanes).finish::<WHOLE, P>(sums[q], words);
            unroll!(p < P => if p <= last {
                micro::store::<WHOLE>(&sums[p], lanes, &mut out[words[p]..]);
            });
        });
    }
    Q * LANES
}

/// Rows of dw from `first_row` on, `[rows, out_channels]`: sums over the windows of the framed `images`, each times its
/// row of `gradients`, which are in panels.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn correlate(images: &[f32], windows: &Windows, gradients: &[Lanes], sizes: &Sizes, first_row: usize, dw: &mut [f32]) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma" => {
            correlate_in_tiles::<16, true>(images, windows, gradients, sizes, first_row, dw)
        }
        "x86_64+avx2+fma" => correlate_in_tiles::<6, true>(images, windows, gradients, sizes, first_row, dw),
        "aarch64+neon" => correlate_in_tiles::<6, true>(images, windows, gradients, sizes, first_row, dw),
        _ => correlate_in_tiles::<2, false>(images, windows, gradients, sizes, first_row, dw),
    }
}

#[inline(always)]
fn correlate_in_tiles<const LARGEST: usize, const FMA: bool>(
    images: &[f32],
    windows: &Windows,
    gradients: &[Lanes],
    sizes: &Sizes,
    first_row: usize,
    dw: &mut [f32],
) {
    let columns = sizes.out_channels;
    let pixels = gradients.len() / columns.div_ceil(LANES);
    let origins = &windows.origins[..pixels];
    let rows = first_row..first_row + dw.len() / columns;
    dw.fill(0.0);
    // Each row of the windows meets contiguous rows of dw; those that are in this task, tile by tile.
    for (taps, offset) in windows.taps.iter().zip(&windows.offsets) {
        let start = taps[0] * sizes.in_channels;
        let mine = start.max(rows.start)..(start + windows.run).min(rows.end);
        for (panel, gradients) in gradients.chunks_exact(pixels).enumerate() {
            let mut row = mine.start;
            while row < mine.end {
                let offset = offset + row - start;
                let dw = Rows { words: &mut dw[(row - rows.start) * columns..], columns, first: panel * LANES };
                row += match (mine.end - row).min(LARGEST) {
                    16.. => correlate_tile::<16, FMA>(images, origins, offset, gradients, dw),
                    8.. => correlate_tile::<8, FMA>(images, origins, offset, gradients, dw),
                    6.. => correlate_tile::<6, FMA>(images, origins, offset, gradients, dw),
                    4.. => correlate_tile::<4, FMA>(images, origins, offset, gradients, dw),
                    2.. => correlate_tile::<2, FMA>(images, origins, offset, gradients, dw),
                    _ => correlate_tile::<1, FMA>(images, origins, offset, gradients, dw),
                };
            }
        }
    }
}

/// Where a tile is written: rows of `columns`, from the column `first` on.
struct Rows<'a> {
    words: &'a mut [f32],
    columns: usize,
    first: usize,
}

/// Makes a tile and returns its number of rows.
#[inline(always)]
fn correlate_tile<const R: usize, const FMA: bool>(
    images: &[f32],
    origins: &[usize],
    offset: usize,
    gradients: &[Lanes],
    dw: Rows<'_>,
) -> usize {
    let sums: [Lanes; R] = micro::correlate::<R, FMA>(images, origins, offset, gradients);
    let lanes = LANES.min(dw.columns - dw.first);
    for (sums, row) in sums.iter().zip(dw.words.chunks_exact_mut(dw.columns)) {
        row[dw.first..][..lanes].copy_from_slice(&sums[..lanes]);
    }
    R
}
