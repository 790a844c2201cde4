//! Which device a run gets.

use super::compare::ComparedDevices;
use super::cpu::CpuDevice;
use super::gpu::{self, AdapterChoice, Backend, GpuDevice, GpuRequest, LoweredLimits};
use super::{Device, DeviceError, DeviceInfo, DeviceKind, cache_folder};

/// A device as asked for on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A hardware GPU if there is one, else the CPU device.
    #[default]
    Auto,
    /// An adapter, software too.
    Gpu(AdapterChoice),
    /// The CPU device.
    Cpu,
    /// The preferred adapter, held against the CPU device.
    Both,
}

impl DeviceChoice {
    /// Asks once more for the device of this kind and name.
    pub fn again(kind: DeviceKind, name: &str) -> Self {
        match kind {
            DeviceKind::Gpu => Self::Gpu(AdapterChoice::Named(name.to_string())),
            DeviceKind::Cpu => Self::Cpu,
            DeviceKind::Both => Self::Both,
        }
    }
}

impl From<&str> for DeviceChoice {
    fn from(name: &str) -> Self {
        match name {
            "auto" => Self::Auto,
            "gpu" => Self::Gpu(AdapterChoice::Preferred),
            "cpu" => Self::Cpu,
            "both" => Self::Both,
            name => Self::Gpu(match name.strip_prefix("gpu:").and_then(|number| number.parse().ok()) {
                Some(number) => AdapterChoice::Numbered(number),
                None => AdapterChoice::Named(name.to_string()),
            }),
        }
    }
}

/// A device, and a line for the user on why it is this one, where that needs saying.
pub struct Chosen {
    /// The device.
    pub device: Box<dyn Device>,
    /// What to tell the user.
    pub note: Option<String>,
}

/// Opens the device `info` once more, after it was lost.
pub fn reopen(info: &DeviceInfo) -> Result<Box<dyn Device>, DeviceError> {
    let choice = DeviceChoice::again(info.kind, &info.name);
    Ok(open(&choice, info.backend.to_lowercase().parse().ok(), 0)?.device)
}

/// Opens the device asked for, on `backend` if one is given. The CPU device gets `threads` threads; with 0, as many as
/// [`CpuDevice::new`] takes.
pub fn open(choice: &DeviceChoice, backend: Option<Backend>, threads: usize) -> Result<Chosen, DeviceError> {
    let gpu = |adapter: &AdapterChoice| -> Result<Chosen, DeviceError> {
        let (adapter, cache, limits) = (adapter.clone(), cache_folder(), LoweredLimits::from_environment()?);
        let device = GpuDevice::open(&GpuRequest { adapter, backend, cache, limits, ..Default::default() })?;
        let software = "this adapter is a processor that plays a GPU: the shaders run correctly, and slowly";
        let note = device.is_software().then(|| software.to_string());
        Ok(Chosen { device: Box::new(device), note })
    };
    match choice {
        DeviceChoice::Cpu => Ok(Chosen { device: Box::new(CpuDevice::with_threads(threads)?), note: None }),
        DeviceChoice::Gpu(adapter) => gpu(adapter),
        DeviceChoice::Both => {
            let Chosen { device, .. } = gpu(&AdapterChoice::Preferred)?;
            let note = "every dispatch runs on both devices and is compared: slow, for finding faults".to_string();
            Ok(Chosen {
                device: Box::new(ComparedDevices::new(device, CpuDevice::with_threads(threads)?)),
                note: Some(note),
            })
        }
        DeviceChoice::Auto => match gpu::list(backend).first() {
            Some(adapter) if adapter.hardware => gpu(&AdapterChoice::Preferred),
            other => {
                let force = match other {
                    Some(adapter) => format!("`device` gpu runs the shaders on {}", adapter.info.name),
                    None => "to run the shaders, install a Vulkan driver (Debian: `apt install mesa-vulkan-drivers`) \
                             and use `device` gpu"
                        .to_string(),
                };
                let note = Some(format!("no hardware GPU found, so the CPU device is used; {force}"));
                Ok(Chosen { device: Box::new(CpuDevice::with_threads(threads)?), note })
            }
        },
    }
}
