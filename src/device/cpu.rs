//! The CPU device: runs each kernel's twin, one after the other, on a pool of threads.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memmap2::MmapMut;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Clock, Device, DeviceError, DeviceInfo, DeviceKind, DispatchTimes, Ticket, writable};
use crate::dispatch::{Bindings, Dispatch, Input, Limits, Output, Region, Storage, ValueId};

/// The CPU device.
pub struct CpuDevice {
    info: DeviceInfo,
    pool: Arc<ThreadPool>,
    storage: Storage,
    buffers: Vec<Buffer>,
    read_backs: HashMap<u64, Vec<u32>>,
    next_ticket: u64,
}

/// Zeros at first, on pages of their own: the widest vectors then never straddle two cache lines. On Linux they are
/// large pages, if the system gives some away: a net's values are more than small ones can be looked up for quickly.
#[derive(Default)]
struct Buffer(Option<MmapMut>);

impl Buffer {
    fn new(bytes: u64) -> std::io::Result<Self> {
        let bytes = usize::try_from(bytes.max(1)).map_err(std::io::Error::other)?;
        let mut pages = MmapMut::map_anon(bytes)?;
        // Only a wish: systems without large pages refuse it.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        // Touched now, so that no step has to wait for a page.
        pages.fill(0);
        Ok(Self(Some(pages)))
    }

    fn words(&self) -> &[u32] {
        self.0.as_ref().map_or(&[], |pages| bytemuck::cast_slice(pages))
    }

    fn words_mut(&mut self) -> &mut [u32] {
        self.0.as_mut().map_or(&mut [], |pages| bytemuck::cast_slice_mut(pages))
    }
}

impl CpuDevice {
    /// With as many threads as the machine has cores (or as `RAYON_NUM_THREADS` says).
    pub fn new() -> Result<Self, DeviceError> {
        Self::with_threads(0)
    }

    /// With `threads` threads; 0 for as many as [`Self::new`] takes. Results do not depend on it.
    pub fn with_threads(threads: usize) -> Result<Self, DeviceError> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| DeviceError::Refused {
            device: "CPU".into(),
            message: format!("can't start its threads: {error}; end other programs, or lower RAYON_NUM_THREADS"),
        })?;
        Ok(Self::on(pool))
    }

    /// On the threads of `pool`.
    pub fn on(pool: ThreadPool) -> Self {
        let threads = pool.current_num_threads();
        let info = DeviceInfo {
            kind: DeviceKind::Cpu,
            name: processor_name(),
            backend: instruction_set().into(),
            driver: format!("{threads} thread{}", if threads == 1 { "" } else { "s" }),
        };
        let (storage, buffers, read_backs) = Default::default();
        Self { info, pool: Arc::new(pool), storage, buffers, read_backs, next_ticket: 0 }
    }

    fn slice(&self, value: ValueId) -> &[u32] {
        let region = self.storage.region(value);
        &self.buffers[region.buffer].words()[words(region)]
    }

    /// Calls `task` on one of the pool's threads, as the whole of a list: to hand over each dispatch would cost as much
    /// as the small ones take.
    fn on_pool<T: Send>(&mut self, task: impl FnOnce(&mut Self) -> T + Send) -> T {
        let pool = Arc::clone(&self.pool);
        pool.install(|| task(self))
    }

    /// On a thread of the pool.
    fn run_one(&mut self, dispatch: &Dispatch) {
        let written: Vec<Option<Region>> =
            dispatch.writes.iter().map(|value| value.map(|value| self.storage.region(value))).collect();
        // Buffers written are taken out of the arena, so that the rest can be borrowed for reading.
        let mut taken: Vec<(usize, Buffer)> = Vec::with_capacity(written.len());
        for region in written.iter().flatten() {
            if taken.iter().all(|(buffer, _)| *buffer != region.buffer) {
                taken.push((region.buffer, std::mem::take(&mut self.buffers[region.buffer])));
            }
        }
        let mut writes: Vec<Output<'_>> = written.iter().map(|_| Output::Unused).collect();
        for (buffer, pages) in &mut taken {
            let regions = written.iter().enumerate().filter_map(|(slot, region)| Some((slot, (*region)?)));
            let mut regions: Vec<(usize, Region)> = regions.filter(|(_, region)| region.buffer == *buffer).collect();
            regions.sort_by_key(|(_, region)| region.offset);
            let (mut rest, mut start) = (pages.words_mut(), 0);
            for (slot, region) in regions {
                let range = words(region);
                let (_, tail) = rest.split_at_mut(range.start - start);
                let (mine, tail) = tail.split_at_mut(range.len());
                writes[slot] = Output::new(region.element, mine);
                (rest, start) = (tail, range.end);
            }
        }
        let input = |value| Input::new(self.storage.region(value).element, self.slice(value));
        let read = |value: &Option<ValueId>| value.map_or(Input::Unused, input);
        let reads: Vec<Input<'_>> = dispatch.reads.iter().map(read).collect();
        dispatch.kernel.twin(Bindings { reads: &reads, writes: &mut writes });
        for (buffer, pages) in taken {
            self.buffers[buffer] = pages;
        }
    }
}

impl Device for CpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn limits(&self) -> Limits {
        // Indices in kernels are u32.
        let bytes = u64::from(u32::MAX);
        Limits { binding_bytes: bytes, buffer_bytes: bytes, total_bytes: available_bytes() }
    }

    fn prepare(&mut self, storage: &Storage, _: &[&Dispatch]) -> Result<(), DeviceError> {
        self.buffers.clear();
        self.read_backs.clear();
        self.storage = Storage::default();
        for (index, &bytes) in storage.buffers.iter().enumerate() {
            let buffer =
                Buffer::new(bytes).map_err(|_| DeviceError::out_of_memory(&self.info.name, &storage.buffers, index))?;
            self.buffers.push(buffer);
        }
        self.storage = storage.clone();
        Ok(())
    }

    fn write(&mut self, value: ValueId, words: &[u32]) -> Result<(), DeviceError> {
        let region = writable(&self.info, &self.storage, value, words)?;
        let range = self::words(region);
        self.buffers[region.buffer].words_mut()[range][..words.len()].copy_from_slice(words);
        Ok(())
    }

    fn run(&mut self, list: &[Dispatch]) -> Result<(), DeviceError> {
        self.on_pool(|device| list.iter().for_each(|dispatch| device.run_one(dispatch)));
        Ok(())
    }

    fn clock(&self) -> Clock {
        Clock::Host
    }

    fn run_timed(&mut self, list: &[Dispatch]) -> Result<DispatchTimes, DeviceError> {
        let call = Instant::now();
        let spans = self.on_pool(|device| {
            let timed = |dispatch| {
                let start = call.elapsed();
                device.run_one(dispatch);
                start..call.elapsed()
            };
            list.iter().map(timed).collect()
        });
        Ok(DispatchTimes { encoding: Duration::ZERO, spans })
    }

    fn request(&mut self, value: ValueId) -> Result<Ticket, DeviceError> {
        self.next_ticket += 1;
        self.read_backs.insert(self.next_ticket, self.slice(value).to_vec());
        Ok(Ticket(self.next_ticket))
    }

    fn is_ready(&mut self, _: &Ticket) -> Result<bool, DeviceError> {
        Ok(true)
    }

    fn collect(&mut self, ticket: Ticket) -> Result<Vec<u32>, DeviceError> {
        self.read_backs.remove(&ticket.0).ok_or_else(|| DeviceError::Refused {
            device: self.info.name.clone(),
            message: "a read-back of values that were dropped since".into(),
        })
    }
}

/// Returns the words of a buffer that a region has.
fn words(region: Region) -> Range<usize> {
    let word = |bytes: u64| (bytes / 4) as usize;
    word(region.offset)..word(region.offset + region.bytes())
}

/// Widest vectors that the twins use here.
fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "AVX2";
        }
        return "SSE2";
    }
    #[allow(unreachable_code)]
    std::env::consts::ARCH
}

/// Memory that can be had without swapping, where the system says.
fn available_bytes() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = info.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"));
    kibibytes.and_then(|kibibytes| kibibytes.parse::<u64>().ok()).map_or(u64::MAX, |kibibytes| kibibytes << 10)
}

/// The processor's name, where the system says.
pub fn processor_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| format!("{} CPU", std::env::consts::ARCH), |(_, name)| name.trim().to_string())
}
