//! The GPU device: encodes lists of dispatches into command buffers, through wgpu.
//!
//! Pipelines, parameters and buffers are made once, in [`GpuDevice::prepare`]; bind groups on first use. A list is one
//! compute pass of one command buffer, which also takes the read-backs that are asked for after it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, Buffer, BufferBinding, BufferDescriptor, BufferUsages,
    CommandEncoder, ComputePass, ComputePassDescriptor, DeviceDescriptor, PollError, PollType, SubmissionIndex,
};

use super::{Clock, Device, DeviceError, DeviceInfo, Ticket, Timed, TuneOptions, Tuning};
use crate::dispatch::{Dispatch, Kernel, Limits, Region, Storage, ValueId, fold};
use crate::kernels::compose;

mod adapter;
mod fault;
mod limits;
mod pipeline;
mod read_back;
mod submission;
mod timing;
mod tune;

pub use adapter::{AdapterSummary, Backend, Wanted, list, number};
use fault::Faults;
pub use limits::LoweredLimits;
pub use pipeline::Sources;
use pipeline::{Compiler, DriverCache, Pipeline};
use read_back::{ReadBack, StagingPool};
pub use submission::{LONGEST_DISPATCH, LONGEST_SUBMISSION, slow_seconds};
use timing::Timestamps;

/// Which adapter to open, and how.
#[derive(Clone)]
pub struct GpuRequest {
    /// Which adapter.
    pub adapter: Wanted,
    /// Only adapters of this backend.
    pub backend: Option<Backend>,
    /// Runs shaders without bounds checks.
    pub trusted: bool,
    /// Times dispatches by timestamps, where the adapter has them.
    pub timestamps: bool,
    /// Limits below the adapter's.
    pub limits: LoweredLimits,
    /// Folder in which compiled pipelines are kept, where the adapter can hand them out; `None` for no such files.
    pub cache: Option<PathBuf>,
    /// How long a submission may be expected to run on a slow GPU, in seconds, if it is more than one dispatch.
    pub longest_submission: f64,
    /// How long a wait for the device may take before it counts as hung; some time that its kind explains if `None`.
    pub patience: Option<Duration>,
    /// Shader texts to use; those of [`compose`] if `None`.
    pub sources: Option<Sources>,
}

impl Default for GpuRequest {
    fn default() -> Self {
        Self {
            adapter: Wanted::Preferred,
            backend: None,
            trusted: !cfg!(debug_assertions),
            timestamps: true,
            limits: LoweredLimits::default(),
            cache: None,
            longest_submission: LONGEST_SUBMISSION,
            patience: None,
            sources: None,
        }
    }
}

/// How long a wait for a GPU may take. What is submitted at once is short ([`submission`]), and little of it waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for a processor that plays a GPU, some thousand times slower.
const SOFTWARE_PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// Bytes between the parameters of two kernels: WebGPU's coarsest alignment of a uniform binding.
const PARAMS_STRIDE: usize = 256;

/// A kernel with everything made for it.
struct Prepared {
    /// Keeps the address alive that the kernel is found by.
    _kernel: Arc<dyn Kernel>,
    pipeline: Pipeline,
    params_offset: u64,
    params_bytes: u64,
    workgroups: [u32; 3],
}

/// What a bind group depends on: the kernel, by address, and the values bound.
#[derive(PartialEq, Eq, Hash)]
struct BindKey {
    kernel: usize,
    values: [u32; 9],
}

/// A kernel with values bound to it: all that is encoded for a dispatch.
struct Bound {
    pipeline: wgpu::ComputePipeline,
    group: BindGroup,
    workgroups: [u32; 3],
    /// How long it is expected to run on a slow GPU.
    seconds: f64,
}

/// What unused bindings are given, as every binding needs a buffer: one for those read, and one for each that could be
/// written, as no buffer may be bound twice where it is written.
struct UnusedBuffers {
    read: Buffer,
    writes: Vec<Buffer>,
}

impl UnusedBuffers {
    /// Bytes of each: more than the widest element that a shader declares, a vector of four words.
    const BYTES: u64 = 256;

    fn new(device: &wgpu::Device) -> Self {
        let buffer = || {
            let (label, usage) = (Some("unused"), BufferUsages::STORAGE);
            let descriptor = BufferDescriptor { label, size: Self::BYTES, usage, mapped_at_creation: false };
            device.create_buffer(&descriptor)
        };
        Self { read: buffer(), writes: (0..limits::STORAGE_BUFFERS).map(|_| buffer()).collect() }
    }
}

/// A GPU.
pub struct GpuDevice {
    info: DeviceInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    compiler: Compiler,
    tuning: Tuning,
    workgroup_limit: u32,
    software: bool,
    vendor_and_device: [u32; 2],
    storage: Storage,
    buffers: Vec<Buffer>,
    params: Option<Buffer>,
    unused: UnusedBuffers,
    prepared: HashMap<usize, Prepared>,
    bound: Vec<Bound>,
    /// Places in `bound`.
    places: HashMap<BindKey, usize>,
    encoder: Option<CommandEncoder>,
    staging: StagingPool,
    /// Only where the adapter has them.
    timestamps: Option<Timestamps>,
    read_backs: HashMap<u64, ReadBack>,
    next_ticket: u64,
    faults: Faults,
    patience: Duration,
    failing_allocation: Option<usize>,
    longest_submission: f64,
    /// What has been encoded and not submitted is expected to run for so many seconds on a slow GPU.
    pending: f64,
}

impl GpuDevice {
    /// Opens the adapter asked for.
    pub fn open(request: &GpuRequest) -> Result<Self, DeviceError> {
        let adapter = adapter::find(&request.adapter, request.backend)?;
        let info = adapter::info(&adapter);
        let software = adapter::is_software(&adapter);
        let cache = request.cache.as_deref().zip(adapter::cache_key(&adapter));
        let mut wanted = wgpu::Features::empty();
        wanted.set(wgpu::Features::TIMESTAMP_QUERY, request.timestamps);
        wanted.set(wgpu::Features::PIPELINE_CACHE, cache.is_some());
        let descriptor = DeviceDescriptor {
            label: Some("sdgpu"),
            required_features: wanted & adapter.features(),
            required_limits: request.limits.required(&adapter.limits()),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| DeviceError::Refused { device: info.name.clone(), message: error.to_string() })?;
        let faults = Faults::listen(&device, &info.name);
        let unused = UnusedBuffers::new(&device);
        let cache = cache.map(|(folder, key)| DriverCache::open(&device, folder, &key));
        let sources = request.sources.clone().unwrap_or_else(|| Arc::new(compose));
        Ok(Self {
            compiler: Compiler::new(device.clone(), request.trusted, sources, cache),
            tuning: Tuning::default(),
            workgroup_limit: device.limits().max_compute_workgroups_per_dimension,
            software,
            vendor_and_device: adapter::vendor_and_device(&adapter),
            timestamps: Timestamps::new(&device, &queue),
            info,
            device,
            queue,
            storage: Storage::default(),
            buffers: Vec::new(),
            params: None,
            unused,
            prepared: HashMap::new(),
            bound: Vec::new(),
            places: HashMap::new(),
            encoder: None,
            staging: StagingPool::default(),
            read_backs: HashMap::new(),
            next_ticket: 0,
            faults,
            patience: request.patience.unwrap_or(if software { SOFTWARE_PATIENCE } else { PATIENCE }),
            failing_allocation: None,
            longest_submission: request.longest_submission,
            pending: 0.0,
        })
    }

    /// Whether the adapter is a processor that plays a GPU.
    pub fn is_software(&self) -> bool {
        self.software
    }

    /// Number of bind groups made so far; it stops growing once every combination has been met.
    pub fn bind_groups(&self) -> usize {
        self.bound.len()
    }

    /// Has the allocation of the buffer with this number fail in the next [`Device::prepare`], as the driver would
    /// refuse it, for tests of what happens then.
    pub fn fail_allocation(&mut self, number: usize) {
        self.failing_allocation = Some(number);
    }

    /// Takes the device away, as a driver does that resets it, for tests of what happens then.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Waits until `submission` is done, or everything that was submitted.
    fn wait(&self, submission: Option<SubmissionIndex>) -> Result<(), DeviceError> {
        let wait = PollType::Wait { submission_index: submission, timeout: Some(self.patience) };
        match self.device.poll(wait) {
            Ok(_) => self.faults.check(),
            Err(PollError::Timeout) => {
                // Nobody may wait for it when it is dropped: the handles live on.
                std::mem::forget((self.device.clone(), self.queue.clone()));
                let (device, seconds) = (self.info.name.clone(), self.patience.as_secs_f64());
                Err(DeviceError::Hung { device, seconds })
            }
            Err(error) => Err(self.refused(error.to_string())),
        }
    }

    fn refused(&self, message: impl Into<String>) -> DeviceError {
        DeviceError::Refused { device: self.info.name.clone(), message: message.into() }
    }

    /// The command buffer being encoded, or a new one.
    fn take_encoder(&mut self) -> CommandEncoder {
        self.encoder.take().unwrap_or_else(|| self.device.create_command_encoder(&Default::default()))
    }

    /// Submits what has been encoded.
    fn flush(&mut self) {
        self.pending = 0.0;
        if let Some(encoder) = self.encoder.take() {
            let submission = self.queue.submit([encoder.finish()]);
            for read_back in self.read_backs.values_mut().filter(|read_back| read_back.submission.is_none()) {
                read_back.map(submission.clone());
            }
        }
    }

    fn bind_group(&self, prepared: &Prepared, dispatch: &Dispatch) -> Option<BindGroup> {
        let range = |region: Region| {
            wgpu::BindingResource::Buffer(BufferBinding {
                buffer: &self.buffers[region.buffer],
                offset: region.offset,
                size: wgpu::BufferSize::new(region.bytes()),
            })
        };
        let params = wgpu::BindingResource::Buffer(BufferBinding {
            buffer: self.params.as_ref()?,
            offset: prepared.params_offset,
            size: wgpu::BufferSize::new(prepared.params_bytes),
        });
        let value = |value: ValueId| range(self.storage.region(value));
        let reads = dispatch.reads.iter().map(|read| read.map_or_else(|| self.unused.read.as_entire_binding(), value));
        let writes = dispatch.writes.iter().zip(&self.unused.writes);
        let values = reads.chain(writes.map(|(write, unused)| write.map_or_else(|| unused.as_entire_binding(), value)));
        let entries: Vec<BindGroupEntry<'_>> = std::iter::once(params)
            .chain(values)
            .enumerate()
            .map(|(binding, resource)| BindGroupEntry { binding: binding as u32, resource })
            .collect();
        Some(self.device.create_bind_group(&BindGroupDescriptor {
            label: Some(&dispatch.label),
            layout: &prepared.pipeline.layout,
            entries: &entries,
        }))
    }

    /// The places in `bound` of the dispatches of `list`; those that have not been met before are bound now.
    fn bind(&mut self, list: &[Dispatch]) -> Result<Vec<usize>, DeviceError> {
        list.iter().map(|dispatch| self.place(dispatch)).collect()
    }

    fn place(&mut self, dispatch: &Dispatch) -> Result<usize, DeviceError> {
        let key = bind_key(dispatch);
        if let Some(&place) = self.places.get(&key) {
            return Ok(place);
        }
        let bound = self.prepared.get(&key.kernel).and_then(|prepared| {
            let group = self.bind_group(prepared, dispatch)?;
            let seconds = slow_seconds(dispatch, &self.storage);
            Some(Bound {
                pipeline: prepared.pipeline.pipeline.clone(),
                group,
                workgroups: prepared.workgroups,
                seconds,
            })
        });
        self.bound.push(bound.ok_or_else(|| self.refused(format!("{} was not prepared", dispatch.label)))?);
        self.places.insert(key, self.bound.len() - 1);
        Ok(self.bound.len() - 1)
    }

    /// Encodes what is bound at `place`.
    fn encode(&self, pass: &mut ComputePass<'_>, place: usize) {
        let Bound { pipeline, group, workgroups: [x, y, z], .. } = &self.bound[place];
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(*x, *y, *z);
    }

    fn create_buffer(&self, bytes: u64, label: &str) -> Buffer {
        self.device.create_buffer(&BufferDescriptor {
            label: Some(label),
            size: bytes.max(4),
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// Pipelines and parameters for the kernels of `dispatches`.
    fn prepare_kernels(&mut self, dispatches: &[&Dispatch]) -> Result<(), DeviceError> {
        let mut params: Vec<u8> = Vec::new();
        let mut offsets: HashMap<&[u8], usize> = HashMap::new();
        for dispatch in dispatches {
            let address = address(&dispatch.kernel);
            if self.prepared.contains_key(&address) {
                continue;
            }
            let kernel = &dispatch.kernel;
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
            let prepared = Prepared {
                _kernel: Arc::clone(kernel),
                pipeline,
                params_offset: offset as u64,
                params_bytes: bytes.len() as u64,
                workgroups: fold(variant.workgroups, self.workgroup_limit),
            };
            self.prepared.insert(address, prepared);
        }
        self.compiler.keep();
        let buffer = self.device.create_buffer(&BufferDescriptor {
            label: Some("parameters"),
            size: params.len().max(PARAMS_STRIDE) as u64,
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, &params);
        self.params = Some(buffer);
        Ok(())
    }
}

/// Where a kernel lies: its name within one prepared plan, as every list of the plan shares its kernels.
fn address(kernel: &Arc<dyn Kernel>) -> usize {
    Arc::as_ptr(kernel).cast::<()>() as usize
}

impl Device for GpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn limits(&self) -> Limits {
        let limits = self.device.limits();
        Limits {
            binding_bytes: limits.max_storage_buffer_binding_size,
            buffer_bytes: limits.max_buffer_size,
            // No graphics interface tells how much is free.
            total_bytes: u64::MAX,
        }
    }

    fn set_tuning(&mut self, tuning: &Tuning) {
        self.tuning = tuning.clone();
    }

    fn tune(
        &mut self,
        storage: &Storage,
        dispatches: &[&Dispatch],
        options: &TuneOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Tuning, DeviceError> {
        self.measure_variants(storage, dispatches, options, progress)
    }

    fn prepare(&mut self, storage: &Storage, dispatches: &[&Dispatch]) -> Result<(), DeviceError> {
        self.flush();
        self.read_backs.clear();
        self.places.clear();
        self.bound.clear();
        self.prepared.clear();
        self.buffers.clear();
        self.prepare_kernels(dispatches)?;
        self.faults.check()?;
        for (index, &bytes) in storage.buffers.iter().enumerate() {
            if self.failing_allocation.take_if(|failing| *failing == index).is_some() {
                return Err(DeviceError::out_of_memory(&self.info.name, &storage.buffers, index));
            }
            self.buffers.push(self.create_buffer(bytes, &format!("buffer {index}")));
            self.faults.check().map_err(|error| match error {
                DeviceError::OutOfMemory { device, .. } => DeviceError::out_of_memory(&device, &storage.buffers, index),
                error => error,
            })?;
        }
        self.storage = storage.clone();
        Ok(())
    }

    fn write(&mut self, value: ValueId, words: &[u32]) -> Result<(), DeviceError> {
        // A queue's writes come before the next submission: what was encoded before goes first.
        self.flush();
        let region = self.storage.region(value);
        self.queue.write_buffer(&self.buffers[region.buffer], region.offset, bytemuck::cast_slice(words));
        self.faults.check()
    }

    fn run(&mut self, list: &[Dispatch]) -> Result<(), DeviceError> {
        let places = self.bind(list)?;
        let seconds: Vec<f64> = places.iter().map(|&place| self.bound[place].seconds).collect();
        let mut pending = self.pending;
        for (number, range) in submission::cut(&seconds, self.longest_submission, &mut pending).into_iter().enumerate()
        {
            if number > 0 {
                self.flush();
            }
            let mut encoder = self.take_encoder();
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            places[range].iter().for_each(|&place| self.encode(&mut pass, place));
            drop(pass);
            self.encoder = Some(encoder);
        }
        self.pending = pending;
        self.faults.check()
    }

    fn clock(&self) -> Clock {
        if self.timestamps.is_some() { Clock::Timestamps } else { Clock::RoundTrip }
    }

    fn run_timed(&mut self, list: &[Dispatch]) -> Result<Timed, DeviceError> {
        self.time(list)
    }

    fn request(&mut self, value: ValueId) -> Result<Ticket, DeviceError> {
        let region = self.storage.region(value);
        let mut encoder = self.take_encoder();
        let read_back =
            self.staging.copy(&self.device, &mut encoder, &self.buffers[region.buffer], region.offset, region.bytes());
        self.encoder = Some(encoder);
        self.next_ticket += 1;
        self.read_backs.insert(self.next_ticket, read_back);
        self.flush();
        self.faults.check()?;
        Ok(Ticket(self.next_ticket))
    }

    fn is_ready(&mut self, ticket: &Ticket) -> Result<bool, DeviceError> {
        self.device.poll(PollType::Poll).map_err(|error| self.refused(error.to_string()))?;
        self.faults.check()?;
        Ok(self.read_backs.get(&ticket.0).is_some_and(ReadBack::is_done))
    }

    fn collect(&mut self, ticket: Ticket) -> Result<Vec<u32>, DeviceError> {
        let read_back = self.read_backs.remove(&ticket.0);
        let read_back = read_back.ok_or_else(|| self.refused("a read-back of values that were dropped since"))?;
        if !read_back.is_done() {
            self.wait(read_back.submission.clone())?;
        }
        self.faults.check()?;
        let words = self.staging.take(read_back);
        words.ok_or_else(|| DeviceError::Lost {
            device: self.info.name.clone(),
            reason: "it did not deliver a read-back".into(),
        })
    }
}

/// Stands in a [`BindKey`] for a binding that is not used, or that the shader does not have.
const UNUSED: u32 = u32::MAX;

fn bind_key(dispatch: &Dispatch) -> BindKey {
    let mut values = [UNUSED; 9];
    for (slot, value) in values.iter_mut().zip(dispatch.reads.iter().chain(&dispatch.writes)) {
        *slot = value.map_or(UNUSED, |value| value.0);
    }
    BindKey { kernel: address(&dispatch.kernel), values }
}
