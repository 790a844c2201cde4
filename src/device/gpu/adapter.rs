//! Finding an adapter: what there is, which one `auto` takes, and how to ask for another.

use std::str::FromStr;

use wgpu::{Adapter, Backends, DeviceType, Instance, InstanceDescriptor};

use crate::device::{DeviceError, DeviceInfo, DeviceKind};

/// A graphics interface that sdgpu is built for; which of them exist depends on the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Linux, Android, Windows.
    Vulkan,
    /// macOS, iOS.
    Metal,
    /// Windows.
    Dx12,
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "vulkan" => Ok(Self::Vulkan),
            "metal" => Ok(Self::Metal),
            "dx12" => Ok(Self::Dx12),
            _ => Err(format!("`{name}` is no backend; vulkan, metal and dx12 are")),
        }
    }
}

impl Backend {
    fn wgpu(self) -> Backends {
        match self {
            Self::Vulkan => Backends::VULKAN,
            Self::Metal => Backends::METAL,
            Self::Dx12 => Backends::DX12,
        }
    }
}

/// Backends that this build can use.
fn built() -> Backends {
    if cfg!(target_vendor = "apple") {
        Backends::METAL
    } else if cfg!(windows) {
        Backends::DX12 | Backends::VULKAN
    } else {
        Backends::VULKAN
    }
}

/// An adapter, as `sdgpu devices` lists it.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// Name, backend and driver.
    pub info: DeviceInfo,
    /// `discrete GPU`, `integrated GPU`, `virtual GPU`, `software` or `other`.
    pub kind: &'static str,
    /// Whether it is hardware: what `auto` looks for.
    pub hardware: bool,
    /// Limits and features that matter here, as (name, value).
    pub facts: Vec<(&'static str, String)>,
}

/// All adapters of the backends built in (or of `backend`), the preferred ones first.
pub fn list(backend: Option<Backend>) -> Vec<AdapterSummary> {
    enumerate(backend).iter().map(summary).collect()
}

/// All adapters, the preferred ones first: hardware before software, discrete before integrated.
pub(super) fn enumerate(backend: Option<Backend>) -> Vec<Adapter> {
    let wanted = backend.map_or(built(), |backend| backend.wgpu() & built());
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut descriptor = InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wanted;
    let instance = Instance::new(descriptor);
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wanted));
    adapters.sort_by_key(|adapter| preference(adapter.get_info().device_type));
    adapters
}

/// An adapter as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The preferred one.
    #[default]
    Preferred,
    /// The first of that name: any part of it, in any case.
    Named(String),
    /// The one at this index in [`list`].
    Numbered(usize),
}

/// Returns the index in [`list`] of the adapter that is `wanted`.
pub fn number(wanted: &AdapterChoice, backend: Option<Backend>) -> Result<usize, DeviceError> {
    index_of(&enumerate(backend), wanted, backend)
}

/// The adapter that is `wanted`.
pub(super) fn find(wanted: &AdapterChoice, backend: Option<Backend>) -> Result<Adapter, DeviceError> {
    let mut adapters = enumerate(backend);
    let index = index_of(&adapters, wanted, backend)?;
    Ok(adapters.swap_remove(index))
}

fn index_of(adapters: &[Adapter], wanted: &AdapterChoice, backend: Option<Backend>) -> Result<usize, DeviceError> {
    let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    let found = match wanted {
        AdapterChoice::Preferred => (!names.is_empty()).then_some(0),
        AdapterChoice::Named(name) => {
            let name = name.to_lowercase();
            names.iter().position(|other| other.to_lowercase().contains(&name))
        }
        AdapterChoice::Numbered(number) => (*number < names.len()).then_some(*number),
    };
    let backends = backend.map_or_else(
        || built().iter_names().map(|(name, _)| name.to_lowercase()).collect::<Vec<_>>().join(" and "),
        |backend| format!("{backend:?}").to_lowercase(),
    );
    found.ok_or_else(|| {
        DeviceError::NoAdapter(match wanted {
            AdapterChoice::Named(name) if !names.is_empty() => {
                format!("no adapter is called `{name}`; there are: {}", names.join(", "))
            }
            AdapterChoice::Numbered(number) if !names.is_empty() => {
                let numbered: Vec<String> =
                    (0..).zip(&names).map(|(index, name)| format!("gpu:{index} {name}")).collect();
                format!("there is no gpu:{number}; there are: {}", numbered.join(", "))
            }
            _ => format!(
                "no GPU adapter found (tried {backends}); install a driver (on Debian, `apt install \
                 mesa-vulkan-drivers` brings a software one) or use `device` cpu"
            ),
        })
    })
}

fn preference(kind: DeviceType) -> u32 {
    match kind {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// Who the adapter is.
pub(super) fn info(adapter: &Adapter) -> DeviceInfo {
    let info = adapter.get_info();
    DeviceInfo {
        kind: DeviceKind::Gpu,
        name: info.name,
        backend: format!("{:?}", info.backend),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
    }
}

/// PCI numbers of the adapter's vendor and of itself; 0 where the interface does not say.
pub(super) fn vendor_and_device(adapter: &Adapter) -> [u32; 2] {
    let info = adapter.get_info();
    [info.vendor, info.device]
}

/// The name of the adapter's compiled pipelines, if it can hand them out.
pub(super) fn cache_key(adapter: &Adapter) -> Option<String> {
    let can = adapter.features().contains(wgpu::Features::PIPELINE_CACHE);
    wgpu::util::pipeline_cache_key(&adapter.get_info()).filter(|_| can)
}

/// Whether the adapter is a processor that plays a GPU.
pub(super) fn is_software(adapter: &Adapter) -> bool {
    adapter.get_info().device_type == DeviceType::Cpu
}

fn summary(adapter: &Adapter) -> AdapterSummary {
    let (limits, features) = (adapter.limits(), adapter.features());
    let yes = |feature| if features.contains(feature) { "yes" } else { "no" }.to_string();
    let details = adapter.get_info();
    AdapterSummary {
        info: info(adapter),
        kind: match details.device_type {
            DeviceType::DiscreteGpu => "discrete GPU",
            DeviceType::IntegratedGpu => "integrated GPU",
            DeviceType::VirtualGpu => "virtual GPU",
            DeviceType::Cpu => "software",
            DeviceType::Other => "other",
        },
        hardware: matches!(
            details.device_type,
            DeviceType::DiscreteGpu | DeviceType::IntegratedGpu | DeviceType::VirtualGpu
        ),
        facts: vec![
            ("largest binding", format!("{} MiB", limits.max_storage_buffer_binding_size >> 20)),
            ("largest buffer", format!("{} MiB", limits.max_buffer_size >> 20)),
            ("storage buffers a stage", limits.max_storage_buffers_per_shader_stage.to_string()),
            ("workgroup memory", format!("{} KiB", limits.max_compute_workgroup_storage_size >> 10)),
            ("invocations a workgroup", limits.max_compute_invocations_per_workgroup.to_string()),
            ("workgroups a dimension", limits.max_compute_workgroups_per_dimension.to_string()),
            ("subgroup size", format!("{} to {}", details.subgroup_min_size, details.subgroup_max_size)),
            ("half precision", yes(wgpu::Features::SHADER_F16)),
            ("timestamps", yes(wgpu::Features::TIMESTAMP_QUERY)),
        ],
    }
}
