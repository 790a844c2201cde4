//! The twins of the convolution shaders.
//!
//! Two methods share the work, chosen by shape alone: Winograd's ([`winograd`]) for most 3x3 kernels, direct
//! convolution ([`direct`]) for all others. Both read images from a [`Frame`] of zeros, so that their inner loops
//! ([`micro`]) know no borders. A task works on a few images, so that what it copies stays in its cache; sums don't
//! depend on how the work is cut into tasks. To read on: [`layout`] and [`micro`], then [`direct`], then [`winograd`].

use rayon::prelude::*;

use self::chunks::Chunks;
pub(super) use self::epilogue::Epilogue;
use self::layout::{Frame, Sizes};
use super::ConvShape;
use crate::kernels::batch_norm::Norm;
use crate::kernels::lanes;

mod chunks;
mod direct;
mod epilogue;
mod layout;
mod micro;
mod winograd;

/// Pixels that one task works on, if that leaves enough tasks for all threads.
const TASK_PIXELS: usize = 1024;
/// Pixels that one task works on at least: a tile.
const LEAST_PIXELS: usize = 8;
/// Tasks for each thread, so that all end at about the same time.
const TASKS_PER_THREAD: usize = 4;
/// Elements that one task of an element-wise loop works on.
const TASK_ELEMENTS: usize = 16 * 1024;

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
    fn run(&self, images: &[f32], epilogue: Epilogue<'_>, out: &mut [f32]) {
        match self {
            Self::Direct(convolution) => convolution.run(images, epilogue, out),
            Self::Winograd(convolution) => convolution.run(images, epilogue, out),
        }
    }
}

/// Images for one task, of `pixels` each in the output.
fn images_per_task(sizes: &Sizes, pixels: usize) -> usize {
    let fair = sizes.batch / (TASKS_PER_THREAD * rayon::current_num_threads());
    let least = if winograd::pays(sizes) { winograd::LEAST_TASK_PIXELS } else { LEAST_PIXELS };
    fair.min(TASK_PIXELS.div_ceil(pixels)).max(least.div_ceil(pixels)).min(sizes.batch)
}

/// The input is read through the norm `load`, if there is one, and a ReLU.
pub(super) fn forward(
    shape: &ConvShape,
    x: &[f32],
    w: &[f32],
    load: Option<&Norm>,
    epilogue: Epilogue<'_>,
    y: &mut [f32],
    statistics: Option<&mut [f32]>,
) {
    let sizes = Sizes::new(shape);
    let images = images_per_task(&sizes, sizes.out_pixels());
    let convolution = Convolution::forward(&sizes, w, images);
    let chunks = Chunks::new(sizes.out_pixels(), sizes.out_channels);
    let in_tasks = statistics.is_some() && chunks.in_tasks();
    let chunk = images * sizes.out_elements();
    let tasks = x.par_chunks(images * sizes.in_elements()).zip(y.par_chunks_mut(chunk)).enumerate();
    let moments: Vec<Vec<f32>> = tasks
        .map(|(task, (x, y))| {
            let epilogue = epilogue.part(task * chunk..task * chunk + y.len());
            convolution.frame().around(x, load, |x| convolution.run(x, epilogue, y));
            if in_tasks { chunks.moments_of_pieces(task * images, y) } else { Vec::new() }
        })
        .collect();
    match statistics {
        None => {}
        Some(partials) if in_tasks => chunks.merge_moments(&moments, sizes.batch * sizes.out_pixels(), partials),
        Some(partials) => chunks.moments(y, partials),
    }
}

/// `partials` are written by [`Epilogue::Rectify`] alone.
pub(super) fn input_gradient(
    shape: &ConvShape,
    dy: &[f32],
    w: &[f32],
    epilogue: Epilogue<'_>,
    dx: &mut [f32],
    partials: &mut [f32],
) {
    let sizes = Sizes::new(shape);
    let images = images_per_task(&sizes, sizes.in_pixels());
    let convolution = Convolution::input_gradient(&sizes, w, images);
    let chunks = Chunks::new(sizes.in_pixels(), sizes.in_channels);
    let in_tasks = sizes.stride == 1 && chunks.in_tasks();
    let chunk = images * sizes.in_elements();
    let tasks = dy.par_chunks(images * sizes.out_elements()).zip(dx.par_chunks_mut(chunk)).enumerate();
    let sums: Vec<Vec<f32>> = tasks
        .map(|(task, (dy, dx))| {
            let epilogue = epilogue.part(task * chunk..task * chunk + dx.len());
            convolution.frame().around(dy, None, |dy| convolution.run(dy, epilogue, dx));
            match epilogue {
                Epilogue::Rectify { x, norm } if in_tasks => chunks.gradients_of_pieces(task * images, dx, x, norm),
                _ => Vec::new(),
            }
        })
        .collect();
    if let Epilogue::Rectify { x, norm } = epilogue {
        if in_tasks {
            chunks.merge_gradients(&sums, sizes.batch * sizes.in_pixels(), partials);
        } else {
            chunks::gradients(&sizes, dx, x, norm, partials);
        }
    }
}

pub(super) fn weight_gradient(
    shape: &ConvShape,
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
    dw.par_chunks_mut(TASK_ELEMENTS).enumerate().for_each(|(task, dw)| {
        dw.fill(0.0);
        for partial in partials.chunks_exact(words) {
            lanes::add(&partial[task * TASK_ELEMENTS..][..dw.len()], dw);
        }
    });
}
