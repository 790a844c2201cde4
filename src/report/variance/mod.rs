//! The variance of the accuracy from one test to the next, and the notebook's two claims about it:
//! with stochastic depth it is larger, and it shrinks as training goes on.
//!
//! `windows` measures the variance of one run, `findings` compares those of two nets, `sentences`
//! puts that into words, and [`figure`] draws it; `judged_pair` says which tests of the runs all of
//! this rests on.

pub mod figure;
mod findings;
mod judged_pair;
mod sentences;
#[cfg(test)]
mod tests;
mod windows;

pub use findings::{Basis, NetPairFindings, PairedTests};
pub use windows::Sample;
