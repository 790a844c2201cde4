//! From a shader's text to a compute pipeline.
#![allow(unsafe_code)] // Trusted shader modules: see `Compiler::module`.

use std::collections::HashMap;
use std::sync::Arc;

use naga::{AddressSpace, StorageAccess};
use wgpu::{
    BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType, BufferBindingType, ComputePipeline,
    ComputePipelineDescriptor, PipelineCompilationOptions, PipelineLayoutDescriptor, ShaderModuleDescriptor,
    ShaderRuntimeChecks, ShaderSource, ShaderStages,
};

use crate::dispatch::{Shader, Variant};

/// Gives the WGSL text to use for a shader with these imports, as [`Shader::wgsl`] does. Tests put faults into shaders
/// with it.
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
}

impl Compiler {
    pub fn new(device: wgpu::Device, trusted: bool, sources: Sources) -> Self {
        Self { device, trusted, sources, pipelines: HashMap::new() }
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
            cache: None,
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
