//! sdgpu: a GPU-first trainer for residual networks with stochastic depth.
//!
//! The layers, each importing only those below; see `ARCHITECTURE.md`.

pub mod data;
pub mod device;
pub mod kernels;

pub mod dispatch;
pub mod rng;
