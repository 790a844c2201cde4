//! Pooling over NHWC activations: the largest value of a window, and the mean of an image.

use std::ops::Range;

use multiversion::multiversion;
use rayon::prelude::*;

use super::{element_workgroups, params, shader};
use crate::dispatch::{Bindings, Cost, Kernel};

shader! {
    MAX_FORWARD: "pool_max_forward", family: pool,
    reads: 1, writes: 2, params: MaxShape, kernel: MaxForward
}
shader! {
    MAX_BACKWARD: "pool_max_backward", family: pool,
    reads: 2, writes: 1, params: MaxShape, kernel: MaxBackward
}
shader! {
    GLOBAL_FORWARD: "pool_global_forward", family: pool,
    reads: 1, writes: 1, params: GlobalShape, kernel: GlobalForward
}
shader! {
    GLOBAL_BACKWARD: "pool_global_backward", family: pool,
    reads: 1, writes: 1, params: GlobalShape, kernel: GlobalBackward
}

params! {
    /// The windows of a max pool and the tensors at both ends.
    pub struct MaxShape {
        /// Images.
        batch: u32,
        /// Height of `x`.
        height: u32,
        /// Width of `x`.
        width: u32,
        /// Channels of `x` and `y`.
        channels: u32,
        /// Height and width of a window.
        kernel: u32,
        /// Pixels from one window to the next.
        stride: u32,
        /// Pixels around the image, at most half a window, that never win.
        padding: u32,
        /// Height of `y`.
        out_height: u32,
        /// Width of `y`.
        out_width: u32,
    }
}

impl MaxShape {
    fn new(batch: u32, height: u32, width: u32, channels: u32, kernel: u32, stride: u32, padding: u32) -> Self {
        let windows = |size: u32| (size + 2 * padding - kernel) / stride + 1;
        let (out_height, out_width) = (windows(height), windows(width));
        Self { batch, height, width, channels, kernel, stride, padding, out_height, out_width }
    }

    /// Elements of `x`.
    fn inputs(&self) -> u32 {
        self.batch * self.height * self.width * self.channels
    }
    /// Elements of `y`.
    fn outputs(&self) -> u32 {
        self.batch * self.out_height * self.out_width * self.channels
    }
    /// Taps of window number `window` that lie on the image, of `size` pixels that way.
    fn taps(&self, window: usize, size: u32) -> Range<usize> {
        let (start, padding) = (window * self.stride as usize, self.padding as usize);
        padding.saturating_sub(start)..(self.kernel as usize).min(padding + size as usize - start)
    }
    /// Windows that hold the pixel at `position`, of `windows` that way.
    fn windows(&self, position: usize, windows: u32) -> Range<usize> {
        let (position, stride) = (position + self.padding as usize, self.stride as usize);
        let first = (position + 1).saturating_sub(self.kernel as usize).div_ceil(stride);
        first..(position / stride + 1).min(windows as usize)
    }
}

/// `x -> y, argmax`: the largest value of each window, and the number of its tap, `ky * kernel + kx`.
///
/// Of equal values the first wins, and a NaN wins over any number, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxForward(MaxShape);

impl MaxForward {
    /// Height and width of `y`.
    pub fn out_size(&self) -> [u32; 2] {
        [self.0.out_height, self.0.out_width]
    }

    /// On a tensor `[batch, height, width, channels]`, with `padding` at most half of `kernel`.
    pub fn new(batch: u32, height: u32, width: u32, channels: u32, kernel: u32, stride: u32, padding: u32) -> Self {
        Self(MaxShape::new(batch, height, width, channels, kernel, stride, padding))
    }
}

impl Kernel for MaxForward {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.0.outputs())
    }
    fn cost(&self) -> Cost {
        let taps = f64::from(self.0.outputs()) * f64::from(self.0.kernel * self.0.kernel);
        Cost { flop: taps, terms: 1.0, loads: taps }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x], [y, argmax]) = bindings.values();
        let (x, y, argmax) = (x.f32(), y.f32(), argmax.u32());
        let shape = self.0;
        let image_elements = (shape.height * shape.width * shape.channels) as usize;
        let row_elements = (shape.out_width * shape.channels) as usize;
        let out_height = shape.out_height as usize;
        y.par_chunks_mut(row_elements).zip(argmax.par_chunks_mut(row_elements)).enumerate().for_each(
            |(row, (y, argmax))| {
                let x = &x[row / out_height * image_elements..][..image_elements];
                max_forward_row(&shape, x, row % out_height, y, argmax);
            },
        );
    }
}

/// The row number `oy` of `y` and `argmax`, from an image `x`.
#[multiversion(targets("x86_64+avx2+fma"))]
fn max_forward_row(shape: &MaxShape, x: &[f32], oy: usize, y: &mut [f32], argmax: &mut [u32]) {
    let (width, channels) = (shape.width as usize, shape.channels as usize);
    let (kernel, stride, padding) = (shape.kernel as usize, shape.stride as usize, shape.padding as usize);
    let (ky, kx) = (shape.taps(oy, shape.height), |ox| shape.taps(ox, shape.width));
    y.fill(f32::NEG_INFINITY);
    for (ox, (y, argmax)) in y.chunks_mut(channels).zip(argmax.chunks_mut(channels)).enumerate() {
        argmax.fill((ky.start * kernel + kx(ox).start) as u32);
        for ky in ky.clone() {
            for kx in kx(ox) {
                let pixel = (oy * stride + ky - padding) * width + ox * stride + kx - padding;
                let tap = (ky * kernel + kx) as u32;
                let (x, y, argmax) = (&x[pixel * channels..][..channels], &mut y[..channels], &mut argmax[..channels]);
                for c in 0..channels {
                    let wins = (x[c] > y[c]) | x[c].is_nan();
                    y[c] = if wins { x[c] } else { y[c] };
                    argmax[c] = if wins { tap } else { argmax[c] };
                }
            }
        }
    }
}

/// `dy, argmax -> dx`: each pixel gets the gradients of the windows that it won.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxBackward(MaxShape);

impl MaxBackward {
    /// Returns the gradient of the [`MaxForward`] with the same numbers.
    pub fn new(batch: u32, height: u32, width: u32, channels: u32, kernel: u32, stride: u32, padding: u32) -> Self {
        Self(MaxShape::new(batch, height, width, channels, kernel, stride, padding))
    }
}

impl Kernel for MaxBackward {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.0.inputs())
    }
    fn cost(&self) -> Cost {
        let taps = f64::from(self.0.outputs()) * f64::from(self.0.kernel * self.0.kernel);
        Cost { flop: taps, terms: f64::from(self.0.kernel.div_ceil(self.0.stride).pow(2)), loads: 2.0 * taps }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([dy, argmax], [dx]) = bindings.values();
        let (dy, argmax, dx) = (dy.f32(), argmax.u32(), dx.f32());
        let shape = self.0;
        let image_elements = (shape.out_height * shape.out_width * shape.channels) as usize;
        let height = shape.height as usize;
        dx.par_chunks_mut((shape.width * shape.channels) as usize).enumerate().for_each(|(row, dx)| {
            let first = row / height * image_elements;
            let (dy, argmax) = (&dy[first..][..image_elements], &argmax[first..][..image_elements]);
            max_backward_row(&shape, dy, argmax, row % height, dx);
        });
    }
}

/// The row number `row` of `dx`, from `dy` and `argmax` of an image.
#[multiversion(targets("x86_64+avx2+fma"))]
fn max_backward_row(shape: &MaxShape, dy: &[f32], argmax: &[u32], row: usize, dx: &mut [f32]) {
    let (out_width, channels) = (shape.out_width as usize, shape.channels as usize);
    let (kernel, stride, padding) = (shape.kernel as usize, shape.stride as usize, shape.padding as usize);
    dx.fill(0.0);
    for (column, dx) in dx.chunks_mut(channels).enumerate() {
        for oy in shape.windows(row, shape.out_height) {
            for ox in shape.windows(column, shape.out_width) {
                let tap = ((row + padding - oy * stride) * kernel + column + padding - ox * stride) as u32;
                let first = (oy * out_width + ox) * channels;
                for ((dx, dy), argmax) in dx.iter_mut().zip(&dy[first..][..channels]).zip(&argmax[first..][..channels])
                {
                    *dx += if *argmax == tap { *dy } else { 0.0 };
                }
            }
        }
    }
}

params! {
    /// The image whose pixels are averaged.
    pub struct GlobalShape {
        /// Images.
        batch: u32,
        /// height x width
        pixels: u32,
        /// Channels.
        channels: u32,
    }
}

/// `x -> y`: the mean of each channel over the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalForward(GlobalShape);

impl GlobalForward {
    /// From `[batch, pixels, channels]` to `[batch, channels]`.
    pub fn new(batch: u32, pixels: u32, channels: u32) -> Self {
        Self(GlobalShape { batch, pixels, channels })
    }
}

impl Kernel for GlobalForward {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.0.batch * self.0.channels)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.0.batch) * f64::from(self.0.pixels) * f64::from(self.0.channels);
        Cost { flop: elements, terms: f64::from(self.0.pixels), loads: elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x], [y]) = bindings.f32();
        let (pixels, channels) = (self.0.pixels as usize, self.0.channels as usize);
        x.par_chunks(pixels * channels).zip(y.par_chunks_mut(channels)).for_each(|(x, y)| mean(x, y));
    }
}

/// Mean over the pixels of one image.
#[multiversion(targets("x86_64+avx2+fma"))]
fn mean(x: &[f32], y: &mut [f32]) {
    let pixels = (x.len() / y.len()) as f32;
    y.fill(0.0);
    for x in x.chunks(y.len()) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
    for y in y {
        *y /= pixels;
    }
}

/// `dy -> dx`: each pixel's share of the mean's gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalBackward(GlobalShape);

impl GlobalBackward {
    /// Returns the gradient of the [`GlobalForward`] with the same numbers.
    pub fn new(batch: u32, pixels: u32, channels: u32) -> Self {
        Self(GlobalShape { batch, pixels, channels })
    }
}

impl Kernel for GlobalBackward {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.0.batch * self.0.pixels * self.0.channels)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.0.batch) * f64::from(self.0.pixels) * f64::from(self.0.channels);
        Cost { flop: elements, terms: 1.0, loads: elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([dy], [dx]) = bindings.f32();
        let (pixels, channels) = (self.0.pixels as usize, self.0.channels as usize);
        dx.par_chunks_mut(pixels * channels).zip(dy.par_chunks(channels)).for_each(|(dx, dy)| {
            let (first, rest) = dx.split_at_mut(channels);
            for (dx, dy) in first.iter_mut().zip(dy) {
                *dx = dy / pixels as f32;
            }
            for dx in rest.chunks_mut(channels) {
                dx.copy_from_slice(first);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Input, Output};

    /// Taps and values of the max pool of one channel, `x` being `[side, side]`.
    fn max(x: &[f32], side: u32, kernel: u32, stride: u32, padding: u32) -> (Vec<u32>, Vec<f32>) {
        let pool = MaxForward::new(1, side, side, 1, kernel, stride, padding);
        let (mut y, mut argmax) = (vec![0.0; pool.0.outputs() as usize], vec![0; pool.0.outputs() as usize]);
        let writes = &mut [Output::F32(&mut y), Output::U32(&mut argmax)];
        pool.twin(Bindings { reads: &[Input::F32(x)], writes });
        (argmax, y)
    }

    #[test]
    fn the_first_of_equal_values_wins_and_padding_never_does() {
        // The windows of a corner begin in the padding, where their first taps would be 0, 1, 2, 3, 6.
        assert_eq!(max(&[-1.0; 9], 3, 3, 2, 1), (vec![4, 3, 1, 0], vec![-1.0; 4]));
        assert_eq!(max(&[f32::NEG_INFINITY; 4], 2, 3, 2, 1), (vec![4], vec![f32::NEG_INFINITY]));
        assert_eq!(max(&[1.0, 2.0, 2.0, 0.0], 2, 2, 2, 0), (vec![1], vec![2.0]));
    }

    #[test]
    fn nan_wins() {
        let (argmax, y) = max(&[1.0, f32::NAN, 2.0, f32::INFINITY], 2, 2, 2, 0);
        assert_eq!(argmax, [1]);
        assert!(y[0].is_nan());
    }
}
