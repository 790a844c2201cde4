//! Which device a run gets.

use super::both::BothDevices;
use super::cpu::CpuDevice;
use super::gpu::{self, Backend, GpuDevice, GpuRequest};
use super::{Device, DeviceError, DeviceInfo, cache_folder};

/// A device as asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A hardware GPU if there is one, else the CPU device.
    Auto,
    /// The preferred adapter, software too.
    Gpu,
    /// The CPU device.
    Cpu,
    /// The preferred adapter, held against the CPU device.
    Both,
    /// The adapter of that name.
    Named(String),
}

impl From<&str> for DeviceChoice {
    fn from(name: &str) -> Self {
        match name {
            "auto" => Self::Auto,
            "gpu" => Self::Gpu,
            "cpu" => Self::Cpu,
            "both" => Self::Both,
            name => Self::Named(name.to_string()),
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
    let choice =
        if info.kind == "gpu" { DeviceChoice::Named(info.name.clone()) } else { DeviceChoice::from(info.kind) };
    Ok(open(&choice, info.backend.to_lowercase().parse().ok())?.device)
}

/// Opens the device asked for, on `backend` if one is given.
pub fn open(choice: &DeviceChoice, backend: Option<Backend>) -> Result<Chosen, DeviceError> {
    let request = |name: Option<&str>| {
        let (name, cache) = (name.map(str::to_string), cache_folder());
        GpuRequest { name, backend, cache, ..Default::default() }
    };
    let gpu = |name: Option<&str>| -> Result<Chosen, DeviceError> {
        let device = GpuDevice::open(&request(name))?;
        let software = "this adapter is a processor that plays a GPU: the shaders run correctly, and slowly";
        let note = device.is_software().then(|| software.to_string());
        Ok(Chosen { device: Box::new(device), note })
    };
    match choice {
        DeviceChoice::Cpu => Ok(Chosen { device: Box::new(CpuDevice::new()?), note: None }),
        DeviceChoice::Gpu => gpu(None),
        DeviceChoice::Named(name) => gpu(Some(name)),
        DeviceChoice::Both => {
            let Chosen { device, .. } = gpu(None)?;
            let note = "every dispatch runs on both devices and is compared: slow, for finding faults".to_string();
            Ok(Chosen { device: Box::new(BothDevices::new(device, CpuDevice::new()?)), note: Some(note) })
        }
        DeviceChoice::Auto => match gpu::list(backend).first() {
            Some(adapter) if adapter.hardware => gpu(Some(&adapter.info.name)),
            other => {
                let force = match other {
                    Some(adapter) => format!("--device gpu runs the shaders on {}", adapter.info.name),
                    None => "to run the shaders, install a Vulkan driver (Debian: `apt install mesa-vulkan-drivers`) \
                             and use --device gpu"
                        .to_string(),
                };
                let note = Some(format!("no hardware GPU found, so the CPU device is used; {force}"));
                Ok(Chosen { device: Box::new(CpuDevice::new()?), note })
            }
        },
    }
}
