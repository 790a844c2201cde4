// update: what to do with a parameter group in this step (word 0 of its row in `control`).
// Groups are the residual blocks and, as group 0, everything outside them.
// Needs shared/control imported, and `control` and `group_of` bound. A granule is 64 words:
// parameters begin on granules.

const UPDATE_ZERO = 0u;      // the block was dropped: its gradient counts as zero
const UPDATE_GRADIENT = 1u;  // the block ran
const UPDATE_SKIP = 2u;      // leave the parameters and their moments as they are

const CONTROL_ROW = 4u;

fn control_row(group: u32) -> u32 {
    return CONTROL_HEADER + CONTROL_ROW * group;
}
