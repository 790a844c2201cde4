//! Convolution: y[n, oy, ox, o] = sum over ky, kx, i of x[n, oy s + ky - p, ox s + kx - p, i] * w[ky, kx, i, o].

use super::batch_norm::{apply, gradient_sums, statistics};
use super::inputs::{Draw, SUBNORMAL};
use crate::kernels::conv::{
    ConvShape, Forward, ForwardEpilogue, InputGradient, InputGradientEpilogue, Load, WeightGradient, WeightGradientSum,
};
use crate::protocol::CONV_CHUNK_PIXELS;
use crate::selftest::row::{Row, Sum};

/// Calls `term` with the image and the indices in y, x and w of every product of the convolution.
fn for_each_product(shape: &ConvShape, mut term: impl FnMut(usize, usize, usize, usize)) {
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

fn inputs(shape: &ConvShape) -> usize {
    (shape.in_pixels() * shape.in_channels) as usize
}

fn outputs(shape: &ConvShape) -> usize {
    (shape.out_pixels() * shape.out_channels) as usize
}

/// `x` as a convolution takes it that does not normalise.
fn plain(x: &[f64]) -> Vec<Sum> {
    x.iter().map(|&x| Sum { value: x, magnitude: x.abs(), terms: 0.0 }).collect()
}

/// `x` through a norm and a ReLU.
fn rectified(x: &[f64], norm: &[f64]) -> Vec<Sum> {
    apply(x, norm, 1.0).into_iter().map(Sum::relu).collect()
}

/// scale * norm(y), where `y` has errors of its own.
fn normalized(y: &[Sum], norm: &[f64], scale: f64) -> Vec<Sum> {
    let channels = norm.len() / 4;
    let pass = |(i, mut y): (usize, Sum)| {
        let [mean, rstd, gamma, beta] = std::array::from_fn(|row| norm[row * channels + i % channels]);
        y.add(-mean);
        y = y.times(scale * gamma * rstd);
        y.add(scale * beta);
        y
    };
    y.iter().copied().enumerate().map(pass).collect()
}

/// One more product in a sum, where `x` has errors of its own.
fn add_product(sum: &mut Sum, x: Sum, factor: f64) {
    let terms = sum.terms.max(x.terms) + 1.0;
    *sum = Sum { terms, ..sum.plus(x.times(factor)) };
}

fn forward(shape: &ConvShape, x: &[Sum], w: &[f64]) -> Vec<Sum> {
    let mut y = vec![Sum::default(); outputs(shape)];
    for_each_product(shape, |_, yi, xi, wi| add_product(&mut y[yi], x[xi], w[wi]));
    y
}

fn input_gradient(shape: &ConvShape, dy: &[f64], w: &[f64]) -> Vec<Sum> {
    let mut dx = vec![Sum::default(); inputs(shape)];
    for_each_product(shape, |_, yi, xi, wi| dx[xi].add(dy[yi] * w[wi]));
    dx
}

/// A gradient of w for every `images` images.
fn weight_gradient(shape: &ConvShape, images: usize, x: &[Sum], dy: &[f64]) -> Vec<Sum> {
    let words = shape.weight_elements();
    let mut dw = vec![Sum::default(); words * (shape.batch as usize).div_ceil(images)];
    for_each_product(shape, |n, yi, xi, wi| add_product(&mut dw[n / images * words + wi], x[xi], dy[yi]));
    dw
}

/// The pixels of the input in the rows of each chunk: phase after phase of the stride, each as large as the largest.
fn chunks_of_input(shape: &ConvShape) -> Vec<Vec<usize>> {
    let mut chunks = vec![];
    let (rows, columns) = (shape.height.div_ceil(shape.stride), shape.width.div_ceil(shape.stride));
    for (phase_y, phase_x) in pixels(shape.stride, shape.stride) {
        let images = (0..shape.batch).flat_map(|n| pixels(rows, columns).map(move |(y, x)| (n, y, x)));
        let images: Vec<_> = images.collect();
        for chunk in images.chunks(CONV_CHUNK_PIXELS as usize) {
            let at = |&(n, y, x)| (n, y * shape.stride + phase_y, x * shape.stride + phase_x);
            let inside = chunk.iter().map(at).filter(|&(_, y, x)| y < shape.height && x < shape.width);
            chunks.push(inside.map(|(n, y, x)| ((n * shape.height + y) * shape.width + x) as usize).collect());
        }
    }
    chunks
}

fn weight_gradient_sum(partials: &[f64], words: usize) -> Vec<Sum> {
    (0..words).map(|i| Sum::of(partials.iter().skip(i).step_by(words).copied())).collect()
}

const fn shape(
    batch: u32,
    image: [u32; 2],
    channels: [u32; 2],
    kernel: [u32; 2],
    stride: u32,
    padding: u32,
) -> ConvShape {
    let ([height, width], [in_channels, out_channels], [kernel_height, kernel_width]) = (image, channels, kernel);
    ConvShape { batch, height, width, in_channels, out_channels, kernel_height, kernel_width, stride, padding }
}

/// Batch, image, channels, kernel, stride, padding.
const SHAPES: &[(ConvShape, &str)] = &[
    (shape(1, [1, 1], [1, 1], [1, 1], 1, 0), "one product"),
    (shape(1, [1, 1], [8, 8], [1, 1], 1, 0), "one pixel through the pointwise path"),
    (shape(1, [1, 1], [5, 3], [3, 3], 1, 1), "one pixel: every other tap in the padding"),
    (shape(1, [7, 5], [3, 4], [3, 3], 2, 1), "odd size, stride 2: the window hangs over the edge"),
    (shape(2, [28, 28], [1, 8], [7, 7], 2, 3), "ResNet's stem on MNIST: one input channel"),
    (shape(2, [8, 8], [16, 16], [3, 3], 1, 1), "a block of ResNet-20: full tiles of 16 channels"),
    (shape(2, [9, 9], [20, 68], [3, 3], 1, 1), "words of four channels, columns more than 64"),
    (shape(2, [7, 6], [68, 20], [3, 3], 2, 1), "words of four channels, stride 2, in channels more than 64"),
    (shape(3, [6, 5], [8, 40], [3, 3], 1, 1), "words of four channels, a depth that ends within a tile"),
    (shape(3, [6, 5], [40, 8], [2, 2], 3, 0), "words of four channels, phases without a tap"),
    (shape(3, [5, 6], [17, 33], [3, 3], 1, 1), "channels one more than 16 and 32"),
    (shape(2, [6, 5], [33, 17], [3, 3], 2, 1), "stride 2, channels one more than 32 and 16"),
    (shape(2, [9, 9], [8, 70], [1, 1], 2, 0), "a projection: pixels that no window sees, channels more than 64"),
    (shape(1, [4, 4], [70, 9], [3, 3], 1, 1), "in channels more than 64"),
    (shape(5, [5, 5], [20, 65], [1, 1], 1, 0), "pointwise, one column in the second tile"),
    (shape(5, [5, 5], [65, 20], [1, 1], 1, 0), "pointwise, in channels one more than 64"),
    (shape(3, [3, 7], [30, 31], [1, 1], 1, 0), "pointwise, tiles of 32 channels"),
    (shape(1, [7, 5], [37, 35], [1, 1], 1, 0), "pointwise, channels more than 32"),
    (shape(5, [6, 5], [20, 68], [1, 1], 1, 0), "pointwise, words of four channels, columns more than 64"),
    (shape(5, [5, 5], [68, 20], [1, 1], 1, 0), "pointwise, words of four channels, in channels more than 64"),
    (shape(1, [9, 5], [12, 36], [1, 1], 1, 0), "pointwise, words of four channels, columns more than 32"),
    (shape(1, [9, 5], [36, 12], [1, 1], 1, 0), "pointwise, words of four channels, in channels more than 32"),
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
    // The next four the twins convolve by Winograd's method; the three after lie just beyond where that pays.
    (shape(22, [7, 7], [16, 16], [3, 3], 1, 1), "tiles of 4 x 4 over the edge; eight splits, the last of one image"),
    (shape(9, [11, 12], [17, 16], [3, 3], 1, 1), "tiles of 4 x 4, one input channel beyond a line"),
    (shape(4, [17, 18], [20, 18], [3, 3], 1, 1), "tiles of 4 x 4, one row and two columns in the last"),
    (shape(1, [33, 32], [16, 48], [3, 3], 1, 1), "tiles of 4 x 4: one image, one split, three times 16 channels"),
    (shape(4, [15, 18], [20, 18], [3, 3], 1, 2), "padding 2: corners that one tap reaches"),
    (shape(9, [13, 14], [17, 16], [3, 3], 1, 0), "no padding: pixels that one tap reaches"),
    (shape(65, [4, 4], [33, 16], [3, 3], 1, 1), "many small images"),
];

/// Rows of every kernel of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    let residual = ForwardEpilogue::Residual { scale: 0.7 };
    let epilogues = [ForwardEpilogue::Normalize, ForwardEpilogue::NormalizeRectify, residual].into_iter().cycle();
    for (index, ((shape, why), forward_epilogue)) in SHAPES.iter().zip(epilogues).enumerate() {
        // Small products share the depth, large ones don't; here each shape has both ways in some of its rows.
        let parts = |row: usize| [1, 4][(index + row) % 2];
        let (x, w, dy) =
            (draw.signed(inputs(shape)), draw.signed(shape.weight_elements()), draw.signed(outputs(shape)));
        let norm = draw.norm(shape.in_channels as usize);
        rows.push(forward_row(why, shape, parts(0), &x, &w));
        rows.push(normalized_forward_row(why, shape, parts(1), &x, &w, &norm));
        rows.push(inference_row(why, &mut draw, shape, forward_epilogue, parts(1), &x, &w));
        for (row, epilogue) in
            [InputGradientEpilogue::Plain, InputGradientEpilogue::Add, InputGradientEpilogue::AddMasked]
                .into_iter()
                .enumerate()
        {
            rows.push(input_gradient_row(why, &mut draw, shape, epilogue, parts(row), &dy, &w));
        }
        rows.push(rectified_input_gradient_row(why, shape, parts(1), &dy, &w, &x, &norm));
        let images = shape.images_per_split() as usize;
        let row = |load, parts, norm: Option<&[f64]>, x: &[Sum], read: &[f64]| {
            let partials = weight_gradient(shape, images, x, &dy);
            let kernel = WeightGradient::new(shape, load).with_split_k(parts);
            Row::new(why, kernel).read(read).read(&dy).read_if_used(norm).write(partials)
        };
        rows.push(row(Load::Plain, parts(0), None, &plain(&x), &x));
        rows.push(row(Load::Normalized, parts(1), Some(&norm), &rectified(&x, &norm), &x));
        let partials = draw.signed(shape.partial_elements());
        let dw = weight_gradient_sum(&partials, shape.weight_elements());
        rows.push(Row::new(why, WeightGradientSum::new(shape)).read(&partials).write(dw));
    }
    let pointwise = |pixels: u32, channels: u32| shape(1, [1, pixels], [channels; 2], [1, 1], 1, 0);
    let far = draw.between(998.27, 1001.73, 1100);
    let why = "mean 1000, deviation 1: E[y^2] - E[y]^2 would cancel";
    rows.push(forward_row(why, &pointwise(1100, 1), 1, &far, &[1.0]));
    let dead: Vec<f64> = (0..140).flat_map(|_| [0.0, draw.signed(1)[0]]).collect();
    let identity = [1.0, 0.0, 0.0, 1.0];
    rows.push(forward_row("a dead channel: its variance is exactly 0", &pointwise(140, 2), 1, &dead, &identity));
    let why = "NaN, which no ReLU may hide";
    let (broken, norm) = (vec![0.5, f64::NAN, -0.5], draw.norm(1));
    rows.push(normalized_forward_row(why, &pointwise(3, 1), 1, &broken, &[1.0], &norm));
    rows.push(inference_row(why, &mut draw, &pointwise(3, 1), ForwardEpilogue::NormalizeRectify, 1, &broken, &[1.0]));
    for &size in &[[5, 6], [12, 14]] {
        let shape = shape(2, size, [16, 16], [3, 3], 1, 1);
        let (x, w) = (draw.signed(inputs(&shape)), draw.signed(shape.weight_elements()));
        let (x, w) = (draw.among_subnormals(x), draw.among_subnormals(w));
        rows.push(inference_row(SUBNORMAL, &mut draw, &shape, ForwardEpilogue::Residual { scale: 0.7 }, 1, &x, &w));
        rows.push(input_gradient_row(SUBNORMAL, &mut draw, &shape, InputGradientEpilogue::Add, 4, &x, &w));
    }
    rows
}

fn forward_row(why: &'static str, shape: &ConvShape, split_k: u32, x: &[f64], w: &[f64]) -> Row {
    let kernel = Forward::training(shape, Load::Plain).with_split_k(split_k);
    let row = Row::new(why, kernel).read(x).read(w);
    training_row(row.unused_read(), shape, forward(shape, &plain(x), w))
}

fn normalized_forward_row(
    why: &'static str,
    shape: &ConvShape,
    split_k: u32,
    x: &[f64],
    w: &[f64],
    norm: &[f64],
) -> Row {
    let kernel = Forward::training(shape, Load::Normalized).with_split_k(split_k);
    let row = Row::new(why, kernel).read(x).read(w).read(norm);
    training_row(row, shape, forward(shape, &rectified(x, norm), w))
}

/// `row` without a shortcut, with `y` and its statistics to be written.
fn training_row(row: Row, shape: &ConvShape, y: Vec<Sum>) -> Row {
    let statistics = statistics(&y, shape.out_channels as usize);
    row.unused_read().write(y).write(statistics)
}

/// Makes no statistics.
fn inference_row(
    why: &'static str,
    draw: &mut Draw,
    shape: &ConvShape,
    epilogue: ForwardEpilogue,
    split_k: u32,
    x: &[f64],
    w: &[f64],
) -> Row {
    let norm = draw.norm(shape.out_channels as usize);
    let (scale, shortcut) = match epilogue {
        ForwardEpilogue::Residual { scale } => (scale, Some(draw.signed(outputs(shape)))),
        _ => (1.0, None),
    };
    let mut y = normalized(&forward(shape, &plain(x), w), &norm, scale.into());
    if let Some(shortcut) = &shortcut {
        y.iter_mut().zip(shortcut).for_each(|(y, shortcut)| y.add(*shortcut));
    }
    if epilogue.is_non_negative() {
        y = y.into_iter().map(Sum::relu).collect();
    }
    let kernel = Forward::inference(shape, epilogue).with_split_k(split_k);
    let row = Row::new(why, kernel).read(x).read(w).read(&norm).read_if_used(shortcut.as_deref());
    row.write(y).unused_write()
}

fn input_gradient_row(
    why: &'static str,
    draw: &mut Draw,
    shape: &ConvShape,
    epilogue: InputGradientEpilogue,
    split_k: u32,
    dy: &[f64],
    w: &[f64],
) -> Row {
    let mut dx = input_gradient(shape, dy, w);
    let (added, mask) = match epilogue {
        InputGradientEpilogue::Add => (Some(draw.signed(dx.len())), None),
        InputGradientEpilogue::AddMasked => (Some(draw.signed(dx.len())), Some(draw.mask(dx.len()))),
        _ => (None, None),
    };
    for (i, added) in added.iter().flatten().enumerate() {
        if mask.as_ref().is_none_or(|mask| mask[i] > 0.0) {
            dx[i].add(*added);
        }
    }
    let kernel = InputGradient::new(shape, epilogue).with_split_k(split_k);
    let row = Row::new(why, kernel).read(dy).read(w);
    let row = row.read_if_used(added.as_deref()).read_if_used(mask.as_deref());
    row.unused_read().unused_read().write(dx).unused_write()
}

fn rectified_input_gradient_row(
    why: &'static str,
    shape: &ConvShape,
    split_k: u32,
    dy: &[f64],
    w: &[f64],
    x: &[f64],
    norm: &[f64],
) -> Row {
    let mut dx = input_gradient(shape, dy, w);
    for (dx, y) in dx.iter_mut().zip(rectified(x, norm)) {
        if y.value <= 0.0 {
            *dx = Sum::default();
        }
    }
    let channels = shape.in_channels as usize;
    let mut partials = vec![];
    for chunk in chunks_of_input(shape) {
        let words: Vec<usize> = chunk.iter().flat_map(|pixel| pixel * channels..(pixel + 1) * channels).collect();
        let of = |numbers: &[f64]| -> Vec<f64> { words.iter().map(|&word| numbers[word]).collect() };
        let sums = gradient_sums(&of(&Sum::values(&dx)), &of(x), norm);
        // As gradient_sums takes the gradients for exact, their own errors are added.
        partials.extend(sums.into_iter().enumerate().map(|(i, sum)| {
            let column = words.iter().skip(i % channels).step_by(channels);
            let xhat = |word: usize| match i < channels {
                true => 1.0,
                false => (x[word].abs() + norm[i % channels].abs()) * norm[channels + i % channels],
            };
            let errors = Sum::of_sums(column.map(|&word| dx[word].times(xhat(word))));
            Sum { value: sum.value, magnitude: sum.magnitude + errors.magnitude, terms: sum.terms + errors.terms }
        }));
    }
    let kernel = InputGradient::new(shape, InputGradientEpilogue::Rectify).with_split_k(split_k);
    let row = Row::new(why, kernel).read(dy).read(w);
    let row = row.unused_read().unused_read().read(x).read(norm);
    row.write(dx).write(partials)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dispatch::Kernel;
    use crate::selftest::tables::inputs::assert_gradient;

    #[test]
    fn gradients_are_those_of_forward() {
        let mut draw = Draw::new(2);
        for (shape, _) in SHAPES.iter().filter(|(shape, _)| inputs(shape).max(shape.weight_elements()) < 500) {
            let (x, w, dy) =
                (draw.signed(inputs(shape)), draw.signed(shape.weight_elements()), draw.signed(outputs(shape)));
            let loss =
                |x: &[f64], w: &[f64]| forward(shape, &plain(x), w).iter().zip(&dy).map(|(y, dy)| y.value * dy).sum();
            assert_gradient(&x, &Sum::values(&input_gradient(shape, &dy, &w)), |x| loss(x, &w));
            let dw = weight_gradient(shape, shape.batch as usize, &plain(&x), &dy);
            assert_gradient(&w, &Sum::values(&dw), |w| loss(&x, w));
        }
    }

    /// The variants that any channels and kernel can ask for are those that the tables run.
    #[test]
    fn every_variant_is_in_the_tables() {
        let variants = |kernel: &dyn Kernel| -> Vec<String> {
            let name = kernel.shader().name;
            let variants = kernel.variants().into_iter();
            variants.map(|variant| format!("{name} {:?} {:?}", variant.imports, variant.constants)).collect()
        };
        let tables: BTreeSet<String> = rows().iter().flat_map(|row| variants(row.kernel.as_ref())).collect();
        for (kernel, padding) in [(1, 0), (3, 1)] {
            for (i, o) in pixels(100, 100) {
                let shape = shape(2, [8, 8], [i + 1, o + 1], [kernel; 2], 1, padding);
                for split_k in [1, 4] {
                    let kernels: [&dyn Kernel; 3] = [
                        &Forward::training(&shape, Load::Plain).with_split_k(split_k),
                        &InputGradient::new(&shape, InputGradientEpilogue::Plain).with_split_k(split_k),
                        &WeightGradient::new(&shape, Load::Plain).with_split_k(split_k),
                    ];
                    for variant in kernels.into_iter().flat_map(variants) {
                        assert!(tables.contains(&variant), "no row runs {variant}");
                    }
                }
            }
        }
    }
}
