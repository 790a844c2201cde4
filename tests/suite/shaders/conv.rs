//! Convolution: y[n, oy, ox, o] = sum over ky, kx, i of x[n, oy s + ky - p, ox s + kx - p, i] * w[ky, kx, i, o].

use std::collections::BTreeSet;

use sdgpu::dispatch::Kernel;
use sdgpu::kernels::conv::{Addend, Forward, InputGradient, Shape, WeightGradient, WeightGradientSum};

use super::{Draw, Row, Sum, assert_gradient};

/// Calls `term` with the image and the indices in y, x and w of every product of the convolution.
fn for_each_product(shape: &Shape, mut term: impl FnMut(usize, usize, usize, usize)) {
    for n in 0..shape.batch {
        for (oy, ox) in pixels(shape.out_height(), shape.out_width()) {
            for (ky, kx) in pixels(shape.kernel_height, shape.kernel_width) {
                // Counted in the padded image.
                let (y, x) = (oy * shape.stride + ky, ox * shape.stride + kx);
                let inside = |at: u32, size| (shape.padding..shape.padding + size).contains(&at);
                if inside(y, shape.height) && inside(x, shape.width) {
                    let pixel = (n * shape.height + y - shape.padding) * shape.width + x - shape.padding;
                    let out_pixel = (n * shape.out_height() + oy) * shape.out_width() + ox;
                    let tap = ky * shape.kernel_width + kx;
                    for i in 0..shape.in_channels {
                        for o in 0..shape.out_channels {
                            let (x, y) = (pixel * shape.in_channels + i, out_pixel * shape.out_channels + o);
                            let w = (tap * shape.in_channels + i) * shape.out_channels + o;
                            term(n as usize, y as usize, x as usize, w as usize);
                        }
                    }
                }
            }
        }
    }
}

fn pixels(height: u32, width: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..height).flat_map(move |y| (0..width).map(move |x| (y, x)))
}

fn inputs(shape: &Shape) -> usize {
    (shape.in_pixels() * shape.in_channels) as usize
}

fn outputs(shape: &Shape) -> usize {
    (shape.out_pixels() * shape.out_channels) as usize
}

fn forward(shape: &Shape, x: &[f64], w: &[f64]) -> Vec<Sum> {
    let mut y = vec![Sum::default(); outputs(shape)];
    for_each_product(shape, |_, yi, xi, wi| y[yi].add(x[xi] * w[wi]));
    y
}

fn input_gradient(shape: &Shape, dy: &[f64], w: &[f64]) -> Vec<Sum> {
    let mut dx = vec![Sum::default(); inputs(shape)];
    for_each_product(shape, |_, yi, xi, wi| dx[xi].add(dy[yi] * w[wi]));
    dx
}

/// A gradient of w for every `images` images.
fn weight_gradient(shape: &Shape, images: usize, x: &[f64], dy: &[f64]) -> Vec<Sum> {
    let words = shape.weight_words();
    let mut dw = vec![Sum::default(); words * (shape.batch as usize).div_ceil(images)];
    for_each_product(shape, |n, yi, xi, wi| dw[n / images * words + wi].add(x[xi] * dy[yi]));
    dw
}

fn weight_gradient_sum(partials: &[f64], words: usize) -> Vec<Sum> {
    (0..words).map(|i| Sum::of(partials.iter().skip(i).step_by(words).copied())).collect()
}

const fn shape(batch: u32, image: [u32; 2], channels: [u32; 2], kernel: [u32; 2], stride: u32, padding: u32) -> Shape {
    let ([height, width], [in_channels, out_channels], [kernel_height, kernel_width]) = (image, channels, kernel);
    Shape { batch, height, width, in_channels, out_channels, kernel_height, kernel_width, stride, padding }
}

/// Batch, image, channels, kernel, stride, padding.
const SHAPES: &[(Shape, &str)] = &[
    (shape(1, [1, 1], [1, 1], [1, 1], 1, 0), "one product"),
    (shape(1, [1, 1], [8, 8], [1, 1], 1, 0), "one pixel through the pointwise path"),
    (shape(1, [1, 1], [5, 3], [3, 3], 1, 1), "one pixel: every other tap in the padding"),
    (shape(1, [7, 5], [3, 4], [3, 3], 2, 1), "odd size, stride 2: the window hangs over the edge"),
    (shape(2, [28, 28], [1, 8], [7, 7], 2, 3), "ResNet's stem on MNIST: one input channel"),
    (shape(2, [8, 8], [16, 16], [3, 3], 1, 1), "a block of ResNet-20: full tiles of 16 channels"),
    (shape(3, [5, 6], [17, 33], [3, 3], 1, 1), "channels one more than 16 and 32"),
    (shape(2, [6, 5], [33, 17], [3, 3], 2, 1), "stride 2, channels one more than 32 and 16"),
    (shape(2, [9, 9], [8, 70], [1, 1], 2, 0), "a projection: pixels that no window sees, channels more than 64"),
    (shape(1, [4, 4], [70, 9], [3, 3], 1, 1), "in channels more than 64"),
    (shape(5, [5, 5], [20, 65], [1, 1], 1, 0), "pointwise, one column in the second tile"),
    (shape(5, [5, 5], [65, 20], [1, 1], 1, 0), "pointwise, in channels one more than 64"),
    (shape(3, [3, 7], [30, 31], [1, 1], 1, 0), "pointwise, tiles of 32 channels"),
    (shape(3, [8, 8], [4, 4], [1, 1], 1, 0), "pointwise, rows a multiple of the tile"),
    (shape(1, [6, 7], [2, 3], [1, 3], 1, 1), "kernel wider than high"),
    (shape(1, [7, 6], [2, 3], [4, 2], 2, 1), "kernel higher than wide, even sizes"),
    (shape(2, [5, 5], [3, 5], [2, 2], 2, 0), "a last row and column that no window sees"),
    (shape(1, [10, 11], [2, 2], [3, 3], 3, 1), "stride 3"),
    (shape(1, [7, 7], [2, 2], [2, 2], 3, 1), "stride larger than the kernel"),
    (shape(1, [8, 8], [3, 3], [5, 5], 1, 2), "5 x 5"),
    (shape(2, [3, 3], [2, 3], [3, 3], 1, 2), "padding beyond the kernel's half"),
    (shape(1, [3, 3], [300, 5], [3, 3], 1, 1), "sums of 2700 products"),
    (shape(1, [148, 149], [1, 1], [1, 1], 1, 0), "pointwise, more than 7 x 7 x 7 workgroups"),
    (shape(1, [148, 149], [1, 1], [1, 2], 1, 0), "more than 7 x 7 x 7 workgroups"),
    (shape(11, [16, 16], [2, 3], [3, 3], 1, 1), "three splits of the weight gradient, the last of three images"),
    (shape(3, [32, 33], [2, 3], [1, 1], 1, 0), "pointwise, a split for each image"),
];

/// Rows of every kernel of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for (shape, why) in SHAPES {
        let (x, w, dy) = (draw.signed(inputs(shape)), draw.signed(shape.weight_words()), draw.signed(outputs(shape)));
        rows.push(Row::new(why, Forward::new(shape)).read(&x).read(&w).write(forward(shape, &x, &w)));
        for addend in [Addend::None, Addend::Plain, Addend::Masked] {
            rows.push(input_gradient_row(why, &mut draw, shape, addend, &dy, &w));
        }
        let partials = weight_gradient(shape, shape.images_per_split() as usize, &x, &dy);
        rows.push(Row::new(why, WeightGradient::new(shape)).read(&x).read(&dy).write(partials));
        let partials = draw.signed(shape.partial_words());
        let dw = weight_gradient_sum(&partials, shape.weight_words());
        rows.push(Row::new(why, WeightGradientSum::new(shape)).read(&partials).write(dw));
    }
    rows
}

fn input_gradient_row(
    why: &'static str,
    draw: &mut Draw,
    shape: &Shape,
    addend: Addend,
    dy: &[f64],
    w: &[f64],
) -> Row {
    let mut dx = input_gradient(shape, dy, w);
    // What is not used must not be read.
    let unused = vec![f64::NAN; dx.len()];
    let (added, mask) = match addend {
        Addend::None => (unused.clone(), unused),
        Addend::Plain => (draw.signed(dx.len()), unused),
        Addend::Masked => (draw.signed(dx.len()), draw.mask(dx.len())),
    };
    for i in 0..dx.len() {
        match addend {
            Addend::Plain => dx[i].add(added[i]),
            Addend::Masked if mask[i] > 0.0 => dx[i].add(added[i]),
            _ => {}
        }
    }
    Row::new(why, InputGradient::new(shape, addend)).read(dy).read(w).read(&added).read(&mask).write(dx)
}

#[test]
fn gradients_are_those_of_forward() {
    let mut draw = Draw::new(2);
    for (shape, _) in SHAPES.iter().filter(|(shape, _)| inputs(shape).max(shape.weight_words()) < 500) {
        let (x, w, dy) = (draw.signed(inputs(shape)), draw.signed(shape.weight_words()), draw.signed(outputs(shape)));
        let loss = |x: &[f64], w: &[f64]| forward(shape, x, w).iter().zip(&dy).map(|(y, dy)| y.value * dy).sum();
        assert_gradient(&x, &Sum::values(&input_gradient(shape, &dy, &w)), |x| loss(x, &w));
        let dw = weight_gradient(shape, shape.batch as usize, &x, &dy);
        assert_gradient(&w, &Sum::values(&dw), |w| loss(&x, w));
    }
}

/// The override constants that any channels and kernel can ask for are those that the tables run.
#[test]
fn every_variant_is_in_the_tables() {
    let variant = |kernel: &dyn Kernel| format!("{} {:?}", kernel.shader().name, kernel.overrides());
    let tables: BTreeSet<String> = rows().iter().map(|row| variant(row.kernel.as_ref())).collect();
    for (kernel, padding) in [(1, 0), (3, 1)] {
        for (i, o) in pixels(100, 100) {
            let shape = shape(2, [8, 8], [i + 1, o + 1], [kernel; 2], 1, padding);
            for variant in [
                variant(&Forward::new(&shape)),
                variant(&InputGradient::new(&shape, Addend::None)),
                variant(&WeightGradient::new(&shape)),
            ] {
                assert!(tables.contains(&variant), "no row runs {variant}");
            }
        }
    }
}
