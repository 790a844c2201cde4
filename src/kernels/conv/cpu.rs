//! The twins of the convolution shaders.
//!
//! Two methods share the work, chosen by shape alone: Winograd's ([`winograd`]) for most 3x3 kernels, direct
//! convolution ([`direct`]) for all others. Both read images from a [`Frame`] of zeros, so that their inner loops
//! ([`super::micro`]) know no borders. A task works on a few images, so that what it copies stays in its cache; sums
//! don't depend on how the work is cut into tasks.

use multiversion::multiversion;
use rayon::prelude::*;

use super::fused::{self, Chunks};
use super::layout::{Frame, Sizes};
use super::{Shape, direct, winograd};
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

/// A convolution of a few images at a time, with its weights laid out for that.
enum Convolution {
    Direct(direct::Convolution),
    Winograd(winograd::Convolution),
}

impl Convolution {
    /// x to y, for at most that many images.
    fn forward(sizes: &Sizes, w: &[f32], images: usize) -> Self {
        if winograd::pays(sizes) {
            Self::Winograd(winograd::Convolution::forward(sizes, w, images))
        } else {
            Self::Direct(direct::Convolution::forward(sizes, w, images))
        }
    }

    /// dy to dx, for at most that many images.
    fn input_gradient(sizes: &Sizes, w: &[f32], images: usize) -> Self {
        if winograd::pays(sizes) {
            Self::Winograd(winograd::Convolution::input_gradient(sizes, w, images))
        } else {
            Self::Direct(direct::Convolution::input_gradient(sizes, w, images))
        }
    }

    fn frame(&self) -> &Frame {
        match self {
            Self::Direct(convolution) => &convolution.frame,
            Self::Winograd(convolution) => &convolution.frame,
        }
    }

    /// Convolves the framed `images`.
    fn run(&self, images: &[f32], out: &mut [f32]) {
        match self {
            Self::Direct(convolution) => convolution.run(images, out),
            Self::Winograd(convolution) => convolution.run(images, out),
        }
    }
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
    let images = images_per_task(sizes.batch, sizes.out_pixels());
    let convolution = Convolution::forward(&sizes, w, images);
    let chunks = Chunks::new(sizes.out_pixels(), sizes.out_channels);
    let in_tasks = statistics.is_some() && chunks.in_tasks();
    let tasks = x.par_chunks(images * sizes.in_words()).zip(y.par_chunks_mut(images * sizes.out_words())).enumerate();
    let moments: Vec<Vec<f32>> = tasks
        .map(|(task, (x, y))| {
            convolution.frame().around(x, norm, |x| convolution.run(x, y));
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
    let images = images_per_task(sizes.batch, sizes.in_pixels());
    let convolution = Convolution::input_gradient(&sizes, w, images);
    let chunks = Chunks::new(sizes.in_pixels(), sizes.in_channels);
    let in_tasks = sizes.stride == 1 && chunks.in_tasks();
    let chunk = images * sizes.in_words();
    let tasks = dy.par_chunks(images * sizes.out_words()).zip(dx.par_chunks_mut(chunk)).enumerate();
    let sums: Vec<Vec<f32>> = tasks
        .map(|(task, (dy, dx))| {
            convolution.frame().around(dy, None, |dy| convolution.run(dy, dx));
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
    // If there are few splits, several tasks share one: each has some rows of dw, `[depth, out_channels]`.
    let splits = sizes.batch.div_ceil(images);
    let tasks = (TASKS_PER_THREAD * rayon::current_num_threads()).div_ceil(splits);
    if winograd::pays(&sizes) {
        winograd::weight_gradient(&sizes, images, tasks, x, norm, dy, partials);
    } else {
        direct::weight_gradient(&sizes, images, tasks, x, norm, dy, partials);
    }
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

/// `sums += addend` where `mask` is positive.
#[multiversion(targets("x86_64+avx2+fma"))]
fn add_masked(addend: &[f32], mask: &[f32], sums: &mut [f32]) {
    for ((sum, addend), mask) in sums.iter_mut().zip(addend).zip(mask) {
        *sum += if *mask > 0.0 { *addend } else { 0.0 };
    }
}
