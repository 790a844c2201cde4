//! Statistics of runs, as functions of slices: none of them knows of files, settings or nets.
//!
//! Accuracies are shares in [0, 1], and so variances are shares squared; only sentences speak of points (hundredths).

pub mod bootstrap;
pub mod estimate;
pub mod line;
pub mod paired;
pub mod smoothing;
pub mod variance;
