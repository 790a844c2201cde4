//! Which variants are the fastest on this GPU: each is timed on scratch values.
//! By the GPU's timestamps, where it has them.

use std::collections::BTreeMap;
use std::time::Instant;

use super::GpuDevice;
use crate::device::tuning::{self, Identity};
use crate::device::{Device, DeviceError, TuneOptions, Tuning};
use crate::dispatch::{Dispatch, Storage, ValueId, Variant};

/// Runs of each variant; the shortest counts.
const RUNS: usize = 8;
/// A variant has to take less than this share of the first one's time, or the first one stays.
const WORTH_IT: f64 = 0.98;

/// A kernel to be measured: a dispatch of it, and the work that all its dispatches do.
struct Candidate<'a> {
    key: String,
    dispatch: &'a Dispatch,
    flop: f64,
}

impl GpuDevice {
    /// See [`Device::tune`].
    pub(super) fn measure_variants(
        &mut self,
        storage: &Storage,
        dispatches: &[&Dispatch],
        options: &TuneOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Tuning, DeviceError> {
        if self.software && !options.forced {
            return Ok(Tuning::default());
        }
        let identity = self.identity();
        let cache = options.cache.as_deref().map(|folder| tuning::cache_file(folder, &identity));
        let mut known = cache.as_deref().map(|path| tuning::read_cache(path, &identity)).unwrap_or_default();
        let candidates = candidates(dispatches);
        let new: Vec<_> = candidates.iter().filter(|candidate| !known.0.contains_key(&candidate.key)).collect();

        let (start, mut measured) = (Instant::now(), 0);
        for (number, candidate) in new.iter().enumerate() {
            progress(number, new.len());
            if start.elapsed() >= options.budget && number > 0 {
                break;
            }
            match self.fastest(storage, candidate.dispatch) {
                Ok(variant) => known.0.insert(candidate.key.clone(), variant.name.to_string()),
                // Scratch values take memory that the plan itself may not need.
                Err(DeviceError::OutOfMemory { .. }) => continue,
                Err(error) => return Err(error),
            };
            measured += 1;
        }
        if let Some(path) = cache.filter(|_| measured > 0) {
            // Without a file, the next run measures again.
            let _ = tuning::write_cache(&path, &identity, &known);
        }
        known.0.retain(|key, _| candidates.iter().any(|candidate| candidate.key == *key));
        Ok(known)
    }

    fn identity(&self) -> Identity {
        Identity {
            adapter: self.info.name.clone(),
            vendor_and_device: self.vendor_and_device,
            backend: self.info.backend.clone(),
            driver: self.info.driver.clone(),
            bounds_checked: !self.compiler.trusted(),
            sdgpu: env!("CARGO_PKG_VERSION").into(),
            shaders: crate::kernels::fingerprint(),
        }
    }

    /// The fastest variant of the kernel of `dispatch`. A driver may refuse to compile one, and take another: only
    /// where it refuses all is that an error, the first one's.
    fn fastest(&mut self, storage: &Storage, dispatch: &Dispatch) -> Result<Variant, DeviceError> {
        let mut variants = dispatch.kernel.variants();
        let key = Tuning::key(dispatch.kernel.as_ref());
        let scratch = scratch(storage, dispatch);
        let mut times = Vec::with_capacity(variants.len());
        let mut refused = None;
        for variant in &variants {
            self.set_tuning(&Tuning([(key.clone(), variant.name.to_string())].into()));
            let timed = self.shortest_run(&scratch);
            self.set_tuning(&Tuning::default());
            times.push(match timed {
                Err(error @ DeviceError::Refused { .. }) => {
                    refused.get_or_insert(error);
                    f64::INFINITY
                }
                timed => timed?,
            });
        }
        let fastest = (0..times.len()).min_by(|&a, &b| times[a].total_cmp(&times[b])).unwrap_or(0);
        if let Some(error) = refused.filter(|_| times[fastest].is_infinite()) {
            return Err(error);
        }
        let worth_it = times[fastest] < WORTH_IT * times[0];
        Ok(variants.swap_remove(if worth_it { fastest } else { 0 }))
    }

    /// Seconds that a scratch dispatch takes at least.
    fn shortest_run(&mut self, (storage, dispatch): &(Storage, Dispatch)) -> Result<f64, DeviceError> {
        self.prepare(storage, &[dispatch])?;
        // The first run compiles what the driver has left to compile.
        self.time(std::slice::from_ref(dispatch))?;
        let timed = self.time(&vec![dispatch.clone(); RUNS])?;
        Ok(timed.seconds().fold(f64::INFINITY, f64::min))
    }
}

/// The kernels with a choice of variants, those with the most work first.
fn candidates<'a>(dispatches: &[&'a Dispatch]) -> Vec<Candidate<'a>> {
    let mut kernels: BTreeMap<String, Candidate<'a>> = BTreeMap::new();
    for dispatch in dispatches {
        if dispatch.kernel.variants().len() > 1 {
            let key = Tuning::key(dispatch.kernel.as_ref());
            let entry = kernels.entry(key.clone()).or_insert(Candidate { key, dispatch, flop: 0.0 });
            entry.flop += dispatch.kernel.cost().flop;
        }
    }
    let mut kernels: Vec<_> = kernels.into_values().collect();
    kernels.sort_by(|a, b| b.flop.total_cmp(&a.flop));
    kernels
}

/// The values of `dispatch` in buffers of their own, and the dispatch on them.
fn scratch(storage: &Storage, dispatch: &Dispatch) -> (Storage, Dispatch) {
    let values = dispatch.values().map(|value| storage.region(value));
    let storage = Storage::separate(values.map(|region| (region.element, region.count)));
    let mut numbers = (0..).map(ValueId);
    let mut renumbered = |values: &[Option<ValueId>]| -> Vec<Option<ValueId>> {
        values.iter().map(|value| value.and_then(|_| numbers.next())).collect()
    };
    let (reads, writes) = (renumbered(&dispatch.reads), renumbered(&dispatch.writes));
    let dispatch = Dispatch { reads, writes, ..dispatch.clone() };
    (storage, dispatch)
}
