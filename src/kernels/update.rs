//! The part of `control` that the twins of updates read for each granule.

use crate::protocol::{GRANULE, ROW_MODE, UPDATE_SKIP, UPDATE_ZERO, row_of};

/// Returns the update mode of `group`.
pub fn mode(control: &[u32], group: u32) -> u32 {
    row_of(control, group)[ROW_MODE]
}

/// Returns a coefficient of `group`: word `word` of its row.
pub fn coefficient(control: &[u32], group: u32, word: usize) -> f32 {
    f32::from_bits(row_of(control, group)[word])
}

/// Returns the gradient that the optimiser sees for a granule of `group`: zeros if its block was
/// dropped, `None` if the granule is to be left alone.
pub fn effective_gradient<'a>(control: &[u32], group: u32, gradient: &'a [f32]) -> Option<&'a [f32]> {
    match mode(control, group) {
        UPDATE_SKIP => None,
        UPDATE_ZERO => Some(&[0.0; GRANULE][..gradient.len()]),
        _ => Some(gradient),
    }
}
