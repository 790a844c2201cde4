//! Two devices at once: every dispatch runs on both, and the first difference stops the run by name.
//!
//! The tool for finding a wrong kernel or a wrong driver. After each dispatch the twin takes over what the GPU wrote,
//! so that rounding differences do not add up and a difference is that of the one dispatch.

use std::time::Instant;

use super::cpu::CpuDevice;
use super::{Clock, Device, DeviceError, DeviceInfo, DeviceKind, DispatchTimes, Ticket, TuneOptions, Tuning};
use crate::dispatch::{Dispatch, Element, Limits, Scalar, Storage, ValueId};

/// A GPU, and the CPU device beside it as its judge.
pub struct ComparedDevices {
    info: DeviceInfo,
    gpu: Box<dyn Device>,
    cpu: CpuDevice,
    storage: Storage,
}

impl ComparedDevices {
    /// Holds `gpu` against `cpu`.
    pub fn new(gpu: Box<dyn Device>, cpu: CpuDevice) -> Self {
        let info = DeviceInfo { kind: DeviceKind::Both, ..gpu.info().clone() };
        Self { info, gpu, cpu, storage: Storage::default() }
    }

    fn compare(&mut self, dispatch: &Dispatch) -> Result<(), DeviceError> {
        for &value in dispatch.writes.iter().flatten() {
            let (got, wanted) = (self.gpu.read(value)?, self.cpu.read(value)?);
            let element = self.storage.region(value).element;
            let tolerance = Tolerance::new(dispatch, element, &wanted);
            let agree = |index, got, expected| match element.scalar(index) {
                Scalar::U32 => got == expected,
                Scalar::F32 => tolerance.allows(got, expected),
            };
            let pairs = got.iter().zip(&wanted).enumerate();
            let mut wrong = pairs.filter(|&(index, (&got, &expected))| !agree(index, got, expected));
            if let Some((index, (got, expected))) = wrong.next() {
                let others = wrong.count();
                let differ = match element.scalar(index) {
                    Scalar::U32 => format!("{got} and {expected}"),
                    Scalar::F32 => {
                        let [got, expected] = [got, expected].map(|&bits| f32::from_bits(bits));
                        let bound = tolerance.bound(expected.into());
                        format!("{got:e} and {expected:e}, where {bound:e} is allowed")
                    }
                };
                return Err(DeviceError::Mismatch(format!(
                    "{} (shader {}): {} and the CPU differ at word {index} of {} of value {}: {differ}; {others} more \
                     words differ",
                    dispatch.label,
                    dispatch.kernel.shader().name,
                    self.info.name,
                    wanted.len(),
                    value.0,
                )));
            }
            self.cpu.write(value, &got)?;
        }
        Ok(())
    }
}

/// How far two correct devices may be apart: rounding errors grow with the root of the number of terms in a sum, and
/// are as large as the sum's terms, for which the values' root mean square stands in.
struct Tolerance {
    unit: f64,
    scale: f64,
}

impl Tolerance {
    fn new(dispatch: &Dispatch, element: Element, expected: &[u32]) -> Self {
        let numbers = (0..).zip(expected).filter(|&(index, _)| element.scalar(index) == Scalar::F32);
        let squares: Vec<f64> = numbers.map(|(_, &bits)| f64::from(f32::from_bits(bits)).powi(2)).collect();
        let sum: f64 = squares.iter().filter(|square| square.is_finite()).sum();
        let scale = (sum / squares.len().max(1) as f64).sqrt();
        let terms = dispatch.kernel.cost().terms.max(1.0);
        Self { unit: 64.0 * f64::from(f32::EPSILON) / 2.0 * terms.sqrt(), scale }
    }

    fn bound(&self, expected: f64) -> f64 {
        self.unit * (self.scale + expected.abs())
    }

    fn allows(&self, got: u32, expected: u32) -> bool {
        let (a, b) = (f64::from(f32::from_bits(got)), f64::from(f32::from_bits(expected)));
        got == expected || (a.is_nan() && b.is_nan()) || (a - b).abs() <= self.bound(b)
    }
}

impl Device for ComparedDevices {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn limits(&self) -> Limits {
        let (gpu, cpu) = (self.gpu.limits(), self.cpu.limits());
        Limits {
            binding_bytes: gpu.binding_bytes.min(cpu.binding_bytes),
            buffer_bytes: gpu.buffer_bytes.min(cpu.buffer_bytes),
            total_bytes: gpu.total_bytes.min(cpu.total_bytes),
        }
    }

    fn set_tuning(&mut self, tuning: &Tuning) {
        self.gpu.set_tuning(tuning);
    }

    fn tune(
        &mut self,
        storage: &Storage,
        dispatches: &[&Dispatch],
        options: &TuneOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Tuning, DeviceError> {
        self.gpu.tune(storage, dispatches, options, progress)
    }

    fn prepare(&mut self, storage: &Storage, dispatches: &[&Dispatch]) -> Result<(), DeviceError> {
        self.storage = storage.clone();
        self.gpu.prepare(storage, dispatches)?;
        self.cpu.prepare(storage, dispatches)
    }

    fn write(&mut self, value: ValueId, words: &[u32]) -> Result<(), DeviceError> {
        self.gpu.write(value, words)?;
        self.cpu.write(value, words)
    }

    fn run(&mut self, list: &[Dispatch]) -> Result<(), DeviceError> {
        for dispatch in list {
            let one = std::slice::from_ref(dispatch);
            self.gpu.run(one)?;
            self.cpu.run(one)?;
            self.compare(dispatch)?;
        }
        Ok(())
    }

    fn clock(&self) -> Clock {
        self.gpu.clock()
    }

    /// The times are the GPU's; the CPU's work and the comparison lie between them.
    fn run_timed(&mut self, list: &[Dispatch]) -> Result<DispatchTimes, DeviceError> {
        let call = Instant::now();
        let mut timed = DispatchTimes::default();
        for dispatch in list {
            let one = std::slice::from_ref(dispatch);
            let begin = call.elapsed();
            let DispatchTimes { encoding, spans } = self.gpu.run_timed(one)?;
            timed.encoding += encoding;
            timed.spans.extend(spans.iter().map(|span| begin + span.start..begin + span.end));
            self.cpu.run(one)?;
            self.compare(dispatch)?;
        }
        Ok(timed)
    }

    fn request(&mut self, value: ValueId) -> Result<Ticket, DeviceError> {
        self.gpu.request(value)
    }

    fn is_ready(&mut self, ticket: &Ticket) -> Result<bool, DeviceError> {
        self.gpu.is_ready(ticket)
    }

    fn collect(&mut self, ticket: Ticket) -> Result<Vec<u32>, DeviceError> {
        self.gpu.collect(ticket)
    }
}
