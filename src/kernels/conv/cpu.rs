//! The twins of the convolution shaders: direct convolution, without a matrix of windows.
//!
//! In NHWC, what one row of a kernel sees of an image is one contiguous run of words. So a window is an origin in the
//! image plus a few offsets, one per row of the kernel ([`Windows`]), and a convolution multiplies its runs with
//! weights that are as contiguous ([`Panels`], of [`LANES`] output channels). Images are copied into frames of zeros
//! first ([`Frame`]), so that the inner loops ([`micro`]) know no borders: they sum up tiles of several windows times
//! one panel in registers. The input gradient is the same convolution of dy with the kernel turned round, once per
//! phase of the stride. A task works on a few images, so that what it copies stays in its cache; sums don't depend on
//! how the work is cut into tasks.

use multiversion::multiversion;
use multiversion::target::match_target;
use rayon::prelude::*;

use super::Shape;
use super::fused::{self, Chunks};
use super::layout::{Frame, Order, Panels, Phase, Sizes, Windows, in_panels};
use super::micro::{self, LANES, Lanes};
use crate::kernels::batch_norm::{Norm, rectify_gradient};
use crate::kernels::lanes;

/// Pixels that one task works on, if that leaves enough tasks for all threads.
const TASK_PIXELS: usize = 256;
/// Pixels that one task works on at least: a tile.
const LEAST_PIXELS: usize = 8;
/// Tasks for each thread, so that all end at about the same time.
const TASKS_PER_THREAD: usize = 4;
/// Words that one task of an element-wise loop works on.
const TASK_WORDS: usize = 16 * 1024;

/// What [`input_gradient`] does with its result: see [`super::Epilogue`].
pub(super) enum Epilogue<'a> {
    Store,
    Add(&'a [f32]),
    AddMasked(&'a [f32], &'a [f32]),
    Rectify { x: &'a [f32], norm: Norm, partials: &'a mut [f32] },
}

/// Images for one task, of `pixels` each.
fn images_per_task(batch: usize, pixels: usize) -> usize {
    let fair = batch / (TASKS_PER_THREAD * rayon::current_num_threads());
    fair.min(TASK_PIXELS.div_ceil(pixels)).max(LEAST_PIXELS.div_ceil(pixels)).min(batch)
}

pub(super) fn forward(
    shape: &Shape,
    x: &[f32],
    w: &[f32],
    norm: Option<&Norm>,
    y: &mut [f32],
    statistics: Option<&mut [f32]>,
) {
    let sizes = Sizes::new(shape);
    let frame = Frame::of_input(&sizes);
    let images = images_per_task(sizes.batch, sizes.out_pixels());
    let windows = Windows::of_output(&sizes, &frame, images);
    let panels = Panels::pack(w, &windows.taps.concat(), &sizes, Order::AsStored);
    let chunks = Chunks::new(sizes.out_pixels(), sizes.out_channels);
    let in_tasks = statistics.is_some() && chunks.in_tasks();
    let tasks = x.par_chunks(images * sizes.in_words()).zip(y.par_chunks_mut(images * sizes.out_words())).enumerate();
    let moments: Vec<Vec<f32>> = tasks
        .map(|(task, (x, y))| {
            frame.around(x, norm, |x| convolve(x, &windows, &panels, y));
            if in_tasks { chunks.moments_of_pieces(task * images, y) } else { Vec::new() }
        })
        .collect();
    match statistics {
        None => {}
        Some(partials) if in_tasks => chunks.merge_moments(&moments, sizes.batch * sizes.out_pixels(), partials),
        Some(partials) => chunks.moments(y, partials),
    }
}

pub(super) fn input_gradient(shape: &Shape, dy: &[f32], w: &[f32], epilogue: Epilogue<'_>, dx: &mut [f32]) {
    let sizes = Sizes::new(shape);
    let frame = Frame::of_output(&sizes);
    let images = images_per_task(sizes.batch, sizes.in_pixels());
    let phases: Vec<(Windows, Panels)> = (0..sizes.stride * sizes.stride)
        .map(|phase| {
            let phase = Phase::new(&sizes, phase / sizes.stride, phase % sizes.stride);
            let windows = phase.windows(&sizes, &frame, images);
            let panels = Panels::pack(w, &windows.taps.concat(), &sizes, Order::Transposed);
            (windows, panels)
        })
        .collect();
    let chunks = Chunks::new(sizes.in_pixels(), sizes.in_channels);
    let in_tasks = sizes.stride == 1 && chunks.in_tasks();
    let chunk = images * sizes.in_words();
    let tasks = dy.par_chunks(images * sizes.out_words()).zip(dx.par_chunks_mut(chunk)).enumerate();
    let sums: Vec<Vec<f32>> = tasks
        .map(|(task, (dy, dx))| {
            frame.around(dy, None, |dy| {
                for (windows, panels) in &phases {
                    convolve(dy, windows, panels, dx);
                }
            });
            let part = task * chunk..task * chunk + dx.len();
            match &epilogue {
                Epilogue::Store => {}
                Epilogue::Add(addend) => lanes::add(&addend[part], dx),
                Epilogue::AddMasked(addend, mask) => add_masked(&addend[part.clone()], &mask[part], dx),
                Epilogue::Rectify { x, norm, .. } => {
                    let x = &x[part];
                    rectify_gradient(x, norm, dx);
                    if in_tasks {
                        return chunks.gradients_of_pieces(task * images, dx, x, norm);
                    }
                }
            }
            Vec::new()
        })
        .collect();
    match epilogue {
        Epilogue::Rectify { partials, .. } if in_tasks => {
            chunks.merge_gradients(&sums, sizes.batch * sizes.in_pixels(), partials);
        }
        Epilogue::Rectify { x, norm, partials } => fused::gradients(&sizes, dx, x, &norm, partials),
        _ => {}
    }
}

pub(super) fn weight_gradient(
    shape: &Shape,
    images: usize,
    x: &[f32],
    norm: Option<&Norm>,
    dy: &[f32],
    partials: &mut [f32],
) {
    let sizes = Sizes::new(shape);
    let frame = Frame::of_input(&sizes);
    let windows = Windows::of_output(&sizes, &frame, images);
    // If there are few splits, several tasks share one: each has some rows of dw, `[depth, out_channels]`.
    let splits = sizes.batch.div_ceil(images);
    let tasks = (TASKS_PER_THREAD * rayon::current_num_threads()).div_ceil(splits);
    let depth = sizes.kernel_height * sizes.kernel_width * sizes.in_channels;
    let rows = depth.div_ceil(tasks).next_multiple_of(LANES);
    let x = x.par_chunks(images * sizes.in_words());
    let dy = dy.par_chunks(images * sizes.out_words());
    let partials = partials.par_chunks_mut(depth * sizes.out_channels);
    x.zip(dy).zip(partials).for_each(|((x, dy), partial)| {
        partial.par_chunks_mut(rows * sizes.out_channels).enumerate().for_each(|(task, dw)| {
            frame.around(x, norm, |x| {
                in_panels(dy, sizes.out_channels, |dy| {
                    correlate(x, &windows, dy, &sizes, task * rows, dw);
                });
            });
        });
    });
}

pub(super) fn weight_gradient_sum(partials: &[f32], dw: &mut [f32]) {
    let words = dw.len();
    dw.par_chunks_mut(TASK_WORDS).enumerate().for_each(|(task, dw)| {
        dw.fill(0.0);
        for partial in partials.chunks_exact(words) {
            lanes::add(&partial[task * TASK_WORDS..][..dw.len()], dw);
        }
    });
}

/// Writes the pixels of `out` that `windows` of the framed `images` make, `[pixels, panels.columns]`.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn convolve(images: &[f32], windows: &Windows, panels: &Panels, out: &mut [f32]) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma" => convolve_in_tiles::<8, true>(images, windows, panels, out),
        "x86_64+avx2+fma" => convolve_in_tiles::<6, true>(images, windows, panels, out),
        "aarch64+neon" => convolve_in_tiles::<6, true>(images, windows, panels, out),
        _ => convolve_in_tiles::<3, false>(images, windows, panels, out),
    }
}

#[inline(always)]
fn convolve_in_tiles<const P: usize, const FUSED: bool>(
    images: &[f32],
    windows: &Windows,
    panels: &Panels,
    out: &mut [f32],
) {
    let pixels = out.len() / panels.columns;
    let count = windows.targets.partition_point(|&target| target < pixels);
    for (first, panel) in panels.iter() {
        let lanes = LANES.min(panels.columns - first);
        for (origins, targets) in windows.origins[..count].chunks(P).zip(windows.targets[..count].chunks(P)) {
            // The last tile repeats its last window.
            let origins = std::array::from_fn(|p| origins[p.min(origins.len() - 1)]);
            let sums: [Lanes; P] = micro::convolve::<P, FUSED>(images, &origins, &windows.offsets, windows.run, panel);
            for (sums, target) in sums.iter().zip(targets) {
                out[target * panels.columns + first..][..lanes].copy_from_slice(&sums[..lanes]);
            }
        }
    }
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
fn correlate_in_tiles<const LARGEST: usize, const FUSED: bool>(
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
                    16.. => correlate_tile::<16, FUSED>(images, origins, offset, gradients, dw),
                    8.. => correlate_tile::<8, FUSED>(images, origins, offset, gradients, dw),
                    6.. => correlate_tile::<6, FUSED>(images, origins, offset, gradients, dw),
                    4.. => correlate_tile::<4, FUSED>(images, origins, offset, gradients, dw),
                    2.. => correlate_tile::<2, FUSED>(images, origins, offset, gradients, dw),
                    _ => correlate_tile::<1, FUSED>(images, origins, offset, gradients, dw),
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
fn correlate_tile<const R: usize, const FUSED: bool>(
    images: &[f32],
    origins: &[usize],
    offset: usize,
    gradients: &[Lanes],
    dw: Rows<'_>,
) -> usize {
    let sums: [Lanes; R] = micro::correlate::<R, FUSED>(images, origins, offset, gradients);
    let lanes = LANES.min(dw.columns - dw.first);
    for (sums, row) in sums.iter().zip(dw.words.chunks_exact_mut(dw.columns)) {
        row[dw.first..][..lanes].copy_from_slice(&sums[..lanes]);
    }
    R
}

/// `sums += addend` where `mask` is positive.
#[multiversion(targets("x86_64+avx2+fma"))]
fn add_masked(addend: &[f32], mask: &[f32], sums: &mut [f32]) {
    for ((sum, addend), mask) in sums.iter_mut().zip(addend).zip(mask) {
        *sum += if *mask > 0.0 { *addend } else { 0.0 };
    }
}
