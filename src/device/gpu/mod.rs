//! The GPU device: encodes lists of dispatches into command buffers, through wgpu.
//!
//! Pipelines, parameters and buffers are made once, in [`GpuDevice::prepare`]; bind groups on first use. A list is one
//! compute pass of one command buffer, which also takes the read-backs that are asked for after it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, CommandEncoder, ComputePassDescriptor, DeviceDescriptor, PollError,
    PollType, SubmissionIndex,
};

use super::{Clock, Device, DeviceError, DeviceInfo, DispatchTimes, Ticket, TuneOptions, Tuning, writable};
use crate::dispatch::{Dispatch, Limits, Storage, ValueId};
use crate::kernels::compose;

mod adapter;
mod bind;
mod fault;
mod limits;
mod pipeline;
mod read_back;
mod submission;
mod timing;
mod tune;

pub use adapter::{AdapterChoice, AdapterSummary, Backend, list, number};
use bind::Prepared;
use fault::Faults;
pub use limits::LoweredLimits;
pub use pipeline::Sources;
use pipeline::{Compiler, DriverCache};
use read_back::{ReadBack, StagingPool};
pub use submission::{LONGEST_DISPATCH, LONGEST_SUBMISSION, slow_seconds};
use timing::Timestamps;

/// Which adapter to open, and how.
#[derive(Clone)]
pub struct GpuRequest {
    /// Which adapter.
    pub adapter: AdapterChoice,
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
            adapter: AdapterChoice::Preferred,
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
    prepared: Prepared,
    encoder: Option<CommandEncoder>,
    staging: StagingPool,
    /// Only where the adapter has them.
    timestamps: Option<Timestamps>,
    read_backs: HashMap<u64, ReadBack>,
    next_ticket: u64,
    faults: Faults,
    patience: Duration,
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
        let prepared = Prepared::new(&device, &queue);
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
            prepared,
            encoder: None,
            staging: StagingPool::default(),
            read_backs: HashMap::new(),
            next_ticket: 0,
            faults,
            patience: request.patience.unwrap_or(if software { SOFTWARE_PATIENCE } else { PATIENCE }),
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
        self.prepared.bind_groups()
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

    fn create_buffer(&self, bytes: u64, label: &str) -> Buffer {
        self.device.create_buffer(&BufferDescriptor {
            label: Some(label),
            size: bytes.max(4),
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }
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
        self.prepared.clear();
        self.prepare_kernels(dispatches)?;
        self.faults.check()?;
        for (index, &bytes) in storage.buffers.iter().enumerate() {
            if self.faults.fails_allocation(index) {
                return Err(DeviceError::out_of_memory(&self.info.name, &storage.buffers, index));
            }
            let buffer = self.create_buffer(bytes, &format!("buffer {index}"));
            self.prepared.buffers.push(buffer);
            self.faults.check().map_err(|error| match error {
                DeviceError::OutOfMemory { device, .. } => DeviceError::out_of_memory(&device, &storage.buffers, index),
                error => error,
            })?;
        }
        self.prepared.storage = storage.clone();
        Ok(())
    }

    fn write(&mut self, value: ValueId, words: &[u32]) -> Result<(), DeviceError> {
        // A queue's writes come before the next submission: what was encoded before goes first.
        self.flush();
        let region = writable(&self.info, &self.prepared.storage, value, words)?;
        self.queue.write_buffer(&self.prepared.buffers[region.buffer], region.offset, bytemuck::cast_slice(words));
        self.faults.check()
    }

    fn run(&mut self, list: &[Dispatch]) -> Result<(), DeviceError> {
        let bound = self.bind(list)?;
        let seconds: Vec<f64> = bound.iter().map(|&index| self.prepared.seconds(index)).collect();
        let mut pending = self.pending;
        for (number, range) in submission::cut(&seconds, self.longest_submission, &mut pending).into_iter().enumerate()
        {
            if number > 0 {
                self.flush();
            }
            let mut encoder = self.take_encoder();
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            bound[range].iter().for_each(|&index| self.prepared.encode(&mut pass, index));
            drop(pass);
            self.encoder = Some(encoder);
        }
        self.pending = pending;
        self.faults.check()
    }

    fn clock(&self) -> Clock {
        if self.timestamps.is_some() { Clock::Timestamps } else { Clock::RoundTrip }
    }

    fn run_timed(&mut self, list: &[Dispatch]) -> Result<DispatchTimes, DeviceError> {
        self.time(list)
    }

    fn request(&mut self, value: ValueId) -> Result<Ticket, DeviceError> {
        let region = self.prepared.storage.region(value);
        let mut encoder = self.take_encoder();
        let read_back = self.staging.copy(
            &self.device,
            &mut encoder,
            &self.prepared.buffers[region.buffer],
            region.offset,
            region.bytes(),
        );
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
