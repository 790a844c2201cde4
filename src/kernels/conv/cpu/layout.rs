//! How the convolution twins lay out images, windows and weights.

use std::cell::RefCell;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::super::ConvShape;
use super::micro::{self, LANES, Lanes};
use crate::kernels::batch_norm::{Norm, apply};

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
    pub fn new(shape: &ConvShape) -> Self {
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

    /// Those of the convolution that makes the gradient of the input out of that of the output, for a stride of one and
    /// padding less than the kernel: its kernel is turned round.
    pub fn transposed(&self) -> Self {
        Self {
            height: self.out_height,
            width: self.out_width,
            in_channels: self.out_channels,
            out_height: self.height,
            out_width: self.width,
            out_channels: self.in_channels,
            padding: self.kernel_height - 1 - self.padding,
            ..*self
        }
    }

    /// Rows of the kernel that meet the image in some window; the others never leave the padding. On images as small
    /// as the kernel, they are many.
    fn kernel_rows(&self) -> Range<usize> {
        self.live_taps(self.kernel_height, self.height, self.out_height)
    }

    /// Columns of the kernel that meet the image in some window.
    fn kernel_columns(&self) -> Range<usize> {
        self.live_taps(self.kernel_width, self.width, self.out_width)
    }

    fn live_taps(&self, kernel: usize, size: usize, out_size: usize) -> Range<usize> {
        let end = kernel.min(size + self.padding);
        let start = self.padding.saturating_sub((out_size - 1) * self.stride);
        start.min(end)..end
    }

    /// Pixels of one input image.
    pub fn in_pixels(&self) -> usize {
        self.height * self.width
    }

    /// Pixels of one output image.
    pub fn out_pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Elements of one input image.
    pub fn in_elements(&self) -> usize {
        self.in_pixels() * self.in_channels
    }

    /// Elements of one output image.
    pub fn out_elements(&self) -> usize {
        self.out_pixels() * self.out_channels
    }
}

/// Words for [`LANES`] channels, within one cache line: loads and stores across two take twice as long.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(Lanes);

impl Line {
    pub const ZERO: Self = Self([0.0; LANES]);

    pub fn lanes(lines: &[Self]) -> &[Lanes] {
        bytemuck::cast_slice(lines)
    }

    pub fn lanes_mut(lines: &mut [Self]) -> &mut [Lanes] {
        bytemuck::cast_slice_mut(lines)
    }
}

/// Memory that is reused for one array after another.
pub(super) struct Scratch(Vec<Line>);

impl Scratch {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An array of `len` lanes, which may hold anything.
    pub fn lanes(&mut self, len: usize) -> &mut [Lanes] {
        if self.0.len() < len {
            self.0.resize(len, Line::ZERO);
        }
        Line::lanes_mut(&mut self.0[..len])
    }

    /// `len` arrays of arrays of lanes, which may hold anything.
    pub fn arrays<const I: usize, const O: usize>(&mut self, len: usize) -> &mut [[[Lanes; I]; O]] {
        self.lanes(len * I * O).as_chunks_mut::<I>().0.as_chunks_mut::<O>().0
    }

    /// An array of `len` words, which may hold anything.
    fn words(&mut self, len: usize) -> &mut [f32] {
        &mut self.lanes(len.div_ceil(LANES)).as_flattened_mut()[..len]
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

    /// Around the input of a 3x3 kernel, for overlapping tiles that each make `tile` x `tile` of the output's pixels,
    /// rounded up.
    pub fn of_tiles(sizes: &Sizes, tile: usize) -> Self {
        Self {
            framed_height: sizes.out_height.next_multiple_of(tile) + 2,
            framed_width: sizes.out_width.next_multiple_of(tile) + 2,
            ..Self::of_input(sizes)
        }
    }

    /// Around the gradient of the output, for the windows of the input's pixels in any phase.
    pub fn of_output(sizes: &Sizes) -> Self {
        let Sizes { stride, padding, .. } = *sizes;
        let framed = |size: usize, out_size: usize, kernel: usize| {
            before(kernel, stride) + out_size.max((size - 1 + padding) / stride + 1)
        };
        Self {
            height: sizes.out_height,
            width: sizes.out_width,
            channels: sizes.out_channels,
            top: before(sizes.kernel_height, stride),
            left: before(sizes.kernel_width, stride),
            framed_height: framed(sizes.height, sizes.out_height, sizes.kernel_height),
            framed_width: framed(sizes.width, sizes.out_width, sizes.kernel_width),
        }
    }

    /// Calls `task` with the framed `images`, which pass through `norm` and a ReLU on the way if there is one. It must
    /// not wait for the pool, whose other tasks would find the thread's memory for frames in use.
    pub fn around<T>(&self, images: &[f32], norm: Option<&Norm>, task: impl FnOnce(&[f32]) -> T) -> T {
        let bare = (self.framed_height, self.framed_width) == (self.height, self.width);
        if bare && norm.is_none() {
            return task(images);
        }
        let (row, framed_row) = (self.width * self.channels, self.framed_width * self.channels);
        let image = self.height * row;
        with_scratch(images.len() / image * self.framed_height * framed_row, |framed| {
            for (rows, framed) in images.chunks_exact(image).zip(framed.chunks_exact_mut(self.index(1, 0, 0))) {
                let (above, inside) = framed.split_at_mut(self.index(0, self.top, 0));
                let (inside, below) = inside.split_at_mut(self.height * framed_row);
                above.fill(0.0);
                below.fill(0.0);
                for (words, framed) in rows.chunks_exact(row).zip(inside.chunks_exact_mut(framed_row)) {
                    let (before, inside) = framed.split_at_mut(self.left * self.channels);
                    let (inside, behind) = inside.split_at_mut(row);
                    before.fill(0.0);
                    behind.fill(0.0);
                    match norm {
                        None => inside.copy_from_slice(words),
                        Some(norm) => apply(words, norm, true, inside),
                    }
                }
            }
            task(framed)
        })
    }

    /// Where a pixel of the framed images begins.
    pub fn index(&self, image: usize, y: usize, x: usize) -> usize {
        ((image * self.framed_height + y) * self.framed_width + x) * self.channels
    }
}

/// Calls `task` with so many words of the thread's, which may hold anything.
fn with_scratch<T>(words: usize, task: impl FnOnce(&mut [f32]) -> T) -> T {
    thread_local!(static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) });
    SCRATCH.with_borrow_mut(|scratch| task(scratch.words(words)))
}

/// The windows of a few framed images, and the pixels that become of them.
///
/// A window is the words `[origin + offset..][..run]` for each of the offsets: its rows.
pub(super) struct Windows {
    pub origins: Vec<usize>,
    /// The pixel made from each window, counted through all images, ascending.
    pub targets: Vec<usize>,
    pub offsets: Vec<usize>,
    pub run: usize,
    /// Numbers of each row's taps in the kernel, in the order of the window's words.
    pub taps: Vec<Vec<usize>>,
}

impl Windows {
    /// Those of the output's pixels.
    pub fn of_output(sizes: &Sizes, frame: &Frame, images: usize) -> Self {
        let (rows, columns) = (sizes.kernel_rows(), sizes.kernel_columns());
        let mut origins = Vec::with_capacity(images * sizes.out_pixels());
        for image in 0..images {
            for y in 0..sizes.out_height {
                for x in 0..sizes.out_width {
                    let corner = (rows.start + y * sizes.stride, columns.start + x * sizes.stride);
                    origins.push(frame.index(image, corner.0, corner.1));
                }
            }
        }
        let targets = (0..origins.len()).collect();
        Self::new(origins, targets, frame, sizes, rows, columns)
    }

    /// With those rows and columns of the kernel, in the order of the framed pixels that they meet.
    fn new(
        origins: Vec<usize>,
        targets: Vec<usize>,
        frame: &Frame,
        sizes: &Sizes,
        rows: impl Iterator<Item = usize>,
        columns: impl ExactSizeIterator<Item = usize> + Clone,
    ) -> Self {
        // Rows without columns are none.
        let rows = rows.filter(|_| columns.len() > 0);
        let tap = |y: usize| columns.clone().map(move |x| y * sizes.kernel_width + x).collect();
        let taps: Vec<Vec<usize>> = rows.map(tap).collect();
        Self {
            origins,
            targets,
            offsets: (0..taps.len()).map(|y| frame.index(0, y, 0)).collect(),
            run: columns.len() * frame.channels,
            taps,
        }
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
    /// Its pixels.
    pixels: std::iter::StepBy<Range<usize>>,
    /// Taps that they meet, in the order of the output's pixels: descending.
    taps: std::iter::Rev<std::iter::StepBy<Range<usize>>>,
    /// Output pixel o meets pixel p in tap t if `stride` o + t = p + `padding`.
    stride: usize,
    padding: usize,
    /// Zeros before the first output pixel.
    before: usize,
}

impl Axis {
    fn new(phase: usize, size: usize, kernel: usize, live: Range<usize>, sizes: &Sizes) -> Self {
        let Sizes { stride, padding, .. } = *sizes;
        let phase_tap = (phase + padding) % stride;
        let first = phase_tap + live.start.saturating_sub(phase_tap).next_multiple_of(stride);
        Self {
            pixels: (phase..size.max(phase)).step_by(stride),
            taps: (first..live.end.max(first)).step_by(stride).rev(),
            stride,
            padding,
            before: before(kernel, stride),
        }
    }

    /// The pixels, each with the framed output pixel that meets it in the first tap.
    fn pixels(&self) -> impl Iterator<Item = (usize, usize)> {
        let Self { stride, padding, before, .. } = *self;
        let tap = self.taps.clone().next().unwrap_or(0);
        self.pixels.clone().map(move |pixel| (pixel, (pixel + padding + before * stride - tap) / stride))
    }
}

/// Zeros that the frame needs before the first output pixel: the kernel reaches back so far.
fn before(kernel: usize, stride: usize) -> usize {
    kernel.div_ceil(stride) - 1
}

impl Phase {
    pub fn new(sizes: &Sizes, y: usize, x: usize) -> Self {
        Self {
            y: Axis::new(y, sizes.height, sizes.kernel_height, sizes.kernel_rows(), sizes),
            x: Axis::new(x, sizes.width, sizes.kernel_width, sizes.kernel_columns(), sizes),
        }
    }

    /// The windows of the phase's pixels in the gradient of the output.
    pub fn windows(&self, sizes: &Sizes, frame: &Frame, images: usize) -> Windows {
        let (mut origins, mut targets) = (Vec::new(), Vec::new());
        for image in 0..images {
            for (y, out_y) in self.y.pixels() {
                for (x, out_x) in self.x.pixels() {
                    origins.push(frame.index(image, out_y, out_x));
                    targets.push((image * sizes.height + y) * sizes.width + x);
                }
            }
        }
        Windows::new(origins, targets, frame, sizes, self.y.taps.clone(), self.x.taps.clone())
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

/// The weights in panels of [`LANES`] columns: `[panels, taps, rows of a tap, LANES]`, with zeros beyond the last
/// column.
pub(super) struct Panels {
    weights: Vec<Line>,
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
        let mut weights = vec![Line::ZERO; columns.div_ceil(LANES) * depth];
        weights.par_chunks_mut(rows).enumerate().for_each(|(index, panel)| {
            let (block, tap) = (index / taps.len(), taps[index % taps.len()]);
            let lanes = block * LANES..columns.min((block + 1) * LANES);
            let w = &w[tap * rows * columns..][..rows * columns];
            match order {
                Order::AsStored => {
                    for (panel, w) in panel.iter_mut().zip(w.chunks_exact(columns)) {
                        panel.0[..lanes.len()].copy_from_slice(&w[lanes.clone()]);
                    }
                }
                Order::Transposed => {
                    for (lane, w) in w.chunks_exact(rows).skip(lanes.start).take(lanes.len()).enumerate() {
                        for (panel, w) in panel.iter_mut().zip(w) {
                            panel.0[lane] = *w;
                        }
                    }
                }
            }
        });
        Self { weights, depth, columns }
    }

    /// One of them: a row of weights for each word of a window.
    pub fn panel(&self, index: usize) -> &[Lanes] {
        Line::lanes(&self.weights[index * self.depth..][..self.depth])
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &[Lanes]> {
        (0..self.columns.div_ceil(LANES)).map(|index| self.panel(index))
    }
}

/// Calls `task` with `gradients`, `[pixels, columns]`, in panels: `[panels, pixels, LANES]`, zeros beyond the last
/// column.
pub(super) fn in_panels<T>(gradients: &[f32], columns: usize, task: impl FnOnce(&[Lanes]) -> T) -> T {
    thread_local!(static PANELS: RefCell<Scratch> = const { RefCell::new(Scratch::new()) });
    PANELS.with_borrow_mut(|panels| {
        let pixels = gradients.len() / columns;
        let panels = panels.lanes(columns.div_ceil(LANES) * pixels);
        for (panel, first) in panels.chunks_exact_mut(pixels).zip((0..columns).step_by(LANES)) {
            let rows = gradients.chunks_exact(columns).map(|row| &row[first..]);
            match columns - first {
                LANES.. => panel.iter_mut().zip(rows).for_each(|(panel, row)| *panel = micro::load::<true>(row, LANES)),
                lanes => panel.iter_mut().zip(rows).for_each(|(panel, row)| *panel = micro::load::<false>(row, lanes)),
            }
        }
        task(panels)
    })
}
