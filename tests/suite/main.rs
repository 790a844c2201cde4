//! All tests that use the crate from outside, in one binary: one module per layer.

mod adapter;
mod architecture;
mod cli;
mod data;
mod devices;
mod goldens;
mod gradients;
mod library;
mod limits;
mod lints;
mod measure;
mod mutants;
mod plan;
mod recalibration;
mod recovery;
mod report;
mod selftest;
mod shaders;
mod statistics;
mod support;
