//! Finding the first value that is not finite.

use crate::device::{Device, DeviceError};
use crate::dispatch::{Dispatch, Scalar};
use crate::kernels::finite::is_not_finite;
use crate::plan::{Plan, Value};

/// Runs `list` dispatch by dispatch and describes the first value written that holds a NaN or an infinity.
///
/// Looks at bits: comparisons would miss NaN in shaders and hide it behind a ReLU.
pub(super) fn first_not_finite(
    device: &mut dyn Device,
    plan: &Plan,
    list: &[Dispatch],
) -> Result<Option<String>, DeviceError> {
    for dispatch in list {
        device.run(std::slice::from_ref(dispatch))?;
        for &value in dispatch.writes.iter().flatten() {
            let words = device.read(value)?;
            let Value { name, element, .. } = &plan.values[value.index()];
            let is_broken = |index: usize| element.scalar(index) == Scalar::F32 && is_not_finite(words[index]);
            if let Some(index) = (0..words.len()).find(|&index| is_broken(index)) {
                let found = f32::from_bits(words[index]);
                return Ok(Some(format!("{name}, element {index}, is {found} after `{}`", dispatch.label)));
            }
        }
    }
    Ok(None)
}
