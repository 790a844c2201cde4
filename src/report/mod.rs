//! What runs say together: the statistics of a comparison, and the notebook's claims answered by them.
//!
//! The statistics are functions of slices; none of them knows of files or settings. Accuracies are shares in [0, 1],
//! and so variances are shares squared; only sentences speak of points (hundredths).

pub mod bootstrap;
pub mod claims;
pub mod estimate;
pub mod line;
pub mod paired;
pub mod smoothing;
pub mod variance;
