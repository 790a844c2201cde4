//! Option A of He et al. 2016: the mean of 2 x 2 windows with stride 2, and channels of zeros.

use super::inputs::Draw;
use crate::kernels::shortcut::{Backward, Forward};
use crate::selftest::row::{Row, Sum};

/// Sizes: batch, height, width, in_channels, out_channels.
type ShortcutShape = [usize; 5];

/// For each output: the inputs whose mean it is; none in the channels added.
fn windows([batch, height, width, in_channels, out_channels]: ShortcutShape) -> Vec<Vec<usize>> {
    let mut windows = vec![];
    for n in 0..batch {
        for oy in 0..height.div_ceil(2) {
            for ox in 0..width.div_ceil(2) {
                for c in 0..out_channels {
                    let ys = 2 * oy..height.min(2 * oy + 2);
                    let pixels = ys.flat_map(|y| (2 * ox..width.min(2 * ox + 2)).map(move |x| (y, x)));
                    let inputs = pixels.map(|(y, x)| ((n * height + y) * width + x) * in_channels + c);
                    windows.push(if c < in_channels { inputs.collect() } else { vec![] });
                }
            }
        }
    }
    windows
}

fn forward(shape: ShortcutShape, x: &[f64]) -> Vec<Sum> {
    let mean = |window: &Vec<usize>| Sum::of(window.iter().map(|&i| x[i] / window.len() as f64));
    windows(shape).iter().map(mean).collect()
}

/// Of dy where the mask is positive.
fn backward(shape: ShortcutShape, dy: &[f64], mask: &[f64]) -> Vec<Sum> {
    let [batch, height, width, in_channels, _] = shape;
    let mut dx = vec![Sum::default(); batch * height * width * in_channels];
    for (o, window) in windows(shape).iter().enumerate().filter(|(o, _)| mask[*o] > 0.0) {
        window.iter().for_each(|&i| dx[i].add(dy[o] / window.len() as f64));
    }
    dx
}

const SHAPES: &[(ShortcutShape, &str)] = &[
    ([1, 1, 1, 1, 1], "one pixel"),
    ([1, 1, 1, 3, 7], "one pixel, channels added"),
    ([2, 7, 5, 3, 6], "odd sizes: windows cut by the border"),
    ([2, 8, 8, 16, 32], "ResNet-20's first shortcut"),
    ([1, 1, 6, 4, 4], "one row, no channels added"),
    ([1, 9, 1, 2, 5], "one column"),
    ([1, 93, 95, 10, 41], "more than 7 x 7 x 7 workgroups"),
];

/// Rows of both kernels.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for &(shape, why) in SHAPES {
        let [batch, height, width, in_channels, out_channels] = shape.map(|n| n as u32);
        let x = draw.signed((batch * height * width * in_channels) as usize);
        let y = forward(shape, &x);
        let (dy, mask) = (draw.signed(y.len()), draw.mask(y.len()));
        let dx = backward(shape, &dy, &mask);
        let kernel = Forward::new(batch, height, width, in_channels, out_channels);
        rows.push(Row::new(why, kernel).read(&x).write(y));
        let kernel = Backward::new(batch, height, width, in_channels, out_channels);
        rows.push(Row::new(why, kernel).read(&dy).read(&mask).write(dx));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::tables::inputs::assert_gradient;

    #[test]
    fn backward_is_the_gradient_of_forward() {
        let mut draw = Draw::new(2);
        let shape = [2, 5, 4, 3, 4];
        let x = draw.signed(2 * 5 * 4 * 3);
        let (dy, mask) = (draw.signed(2 * 3 * 2 * 4), draw.mask(2 * 3 * 2 * 4));
        let dx = Sum::values(&backward(shape, &dy, &mask));
        assert_gradient(&x, &dx, |x| {
            let masked = dy.iter().zip(&mask).map(|(dy, &mask)| if mask > 0.0 { *dy } else { 0.0 });
            forward(shape, x).iter().zip(masked).map(|(y, dy)| y.value * dy).sum()
        });
    }
}
