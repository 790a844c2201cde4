//! What a GPU or a CPU can be asked to compute: one file per family of kernels.
//!
//! A kernel is a parameter struct that implements [`Kernel`](crate::dispatch::Kernel): it names its
//! shader in `shaders/`, says how large the grid is and what it costs, and holds the same
//! computation in Rust, its *twin*. A family's shaders begin with the family's name:
//! `pool_max_forward.wgsl` belongs to `pool.rs`.
//!
//! Activations are NHWC, flattened to `[pixels, channels]` wherever the image's shape does not matter, with
//! `pixels = batch * height * width`; convolution weights are `[kernel_height, kernel_width, in_channels,
//! out_channels]`.

use crate::dispatch::Shader;
use crate::protocol::WORKGROUP;

pub mod adam;
pub mod batch_norm;
pub mod conv;
pub mod dropout;
pub mod finite;
pub mod first_gradient;
pub mod gather;
mod lanes;
pub mod linear;
pub mod pool;
pub mod probe;
pub mod relu;
pub mod sgd;
mod shader;
pub mod shortcut;
pub mod softmax_cross_entropy;
mod update;

pub use shader::{compose, fingerprint};
pub(crate) use shader::{fnv, params, scalar, shader};

/// Hands the one list of families, each with its shaders, to the macro `$use`: from it follow
/// [`ALL`], the tables of [`crate::selftest`], and the tests of each family.
#[doc(hidden)]
#[macro_export]
macro_rules! families {
    ($use:ident) => {
        $use! {
            adam: [ADAM],
            batch_norm: [
                FINISH, RUNNING, APPLY, RESIDUAL, BACKWARD_REDUCE, BACKWARD_FINISH, BACKWARD_APPLY,
                COMMIT
            ],
            conv: [FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, WEIGHT_GRADIENT_SUM],
            dropout: [DROPOUT],
            finite: [FINITE],
            first_gradient: [FIRST_GRADIENT],
            gather: [GATHER],
            linear: [FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT],
            pool: [MAX_FORWARD, MAX_BACKWARD, GLOBAL_FORWARD, GLOBAL_BACKWARD],
            probe: [MULTIPLY_ADD, TRIAD],
            relu: [RELU],
            sgd: [SGD],
            shortcut: [FORWARD, BACKWARD],
            softmax_cross_entropy: [SOFTMAX_CROSS_ENTROPY],
        }
    };
}

macro_rules! list {
    ($($family:ident: [$($shader:ident),*],)*) => {
        /// Every shader.
        pub const ALL: &[&Shader] = &[$($(&$family::$shader,)*)*];
    };
}

families!(list);

/// Returns the number of workgroups for one thread per element.
pub(crate) fn element_workgroups(elements: u32) -> u32 {
    elements.div_ceil(WORKGROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Declares what compares each shader's family with that under which [`families`] lists it.
    macro_rules! listed {
        ($($family:ident: [$($shader:ident),*],)*) => {
            [$($((stringify!($family), &$family::$shader),)*)*]
        };
    }

    #[test]
    fn shaders_are_listed_under_their_family_and_named_after_it() {
        for (family, shader) in families!(listed) {
            assert_eq!(shader.family, crate::dispatch::Family(family), "{}", shader.name);
            assert!(shader.name == family || shader.name.starts_with(&format!("{family}_")), "{}", shader.name);
        }
    }
}
