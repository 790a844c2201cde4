//! All tests that use the crate from outside, in one binary: one module per layer.

mod adapter;
mod cli;
mod data;
mod goldens;
mod gradients;
mod plan;
