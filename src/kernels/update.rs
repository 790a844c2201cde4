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

/// Words before the first row: images in the batch, step, seed (low word, high word).
pub const CONTROL_HEADER: usize = 4;
/// Words in a row: the mode, then two optimiser coefficients as f32 bits (see the optimiser), then one unused.
pub const CONTROL_ROW: usize = 4;

/// Words in the `control` value of a net with `groups` groups.
pub fn control_words(groups: usize) -> usize {
    CONTROL_HEADER + CONTROL_ROW * groups
}

/// The row of `group` in `control`.
pub(crate) fn row(control: &[u32], group: u32) -> &[u32] {
    &control[control_words(group as usize)..][..CONTROL_ROW]
}

/// The mode of `group` in `control`.
pub(crate) fn mode(control: &[u32], group: u32) -> u32 {
    row(control, group)[0]
}
