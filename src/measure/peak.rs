//! The most that a device does: multiply-adds from registers, and a stream through memory.

use serde::Serialize;

use crate::device::{Device, DeviceError};
use crate::dispatch::{Dispatch, Element, SharedKernel, Storage, ValueId, bytes_of};
use crate::kernels::probe::{MultiplyAdd, Triad};

/// Threads of the multiply-adds: enough to fill a large GPU.
const ELEMENTS: u32 = 1 << 20;
/// Words of each of the triad's three values, if the device binds so many: 64 MiB, more than caches hold.
const STREAM_ELEMENTS: usize = 1 << 24;
/// The multiply-adds take at least so long, in seconds: long beside a clock's steps, short beside what drivers allow.
const LEAST_SECONDS: f64 = 0.02;
/// Most rounds of multiply-adds.
const MOST_ROUNDS: u32 = 1 << 16;
/// Runs, the fastest of which counts: a peak is what is possible.
const RUNS: usize = 7;

/// What a device was measured to do at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// Operations in a second, a multiply-add counting as two, in 10^9.
    pub gflops: f64,
    /// Bytes of values read and written in a second, by a triad larger than the caches, in 10^9. Values that stay in a
    /// cache can go beyond it.
    pub gbytes: f64,
}

impl Peak {
    /// Measures `device`, which has to be prepared anew afterwards.
    pub fn measure(device: &mut dyn Device) -> Result<Self, DeviceError> {
        Ok(Self { gflops: multiply_adds(device)? / 1e9, gbytes: stream(device)? / 1e9 })
    }

    /// The share of what is possible that work of `flop` operations and `bytes` bytes in `seconds` is: of one peak or
    /// of the other, whichever it comes closer to (the roofline's share).
    pub fn share(&self, flop: f64, bytes: f64, seconds: f64) -> f64 {
        (flop / 1e9 / self.gflops).max(bytes / 1e9 / self.gbytes) / seconds
    }
}

/// Operations in a second.
fn multiply_adds(device: &mut dyn Device) -> Result<f64, DeviceError> {
    let mut rounds = 1;
    loop {
        // The chains run towards 2.
        let kernel = SharedKernel::new(MultiplyAdd { elements: ELEMENTS, rounds, factor: 0.5, addend: 1.0 });
        let seconds = fastest(device, &kernel, ELEMENTS as usize, 1)?;
        if seconds >= LEAST_SECONDS || rounds >= MOST_ROUNDS {
            return Ok(kernel.cost().flop / seconds);
        }
        rounds *= 4;
    }
}

/// Bytes in a second.
fn stream(device: &mut dyn Device) -> Result<f64, DeviceError> {
    let most = device.limits().binding_bytes / Element::F32.bytes();
    let count = STREAM_ELEMENTS.min(most as usize);
    let kernel = SharedKernel::new(Triad { elements: count as u32, factor: 0.5 });
    let bytes = 3 * bytes_of(Element::F32, count);
    Ok(bytes as f64 / fastest(device, &kernel, count, 2)?)
}

/// The shortest time of `kernel`, which reads `reads` values of so many numbers and writes one, in
/// seconds.
fn fastest(device: &mut dyn Device, kernel: &SharedKernel, count: usize, reads: usize) -> Result<f64, DeviceError> {
    let storage = Storage::separate(vec![(Element::F32, count); reads + 1]);
    let probe = Dispatch {
        label: kernel.shader().name.into(),
        kernel: kernel.clone(),
        reads: (0..reads as u32).map(|index| Some(ValueId(index))).collect(),
        writes: vec![Some(ValueId(reads as u32))],
    };
    device.prepare(&storage, &[&probe])?;
    let list = [probe];
    let mut fastest = f64::INFINITY;
    for _ in 0..RUNS {
        fastest = device.run_timed(&list)?.seconds().fold(fastest, f64::min);
    }
    Ok(fastest)
}
