//! A batch picked from the data set's bytes and normalised: (byte / 255 - mean) / deviation.

use super::inputs::Draw;
use crate::kernels::gather::Gather;
use crate::selftest::row::{Row, Sum};

/// Of each picked image's bytes, `size` per image.
fn gather(bytes: &[u8], indices: &[u32], size: usize, mean: &[f64], inverse_deviation: &[f64]) -> Vec<Sum> {
    let picked = indices.iter().flat_map(|&index| &bytes[index as usize * size..][..size]);
    let normalised = |(i, &byte): (usize, &u8)| {
        let c = i % mean.len();
        Sum::of([f64::from(byte) / 255.0, -mean[c]]).times(inverse_deviation[c])
    };
    picked.enumerate().map(normalised).collect()
}

/// Rows of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    //   images, batch, pixels, channels
    for (images, batch, pixels, channels, why) in [
        (1, 1, 1, 1, "one byte"),
        (5, 3, 49, 3, "147 bytes an image: they begin anywhere in a word"),
        (7, 4, 784, 1, "MNIST"),
        (3, 9, 1024, 3, "CIFAR, images picked more than once"),
        (400, 400, 221, 1, "more than 7 x 7 x 7 workgroups"),
    ] {
        let size = pixels * channels;
        let bytes: Vec<u8> = draw.below(256, images * size).into_iter().map(|byte| byte as u8).collect();
        let words: Vec<u32> =
            bytes.chunks(4).map(|four| four.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))).collect();
        let mut indices = draw.below(images as u32, batch);
        // The last byte of all.
        indices[0] = images as u32 - 1;
        let (mean, inverse_deviation) = (draw.between(0.1, 0.6, channels), draw.between(2.0, 5.0, channels));
        let x = gather(&bytes, &indices, size, &mean, &inverse_deviation);
        let normalization = [mean, inverse_deviation].concat();
        let kernel = Gather { batch: batch as u32, pixels: pixels as u32, channels: channels as u32 };
        rows.push(Row::new(why, kernel).read(&words).read(&indices).read(&normalization).write(x));
    }
    rows
}
