//! Numbers that the host and the shaders agree on.
//!
//! Each constant between `shared! {` and `}` stands in WGSL under the same name; a lint of the
//! tests parses every shader and compares the two.
//!
//! **Control.** Parameters, gradients, moments and running statistics lie in flat buffers. Every
//! parameter begins on a *granule* of [`GRANULE`] words, and a table gives each granule's *group*:
//! 0 outside the residual blocks, `b + 1` in block `b`. The `control` value, uploaded in each step,
//! has a header and a row per group that says what becomes of the group in this step. So a whole
//! net is updated in one dispatch, whatever the gates.
//!
//! **Report.** The `report` value is what a step or an evaluation batch tells the host.

use crate::dispatch::{Element, Record, Scalar};
use crate::rng::Stream;

/// Declares constants and [`SHARED`], the list of them.
macro_rules! shared {
    ($($(#[$meta:meta])* $name:ident: $type:ident = $value:expr;)*) => {
        $($(#[$meta])* pub const $name: $type = $value;)*

        /// The constants that shaders declare under the same name: `const NAME = VALUEu;`.
        pub const SHARED: &[(&str, u32)] = &[$((stringify!($name), $name as u32),)*];
    };
}

shared! {
    /// Invocations in one workgroup of every element-wise shader.
    WORKGROUP: u32 = 256;
    /// Words in a granule. 64 words are 256 bytes, the coarsest alignment that WebGPU asks of a
    /// binding.
    GRANULE: usize = 64;

    /// Word of `control` with the number of images in the batch that count.
    CONTROL_IMAGES: usize = 0;
    /// Word with the number of the step.
    CONTROL_STEP: usize = 1;
    /// Word with the low half of the seed; the high half follows.
    CONTROL_SEED: usize = 2;
    /// Words before the first row.
    CONTROL_HEADER: usize = 4;
    /// Words in a row, of which the last is unused.
    CONTROL_ROW: usize = 4;

    /// Word of a row with the update mode.
    ROW_MODE: usize = 0;
    /// Word with the step size, f32 bits: the learning rate, for Adam divided by 1 - beta1^t.
    ROW_STEP_SIZE: usize = 1;
    /// Word with Adam's 1 / sqrt(1 - beta2^t), f32 bits.
    ROW_ROOT_FACTOR: usize = 2;

    /// Update mode: the block was dropped and its gradient counts as zero.
    UPDATE_ZERO: u32 = 0;
    /// Update mode: the block ran.
    UPDATE_GRADIENT: u32 = 1;
    /// Update mode: parameters and moments stay as they are.
    UPDATE_SKIP: u32 = 2;

    /// Word of `report` with the sum of the losses, f32 bits.
    REPORT_LOSS: usize = 0;
    /// Word with the number of correct predictions.
    REPORT_CORRECT: usize = 1;
    /// Word with the number of images.
    REPORT_IMAGES: usize = 2;
    /// Word that is nonzero once a value was not finite. It stops all updates until the host clears
    /// it.
    REPORT_NOT_FINITE: usize = 3;
    /// Word with the mean of |gradient| of the first convolution's weights, f32 bits; 0 where it is
    /// not recorded.
    REPORT_FIRST_GRADIENT: usize = 4;

    /// Convolution input: as it is.
    LOAD_PLAIN: u32 = 0;
    /// Convolution input: through a norm and a ReLU.
    LOAD_NORMALIZED: u32 = 1;

    /// Forward epilogue: the output as it is, with its statistics.
    FORWARD_STATISTICS: u32 = 0;
    /// Forward epilogue: through a norm.
    FORWARD_NORMALIZE: u32 = 1;
    /// Forward epilogue: through a norm and a ReLU.
    FORWARD_NORMALIZE_RECTIFY: u32 = 2;
    /// Forward epilogue: the end of a residual block.
    FORWARD_RESIDUAL: u32 = 3;

    /// Input gradient's epilogue: none.
    INPUT_GRADIENT_PLAIN: u32 = 0;
    /// Input gradient's epilogue: another gradient is added.
    INPUT_GRADIENT_ADD: u32 = 1;
    /// Input gradient's epilogue: another gradient is added, through a ReLU.
    INPUT_GRADIENT_ADD_MASKED: u32 = 2;
    /// Input gradient's epilogue: back through the ReLU behind a norm, with the norm's sums.
    INPUT_GRADIENT_RECTIFY: u32 = 3;

    /// Pixels in a chunk of the sums that convolutions make for batch norms: rows of the smallest
    /// tile.
    CONV_CHUNK_PIXELS: u32 = 64;
    /// Threads along the rows of a convolution's tile.
    CONV_ROW_THREADS: u32 = 16;
    /// Channels, and rows of threads, in a workgroup of the reduction of
    /// `batch_norm_backward_reduce`.
    REDUCE_CHANNELS: u32 = 16;

    /// Stream of the random numbers of dropout.
    STREAM_DROPOUT: u32 = Stream::Dropout as u32;
}

/// Words of `report`.
pub const REPORT_WORDS: usize = 5;
/// Type of the words of `report`.
pub const REPORT_ELEMENT: Element = {
    const HEADER: [Scalar; REPORT_WORDS] = {
        let mut header = [Scalar::U32; REPORT_WORDS];
        header[REPORT_LOSS] = Scalar::F32;
        header[REPORT_FIRST_GRADIENT] = Scalar::F32;
        header
    };
    Element::Record(&Record { header: &HEADER, row: &[] })
};
/// Type of the words of `control`.
pub const CONTROL_ELEMENT: Element = {
    const ROW: [Scalar; CONTROL_ROW] = {
        let mut row = [Scalar::U32; CONTROL_ROW];
        row[ROW_STEP_SIZE] = Scalar::F32;
        row[ROW_ROOT_FACTOR] = Scalar::F32;
        row
    };
    Element::Record(&Record { header: &[Scalar::U32; CONTROL_HEADER], row: &ROW })
};

/// Returns the number of words in the `control` value of a net with `groups` groups.
pub fn control_words(groups: usize) -> usize {
    CONTROL_HEADER + CONTROL_ROW * groups
}

/// Returns the words of `control` for a batch of which `images` images count, with the groups'
/// `rows`.
pub fn control(images: u32, step: u32, seed: u64, rows: &[u32]) -> Vec<u32> {
    let mut words = vec![0; CONTROL_HEADER];
    words[CONTROL_IMAGES] = images;
    words[CONTROL_STEP] = step;
    words[CONTROL_SEED] = seed as u32;
    words[CONTROL_SEED + 1] = (seed >> 32) as u32;
    words.extend(rows);
    words
}

/// Returns a group's row of `control`.
pub fn control_row(mode: u32, step_size: f32, root_factor: f32) -> [u32; CONTROL_ROW] {
    let mut row = [0; CONTROL_ROW];
    row[ROW_MODE] = mode;
    row[ROW_STEP_SIZE] = step_size.to_bits();
    row[ROW_ROOT_FACTOR] = root_factor.to_bits();
    row
}

/// Reads the seed in `control`.
pub(crate) fn control_seed(control: &[u32]) -> u64 {
    u64::from(control[CONTROL_SEED]) | u64::from(control[CONTROL_SEED + 1]) << 32
}

/// Returns the row of `group` in `control`.
pub(crate) fn row_of(control: &[u32], group: u32) -> &[u32] {
    &control[control_words(group as usize)..][..CONTROL_ROW]
}
