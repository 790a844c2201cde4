//! Loads and epilogues: a convolution's work on its input and on its output, in passing. The
//! same types for the plan, for the parameters (by the numbers of [`crate::protocol`]) and for the
//! twins.

use super::cpu;
use crate::kernels::batch_norm::Norm;
use crate::protocol::{
    FORWARD_NORMALIZE, FORWARD_NORMALIZE_RECTIFY, FORWARD_RESIDUAL, FORWARD_STATISTICS, INPUT_GRADIENT_ADD,
    INPUT_GRADIENT_ADD_MASKED, INPUT_GRADIENT_PLAIN, INPUT_GRADIENT_RECTIFY, LOAD_NORMALIZED, LOAD_PLAIN,
};

/// How a convolution reads its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// As it is.
    Plain,
    /// Through the norm that is read as `norm`, and a ReLU; zero in the padding.
    Normalized,
}

impl Load {
    /// Returns whether the kernel reads the norm before it.
    pub fn reads_norm(self) -> bool {
        self == Self::Normalized
    }

    pub(super) fn number(self) -> u32 {
        match self {
            Self::Plain => LOAD_PLAIN,
            Self::Normalized => LOAD_NORMALIZED,
        }
    }

    pub(super) fn decode(number: u32) -> Self {
        match number {
            LOAD_PLAIN => Self::Plain,
            LOAD_NORMALIZED => Self::Normalized,
            _ => unreachable!("no load has the number {number}"),
        }
    }
}

/// Work on a convolution's output before it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ForwardEpilogue {
    /// Nothing. Its statistics are made: mean and squared deviations of each chunk of pixels.
    Statistics,
    /// It passes through the norm behind the convolution.
    Normalize,
    /// It passes through the norm and a ReLU.
    NormalizeRectify,
    /// The end of a residual block: `ReLU(scale * normalised + shortcut)`.
    Residual {
        /// Factor of the branch.
        scale: f32,
    },
}

impl ForwardEpilogue {
    /// Returns whether the kernel reads the norm behind it.
    pub fn reads_norm(self) -> bool {
        self != Self::Statistics
    }

    /// Returns whether the kernel reads a shortcut.
    pub fn reads_shortcut(self) -> bool {
        matches!(self, Self::Residual { .. })
    }

    /// Returns whether the kernel writes statistics.
    pub fn writes_statistics(self) -> bool {
        self == Self::Statistics
    }

    /// Returns whether no output is negative.
    pub fn is_non_negative(self) -> bool {
        matches!(self, Self::NormalizeRectify | Self::Residual { .. })
    }

    /// Numbers loaded for each output.
    pub(super) fn loads(self) -> f64 {
        if self.reads_shortcut() { 1.0 } else { 0.0 }
    }

    pub(super) fn number(self) -> u32 {
        match self {
            Self::Statistics => FORWARD_STATISTICS,
            Self::Normalize => FORWARD_NORMALIZE,
            Self::NormalizeRectify => FORWARD_NORMALIZE_RECTIFY,
            Self::Residual { .. } => FORWARD_RESIDUAL,
        }
    }

    /// Factor of the branch; 0 where there is none.
    pub(super) fn scale(self) -> f32 {
        match self {
            Self::Residual { scale } => scale,
            _ => 0.0,
        }
    }

    pub(super) fn decode(number: u32, scale: f32) -> Self {
        match number {
            FORWARD_STATISTICS => Self::Statistics,
            FORWARD_NORMALIZE => Self::Normalize,
            FORWARD_NORMALIZE_RECTIFY => Self::NormalizeRectify,
            FORWARD_RESIDUAL => Self::Residual { scale },
            _ => unreachable!("no forward epilogue has the number {number}"),
        }
    }

    /// Returns what the twin does, with the operands that it reads.
    pub(super) fn with_operands<'a>(self, norm: Option<&'a Norm>, shortcut: &'a [f32]) -> cpu::Epilogue<'a> {
        let norm = || norm.expect("an epilogue that reads the norm is given it");
        match self {
            Self::Statistics => cpu::Epilogue::Plain,
            Self::Normalize => cpu::Epilogue::Normalize(norm()),
            Self::NormalizeRectify => cpu::Epilogue::NormalizeRectify(norm()),
            Self::Residual { scale } => cpu::Epilogue::Residual { norm: norm(), scale, shortcut },
        }
    }
}

/// Work on the gradient of a convolution's input before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputGradientEpilogue {
    /// Nothing.
    Plain,
    /// `addend` is added.
    Add,
    /// `addend` is added where `mask` is positive: the gradient through a ReLU whose output is
    /// `mask`.
    AddMasked,
    /// It passes back through the ReLU behind the norm `norm` of `x`, by which the input was read;
    /// its sums, and those of its products with the normalised `x`, over each chunk of pixels are
    /// the partials `[chunks, 2, in_channels]`.
    Rectify,
}

impl InputGradientEpilogue {
    /// Returns whether the kernel reads an addend.
    pub fn reads_addend(self) -> bool {
        matches!(self, Self::Add | Self::AddMasked)
    }

    /// Returns whether the kernel reads a mask.
    pub fn reads_mask(self) -> bool {
        self == Self::AddMasked
    }

    /// Returns whether the kernel reads the forward input `x` and its norm.
    pub fn reads_norm(self) -> bool {
        self == Self::Rectify
    }

    /// Returns whether the kernel writes sums over chunks of pixels.
    pub fn writes_sums(self) -> bool {
        self == Self::Rectify
    }

    /// Numbers loaded for each output.
    pub(super) fn loads(self) -> f64 {
        match self {
            Self::Plain => 0.0,
            Self::Add | Self::Rectify => 1.0,
            Self::AddMasked => 2.0,
        }
    }

    pub(super) fn number(self) -> u32 {
        match self {
            Self::Plain => INPUT_GRADIENT_PLAIN,
            Self::Add => INPUT_GRADIENT_ADD,
            Self::AddMasked => INPUT_GRADIENT_ADD_MASKED,
            Self::Rectify => INPUT_GRADIENT_RECTIFY,
        }
    }

    pub(super) fn decode(number: u32) -> Self {
        match number {
            INPUT_GRADIENT_PLAIN => Self::Plain,
            INPUT_GRADIENT_ADD => Self::Add,
            INPUT_GRADIENT_ADD_MASKED => Self::AddMasked,
            INPUT_GRADIENT_RECTIFY => Self::Rectify,
            _ => unreachable!("no epilogue of an input gradient has the number {number}"),
        }
    }

    /// Returns what the twin does, with the operands that it reads.
    pub(super) fn with_operands<'a>(
        self,
        addend: &'a [f32],
        mask: &'a [f32],
        x: &'a [f32],
        norm: Option<&'a Norm>,
    ) -> cpu::Epilogue<'a> {
        match self {
            Self::Plain => cpu::Epilogue::Plain,
            Self::Add => cpu::Epilogue::Add(addend),
            Self::AddMasked => cpu::Epilogue::AddMasked { addend, mask },
            Self::Rectify => {
                cpu::Epilogue::Rectify { x, norm: norm.expect("an epilogue that reads the norm is given it") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_decode_to_what_they_were_made_of() {
        for load in [Load::Plain, Load::Normalized] {
            assert_eq!(Load::decode(load.number()), load);
        }
        use ForwardEpilogue::{Normalize, NormalizeRectify, Residual, Statistics};
        for epilogue in [Statistics, Normalize, NormalizeRectify, Residual { scale: 0.7 }] {
            assert_eq!(ForwardEpilogue::decode(epilogue.number(), epilogue.scale()), epilogue);
        }
        use InputGradientEpilogue::{Add, AddMasked, Plain, Rectify};
        for epilogue in [Plain, Add, AddMasked, Rectify] {
            assert_eq!(InputGradientEpilogue::decode(epilogue.number()), epilogue);
        }
    }
}
