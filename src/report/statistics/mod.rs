//! Statistics, as functions of slices: none of them knows of files, settings or nets.

pub mod bootstrap;
pub mod estimate;
pub mod line;
pub mod paired;
pub mod smoothing;
