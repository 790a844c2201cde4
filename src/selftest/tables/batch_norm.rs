//! Batch normalisation: Ioffe and Szegedy 2015, in PyTorch's conventions.

use super::inputs::{Draw, SUBNORMAL, control, report};
use crate::kernels::batch_norm::*;
use crate::protocol::{CONV_CHUNK_PIXELS, UPDATE_GRADIENT, UPDATE_SKIP, UPDATE_ZERO};
use crate::selftest::row::{Row, Sum, Word};

const EPSILON: f32 = 1e-5;
/// Chunks of the statistics, which convolutions make.
const CHUNK: usize = CONV_CHUNK_PIXELS as usize;

/// Channel `c` of each pixel of `x`.
fn channel(x: &[f64], channels: usize, c: usize) -> impl Iterator<Item = f64> {
    x.iter().skip(c).step_by(channels).copied()
}

/// Mean and squared deviations of each channel of each chunk of `y`, whose numbers have errors of their own. A
/// deviation is as exact as the numbers it is between.
pub fn statistics(y: &[Sum], channels: usize) -> Vec<Sum> {
    let mut partials = vec![];
    for chunk in y.chunks(CHUNK * channels) {
        let pixels = (chunk.len() / channels) as f64;
        let column = |c| chunk.iter().skip(c).step_by(channels).copied();
        let mean = |c| Sum::of_sums(column(c)).times(1.0 / pixels);
        partials.extend((0..channels).map(mean));
        partials.extend((0..channels).map(|c| {
            let mean = mean(c);
            Sum::of_sums(column(c).map(|y| {
                let deviation = y.value - mean.value;
                let magnitude = deviation.abs() * (y.magnitude + mean.magnitude);
                Sum { value: deviation * deviation, magnitude, terms: y.terms.max(mean.terms) }
            }))
        }));
    }
    partials
}

/// Of the chunks' moments: mean and 1 / deviation, mean, unbiased variance.
fn finish(partials: &[f64], pixels: usize, channels: usize) -> [Vec<Sum>; 3] {
    let counts = || (0..pixels).step_by(CHUNK).map(|first| (pixels - first).min(CHUNK) as f64);
    let (mut means, mut rstds, mut vars) = (vec![], vec![], vec![]);
    for c in 0..channels {
        let rows = || counts().zip(partials.chunks(2 * channels));
        let mean = Sum::of(rows().map(|(count, row)| count * row[c] / pixels as f64));
        let mut m2 = Sum::of(rows().map(|(_, row)| row[channels + c]));
        for (count, row) in rows() {
            let deviation = row[c] - mean.value;
            m2.add(count * deviation * deviation);
            m2.magnitude += count * deviation.abs() * (row[c].abs() + mean.value.abs());
        }
        means.push(mean);
        vars.push(m2.times(1.0 / (pixels as f64 - 1.0)));
        rstds.push(reciprocal_deviation(m2.times(1.0 / pixels as f64)));
    }
    [[means.clone(), rstds].concat(), means, vars]
}

fn reciprocal_deviation(mut variance: Sum) -> Sum {
    variance.add(EPSILON.into());
    let rstd = 1.0 / variance.value.sqrt();
    variance.then(rstd, -0.5 * rstd / variance.value)
}

/// scale * (gamma * (x - mean) * rstd + beta)
pub fn apply(x: &[f64], norm: &[f64], scale: f64) -> Vec<Sum> {
    let channels = norm.len() / 4;
    let [mean, rstd, gamma, beta] = std::array::from_fn(|row| &norm[row * channels..][..channels]);
    let y = |i: usize| {
        let c = i % channels;
        Sum::of([scale * gamma[c] * (x[i] - mean[c]) * rstd[c], scale * beta[c]])
    };
    (0..x.len()).map(y).collect()
}

/// The gradient that reaches the batch norm, through a ReLU with output `mask` and the factor `scale`.
fn masked(dy: &[f64], mask: &[f64], scale: f64) -> Vec<f64> {
    dy.iter().zip(mask).map(|(dy, &mask)| if mask > 0.0 { scale * dy } else { 0.0 }).collect()
}

/// Sums of g and g * (x - mean) * rstd, of each channel.
pub fn gradient_sums(g: &[f64], x: &[f64], norm: &[f64]) -> Vec<Sum> {
    let channels = norm.len() / 4;
    let (mean, rstd) = norm.split_at(channels);
    let terms = |c| channel(g, channels, c).zip(channel(x, channels, c));
    let of_g = (0..channels).map(|c| Sum::of(channel(g, channels, c)));
    of_g.chain((0..channels).map(|c| Sum::of(terms(c).map(|(g, x)| g * (x - mean[c]) * rstd[c])))).collect()
}

/// Those of each chunk.
fn backward_reduce(g: &[f64], x: &[f64], norm: &[f64]) -> Vec<Sum> {
    let chunk = REDUCE_CHUNK_PIXELS as usize * norm.len() / 4;
    g.chunks(chunk).zip(x.chunks(chunk)).flat_map(|(g, x)| gradient_sums(g, x, norm)).collect()
}

/// dgamma, dbeta
fn backward_finish(partials: &[f64], channels: usize) -> [Vec<Sum>; 2] {
    let total = |c| Sum::of(channel(partials, 2 * channels, c));
    [(channels..2 * channels).map(total).collect(), (0..channels).map(total).collect()]
}

/// gamma * rstd * (g - dbeta / pixels - (x - mean) * rstd * dgamma / pixels)
fn backward_apply(g: &[f64], x: &[f64], norm: &[f64], [dgamma, dbeta]: [&[f64]; 2]) -> Vec<Sum> {
    let channels = norm.len() / 4;
    let [mean, rstd, gamma] = std::array::from_fn(|row| &norm[row * channels..][..channels]);
    let share = channels as f64 / x.len() as f64;
    let dx = |i: usize| {
        let c = i % channels;
        let terms = [g[i], -dbeta[c] * share, -(x[i] - mean[c]) * rstd[c] * dgamma[c] * share];
        Sum::of(terms).times(gamma[c] * rstd[c])
    };
    (0..x.len()).map(dx).collect()
}

/// running + momentum * (batch - running) in groups that ran, unless the report says stop.
fn commit(running: &[f64], batch: &[f64], momentum: f64, moves: impl Fn(usize) -> bool) -> Vec<Word> {
    let word = |i: usize| match moves(i / 64) {
        true => Sum::of([running[i], momentum * batch[i], -momentum * running[i]]).into(),
        false => Word::Bits((running[i] as f32).to_bits()),
    };
    (0..running.len()).map(word).collect()
}

/// (pixels, channels) of the reductions over pixels.
const REDUCTIONS: &[(usize, usize, &str)] = &[
    (1, 1, "one pixel, one channel"),
    (7, 3, "fewer pixels and channels than threads"),
    (512, 16, "one chunk and one tile of channels, both full"),
    (513, 17, "one pixel in the second chunk, one channel in the second tile"),
    (1300, 5, "three chunks, the last partial"),
    (2, 5505, "345 tiles: more than 7 x 7 x 7 workgroups"),
];

/// (pixels, channels) of what treats each element alike.
const ELEMENTS: &[(usize, usize, &str)] = &[
    (1, 1, "one element"),
    (1, 7, "a 1 x 1 image, odd channels"),
    (37, 7, "259 elements: three in the second workgroup"),
    (64, 16, "full workgroups"),
    (1259, 70, "more than 7 x 7 x 7 workgroups"),
];

/// Rows of every kernel of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for &(pixels, channels, why) in REDUCTIONS {
        rows.push(backward_reduce_row(why, &mut draw, pixels, channels));
    }
    for (pixels, channels, why) in [
        (2, 1, "the fewest pixels"),
        (64, 5, "one full chunk"),
        (65, 3, "a last chunk of one pixel"),
        (64 * 64 + 1, 2, "65 chunks: one more than lanes"),
        (40, 345, "more than 7 x 7 x 7 workgroups"),
    ] {
        rows.push(finish_row(why, &mut draw, pixels, channels, 0.0));
        rows.push(backward_finish_row(why, &mut draw, pixels.div_ceil(CHUNK), channels));
    }
    rows.push(finish_row("mean 1000, deviation 1: merging must not cancel", &mut draw, 5000, 3, 1000.0));

    for (channels, why) in [
        (1, "one channel"),
        (259, "three channels in the second workgroup"),
        (88_000, "more than 7 x 7 x 7 workgroups"),
    ] {
        rows.push(running_row(why, &mut draw, channels));
    }
    for &(pixels, channels, why) in ELEMENTS {
        let x = draw.signed(pixels * channels);
        rows.push(apply_row(why, &mut draw, x.clone(), channels, false));
        rows.push(apply_row(why, &mut draw, x.clone(), channels, true));
        rows.push(residual_row(why, &mut draw, x, channels, 0.8));
        rows.push(backward_apply_row(why, &mut draw, pixels, channels, Some(1.25)));
        rows.push(backward_apply_row(why, &mut draw, pixels, channels, None));
    }
    let broken = vec![0.5, f64::NAN, -0.5, f64::NAN, f64::NAN, 1.0];
    rows.push(apply_row("NaN, which no ReLU may hide", &mut draw, broken.clone(), 2, true));
    rows.push(residual_row("NaN, which no ReLU may hide", &mut draw, broken, 2, 1.0));
    let small = draw.signed(40 * 5);
    let small = draw.among_subnormals(small);
    rows.push(apply_row(SUBNORMAL, &mut draw, small.clone(), 5, true));
    rows.push(residual_row(SUBNORMAL, &mut draw, small, 5, 0.8));
    rows.push(constant_row(SUBNORMAL));
    for (words, report, why) in [
        (64, 0, "one granule"),
        (64 * 21 + 10, 0, "granules of every mode, the last one partial"),
        (64 * 21, 1, "a value was not finite: nothing moves"),
        (88_064, 0, "more than 7 x 7 x 7 workgroups"),
    ] {
        rows.push(commit_row(why, &mut draw, words, report));
    }
    rows
}

/// What a norm takes over as it is.
fn exactly(numbers: &[f64]) -> Vec<Word> {
    numbers.iter().map(|&number| Word::Bits((number as f32).to_bits())).collect()
}

fn finish_row(why: &'static str, draw: &mut Draw, pixels: usize, channels: usize, mean: f32) -> Row {
    let partials: Vec<f64> = (0..pixels.div_ceil(CHUNK))
        .flat_map(|_| [draw.between(mean - 1.0, mean + 1.0, channels), draw.between(0.0, 100.0, channels)].concat())
        .collect();
    let (gamma, beta) = (draw.signed(channels), draw.signed(channels));
    let [stats, mean, var] = finish(&partials, pixels, channels);
    let stats = stats.into_iter().map(Word::from).collect();
    let kernel =
        Finish { pixels: pixels as u32, channels: channels as u32, chunk_pixels: CHUNK as u32, epsilon: EPSILON };
    let row = Row::new(why, kernel).read(&partials).read(&gamma).read(&beta);
    row.write([stats, exactly(&gamma), exactly(&beta)].concat()).write(mean).write(var)
}

/// Of channels that do not vary, or by less than any normal number.
fn constant_row(why: &'static str) -> Row {
    let below = f64::from(f32::from_bits(0x0012_3456));
    let partials = [0.5, below, -below, 0.0, below, below];
    let [stats, mean, var] = finish(&partials, 40, 3);
    let (gamma, beta) = ([1.0, 0.5, below], [0.25, below, 1.0]);
    let stats = stats.into_iter().map(Word::from).collect();
    let row = Row::new(why, Finish { pixels: 40, channels: 3, chunk_pixels: CHUNK as u32, epsilon: EPSILON })
        .read(&partials[..])
        .read(&gamma[..]);
    let as_given = |numbers: [f64; 3]| numbers.map(|number| Word::from(Sum::of([number]))).to_vec();
    row.read(&beta[..]).write([stats, as_given(gamma), as_given(beta)].concat()).write(mean).write(var)
}

fn running_row(why: &'static str, draw: &mut Draw, channels: usize) -> Row {
    let (mean, var) = (draw.signed(channels), draw.between(0.0, 2.0, channels));
    let (gamma, beta) = (draw.signed(channels), draw.signed(channels));
    let rstd = var.iter().map(|&var| reciprocal_deviation(Sum::of([var])).into()).collect();
    let expected = [exactly(&mean), rstd, exactly(&gamma), exactly(&beta)].concat();
    let row = Row::new(why, Running { channels: channels as u32, epsilon: EPSILON });
    row.read(&mean).read(&var).read(&gamma).read(&beta).write(expected)
}

fn apply_row(why: &'static str, draw: &mut Draw, x: Vec<f64>, channels: usize, relu: bool) -> Row {
    let norm = draw.norm(channels);
    let y = apply(&x, &norm, 1.0);
    let y: Vec<Sum> = y.into_iter().map(|y| if relu { y.relu() } else { y }).collect();
    let kernel = Apply::new((x.len() / channels) as u32, channels as u32, relu);
    Row::new(why, kernel).read(&x).read(&norm).write(y)
}

fn residual_row(why: &'static str, draw: &mut Draw, x: Vec<f64>, channels: usize, scale: f32) -> Row {
    let norm = draw.norm(channels);
    let shortcut = draw.signed(x.len());
    let mut y = apply(&x, &norm, scale.into());
    for (y, &shortcut) in y.iter_mut().zip(&shortcut) {
        y.add(shortcut);
        *y = y.relu();
    }
    let kernel = Residual { pixels: (x.len() / channels) as u32, channels: channels as u32, scale };
    Row::new(why, kernel).read(&x).read(&norm).read(&shortcut).write(y)
}

fn backward_reduce_row(why: &'static str, draw: &mut Draw, pixels: usize, channels: usize) -> Row {
    let (dy, mask) = (draw.signed(pixels * channels), draw.mask(pixels * channels));
    let x = draw.signed(pixels * channels);
    let norm = draw.norm(channels);
    let partials = backward_reduce(&masked(&dy, &mask, 1.25), &x, &norm);
    let kernel = BackwardReduce::new(pixels as u32, channels as u32, 1.25);
    Row::new(why, kernel).read(&dy).read(&mask).read(&x).read(&norm).write(partials)
}

fn backward_finish_row(why: &'static str, draw: &mut Draw, chunks: usize, channels: usize) -> Row {
    let partials = draw.signed(partial_elements(chunks as u32, channels as u32));
    let [dgamma, dbeta] = backward_finish(&partials, channels);
    let kernel = BackwardFinish { chunks: chunks as u32, channels: channels as u32 };
    Row::new(why, kernel).read(&partials).write(dgamma).write(dbeta)
}

/// With a `scale`, behind a mask; without, of a gradient that came through the ReLU already.
fn backward_apply_row(why: &'static str, draw: &mut Draw, pixels: usize, channels: usize, scale: Option<f32>) -> Row {
    let dy = draw.signed(pixels * channels);
    let mask = scale.map(|_| draw.mask(dy.len()));
    let x = draw.signed(pixels * channels);
    let norm = draw.norm(channels);
    // Sums over the pixels: as large as those.
    let sum = (pixels as f32).sqrt();
    let [dgamma, dbeta] = [(); 2].map(|()| draw.between(-sum, sum, channels));
    let g = match (scale, &mask) {
        (Some(scale), Some(mask)) => masked(&dy, mask, scale.into()),
        _ => dy.clone(),
    };
    let dx = backward_apply(&g, &x, &norm, [&dgamma, &dbeta]);
    let kernel = BackwardApply::new(pixels as u32, channels as u32, scale.unwrap_or(1.0), scale.is_some());
    let row = Row::new(why, kernel).read(&dy).read_if_used(mask.as_deref()).read(&x).read(&norm);
    row.read(&dgamma).read(&dbeta).write(dx)
}

fn commit_row(why: &'static str, draw: &mut Draw, words: usize, stop: u32) -> Row {
    let (batch, running) = (draw.signed(words), draw.signed(words));
    let modes = [UPDATE_GRADIENT, UPDATE_ZERO, UPDATE_SKIP, UPDATE_GRADIENT];
    let group_of = draw.below(modes.len() as u32, words.div_ceil(64));
    let control = control(&modes.map(|mode| (mode, 0.0, 0.0)));
    let expected = commit(&running, &batch, 0.1f32.into(), |granule| {
        stop == 0 && modes[group_of[granule] as usize] == UPDATE_GRADIENT
    });
    let row =
        Row::new(why, Commit { elements: words as u32, momentum: 0.1 }).read(&batch).read(&group_of).read(&control);
    row.read(&report(stop)).update(&running, expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::tables::inputs::assert_gradient;

    #[test]
    fn backward_is_the_gradient_of_forward() {
        let (pixels, channels, scale) = (600, 2, 1.25);
        let mut draw = Draw::new(2);
        let x = draw.signed(pixels * channels);
        let (gamma, beta) = (draw.signed(channels), draw.signed(channels));
        let g = masked(&draw.signed(pixels * channels), &draw.mask(pixels * channels), scale);
        let norm = |x: &[f64], gamma: &[f64], beta: &[f64]| {
            let y: Vec<Sum> = x.iter().map(|&x| Sum::of([x])).collect();
            let partials = Sum::values(&statistics(&y, channels));
            [&Sum::values(&finish(&partials, pixels, channels)[0]), gamma, beta].concat()
        };
        let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| -> f64 {
            // `g` holds the scale already.
            apply(x, &norm(x, gamma, beta), 1.0).iter().zip(&g).map(|(y, g)| y.value * g).sum()
        };
        let of_x = norm(&x, &gamma, &beta);
        let [dgamma, dbeta] = backward_finish(&Sum::values(&backward_reduce(&g, &x, &of_x)), channels);
        let [dgamma, dbeta] = [Sum::values(&dgamma), Sum::values(&dbeta)];
        let dx = Sum::values(&backward_apply(&g, &x, &of_x, [&dgamma, &dbeta]));
        assert_gradient(&x, &dx, |x| loss(x, &gamma, &beta));
        assert_gradient(&gamma, &dgamma, |gamma| loss(&x, gamma, &beta));
        assert_gradient(&beta, &dbeta, |beta| loss(&x, &gamma, beta));
    }
}
