//! `sdgpu devices`.

use std::io::{self, Write};

use crate::device::cpu::CpuDevice;
use crate::device::gpu::{self, Backend};
use crate::device::{Device, DeviceInfo};

/// Lists every adapter, the CPU device, and which one `auto` takes.
pub fn run(backend: Option<Backend>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let adapters = gpu::list(backend);
    for (number, adapter) in adapters.iter().enumerate() {
        writeln!(out, "gpu:{number}  {}", adapter.info.name)?;
        writeln!(out, "     {:24} {}", "kind", adapter.kind)?;
        writeln!(out, "     {:24} {}", "backend", adapter.info.backend)?;
        writeln!(out, "     {:24} {}", "driver", adapter.info.driver)?;
        for (name, value) in &adapter.facts {
            writeln!(out, "     {name:24} {value}")?;
        }
    }
    if adapters.is_empty() {
        writeln!(out, "no GPU adapter found; on Debian, `apt install mesa-vulkan-drivers` brings a software one")?;
    }
    let cpu = CpuDevice::new()?;
    let DeviceInfo { name, backend, driver, .. } = cpu.info();
    writeln!(out, "cpu  {name}\n     {:24} {backend}\n     {:24} {driver}", "instruction set", "threads")?;
    match adapters.first() {
        Some(adapter) if adapter.hardware => {
            writeln!(
                out,
                "auto takes {}: the preferred hardware GPU, {} before others",
                adapter.info.name, adapter.kind
            )?;
        }
        _ => writeln!(out, "auto takes the CPU device: there is no hardware GPU, and a software adapter is slower")?,
    }
    Ok(())
}
