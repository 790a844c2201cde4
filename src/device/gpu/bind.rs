//! Everything that is made for one plan and lives as long: kernels with their parameters, buffers,
//! and bind groups.
//!
//! Kernels and buffers are made before the first step, a bind group when a kernel first meets its
//! values.

use std::collections::HashMap;

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindingResource, Buffer, BufferBinding, BufferDescriptor,
    BufferSize, BufferUsages, ComputePass, ComputePipeline,
};

use super::limits::STORAGE_BUFFERS;
use super::pipeline::Pipeline;
use super::{GpuDevice, slow_seconds};
use crate::device::DeviceError;
use crate::dispatch::{Dispatch, KernelId, Region, Storage, ValueId, fold};

/// Bytes between the parameters of two kernels: WebGPU's coarsest alignment of a uniform binding.
const PARAMS_STRIDE: usize = 256;

/// Everything that `prepare` made.
pub(super) struct Prepared {
    pub storage: Storage,
    pub buffers: Vec<Buffer>,
    params: Option<Buffer>,
    kernels: HashMap<KernelId, PreparedKernel>,
    bound: Vec<Bound>,
    /// Indices into `bound`.
    indices: HashMap<BindKey, usize>,
    unused: UnusedBuffers,
}

/// A kernel's pipeline and parameters.
struct PreparedKernel {
    pipeline: Pipeline,
    params_offset: u64,
    params_bytes: u64,
    workgroups: [u32; 3],
}

/// The key of a bind group: the kernel and the values bound.
#[derive(PartialEq, Eq, Hash)]
struct BindKey {
    kernel: KernelId,
    values: BoundValues,
}

/// Numbers of the values that a dispatch binds, in the order of the shader's bindings;
/// [`Self::NONE`] for those that are not used, and behind the last.
#[derive(PartialEq, Eq, Hash)]
struct BoundValues([u32; STORAGE_BUFFERS as usize]);

impl BoundValues {
    const NONE: u32 = u32::MAX;

    fn new(dispatch: &Dispatch) -> Self {
        let mut values = [Self::NONE; STORAGE_BUFFERS as usize];
        let bindings = dispatch.reads.iter().chain(&dispatch.writes);
        for (slot, value) in values.iter_mut().zip(bindings) {
            *slot = value.map_or(Self::NONE, |value| value.0);
        }
        Self(values)
    }
}

/// A kernel with values bound to it: all that is encoded for a dispatch.
struct Bound {
    pipeline: ComputePipeline,
    group: BindGroup,
    workgroups: [u32; 3],
    /// How long it is expected to run on a slow GPU.
    seconds: f64,
}

/// What unused bindings are given, as every binding needs a buffer: one for those read, and one for
/// each that could be written, as no buffer may be bound twice where it is written. The first holds
/// NaNs, so that a shader that computes with it is found out.
struct UnusedBuffers {
    read: Buffer,
    writes: Vec<Buffer>,
}

impl UnusedBuffers {
    /// Bytes of each: more than the widest element that a shader declares, a vector of four words.
    const BYTES: u64 = 256;

    fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let buffer = || {
            let (label, usage) = (Some("unused"), BufferUsages::STORAGE | BufferUsages::COPY_DST);
            let descriptor = BufferDescriptor { label, size: Self::BYTES, usage, mapped_at_creation: false };
            device.create_buffer(&descriptor)
        };
        let read = buffer();
        queue.write_buffer(&read, 0, &[0xff; Self::BYTES as usize]);
        Self { read, writes: (0..STORAGE_BUFFERS).map(|_| buffer()).collect() }
    }
}

impl Prepared {
    /// Nothing but what unused bindings are given.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        Self {
            storage: Storage::default(),
            buffers: Vec::new(),
            params: None,
            kernels: HashMap::new(),
            bound: Vec::new(),
            indices: HashMap::new(),
            unused: UnusedBuffers::new(device, queue),
        }
    }

    /// Drops whatever was prepared.
    pub fn clear(&mut self) {
        self.indices.clear();
        self.bound.clear();
        self.kernels.clear();
        self.buffers.clear();
        self.storage = Storage::default();
        self.params = None;
    }

    /// Returns the number of bind groups made so far.
    pub fn bind_groups(&self) -> usize {
        self.bound.len()
    }

    /// Returns how long what is bound at `index` is expected to run on a slow GPU.
    pub fn seconds(&self, index: usize) -> f64 {
        self.bound[index].seconds
    }

    /// Encodes what is bound at `index`.
    pub fn encode(&self, pass: &mut ComputePass<'_>, index: usize) {
        let Bound { pipeline, group, workgroups: [x, y, z], .. } = &self.bound[index];
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(*x, *y, *z);
    }

    /// Returns the index of what is bound for `dispatch`; binds it now if it has not been met
    /// before. `None` if its kernel was not prepared.
    fn index(&mut self, device: &wgpu::Device, dispatch: &Dispatch) -> Option<usize> {
        let key = BindKey { kernel: dispatch.kernel.id(), values: BoundValues::new(dispatch) };
        if let Some(&index) = self.indices.get(&key) {
            return Some(index);
        }
        let kernel = self.kernels.get(&key.kernel)?;
        self.bound.push(Bound {
            pipeline: kernel.pipeline.pipeline.clone(),
            group: self.bind_group(device, kernel, dispatch)?,
            workgroups: kernel.workgroups,
            seconds: slow_seconds(dispatch, &self.storage),
        });
        self.indices.insert(key, self.bound.len() - 1);
        Some(self.bound.len() - 1)
    }

    fn bind_group(&self, device: &wgpu::Device, kernel: &PreparedKernel, dispatch: &Dispatch) -> Option<BindGroup> {
        let range = |region: Region| {
            BindingResource::Buffer(BufferBinding {
                buffer: &self.buffers[region.buffer],
                offset: region.offset,
                size: BufferSize::new(region.bytes()),
            })
        };
        let params = BindingResource::Buffer(BufferBinding {
            buffer: self.params.as_ref()?,
            offset: kernel.params_offset,
            size: BufferSize::new(kernel.params_bytes),
        });
        let value = |value: ValueId| range(self.storage.region(value));
        let reads = dispatch.reads.iter().map(|read| read.map_or_else(|| self.unused.read.as_entire_binding(), value));
        let writes = dispatch.writes.iter().zip(&self.unused.writes);
        let writes = writes.map(|(write, unused)| write.map_or_else(|| unused.as_entire_binding(), value));
        let entries: Vec<BindGroupEntry<'_>> = std::iter::once(params)
            .chain(reads)
            .chain(writes)
            .enumerate()
            .map(|(binding, resource)| BindGroupEntry { binding: binding as u32, resource })
            .collect();
        let (label, layout) = (Some(&*dispatch.label), &kernel.pipeline.layout);
        Some(device.create_bind_group(&BindGroupDescriptor { label, layout, entries: &entries }))
    }
}

impl GpuDevice {
    /// Returns the indices of what is bound for the dispatches of `list`.
    pub(super) fn bind(&mut self, list: &[Dispatch]) -> Result<Vec<usize>, DeviceError> {
        let mut bind = |dispatch: &Dispatch| {
            let index = self.prepared.index(&self.device, dispatch);
            index.ok_or_else(|| self.refused(format!("{} was not prepared", dispatch.label)))
        };
        list.iter().map(&mut bind).collect()
    }

    /// Makes pipelines and parameters for the kernels of `dispatches`.
    pub(super) fn prepare_kernels(&mut self, dispatches: &[&Dispatch]) -> Result<(), DeviceError> {
        let mut params: Vec<u8> = Vec::new();
        let mut offsets: HashMap<&[u8], usize> = HashMap::new();
        for dispatch in dispatches {
            let kernel = &dispatch.kernel;
            if self.prepared.kernels.contains_key(&kernel.id()) {
                continue;
            }
            let bytes = kernel.params();
            let offset = *offsets.entry(bytes).or_insert_with(|| {
                let offset = params.len();
                params.extend_from_slice(bytes);
                params.resize(offset + PARAMS_STRIDE, 0);
                offset
            });
            let variant = self.tuning.variant(kernel.as_ref());
            let pipeline =
                self.compiler.pipeline(kernel.shader(), &variant).map_err(|message| self.refused(message))?;
            let prepared = PreparedKernel {
                pipeline,
                params_offset: offset as u64,
                params_bytes: bytes.len() as u64,
                workgroups: fold(variant.workgroups, self.workgroup_limit),
            };
            self.prepared.kernels.insert(kernel.id(), prepared);
        }
        self.compiler.keep();
        let buffer = self.device.create_buffer(&BufferDescriptor {
            label: Some("parameters"),
            size: params.len().max(PARAMS_STRIDE) as u64,
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, &params);
        self.prepared.params = Some(buffer);
        Ok(())
    }
}
