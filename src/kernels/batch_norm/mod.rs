//! Batch normalisation over NHWC activations: training and inference, forward and backward.
//!
//! Ioffe and Szegedy 2015, with PyTorch's conventions: the batch is normalised with its biased
//! variance, the running variance is unbiased, and `momentum` is the weight of the new batch.
//!
//! The statistics of a batch come from the convolution that makes it: (mean, sum of squared
//! deviations) of fixed chunks of pixels, merged here by Chan's formula. The chunks depend on the
//! tensor's shape alone, so results do too. What a norm does to its input is one value, the *norm*:
//! `[4, channels]`, mean, 1 / deviation, gamma and beta. Convolutions that follow apply it as they
//! load, with a ReLU; where the result is needed itself, `Apply` and `Residual` write it.

mod backward;
mod commit;
mod forward;
mod moments;
mod norm;

pub(super) use backward::{BACKWARD_APPLY, BACKWARD_FINISH, BACKWARD_REDUCE, gradient_sums};
pub use backward::{BackwardApply, BackwardFinish, BackwardReduce, REDUCE_CHUNK_PIXELS, reduce_chunks};
pub(super) use commit::COMMIT;
pub use commit::Commit;
pub(super) use forward::{APPLY, RESIDUAL, apply};
pub use forward::{Apply, Residual};
pub(super) use moments::{chunk_moments, merge_moments};
pub(super) use norm::{FINISH, Norm, RUNNING};
pub use norm::{Finish, Running};

/// Elements of the partial sums of `chunks` x `channels`: two per chunk and channel.
pub fn partial_elements(chunks: u32, channels: u32) -> usize {
    2 * chunks as usize * channels as usize
}

/// Elements of a norm over `channels`.
pub fn norm_elements(channels: u32) -> usize {
    4 * channels as usize
}
