//! What becomes of the twins' sums as they are stored, while they are in registers.

use std::ops::Range;

use super::micro::{self, LANES, Lanes, unroll};
use crate::kernels::batch_norm::Norm;
use crate::kernels::relu::{relu, where_positive};

/// A [`ForwardEpilogue`](super::super::ForwardEpilogue) or an
/// [`InputGradientEpilogue`](super::super::InputGradientEpilogue) with the slices that it reads. It
/// is applied to sums `[pixels, channels]`, by their index there.
#[derive(Clone, Copy)]
pub(in crate::kernels::conv) enum Epilogue<'a> {
    /// Nothing.
    Plain,
    /// They pass through the norm.
    Normalize(&'a Norm),
    /// They pass through the norm and a ReLU.
    NormalizeRectify(&'a Norm),
    /// The end of a residual block: `ReLU(scale * norm(sum) + shortcut)`.
    Residual { norm: &'a Norm, scale: f32, shortcut: &'a [f32] },
    /// `addend` is added.
    Add(&'a [f32]),
    /// `addend` is added where `mask` is positive.
    AddMasked { addend: &'a [f32], mask: &'a [f32] },
    /// They pass back through the ReLU behind the norm of `x`.
    Rectify { x: &'a [f32], norm: &'a Norm },
}

impl<'a> Epilogue<'a> {
    /// That of some of the words, those of whole pixels.
    pub fn part(self, words: Range<usize>) -> Self {
        let part = |operand: &'a [f32]| &operand[words.clone()];
        match self {
            Self::Residual { norm, scale, shortcut } => Self::Residual { norm, scale, shortcut: part(shortcut) },
            Self::Add(addend) => Self::Add(part(addend)),
            Self::AddMasked { addend, mask } => Self::AddMasked { addend: part(addend), mask: part(mask) },
            Self::Rectify { x, norm } => Self::Rectify { x: part(x), norm },
            Self::Plain | Self::Normalize(_) | Self::NormalizeRectify(_) => self,
        }
    }

    /// For the `lanes` channels from `channel` on: for [`LANES`] if `WHOLE`.
    #[inline(always)]
    pub(super) fn columns<const WHOLE: bool>(self, channel: usize, lanes: usize) -> Columns<'a> {
        let norm = match self {
            Self::Normalize(norm) | Self::NormalizeRectify(norm) => Some(norm),
            Self::Residual { norm, .. } | Self::Rectify { norm, .. } => Some(norm),
            Self::Plain | Self::Add(_) | Self::AddMasked { .. } => None,
        };
        let mut rows = [[0.0; LANES]; 4];
        if let Some(norm) = norm {
            unroll!(row < 4 => rows[row] = micro::load::<WHOLE>(&norm.rows()[row][channel..], lanes));
        }
        Columns { epilogue: self, norm: rows, lanes }
    }
}

/// An [`Epilogue`] for a line of channels, whose part of the norm is at hand.
pub(super) struct Columns<'a> {
    epilogue: Epilogue<'a>,
    norm: [Lanes; 4],
    lanes: usize,
}

impl Columns<'_> {
    /// What becomes of the sums of `N` pixels, whose channels begin at those words.
    #[inline(always)]
    pub fn finish<const WHOLE: bool, const N: usize>(&self, mut sums: [Lanes; N], words: [usize; N]) -> [Lanes; N] {
        let load = |operand: &[f32], word: usize| micro::load::<WHOLE>(&operand[word..], self.lanes);
        match self.epilogue {
            Epilogue::Plain => {}
            Epilogue::Normalize(_) => unroll!(n < N => sums[n] = self.normalized(&sums[n])),
            Epilogue::NormalizeRectify(_) => unroll!(n < N => sums[n] = rectified(&self.normalized(&sums[n]))),
            Epilogue::Residual { scale, shortcut, .. } => unroll!(n < N => {
                let (mut sum, shortcut) = (self.normalized(&sums[n]), load(shortcut, words[n]));
                for lane in 0..LANES {
                    sum[lane] = scale * sum[lane] + shortcut[lane];
                }
                sums[n] = rectified(&sum);
            }),
            Epilogue::Add(addend) => unroll!(n < N => sums[n] = plus(&sums[n], &load(addend, words[n]))),
            Epilogue::AddMasked { addend, mask } => unroll!(n < N => {
                let addend = through_relu(&load(mask, words[n]), &load(addend, words[n]));
                sums[n] = plus(&sums[n], &addend);
            }),
            Epilogue::Rectify { x, .. } => unroll!(n < N => {
                sums[n] = through_relu(&self.normalized(&load(x, words[n])), &sums[n]);
            }),
        }
        sums
    }

    #[inline(always)]
    fn normalized(&self, x: &Lanes) -> Lanes {
        let [mean, rstd, gamma, beta] = &self.norm;
        let mut y = [0.0; LANES];
        for lane in 0..LANES {
            y[lane] = (x[lane] - mean[lane]) * rstd[lane] * gamma[lane] + beta[lane];
        }
        y
    }
}

#[inline(always)]
fn rectified(x: &Lanes) -> Lanes {
    let mut y = [0.0; LANES];
    for lane in 0..LANES {
        y[lane] = relu(x[lane]);
    }
    y
}

#[inline(always)]
fn plus(a: &Lanes, b: &Lanes) -> Lanes {
    let mut sum = [0.0; LANES];
    for lane in 0..LANES {
        sum[lane] = a[lane] + b[lane];
    }
    sum
}

/// `numbers` where `mask` is positive, else 0.
#[inline(always)]
fn through_relu(mask: &Lanes, numbers: &Lanes) -> Lanes {
    let mut chosen = [0.0; LANES];
    for lane in 0..LANES {
        chosen[lane] = where_positive(mask[lane], numbers[lane]);
    }
    chosen
}
