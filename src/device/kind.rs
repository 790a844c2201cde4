//! Kinds of devices, and their names in run directories.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a device; on the command line and in files, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Shaders on an adapter.
    Gpu,
    /// Twins on the processor.
    Cpu,
    /// Both, compared dispatch by dispatch.
    Both,
}

impl DeviceKind {
    /// Returns its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::DeviceKind;

    #[test]
    fn files_and_the_command_line_call_a_kind_the_same() {
        for kind in [DeviceKind::Gpu, DeviceKind::Cpu, DeviceKind::Both] {
            let written = serde_json::to_string(&kind).unwrap();
            assert_eq!(written, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<DeviceKind>(&written).unwrap(), kind);
        }
    }
}
