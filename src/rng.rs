//! Counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3", 2011).
//!
//! Every number is a pure function of (seed, stream, step, index), so no generator has a state to save, and a shader
//! (`shaders/shared/philox.wgsl`) draws the same numbers as the host.

/// What random numbers are for. Streams of one seed are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Initial weights; the step is the number of the parameter.
    Init = 0,
    /// Gates of the residual blocks.
    Gates = 1,
    /// Order of the training images; the step is the epoch.
    Shuffle = 2,
    /// Dropout masks.
    Dropout = 3,
    /// Test batches of the notebook's protocol.
    TestBatch = 4,
    /// Choice of the validation images.
    Validation = 5,
    /// Gates drawn together, by systematic sampling.
    SystematicGates = 6,
    /// Blocks of a bootstrap; the step is the number of the resample.
    Bootstrap = 7,
}

/// Four random words: `index / 4` is the block that holds the number `index`.
pub fn philox(seed: u64, stream: Stream, step: u32, block: u32) -> [u32; 4] {
    rounds([block, 0, step, stream as u32], [seed as u32, (seed >> 32) as u32])
}

/// The ten rounds.
fn rounds(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// The random word number `index`.
pub fn word(seed: u64, stream: Stream, step: u32, index: u32) -> u32 {
    philox(seed, stream, step, index / 4)[index as usize % 4]
}

/// A number in [0, 1), uniform on multiples of 2^-24, as the shaders draw it.
pub fn uniform(seed: u64, stream: Stream, step: u32, index: u32) -> f32 {
    unit(word(seed, stream, step, index))
}

/// A random word as a number in [0, 1).
pub(crate) fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A number in `0..count`, unbiased to within 2^-32.
pub fn below(seed: u64, stream: Stream, step: u32, index: u32, count: usize) -> usize {
    ((u64::from(word(seed, stream, step, index)) * count as u64) >> 32) as usize
}

/// A permutation of `0..count` (Fisher and Yates), unbiased to within 2^-32 of each index's share.
pub fn permutation(seed: u64, stream: Stream, step: u32, count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    for last in (1..count).rev() {
        order.swap(last, below(seed, stream, step, last as u32, last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers from the authors' Random123 distribution: counters and keys of all zeros and of all ones.
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox(0, Stream::Init, 0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(rounds([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn permutation_holds_every_index_once_and_differs_by_step() {
        let order = permutation(7, Stream::Shuffle, 3, 1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(i, &index)| i == index as usize));
        assert_ne!(order, permutation(7, Stream::Shuffle, 4, 1000));
        assert_eq!(order, permutation(7, Stream::Shuffle, 3, 1000));
    }
}
