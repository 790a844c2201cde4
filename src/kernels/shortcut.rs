//! Option A of He et al. 2016: a shortcut without parameters, where a block halves the image and adds channels.
//!
//! Here, as in Huang et al. 2016, it is the 2 x 2 average pool with stride 2, padded with channels of zeros at the end.
//! Windows cut by the border of an odd image average the pixels that they have.

use multiversion::multiversion;
use rayon::prelude::*;

use super::relu::where_positive;
use super::{element_workgroups, params, shader};
use crate::dispatch::{Bindings, Cost, Kernel};

shader! {
    FORWARD: "shortcut_forward", family: shortcut,
    reads: 1, writes: 1, params: ShortcutShape, kernel: Forward
}
shader! {
    BACKWARD: "shortcut_backward", family: shortcut,
    reads: 2, writes: 1, params: ShortcutShape, kernel: Backward
}

params! {
    /// The tensors at both ends of a shortcut.
    pub struct ShortcutShape {
        /// Images.
        batch: u32,
        /// Height of `x`.
        height: u32,
        /// Width of `x`.
        width: u32,
        /// Channels of `x`.
        in_channels: u32,
        /// Channels of `y`, at least as many.
        out_channels: u32,
    }
}

impl ShortcutShape {
    fn out_height(&self) -> u32 {
        self.height.div_ceil(2)
    }
    fn out_width(&self) -> u32 {
        self.width.div_ceil(2)
    }
    /// Pixels of the window that holds pixel (`row`, `column`) of `x`.
    fn window(&self, row: usize, column: usize) -> f32 {
        let (height, width) = (self.height as usize, self.width as usize);
        ((height - row / 2 * 2).min(2) * (width - column / 2 * 2).min(2)) as f32
    }
}

/// `x -> y`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forward(ShortcutShape);

impl Forward {
    /// From `[batch, height, width, in_channels]` to `[batch, ceil(height / 2), ceil(width / 2), out_channels]`.
    pub fn new(batch: u32, height: u32, width: u32, in_channels: u32, out_channels: u32) -> Self {
        Self(ShortcutShape { batch, height, width, in_channels, out_channels })
    }
}

impl Kernel for Forward {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.0.batch * self.0.out_height() * self.0.out_width() * self.0.out_channels)
    }
    fn cost(&self) -> Cost {
        let pixels = f64::from(self.0.batch) * f64::from(self.0.height) * f64::from(self.0.width);
        let elements = pixels * f64::from(self.0.in_channels);
        Cost { flop: elements, terms: 4.0, loads: elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x], [y]) = bindings.f32();
        let shape = self.0;
        let (height, out_height) = (shape.height as usize, shape.out_height() as usize);
        let row_elements = shape.width as usize * shape.in_channels as usize;
        y.par_chunks_mut(shape.out_width() as usize * shape.out_channels as usize).enumerate().for_each(|(row, y)| {
            let (image, row) = (row / out_height, row % out_height * 2);
            let rows = row..(row + 2).min(height);
            forward_row(&shape, &x[(image * height + row) * row_elements..][..rows.len() * row_elements], row, y);
        });
    }
}

/// A row of `y` from the one or two rows of `x` that begin with `row`.
#[multiversion(targets("x86_64+avx2+fma"))]
fn forward_row(shape: &ShortcutShape, x: &[f32], row: usize, y: &mut [f32]) {
    let (width, channels) = (shape.width as usize, shape.in_channels as usize);
    y.fill(0.0);
    for x in x.chunks(width * channels) {
        for (column, x) in x.chunks(channels).enumerate() {
            let y = &mut y[column / 2 * shape.out_channels as usize..][..channels];
            for (y, x) in y.iter_mut().zip(x) {
                *y += x;
            }
        }
    }
    for (column, y) in y.chunks_mut(shape.out_channels as usize).enumerate() {
        let share = 1.0 / shape.window(row, 2 * column);
        for y in y {
            *y *= share;
        }
    }
}

/// `dy, mask -> dx`, where `mask` is the output of the ReLU behind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backward(ShortcutShape);

impl Backward {
    /// Returns the gradient of the [`Forward`] with the same numbers.
    pub fn new(batch: u32, height: u32, width: u32, in_channels: u32, out_channels: u32) -> Self {
        Self(ShortcutShape { batch, height, width, in_channels, out_channels })
    }
}

impl Kernel for Backward {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.0.batch * self.0.height * self.0.width * self.0.in_channels)
    }
    fn cost(&self) -> Cost {
        let pixels = f64::from(self.0.batch) * f64::from(self.0.height) * f64::from(self.0.width);
        let elements = pixels * f64::from(self.0.in_channels);
        Cost { flop: elements, terms: 1.0, loads: 2.0 * elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([dy, mask], [dx]) = bindings.f32();
        let shape = self.0;
        let (height, out_height) = (shape.height as usize, shape.out_height() as usize);
        let row_elements = shape.out_width() as usize * shape.out_channels as usize;
        dx.par_chunks_mut(shape.width as usize * shape.in_channels as usize).enumerate().for_each(|(row, dx)| {
            let (image, row) = (row / height, row % height);
            let first = (image * out_height + row / 2) * row_elements;
            backward_row(&shape, &dy[first..][..row_elements], &mask[first..][..row_elements], row, dx);
        });
    }
}

/// The row number `row` of `dx` from the row of `dy` that it went into.
#[multiversion(targets("x86_64+avx2+fma"))]
fn backward_row(shape: &ShortcutShape, dy: &[f32], mask: &[f32], row: usize, dx: &mut [f32]) {
    let channels = shape.in_channels as usize;
    for (column, dx) in dx.chunks_mut(channels).enumerate() {
        let share = 1.0 / shape.window(row, column);
        let first = column / 2 * shape.out_channels as usize;
        for ((dx, dy), mask) in dx.iter_mut().zip(&dy[first..][..channels]).zip(&mask[first..][..channels]) {
            *dx = where_positive(*mask, share * dy);
        }
    }
}
