//! The tables: one file per family of kernels, with its references (the formulas, as the plainest loops in f64) and its
//! rows. `docs/shader-tests.md` says how to add a kernel or a row.

use super::row::Row;

mod inputs;

pub use inputs::{Draw, control};

/// Declares a module for each family, and the list of them.
macro_rules! tables {
    ($($family:ident: [$($shader:ident),*],)*) => {
        $(mod $family;)*

        /// The families, each with what makes its rows.
        pub const FAMILIES: &[(&str, fn() -> Vec<Row>)] = &[$((stringify!($family), $family::rows),)*];
    };
}

crate::families!(tables);

/// Every row of every family.
pub fn rows() -> Vec<Row> {
    FAMILIES.iter().flat_map(|(_, rows)| rows()).collect()
}
