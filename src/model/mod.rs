//! What is computed: the nets, their parameters, and how likely each block is to survive a step.

pub mod init;
pub mod parameters;
pub mod resnet;
pub mod survival;
pub mod weights;
