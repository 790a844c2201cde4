//! What the convolution twins do besides, while the pixels are in the cache: sums over chunks of pixels.
//!
//! A chunk is [`CONV_CHUNK_PIXELS`] rows of a shader's tiles, whatever images they belong to; a
//! task of the twins has whole images. So chunks are cut at the borders of images, each task sums
//! its *pieces*, and the pieces are merged in order: the result does not depend on the tasks.

use std::ops::Range;

use rayon::prelude::*;

use super::super::CONV_CHUNK_PIXELS;
use super::layout::Sizes;
use crate::kernels::batch_norm::{Norm, chunk_moments, gradient_sums, merge_moments};
use crate::kernels::lanes;

const CHUNK: usize = CONV_CHUNK_PIXELS as usize;

/// Sums over chunks of `[pixels, channels]`, two numbers a channel.
pub(super) struct Chunks {
    image_pixels: usize,
    channels: usize,
}

impl Chunks {
    /// Of images of so many pixels.
    pub fn new(image_pixels: usize, channels: usize) -> Self {
        Self { image_pixels, channels }
    }

    /// Whether a task should sum the pieces of its images; where images are smaller than chunks, there would be more
    /// pieces than chunks, and all of the images fit a cache.
    pub fn in_tasks(&self) -> bool {
        self.image_pixels >= CHUNK
    }

    /// Means and squared deviations of the pieces of whole images, `y`, of which the first has the number `image`.
    pub fn moments_of_pieces(&self, image: usize, y: &[f32]) -> Vec<f32> {
        self.sum_pieces(image, y.len(), |piece, sums| {
            let (mean, m2) = sums.split_at_mut(self.channels);
            chunk_moments(&y[piece], mean, m2);
        })
    }

    /// Sums of `g` and of `g` times the normalised `x` over the pieces of whole images, the first of which has the
    /// number `image`.
    pub fn gradients_of_pieces(&self, image: usize, g: &[f32], x: &[f32], norm: &Norm) -> Vec<f32> {
        self.sum_pieces(image, g.len(), |piece, sums| gradient_sums(&g[piece.clone()], &x[piece], norm, sums))
    }

    fn sum_pieces(&self, image: usize, words: usize, sum: impl Fn(Range<usize>, &mut [f32])) -> Vec<f32> {
        let first = image * self.image_pixels;
        let pieces = self.pieces(first..first + words / self.channels);
        let mut sums = Vec::new();
        for piece in pieces {
            let from = sums.len();
            sums.resize(from + 2 * self.channels, 0.0);
            sum((piece.start - first) * self.channels..(piece.end - first) * self.channels, &mut sums[from..]);
        }
        sums
    }

    /// Cuts `pixels`, those of whole images, at the borders of chunks and of images.
    fn pieces(&self, pixels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let (image_pixels, mut start) = (self.image_pixels, pixels.start);
        std::iter::from_fn(move || {
            let end = (start / CHUNK + 1) * CHUNK;
            let piece = start..end.min((start / image_pixels + 1) * image_pixels).min(pixels.end);
            start = piece.end;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Merges the tasks' moments, in order, into `partials`.
    pub fn merge_moments(&self, tasks: &[Vec<f32>], pixels: usize, partials: &mut [f32]) {
        self.merge(tasks, pixels, partials, |partial, total, piece, count| {
            merge_moments(partial, total as f32, piece, count as f32);
        });
    }

    /// Merges the tasks' sums of gradients, in order, into `partials`.
    pub fn merge_gradients(&self, tasks: &[Vec<f32>], pixels: usize, partials: &mut [f32]) {
        self.merge(tasks, pixels, partials, |partial, _, piece, _| lanes::add(piece, partial));
    }

    /// `merge` is given a chunk's sums, the number of pixels that they have, and a piece with its pixels.
    fn merge(
        &self,
        tasks: &[Vec<f32>],
        pixels: usize,
        partials: &mut [f32],
        merge: impl Fn(&mut [f32], usize, &[f32], usize),
    ) {
        partials.fill(0.0);
        let words = 2 * self.channels;
        let sums = tasks.iter().flat_map(|sums| sums.chunks_exact(words));
        for (piece, sums) in self.pieces(0..pixels).zip(sums) {
            let partial = &mut partials[piece.start / CHUNK * words..][..words];
            merge(partial, piece.start % CHUNK, sums, piece.len());
        }
    }

    /// Means and squared deviations of all chunks of `y`, in a pass of its own.
    pub fn moments(&self, y: &[f32], partials: &mut [f32]) {
        let chunks = y.par_chunks(CHUNK * self.channels);
        chunks.zip(partials.par_chunks_mut(2 * self.channels)).for_each(|(y, partial)| {
            let (mean, m2) = partial.split_at_mut(self.channels);
            chunk_moments(y, mean, m2);
        });
    }
}

/// Sums of the gradient `g` and of `g` times the normalised `x` over all chunks of the input gradient's rows, which run
/// through the phases of the stride, in a pass of its own.
pub(super) fn gradients(sizes: &Sizes, g: &[f32], x: &[f32], norm: &Norm, partials: &mut [f32]) {
    let channels = sizes.in_channels;
    let [height, width] = [sizes.height, sizes.width].map(|size| size.div_ceil(sizes.stride));
    let rows = sizes.batch * height * width;
    let chunks = rows.div_ceil(CHUNK);
    partials.par_chunks_mut(2 * channels).enumerate().for_each(|(index, partial)| {
        let (phase, first) = (index / chunks, index % chunks * CHUNK);
        let rows = first..rows.min(first + CHUNK);
        if sizes.stride == 1 {
            let words = rows.start * channels..rows.end * channels;
            return gradient_sums(&g[words.clone()], &x[words], norm, partial);
        }
        let (mut phase_g, mut phase_x) = (Vec::new(), Vec::new());
        for row in rows {
            let y_at = row / width % height * sizes.stride + phase / sizes.stride;
            let x_at = row % width * sizes.stride + phase % sizes.stride;
            if y_at < sizes.height && x_at < sizes.width {
                let pixel = (row / (height * width) * sizes.height + y_at) * sizes.width + x_at;
                phase_g.extend_from_slice(&g[pixel * channels..][..channels]);
                phase_x.extend_from_slice(&x[pixel * channels..][..channels]);
            }
        }
        gradient_sums(&phase_g, &phase_x, norm, partial);
    });
}
