//! The `sdgpu` command.

fn main() {}
