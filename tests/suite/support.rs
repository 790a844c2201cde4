//! Options that tests of whole nets share.

use sdgpu::TrainOptions;
use sdgpu::internals::model::survival::Rule;

/// Returns `options` as `change` leaves them.
pub fn with(mut options: TrainOptions, change: impl FnOnce(&mut TrainOptions)) -> TrainOptions {
    change(&mut options);
    options
}

/// Returns settings for a small net: batches of `batch` images, evaluations of `eval_batch`, Adam,
/// and every block surviving with the probability `survival`.
pub fn options(batch: u32, eval_batch: u32, survival: f64) -> TrainOptions {
    with(TrainOptions::default(), |options| {
        (options.batch_size, options.eval_batch, options.seed) = (batch, eval_batch, 0);
        (options.survival, options.survival_last) = (Rule::Uniform, survival);
        (options.validation, options.label_smoothing) = (0, 0.0);
    })
}
