//! Max pooling and global average pooling.

use super::inputs::Draw;
use crate::kernels::pool::*;
use crate::selftest::row::{Row, Sum};

/// Sizes of a max pooling.
#[derive(Clone, Copy)]
struct WindowShape {
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl WindowShape {
    fn out(&self, size: usize) -> usize {
        (size + 2 * self.padding - self.kernel) / self.stride + 1
    }

    fn inputs(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// For each output: its taps that lie on the image, as (number of the tap, index in x).
    fn windows(&self) -> Vec<Vec<(u32, usize)>> {
        let mut windows = vec![];
        for n in 0..self.batch {
            for oy in 0..self.out(self.height) {
                for ox in 0..self.out(self.width) {
                    for c in 0..self.channels {
                        let mut window = vec![];
                        for tap in 0..self.kernel * self.kernel {
                            let y = oy * self.stride + tap / self.kernel;
                            let x = ox * self.stride + tap % self.kernel;
                            let inside = |at: usize, size| (self.padding..self.padding + size).contains(&at);
                            if inside(y, self.height) && inside(x, self.width) {
                                let pixel = (n * self.height + y - self.padding) * self.width + x - self.padding;
                                window.push((tap as u32, pixel * self.channels + c));
                            }
                        }
                        windows.push(window);
                    }
                }
            }
        }
        windows
    }

    fn kernel<K>(&self, new: fn(u32, u32, u32, u32, u32, u32, u32) -> K) -> K {
        let Self { batch, height, width, channels, kernel, stride, padding } = *self;
        let [a, b, c, d, e, f, g] = [batch, height, width, channels, kernel, stride, padding].map(|n| n as u32);
        new(a, b, c, d, e, f, g)
    }
}

/// The largest value of each window and its tap: the first largest, but a NaN beats all before it, as in PyTorch.
fn max_forward(shape: &WindowShape, x: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let largest = |window: &Vec<(u32, usize)>| {
        let mut best = window[0];
        for &(tap, i) in window {
            if x[i] > x[best.1] || x[i].is_nan() {
                best = (tap, i);
            }
        }
        (x[best.1], best.0)
    };
    shape.windows().iter().map(largest).unzip()
}

/// Each input's gradient: of the windows that it won.
fn max_backward(shape: &WindowShape, dy: &[f64], argmax: &[u32]) -> Vec<Sum> {
    let mut dx = vec![Sum::default(); shape.inputs()];
    for (o, window) in shape.windows().iter().enumerate() {
        let winner = window.iter().find(|(tap, _)| *tap == argmax[o]);
        winner.into_iter().for_each(|&(_, i)| dx[i].add(dy[o]));
    }
    dx
}

/// The mean of each channel of each image.
fn global_forward(x: &[f64], pixels: usize, channels: usize) -> Vec<Sum> {
    let mean = |image: &[f64], c| Sum::of((0..pixels).map(|pixel| image[pixel * channels + c] / pixels as f64));
    x.chunks(pixels * channels).flat_map(|image| (0..channels).map(move |c| mean(image, c))).collect()
}

/// Each pixel's share of the mean's gradient.
fn global_backward(dy: &[f64], pixels: usize, channels: usize) -> Vec<Sum> {
    let image = |dy: &[f64]| dy.iter().map(|dy| Sum::of([dy / pixels as f64])).collect::<Vec<_>>();
    dy.chunks(channels).flat_map(|dy| image(dy).repeat(pixels)).collect()
}

const fn shape(batch: usize, height: usize, width: usize, channels: usize, window: [usize; 3]) -> WindowShape {
    let [kernel, stride, padding] = window;
    WindowShape { batch, height, width, channels, kernel, stride, padding }
}

/// Max poolings: batch, height, width, channels, [kernel, stride, padding].
const SHAPES: &[(WindowShape, &str)] = &[
    (shape(1, 1, 1, 1, [1, 1, 0]), "one pixel"),
    (shape(1, 1, 1, 3, [3, 2, 1]), "one pixel in a larger window"),
    (shape(2, 7, 5, 3, [3, 2, 1]), "ResNet's stem on an odd image: windows hang over the edge"),
    (shape(1, 8, 8, 5, [3, 2, 1]), "ResNet's stem on an even image"),
    (shape(2, 6, 9, 4, [2, 2, 0]), "windows side by side; a column that none covers"),
    (shape(1, 6, 6, 2, [3, 1, 1]), "windows that overlap by two thirds"),
    (shape(1, 9, 9, 2, [2, 3, 0]), "gaps between the windows"),
    (shape(3, 43, 43, 17, [3, 1, 1]), "more than 7 x 7 x 7 workgroups"),
];

/// Rows of every kernel of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for &(shape, why) in SHAPES {
        let x = draw.signed(shape.inputs());
        rows.push(max_forward_row(why, &shape, &x));
        rows.push(max_backward_row(why, &mut draw, &shape, &x));
    }
    let shape = shape(2, 7, 5, 3, [3, 2, 1]);
    let ties: Vec<f64> = draw.below(2, shape.inputs()).into_iter().map(f64::from).collect();
    rows.push(max_forward_row("ties: the first wins", &shape, &ties));
    rows.push(max_backward_row("ties: one input gets all of the gradient", &mut draw, &shape, &ties));
    let negative = draw.between(-2.0, -1.0, shape.inputs());
    rows.push(max_forward_row("nothing positive: padding never wins", &shape, &negative));
    let mut broken = draw.signed(shape.inputs());
    (3..broken.len()).step_by(29).for_each(|i| broken[i] = f64::NAN);
    rows.push(max_forward_row("NaN wins", &shape, &broken));
    let low: Vec<f64> = broken.iter().map(|x| if x.is_nan() { f64::NEG_INFINITY } else { *x }).collect();
    rows.push(max_forward_row("negative infinity", &shape, &low));

    for (batch, pixels, channels, why) in [
        (1, 1, 1, "one pixel"),
        (3, 49, 7, "ResNet-50's last stage, odd channels"),
        (2, 64, 300, "more channels than a workgroup has threads"),
        (1, 3000, 2, "many pixels"),
        (345, 2, 256, "more than 7 x 7 x 7 workgroups"),
    ] {
        let (x, dy) = (draw.signed(batch * pixels * channels), draw.signed(batch * channels));
        let [b, p, c] = [batch, pixels, channels].map(|n| n as u32);
        let y = global_forward(&x, pixels, channels);
        rows.push(Row::new(why, GlobalForward::new(b, p, c)).read(&x).write(y));
        let dx = global_backward(&dy, pixels, channels);
        rows.push(Row::new(why, GlobalBackward::new(b, p, c)).read(&dy).write(dx));
    }
    rows
}

fn max_forward_row(why: &'static str, shape: &WindowShape, x: &[f64]) -> Row {
    let (y, argmax) = max_forward(shape, x);
    let y: Vec<Sum> = y.into_iter().map(Sum::exact).collect();
    Row::new(why, shape.kernel(MaxForward::new)).read(x).write(y).write(argmax)
}

fn max_backward_row(why: &'static str, draw: &mut Draw, shape: &WindowShape, x: &[f64]) -> Row {
    let (_, argmax) = max_forward(shape, x);
    let dy = draw.signed(argmax.len());
    let dx = max_backward(shape, &dy, &argmax);
    Row::new(why, shape.kernel(MaxBackward::new)).read(&dy).read(&argmax).write(dx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::tables::inputs::assert_gradient;

    #[test]
    fn backward_is_the_gradient_of_forward() {
        let mut draw = Draw::new(2);
        let dot = |y: &[f64], dy: &[f64]| y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
        for (shape, _) in &SHAPES[..7] {
            let x = draw.signed(shape.inputs());
            let (_, argmax) = max_forward(shape, &x);
            let dy = draw.signed(argmax.len());
            let dx = Sum::values(&max_backward(shape, &dy, &argmax));
            assert_gradient(&x, &dx, |x| dot(&max_forward(shape, x).0, &dy));
        }
        let (x, dy) = (draw.signed(2 * 9 * 3), draw.signed(2 * 3));
        let dx = Sum::values(&global_backward(&dy, 9, 3));
        assert_gradient(&x, &dx, |x| dot(&Sum::values(&global_forward(x, 9, 3)), &dy));
    }
}
