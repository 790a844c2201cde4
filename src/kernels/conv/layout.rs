//! How the convolution twins lay out images, windows and weights.

use std::cell::RefCell;

use rayon::prelude::*;

use super::Shape;
use super::micro::{LANES, Lanes};

/// A convolution's sizes, for one image.
pub(super) struct Sizes {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub in_channels: usize,
    pub out_height: usize,
    pub out_width: usize,
    pub out_channels: usize,
    pub kernel_height: usize,
    pub kernel_width: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Sizes {
    pub fn new(shape: &Shape) -> Self {
        Self {
            batch: shape.batch as usize,
            height: shape.height as usize,
            width: shape.width as usize,
            in_channels: shape.in_channels as usize,
            out_height: shape.out_height() as usize,
            out_width: shape.out_width() as usize,
            out_channels: shape.out_channels as usize,
            kernel_height: shape.kernel_height as usize,
            kernel_width: shape.kernel_width as usize,
            stride: shape.stride as usize,
            padding: shape.padding as usize,
        }
    }

    /// Pixels of one input image.
    pub fn in_pixels(&self) -> usize {
        self.height * self.width
    }

    /// Pixels of one output image.
    pub fn out_pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Words of one input image.
    pub fn in_words(&self) -> usize {
        self.in_pixels() * self.in_channels
    }

    /// Words of one output image.
    pub fn out_words(&self) -> usize {
        self.out_pixels() * self.out_channels
    }
}

/// A border of zeros around images, wide enough that no window hangs over an edge.
pub(super) struct Frame {
    height: usize,
    width: usize,
    channels: usize,
    top: usize,
    left: usize,
    framed_height: usize,
    framed_width: usize,
}

impl Frame {
    /// Around the input, for the windows of the output's pixels.
    pub fn of_input(sizes: &Sizes) -> Self {
        Self {
            height: sizes.height,
            width: sizes.width,
            channels: sizes.in_channels,
            top: sizes.padding,
            left: sizes.padding,
            framed_height: sizes.height + 2 * sizes.padding,
            framed_width: sizes.width + 2 * sizes.padding,
        }
    }

    /// Around the gradient of the output, for the windows of the input's pixels in any phase.
    pub fn of_output(sizes: &Sizes) -> Self {
        let before = |kernel: usize| kernel.div_ceil(sizes.stride) - 1;
        let framed = |size: usize, out_size: usize, kernel: usize| {
            before(kernel) + out_size.max((size - 1 + sizes.padding) / sizes.stride + 1)
        };
        Self {
            height: sizes.out_height,
            width: sizes.out_width,
            channels: sizes.out_channels,
            top: before(sizes.kernel_height),
            left: before(sizes.kernel_width),
            framed_height: framed(sizes.height, sizes.out_height, sizes.kernel_height),
            framed_width: framed(sizes.width, sizes.out_width, sizes.kernel_width),
        }
    }

    /// Calls `task` with the framed `images`, which it must not keep waiting for other tasks of the pool.
    pub fn around<T>(&self, images: &[f32], task: impl FnOnce(&[f32]) -> T) -> T {
        thread_local!(static FRAMED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) });
        if (self.framed_height, self.framed_width) == (self.height, self.width) {
            return task(images);
        }
        FRAMED.with_borrow_mut(|framed| {
            let row = self.width * self.channels;
            framed.clear();
            framed.resize(images.len() / (self.height * row) * self.index(1, 0, 0), 0.0);
            for (image, rows) in images.chunks_exact(self.height * row).enumerate() {
                for (y, words) in rows.chunks_exact(row).enumerate() {
                    framed[self.index(image, self.top + y, self.left)..][..row].copy_from_slice(words);
                }
            }
            task(framed)
        })
    }

    /// Where a pixel of the framed images begins.
    fn index(&self, image: usize, y: usize, x: usize) -> usize {
        ((image * self.framed_height + y) * self.framed_width + x) * self.channels
    }
}

/// The windows of a few framed images, and the pixels that become of them.
///
/// A window is the words `[origin + offset..][..run]` for each of the offsets: its rows.
pub(super) struct Windows {
    pub origins: Vec<usize>,
    /// The pixel made from each window, counted through all images.
    pub targets: Vec<usize>,
    pub offsets: Vec<usize>,
    pub run: usize,
}

impl Windows {
    /// Those of the output's pixels.
    pub fn of_output(sizes: &Sizes, frame: &Frame, images: usize) -> Self {
        let mut origins = Vec::with_capacity(images * sizes.out_pixels());
        for image in 0..images {
            for y in 0..sizes.out_height {
                for x in 0..sizes.out_width {
                    origins.push(frame.index(image, y * sizes.stride, x * sizes.stride));
                }
            }
        }
        Self {
            targets: (0..origins.len()).collect(),
            origins,
            offsets: (0..sizes.kernel_height).map(|y| frame.index(0, y, 0)).collect(),
            run: sizes.kernel_width * sizes.in_channels,
        }
    }

    /// Words in a window.
    pub fn depth(&self) -> usize {
        self.offsets.len() * self.run
    }
}

/// The input pixels with `y % stride` and `x % stride` as given: they meet the same taps, every `stride`-th of the
/// kernel's, in neighbouring output pixels.
pub(super) struct Phase {
    y: Axis,
    x: Axis,
}

/// One of the two directions of a [`Phase`].
struct Axis {
    /// First pixel of the phase.
    pixel: usize,
    /// First tap that the phase meets.
    tap: usize,
    /// Number of taps that it meets.
    taps: usize,
}

impl Axis {
    fn new(pixel: usize, kernel: usize, sizes: &Sizes) -> Self {
        let tap = (pixel + sizes.padding) % sizes.stride;
        Self { pixel, tap, taps: kernel.saturating_sub(tap).div_ceil(sizes.stride) }
    }

    /// Taps of the kernel, in the order in which the output's pixels meet them: descending.
    fn taps(&self, sizes: &Sizes) -> impl Iterator<Item = usize> {
        (0..self.taps).rev().map(move |tap| self.tap + tap * sizes.stride)
    }

    /// Pixels of the phase, each with the framed output pixel that meets its last tap.
    fn pixels(&self, size: usize, kernel: usize, sizes: &Sizes) -> impl Iterator<Item = (usize, usize)> {
        let skipped = kernel.div_ceil(sizes.stride) - self.taps;
        let (first, tap, stride, padding) = (self.pixel, self.tap, sizes.stride, sizes.padding);
        (first..size).step_by(stride).map(move |pixel| (pixel, (pixel + padding - tap) / stride + skipped))
    }
}

impl Phase {
    pub fn new(sizes: &Sizes, y: usize, x: usize) -> Self {
        Self { y: Axis::new(y, sizes.kernel_height, sizes), x: Axis::new(x, sizes.kernel_width, sizes) }
    }

    /// Numbers of the taps in the kernel, in the order of the windows' words.
    pub fn taps(&self, sizes: &Sizes) -> Vec<usize> {
        self.y.taps(sizes).flat_map(|y| self.x.taps(sizes).map(move |x| y * sizes.kernel_width + x)).collect()
    }

    /// The windows of the phase's pixels in the gradient of the output.
    pub fn windows(&self, sizes: &Sizes, frame: &Frame, images: usize) -> Windows {
        let (mut origins, mut targets) = (Vec::new(), Vec::new());
        for image in 0..images {
            for (y, out_y) in self.y.pixels(sizes.height, sizes.kernel_height, sizes) {
                for (x, out_x) in self.x.pixels(sizes.width, sizes.kernel_width, sizes) {
                    origins.push(frame.index(image, out_y, out_x));
                    targets.push((image * sizes.height + y) * sizes.width + x);
                }
            }
        }
        // Without taps in a row there are no rows.
        let rows = if self.x.taps == 0 { 0 } else { self.y.taps };
        let offsets = (0..rows).map(|y| frame.index(0, y, 0)).collect();
        Windows { origins, targets, offsets, run: (self.x.taps * sizes.out_channels).max(1) }
    }
}

/// How the weights of one tap become a panel's rows and columns.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// Rows are input channels, columns are output channels.
    AsStored,
    /// The other way round.
    Transposed,
}

/// The weights in panels of [`LANES`] columns: `[panels, taps, rows of a tap, LANES]`, with zeros beyond the last column.
pub(super) struct Panels {
    weights: Vec<Lanes>,
    depth: usize,
    pub columns: usize,
}

impl Panels {
    /// Packs those `taps` of the weights `w`.
    pub fn pack(w: &[f32], taps: &[usize], sizes: &Sizes, order: Order) -> Self {
        let (rows, columns) = match order {
            Order::AsStored => (sizes.in_channels, sizes.out_channels),
            Order::Transposed => (sizes.out_channels, sizes.in_channels),
        };
        let depth = taps.len() * rows;
        let mut weights = vec![[0.0; LANES]; columns.div_ceil(LANES) * depth];
        weights.par_chunks_mut(rows).enumerate().for_each(|(index, panel)| {
            let (block, tap) = (index / taps.len(), taps[index % taps.len()]);
            let lanes = block * LANES..columns.min((block + 1) * LANES);
            let w = &w[tap * rows * columns..][..rows * columns];
            match order {
                Order::AsStored => {
                    for (panel, w) in panel.iter_mut().zip(w.chunks_exact(columns)) {
                        panel[..lanes.len()].copy_from_slice(&w[lanes.clone()]);
                    }
                }
                Order::Transposed => {
                    for (lane, w) in w.chunks_exact(rows).skip(lanes.start).take(lanes.len()).enumerate() {
                        for (panel, w) in panel.iter_mut().zip(w) {
                            panel[lane] = *w;
                        }
                    }
                }
            }
        });
        Self { weights, depth, columns }
    }

    /// The panels: first column, and a row of weights for each word of a window.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[Lanes])> {
        (0..self.columns.div_ceil(LANES))
            .map(|block| (block * LANES, &self.weights[block * self.depth..][..self.depth]))
    }
}

/// Calls `task` with `gradients`, `[pixels, columns]`, in panels: `[panels, pixels, LANES]`, zeros beyond the last column.
pub(super) fn in_panels<T>(gradients: &[f32], columns: usize, task: impl FnOnce(&[Lanes]) -> T) -> T {
    thread_local!(static PANELS: RefCell<Vec<Lanes>> = const { RefCell::new(Vec::new()) });
    PANELS.with_borrow_mut(|panels| {
        panels.clear();
        for first in (0..columns).step_by(LANES) {
            let lanes = LANES.min(columns - first);
            panels.extend(gradients.chunks_exact(columns).map(|row| {
                let mut panel = [0.0; LANES];
                panel[..lanes].copy_from_slice(&row[first..][..lanes]);
                panel
            }));
        }
        task(panels)
    })
}
