//! Whether this machine computes what it should: every kernel on a table of shapes, and a short training.
//!
//! The judge of a kernel is its formula, as plain loops in f64 ([`tables`]); shader and CPU twin are each held against
//! it, between guard words ([`check`]). The judge of a training on an adapter is the same training on the CPU device.
//! The tests run the same rows in more modes, and seeded faults that the rows must catch.

mod harness;
mod kernels;
mod row;
pub mod tables;
mod training;

pub use harness::{Failure, GUARDS_BEFORE, GUARDS_BEHIND, Implementation, check, guarded, run};
pub use kernels::{KernelReport, shaders, test_kernels, twins};
pub use row::{POISON, Row, Sum, Word, Words};
pub use training::{TrainingReport, Trainings};
