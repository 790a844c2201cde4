//! Limits below the adapter's own: to run as on a smaller device, which wgpu then enforces.

use std::str::FromStr;

use crate::device::DeviceError;

/// The variable in which users give [`LoweredLimits`].
const VARIABLE: &str = "SDGPU_LIMITS";
/// Workgroup memory that the shaders need, in bytes; a lint holds them to it, as WebGPU's least.
const WORKGROUP_MEMORY: u64 = 16 << 10;
/// Storage buffers that the shaders need, likewise.
pub(super) const STORAGE_BUFFERS: u64 = 8;

/// Limits to lower; where there is no number, the limit is the adapter's own for the sizes of buffers, and WebGPU's
/// default for the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoweredLimits {
    /// Bytes that a binding holds at most.
    pub binding: Option<u64>,
    /// Bytes that a buffer holds at most.
    pub buffer: Option<u64>,
    /// Workgroups in a dimension of a grid.
    pub groups: Option<u32>,
    /// Bytes of workgroup memory.
    pub memory: Option<u32>,
    /// Storage buffers of a shader.
    pub buffers: Option<u32>,
}

impl LoweredLimits {
    /// Those of the variable `SDGPU_LIMITS`; none if it is not set.
    pub fn from_environment() -> Result<Self, DeviceError> {
        let Some(text) = std::env::var_os(VARIABLE) else { return Ok(Self::default()) };
        let text = text.to_string_lossy();
        text.parse().map_err(|message| DeviceError::BadLimits(format!("{VARIABLE} is `{text}`: {message}")))
    }

    /// What to ask of an adapter that has `available`: WebGPU's defaults, which every shader keeps to, with the sizes
    /// of buffers as large as the adapter has them, and then what is lowered.
    pub(super) fn required(&self, available: &wgpu::Limits) -> wgpu::Limits {
        let defaults = wgpu::Limits::default();
        let lowered = |limit: u32, lower: Option<u32>| lower.map_or(limit, |lower| lower.min(limit));
        let bytes = |limit: u64, lower: Option<u64>| lower.map_or(limit, |lower| lower.min(limit));
        wgpu::Limits {
            max_storage_buffer_binding_size: bytes(available.max_storage_buffer_binding_size, self.binding),
            max_buffer_size: bytes(available.max_buffer_size, self.buffer),
            max_compute_workgroups_per_dimension: lowered(defaults.max_compute_workgroups_per_dimension, self.groups),
            max_compute_workgroup_storage_size: lowered(defaults.max_compute_workgroup_storage_size, self.memory),
            max_storage_buffers_per_shader_stage: lowered(defaults.max_storage_buffers_per_shader_stage, self.buffers),
            ..defaults
        }
    }
}

/// `webgpu`, WebGPU's defaults; or limits by name, as in `binding=1MiB,groups=7,memory=16KiB,buffers=8`.
impl FromStr for LoweredLimits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut limits = Self::default();
        for part in text.split(',') {
            if part == "webgpu" {
                let defaults = wgpu::Limits::default();
                limits.binding = Some(defaults.max_storage_buffer_binding_size);
                limits.buffer = Some(defaults.max_buffer_size);
                continue;
            }
            let (name, number) = part.split_once('=').unwrap_or((part, ""));
            let at_least = |least: u64| {
                number_of(number).filter(|&number| number >= least && number <= u32::MAX.into()).ok_or_else(|| {
                    format!("{name} must be a number from {least} on, or that many KiB or MiB, below 4096MiB")
                })
            };
            match name {
                "binding" => limits.binding = Some(at_least(4096)?),
                "buffer" => limits.buffer = Some(at_least(4096)?),
                "groups" => limits.groups = Some(at_least(1)? as u32),
                "memory" => limits.memory = Some(at_least(WORKGROUP_MEMORY)? as u32),
                "buffers" => limits.buffers = Some(at_least(STORAGE_BUFFERS)? as u32),
                _ => {
                    return Err(format!(
                        "`{part}` is no limit; webgpu, binding, buffer, groups, memory and buffers are"
                    ));
                }
            }
        }
        Ok(limits)
    }
}

/// A number, or one of KiB or MiB.
fn number_of(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("", 0)];
    let (digits, shift) = units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written() {
        let limits = LoweredLimits {
            binding: Some(1 << 20),
            groups: Some(7),
            memory: Some(16 << 10),
            buffers: Some(8),
            ..Default::default()
        };
        assert_eq!("binding=1MiB,groups=7,memory=16KiB,buffers=8".parse(), Ok(limits));
        let webgpu: LoweredLimits = "webgpu,groups=3".parse().unwrap();
        assert_eq!((webgpu.binding, webgpu.buffer, webgpu.groups), (Some(128 << 20), Some(256 << 20), Some(3)));
    }

    #[test]
    fn limits_that_nothing_can_run_within_are_refused() {
        for (text, expected) in [
            ("", "`` is no limit; webgpu, binding,"),
            ("bindings=1MiB", "`bindings=1MiB` is no limit"),
            ("groups", "groups must be a number from 1 on"),
            ("groups=0", "groups must be a number from 1 on"),
            ("groups=-1", "groups must be"),
            ("memory=8KiB", "memory must be a number from 16384 on"),
            ("buffers=7", "buffers must be a number from 8 on"),
            ("binding=1GiB", "binding must be a number from 4096 on, or that many KiB or MiB"),
            ("binding=99999999999999999999MiB", "binding must be"),
            ("binding=18446744073709551615MiB", "binding must be"),
        ] {
            let error = text.parse::<LoweredLimits>().unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
