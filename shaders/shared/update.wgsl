// update: what to do with a parameter group in this step, by its row in `control` (src/protocol.rs).
// Groups are the residual blocks and, as group 0, everything outside them.
// Needs shared/control imported, and `control` and `group_of` bound.

const UPDATE_ZERO = 0u;      // the block was dropped: its gradient counts as zero
const UPDATE_GRADIENT = 1u;  // the block ran
const UPDATE_SKIP = 2u;      // leave the parameters and their moments as they are

// Words in a granule: every parameter begins on one.
const GRANULE = 64u;

// Words in a row of `control`, and what they hold.
const CONTROL_ROW = 4u;
const ROW_MODE = 0u;
const ROW_STEP_SIZE = 1u;    // f32 bits
const ROW_ROOT_FACTOR = 2u;  // f32 bits, of Adam

fn control_row(group: u32) -> u32 {
    return CONTROL_HEADER + CONTROL_ROW * group;
}
