//! Finding the first value that is not finite.

use crate::device::{Device, DeviceError};
use crate::dispatch::Dispatch;
use crate::kernels::finite::is_not_finite;
use crate::plan::Plan;

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
            if let Some(index) = words.iter().position(|&bits| is_not_finite(bits)) {
                let (name, found) = (&plan.values[value.index()].name, f32::from_bits(words[index]));
                return Ok(Some(format!("{name}, element {index}, is {found} after `{}`", dispatch.label)));
            }
        }
    }
    Ok(None)
}
