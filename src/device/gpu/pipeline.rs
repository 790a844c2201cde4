//! From a shader's text to a compute pipeline.
#![allow(unsafe_code)] // Trusted shader modules, see `Compiler::module`; the driver's cache, see `DriverCache::open`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use naga::{AddressSpace, StorageAccess};
use wgpu::{
    BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType, BufferBindingType, ComputePipeline,
    ComputePipelineDescriptor, PipelineCache, PipelineCacheDescriptor, PipelineCompilationOptions,
    PipelineLayoutDescriptor, ShaderModuleDescriptor, ShaderRuntimeChecks, ShaderSource, ShaderStages,
};

use crate::device::tuning::write_whole;
use crate::dispatch::{Shader, Variant};
use crate::kernels::fnv;

/// Gives the WGSL text to use for a shader with these imports, as [`crate::kernels::compose`] does.
/// Tests put faults into shaders with it.
pub type Sources = Arc<dyn Fn(&Shader, &[&str]) -> Result<String, String> + Send + Sync>;

/// A compute pipeline and the layout of its one bind group.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub pipeline: ComputePipeline,
    pub layout: BindGroupLayout,
}

/// What tells one pipeline from another: the shader, its imports, and the values of its `override` constants.
type Key = (&'static str, &'static [&'static str], Vec<(&'static str, u64)>);

/// Makes pipelines, each once.
pub(super) struct Compiler {
    device: wgpu::Device,
    trusted: bool,
    sources: Sources,
    pipelines: HashMap<Key, Pipeline>,
    cache: Option<DriverCache>,
}

impl Compiler {
    pub fn new(device: wgpu::Device, trusted: bool, sources: Sources, cache: Option<DriverCache>) -> Self {
        Self { device, trusted, sources, pipelines: HashMap::new(), cache }
    }

    /// Keeps on disk what the driver has compiled since it was last kept.
    pub fn keep(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.keep(self.pipelines.len());
        }
    }

    /// Whether shaders run without bounds checks.
    pub fn trusted(&self) -> bool {
        self.trusted
    }

    /// The pipeline for `shader` as `variant` wants it; errors with the compiler's message.
    pub fn pipeline(&mut self, shader: &Shader, variant: &Variant) -> Result<Pipeline, String> {
        let constants = variant.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect();
        let key = (shader.name, variant.imports, constants);
        if let Some(pipeline) = self.pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let text = (self.sources)(shader, variant.imports)?;
        let module = naga::front::wgsl::parse_str(&text)
            .map_err(|error| format!("shader {}: {}", shader.name, error.emit_to_string(&text)))?;
        let layout = self.layout(shader, &module);
        let pipeline_layout = self.device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label: Some(shader.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: Some(shader.name),
            layout: Some(&pipeline_layout),
            module: &self.module(shader, module),
            entry_point: Some("main"),
            compilation_options: PipelineCompilationOptions {
                constants: &variant.constants,
                // Shaders initialise their workgroup memory themselves; drivers do it on one thread.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.cache.as_ref().map(|cache| &cache.cache),
        });
        let pipeline = Pipeline { pipeline, layout };
        self.pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn module(&self, shader: &Shader, module: naga::Module) -> wgpu::ShaderModule {
        let descriptor = ShaderModuleDescriptor {
            label: Some(shader.name),
            source: ShaderSource::Naga(std::borrow::Cow::Owned(module)),
        };
        if self.trusted {
            // SAFETY: the shaders are our own; the tests run every one, in every variant and at every shape of its
            // table, between guard words and without bounds checks, and find the bits that it gives with them; all
            // their loops end.
            unsafe { self.device.create_shader_module_trusted(descriptor, ShaderRuntimeChecks::unchecked()) }
        } else {
            self.device.create_shader_module(descriptor)
        }
    }

    /// The bindings that the module declares, by their order and access.
    fn layout(&self, shader: &Shader, module: &naga::Module) -> BindGroupLayout {
        let mut entries: Vec<BindGroupLayoutEntry> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let ty = match variable.space {
                    AddressSpace::Uniform => BufferBindingType::Uniform,
                    AddressSpace::Storage { access } => {
                        BufferBindingType::Storage { read_only: !access.contains(StorageAccess::STORE) }
                    }
                    _ => return None,
                };
                Some(BindGroupLayoutEntry {
                    binding: variable.binding.as_ref()?.binding,
                    visibility: ShaderStages::COMPUTE,
                    ty: BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                    count: None,
                })
            })
            .collect();
        entries.sort_by_key(|entry| entry.binding);
        self.device.create_bind_group_layout(&BindGroupLayoutDescriptor { label: Some(shader.name), entries: &entries })
    }
}

/// What the driver made of shaders, kept in a file, so that the next run need not compile them again.
/// Only Vulkan has it.
pub(super) struct DriverCache {
    cache: PipelineCache,
    path: PathBuf,
    /// Pipelines that were made when it was last written.
    kept: usize,
}

impl DriverCache {
    /// The cache of the adapter called `key`, in `folder`; empty if there is no file, or not one that this wrote.
    pub fn open(device: &wgpu::Device, folder: &Path, key: &str) -> Self {
        let path = folder.join(key);
        let data = fs::read(&path).ok();
        let data = data.as_deref().and_then(unsealed);
        let descriptor = PipelineCacheDescriptor { label: Some("pipelines"), data, fallback: true };
        // SAFETY: the data is what `get_data` gave for a device of this adapter, whose name is the file's, and its
        // checksum says that it is unchanged; wgpu and the driver refuse it if it is for another driver.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Self { cache, path, kept: 0 }
    }

    fn keep(&mut self, pipelines: usize) {
        if self.kept == pipelines {
            return;
        }
        self.kept = pipelines;
        if let Some(data) = self.cache.get_data() {
            // Without a file, the next run compiles again.
            let _: io::Result<()> = write_whole(&self.path, &sealed(&data));
        }
    }
}

/// `data` behind its checksum.
fn sealed(data: &[u8]) -> Vec<u8> {
    [&fnv(data.iter().copied()).to_le_bytes(), data].concat()
}

/// The data of a file that [`sealed`] made and nothing has changed since.
fn unsealed(file: &[u8]) -> Option<&[u8]> {
    let (checksum, data) = file.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*checksum) == fnv(data.iter().copied())).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::{sealed, unsealed};

    #[test]
    fn changed_data_is_not_unsealed() {
        let file = sealed(b"pipelines");
        assert_eq!(unsealed(&file), Some(&b"pipelines"[..]));
        for byte in 0..file.len() {
            let mut changed = file.clone();
            changed[byte] ^= 1;
            assert_eq!(unsealed(&changed), None, "byte {byte}");
            assert_eq!(unsealed(&file[..byte]), None, "{byte} bytes");
        }
    }
}
