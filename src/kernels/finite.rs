//! Watches for values that are not finite, so that they are found before they spoil the weights.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{element_workgroups, lanes, params, shader};
use crate::dispatch::{Bindings, Cost, Kernel};
use crate::protocol::REPORT_NOT_FINITE;

shader! { FINITE: "finite", family: finite, reads: 1, writes: 1, params: Finite }

params! {
    /// `values -> report`: sets word 3 of the report to 1 if any value is NaN or infinite.
    pub struct Finite {
        /// Number of values.
        elements: u32,
    }
}

impl Kernel for Finite {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.elements)
    }
    fn cost(&self) -> Cost {
        Cost { flop: 0.0, terms: 1.0, loads: f64::from(self.elements) }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([values], [report]) = bindings.values();
        if bytemuck::cast_slice(values.f32()).par_chunks(lanes::task(1)).any(any_not_finite) {
            report.u32()[REPORT_NOT_FINITE] = 1;
        }
    }
}

/// Whether these bits are those of a NaN or an infinity: an exponent of all ones.
#[inline(always)]
pub(crate) fn is_not_finite(bits: u32) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    bits & EXPONENT == EXPONENT
}

/// Whether any of these f32 is NaN or infinite. Looks at all of them, which vectorises.
#[multiversion(targets("x86_64+avx2+fma"))]
fn any_not_finite(words: &[u32]) -> bool {
    words.iter().fold(false, |any, &bits| any | is_not_finite(bits))
}
