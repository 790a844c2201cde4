//! The tables: one file per family of kernels, with its references (the formulas, as the plainest loops in f64) and its
//! rows. `docs/shader-tests.md` says how to add a kernel or a row.

use super::row::Row;

mod inputs;

pub use inputs::{Draw, control, unused};

/// Declares the families: a module each, and the list of them.
macro_rules! families {
    ($($family:ident,)*) => {
        $(mod $family;)*

        /// The families, each with what makes its rows.
        pub const FAMILIES: &[(&str, fn() -> Vec<Row>)] = &[$((stringify!($family), $family::rows),)*];
    };
}

families! {
    adam,
    batch_norm,
    conv,
    dropout,
    finite,
    first_gradient,
    gather,
    linear,
    pool,
    probe,
    relu,
    sgd,
    shortcut,
    softmax_cross_entropy,
}

/// Every row of every family.
pub fn rows() -> Vec<Row> {
    FAMILIES.iter().flat_map(|(_, rows)| rows()).collect()
}
