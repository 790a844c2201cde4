//! How optimiser updates and the commit of running statistics know what to do with each parameter.
//!
//! Parameters, gradients, moments and running statistics lie in flat buffers. Every parameter begins on a
//! *granule* of [`GRANULE`] words, and a table gives each granule's *group*: 0 outside the residual blocks, `b + 1`
//! in block `b`. The `control` value, uploaded each step, has a header and a row per group that says what becomes
//! of the group in this step. So a whole net is updated in one dispatch, whatever the gates.

/// Words in a granule. 64 words are 256 bytes, the coarsest alignment that WebGPU asks of a binding.
pub const GRANULE: usize = 64;

/// Group mode: the block was dropped and its gradient counts as zero.
pub const ZERO: u32 = 0;
/// Group mode: the block ran.
pub const GRADIENT: u32 = 1;
/// Group mode: parameters and moments stay as they are.
pub const SKIP: u32 = 2;

/// Word of `control` with the number of images in the batch that count.
pub const CONTROL_IMAGES: usize = 0;
/// Word with the number of the step.
pub const CONTROL_STEP: usize = 1;
/// Word with the low half of the seed; the high half follows.
pub const CONTROL_SEED: usize = 2;
/// Words before the first row.
pub const CONTROL_HEADER: usize = 4;
/// Words in a row: the mode, then two optimiser coefficients as f32 bits (see the optimiser), then one unused.
pub const CONTROL_ROW: usize = 4;

/// Words in the `control` value of a net with `groups` groups.
pub fn control_words(groups: usize) -> usize {
    CONTROL_HEADER + CONTROL_ROW * groups
}

/// The words of `control` for a batch of `images` images that count, with the groups' `rows`.
pub fn control(images: u32, step: u32, seed: u64, rows: &[u32]) -> Vec<u32> {
    let mut words = vec![0; CONTROL_HEADER];
    words[CONTROL_IMAGES] = images;
    words[CONTROL_STEP] = step;
    words[CONTROL_SEED] = seed as u32;
    words[CONTROL_SEED + 1] = (seed >> 32) as u32;
    words.extend(rows);
    words
}

/// The seed in `control`.
pub(crate) fn seed(control: &[u32]) -> u64 {
    u64::from(control[CONTROL_SEED]) | u64::from(control[CONTROL_SEED + 1]) << 32
}

/// The row of `group` in `control`.
pub(crate) fn row(control: &[u32], group: u32) -> &[u32] {
    &control[control_words(group as usize)..][..CONTROL_ROW]
}

/// The gradient that the optimiser sees for a granule of `group`: zeros if its block was dropped, `None` if the granule
/// is to be left alone.
pub(crate) fn effective_gradient<'a>(control: &[u32], group: u32, gradient: &'a [f32]) -> Option<&'a [f32]> {
    match mode(control, group) {
        SKIP => None,
        ZERO => Some(&[0.0; GRANULE][..gradient.len()]),
        _ => Some(gradient),
    }
}

/// The mode of `group` in `control`.
pub(crate) fn mode(control: &[u32], group: u32) -> u32 {
    row(control, group)[0]
}
