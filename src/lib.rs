//! sdgpu: a GPU-first trainer for residual networks with stochastic depth.
//!
//! The layers, each importing only those below; `ARCHITECTURE.md` is their map.

pub mod cli;

pub mod report;

pub mod job;
pub mod measure;
pub mod run_dir;
pub mod selftest;

pub mod train;

pub mod device;
pub mod plan;

pub mod data;
pub mod model;

pub mod kernels;

pub mod dispatch;
pub mod protocol;
pub mod rng;
