//! The words of the `report` value: what a step or an evaluation batch tells the host.

use std::ops::Range;

/// Sum of the losses, f32 bits.
pub const LOSS: usize = 0;
/// Number of correct predictions.
pub const CORRECT: usize = 1;
/// Number of images.
pub const IMAGES: usize = 2;
/// Nonzero once a value was not finite. It stops all updates until the host clears it.
pub const NOT_FINITE: usize = 3;
/// Mean of |gradient| of the first convolution's weights, f32 bits; 0 where it is not recorded.
pub const FIRST_GRADIENT: usize = 4;
/// Number of words.
pub const WORDS: usize = 5;

/// The words that are no f32.
pub(crate) const INTEGERS: Range<usize> = CORRECT..FIRST_GRADIENT;
