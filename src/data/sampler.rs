//! Which images go into which batch. All of it is a function of the seed and the step, so a run that is resumed at a
//! step goes on as if it had never stopped.

use super::DataError;
use crate::rng::{self, Stream};

/// The training images in two parts, each in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Images to learn from; at least one.
    pub train: Vec<u32>,
    /// Images held out.
    pub validation: Vec<u32>,
}

/// Holds `validation` of `count` images out, drawn at random. With the same seed, a larger choice contains a smaller
/// one.
pub fn split(count: usize, validation: usize, seed: u64) -> Result<Split, DataError> {
    if validation >= count {
        return Err(DataError::NothingToTrainOn { validation, count });
    }
    let mut validation_first = rng::permutation(seed, Stream::Validation, 0, count);
    let mut train = validation_first.split_off(validation);
    validation_first.sort_unstable();
    train.sort_unstable();
    Ok(Split { train, validation: validation_first })
}

/// Draws the training batches.
///
/// Each epoch takes every image at most once, in an order of its own, and leaves out what is too little for a whole
/// batch.
#[derive(Clone, Debug)]
pub struct Sampler {
    indices: Vec<u32>,
    batch: usize,
    shuffle: bool,
    seed: u64,
    /// `indices` in the order of the epoch `ordered`.
    order: Vec<u32>,
    ordered: Option<u64>,
}

impl Sampler {
    /// Batches of `batch` of the `indices`; without `shuffle` every epoch takes them as they are.
    pub fn new(indices: Vec<u32>, batch: usize, shuffle: bool, seed: u64) -> Result<Self, DataError> {
        if !(1..=indices.len()).contains(&batch) {
            return Err(DataError::BatchSize { batch, count: indices.len() });
        }
        Ok(Self { order: indices.clone(), indices, batch, shuffle, seed, ordered: None })
    }

    /// Whole batches in an epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        (self.indices.len() / self.batch) as u64
    }

    /// The epoch that `step` belongs to; both count from 0.
    pub fn epoch(&self, step: u64) -> u64 {
        step / self.batches_per_epoch()
    }

    /// The images of `step`. Steps may come in any order; those of one epoch in a row share one shuffle.
    pub fn batch(&mut self, step: u64) -> &[u32] {
        let epoch = self.epoch(step);
        if self.shuffle && self.ordered != Some(epoch) {
            let places = rng::permutation(self.seed, Stream::Shuffle, epoch as u32, self.indices.len());
            for (slot, place) in self.order.iter_mut().zip(places) {
                *slot = self.indices[place as usize];
            }
            self.ordered = Some(epoch);
        }
        let number = (step % self.batches_per_epoch()) as usize;
        &self.order[number * self.batch..][..self.batch]
    }
}

/// `batch` of `count` images (all of them, if there are fewer), each at most once: the notebook's test batch of `step`.
///
/// The first steps of Fisher and Yates' shuffle.
pub fn random_batch(count: usize, batch: usize, seed: u64, step: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    let batch = batch.min(count);
    for place in 0..batch {
        order.swap(place, place + rng::below(seed, Stream::TestBatch, step as u32, place as u32, count - place));
    }
    order.truncate(batch);
    order
}

/// A batch of evaluation, always full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationBatch {
    /// The images; behind the valid ones, the first image of the whole list again and again.
    pub indices: Vec<u32>,
    /// How many of them count.
    pub valid: usize,
}

/// Batches of `batch` (at least 1) that cover every one of the `indices` once, in order.
pub fn evaluation_batches(indices: &[u32], batch: usize) -> impl ExactSizeIterator<Item = EvaluationBatch> {
    indices.chunks(batch).map(move |chunk| {
        let mut padded = chunk.to_vec();
        padded.resize(batch, indices[0]);
        EvaluationBatch { indices: padded, valid: chunk.len() }
    })
}
