//! How much goes into one submission.
//!
//! Drivers take a GPU for hung that works on one submission for about two seconds, and some on one dispatch: they reset
//! it, and the device is lost. A step of a deep net with a large batch takes longer than that on a slow GPU.

use std::ops::Range;

use crate::dispatch::{Dispatch, Storage};

/// What a slow GPU, an integrated one at a quarter of its peak, computes and moves in a second.
const FLOP_PER_SECOND: f64 = 0.5e12;
const BYTES_PER_SECOND: f64 = 20e9;

/// Longest that a submission is expected to run there, in seconds, if it is more than one dispatch.
pub const LONGEST_SUBMISSION: f64 = 0.25;
/// Longest that a dispatch is expected to run there, in seconds.
pub const LONGEST_DISPATCH: f64 = 0.1;

/// How long `dispatch` is expected to run on a slow GPU, in seconds.
pub fn slow_seconds(dispatch: &Dispatch, storage: &Storage) -> f64 {
    let bound = dispatch.values().map(|value| storage.region(value).bytes()).sum();
    let bytes = dispatch.kernel.bytes().unwrap_or(bound) as f64;
    (dispatch.kernel.cost().flop / FLOP_PER_SECOND).max(bytes / BYTES_PER_SECOND)
}

/// Cuts work that is expected to run for so many `seconds` into ranges that each make one submission, of at most
/// `longest` seconds where it is more than one piece. `pending` seconds are to be submitted with the first; it becomes
/// those of the last.
pub fn cut(seconds: &[f64], longest: f64, pending: &mut f64) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut begin = 0;
    for (index, seconds) in seconds.iter().enumerate() {
        if *pending + seconds > longest && *pending > 0.0 {
            ranges.push(begin..index);
            begin = index;
            *pending = 0.0;
        }
        *pending += seconds;
    }
    ranges.push(begin..seconds.len());
    ranges
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn submissions_are_as_long_as_they_may_be() {
        let work = [0.1, 0.1, 0.1, 0.5, 0.01, 0.2, 0.04];
        let mut pending = 0.0;
        assert_eq!(cut(&work, 0.25, &mut pending), [0..2, 2..3, 3..4, 4..7]);
        assert!(pending > 0.24 && pending <= 0.25);
        // What is pending goes first, in a range of its own or with the first.
        assert_eq!(cut(&work[..2], 0.25, &mut pending), [0..0, 0..2]);
        assert_eq!(cut(&work[..1], 0.25, &mut 0.1).len(), 1);
    }
}
