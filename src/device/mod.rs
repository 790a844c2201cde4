//! What runs a list of dispatches: a GPU through wgpu, or the CPU.
//!
//! Both keep the values of a plan in buffers that are allocated once, run the same lists, and hand values back
//! without making a step wait. Neither knows what the lists mean.

use std::ops::Range;
use std::time::Duration;

use thiserror::Error;

use crate::dispatch::{Dispatch, Limits, Region, Storage, ValueId};

pub mod compare;
pub mod cpu;
pub mod gpu;
mod kind;
pub mod open;
mod tuning;

pub use kind::DeviceKind;
pub use tuning::{TuneOptions, Tuning, cache_folder, parse_cache};

/// What went wrong on a device.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// No adapter answers the request.
    #[error("{0}")]
    NoAdapter(String),
    /// Limits were asked for that nothing can run within.
    #[error("{0}")]
    BadLimits(String),
    /// The device ran out of memory.
    #[error(
        "{device}: out of memory, allocating {} MiB, of which it had {}; use a smaller `batch_size` or `eval_batch`",
        needed_bytes >> 20, had_bytes >> 20
    )]
    OutOfMemory {
        /// Name of the device.
        device: String,
        /// Bytes that were asked for.
        needed_bytes: u64,
        /// Bytes that could be allocated.
        had_bytes: u64,
    },
    /// The driver reset or removed the device.
    #[error("{device}: the device was lost ({reason})")]
    Lost {
        /// Name of the device.
        device: String,
        /// The driver's words.
        reason: String,
    },
    /// The device does not answer.
    #[error("{device}: the device has not answered for {seconds:.1} s")]
    Hung {
        /// Name of the device.
        device: String,
        /// How long it was waited for.
        seconds: f64,
    },
    /// Two devices disagree.
    #[error("{0}")]
    Mismatch(String),
    /// The driver or wgpu refused something: a fault of sdgpu or of the driver.
    #[error("{device}: {message}")]
    Refused {
        /// Name of the device.
        device: String,
        /// The message.
        message: String,
    },
}

impl DeviceError {
    /// Returns whether it was asked for too much: a device that is not there, limits that nothing
    /// runs within, or more memory than there is.
    pub fn is_bad_request(&self) -> bool {
        matches!(self, Self::NoAdapter(_) | Self::BadLimits(_) | Self::OutOfMemory { .. })
    }

    /// The allocation of `buffers`, of so many bytes each, failed at the one with the number
    /// `failed`.
    pub(crate) fn out_of_memory(device: &str, buffers: &[u64], failed: usize) -> Self {
        let (needed_bytes, had_bytes) = (buffers.iter().sum(), buffers[..failed].iter().sum());
        Self::OutOfMemory { device: device.to_string(), needed_bytes, had_bytes }
    }
}

/// Who a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// GPU, CPU, or both at once.
    pub kind: DeviceKind,
    /// Name of the adapter or the processor.
    pub name: String,
    /// Vulkan, Metal, Dx12, or the instruction set of the CPU device.
    pub backend: String,
    /// Driver and its version; the number of threads on the CPU device.
    pub driver: String,
}

/// A read-back under way, to be collected once.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) u64);

/// How a device knows when a dispatch ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The host's clock, on the host itself: nothing is encoded, a list has run when the call returns.
    Host,
    /// Timestamps that a GPU takes at both ends of a dispatch, in a pass of its own.
    Timestamps,
    /// The host's clock, from the submission of a dispatch alone until the host hears that it is done. What that takes
    /// counts too, which is much beside a short dispatch.
    RoundTrip,
}

impl Clock {
    /// What dispatches are timed by, for the user.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Host => "the host's clock",
            Self::Timestamps => "the GPU's timestamps",
            Self::RoundTrip => "the host's clock around submission and wait, as the adapter has no timestamps",
        }
    }
}

/// When the dispatches of a list ran.
#[derive(Clone, Debug, Default)]
pub struct DispatchTimes {
    /// What the host took to encode and submit; nothing where nothing is encoded.
    pub encoding: Duration,
    /// Begin and end of each dispatch, since the call.
    pub spans: Vec<Range<Duration>>,
}

impl DispatchTimes {
    /// How long each dispatch ran, in seconds.
    pub fn seconds(&self) -> impl Iterator<Item = f64> {
        self.spans.iter().map(|span| span.end.saturating_sub(span.start).as_secs_f64())
    }

    /// What each dispatch adds, in seconds: from the end of the one before to its own end. They add up to
    /// [`Self::extent`].
    pub fn slots(&self) -> impl Iterator<Item = f64> {
        let begin = self.spans.first().map(|span| span.start);
        let begins = begin.into_iter().chain(self.spans.iter().map(|span| span.end));
        self.spans.iter().zip(begins).map(|(span, begin)| span.end.saturating_sub(begin).as_secs_f64())
    }

    /// From the begin of the first dispatch to the end of the last, in seconds.
    pub fn extent(&self) -> f64 {
        match (self.spans.first(), self.spans.last()) {
            (Some(first), Some(last)) => last.end.saturating_sub(first.start).as_secs_f64(),
            _ => 0.0,
        }
    }
}

/// Returns where `value` lies, if `words` fit there; the one above it would be overwritten
/// otherwise.
fn writable(info: &DeviceInfo, storage: &Storage, value: ValueId, words: &[u32]) -> Result<Region, DeviceError> {
    let region = storage.regions.get(value.index()).copied();
    region.filter(|region| size_of_val(words) as u64 <= region.bytes()).ok_or_else(|| DeviceError::Refused {
        device: info.name.clone(),
        message: format!("{} words do not fit value {}", words.len(), value.0),
    })
}

/// A machine that runs lists of dispatches on values.
pub trait Device {
    /// Who it is.
    fn info(&self) -> &DeviceInfo;

    /// What a plan has to respect.
    fn limits(&self) -> Limits;

    /// Runs kernels in the variants that `tuning` names, from the next [`Self::prepare`] on. The results are the same.
    fn set_tuning(&mut self, tuning: &Tuning) {
        let _ = tuning;
    }

    /// Measures, or knows from before, which variants of the kernels of `dispatches` are the fastest with values as
    /// large as `storage` says; they are for [`Self::set_tuning`]. Calls `progress` with the numbers of kernels
    /// measured and to be measured, from 0 on, if there are any. Drops whatever was prepared.
    fn tune(
        &mut self,
        storage: &Storage,
        dispatches: &[&Dispatch],
        options: &TuneOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Tuning, DeviceError> {
        let _ = (storage, dispatches, options, progress);
        Ok(Tuning::default())
    }

    /// Allocates `storage`, zeroed, and makes what is needed to run `dispatches`, so that steps need nothing new.
    /// Whatever was prepared before is dropped.
    fn prepare(&mut self, storage: &Storage, dispatches: &[&Dispatch]) -> Result<(), DeviceError>;

    /// Overwrites the first words of `value`, after everything that was submitted before. A word is
    /// four bytes, whatever the elements are.
    fn write(&mut self, value: ValueId, words: &[u32]) -> Result<(), DeviceError>;

    /// Takes `list`, to be run in order after everything before. May return before it is done, or
    /// even begun: the next [`Self::write`] or [`Self::request`] submits what is still waiting.
    ///
    /// # Panics
    ///
    /// On the CPU, if a dispatch names values that the storage lacks, or reads and writes one
    /// buffer: mistakes in a plan, for which its tests look.
    fn run(&mut self, list: &[Dispatch]) -> Result<(), DeviceError>;

    /// What [`Self::run_timed`] goes by.
    fn clock(&self) -> Clock;

    /// Runs `list` to its end, after everything before, and tells when each dispatch ran. The values are those of
    /// [`Self::run`], bit for bit.
    fn run_timed(&mut self, list: &[Dispatch]) -> Result<DispatchTimes, DeviceError>;

    /// Asks for what `value` holds after everything submitted so far; does not wait.
    fn request(&mut self, value: ValueId) -> Result<Ticket, DeviceError>;

    /// Whether [`Self::collect`] would return at once.
    fn is_ready(&mut self, ticket: &Ticket) -> Result<bool, DeviceError>;

    /// The words asked for, waiting for them if need be.
    fn collect(&mut self, ticket: Ticket) -> Result<Vec<u32>, DeviceError>;

    /// The words of `value`, now.
    fn read(&mut self, value: ValueId) -> Result<Vec<u32>, DeviceError> {
        let ticket = self.request(value)?;
        self.collect(ticket)
    }
}
