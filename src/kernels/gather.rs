//! Picks a batch out of the data set, which lies on the device as bytes, and normalises it.

use rayon::prelude::*;

use super::{element_workgroups, params, shader};
use crate::dispatch::{Bindings, Cost, Element, Kernel, bytes_of};

shader! { GATHER: "gather", family: gather, reads: 3, writes: 1, params: Gather }

params! {
    /// `images, indices, normalization -> x`: x = (byte / 255 - mean) / deviation.
    ///
    /// `images` holds bytes, four to a word, the first lowest; image `i` begins at byte `i * pixels * channels`.
    /// `normalization` holds the mean of each channel, then 1 / deviation of each.
    pub struct Gather {
        /// Images in the batch.
        batch: u32,
        /// height x width
        pixels: u32,
        /// Channels of an image.
        channels: u32,
    }
}

impl Kernel for Gather {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.batch * self.pixels * self.channels)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.batch) * f64::from(self.pixels) * f64::from(self.channels);
        Cost { flop: 3.0 * elements, terms: 1.0, loads: 4.0 * elements }
    }
    fn bytes(&self) -> Option<u64> {
        // The batch's images as bytes, and as f32.
        let elements = self.batch as usize * self.pixels as usize * self.channels as usize;
        Some(elements as u64 + bytes_of(Element::F32, elements))
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([images, indices, normalization], [x]) = bindings.values();
        let (images, indices, normalization) = (images.u32(), indices.u32(), normalization.f32());
        let (mean, inverse_deviation) = normalization.split_at(self.channels as usize);
        let tables: Vec<[f32; 256]> = mean
            .iter()
            .zip(inverse_deviation)
            .map(|(mean, inverse)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) * inverse))
            .collect();
        let image_bytes = self.pixels as usize * self.channels as usize;
        x.f32()
            .par_chunks_mut(image_bytes)
            .zip(indices)
            .for_each(|(x, &index)| normalise(images, index as usize * image_bytes, &tables, x));
    }
}

/// The image that begins at byte `start`, through the table of each channel.
fn normalise(images: &[u32], start: usize, tables: &[[f32; 256]], x: &mut [f32]) {
    for (pixel, x) in x.chunks_mut(tables.len()).enumerate() {
        for (c, (x, table)) in x.iter_mut().zip(tables).enumerate() {
            let at = start + pixel * tables.len() + c;
            let byte = images[at / 4] >> (8 * (at % 4)) & 0xff;
            *x = table[byte as usize];
        }
    }
}
