//! What is measured, on a device whose clock is made up: its figures are known.

use std::time::Duration;

use crate::support::with;
use sdgpu::internals::data::{DataSet, Images};
use sdgpu::internals::device::cpu::CpuDevice;
use sdgpu::internals::device::{Clock, Device, DeviceError, DeviceInfo, DispatchTimes, Ticket};
use sdgpu::internals::dispatch::{Dispatch, Limits, Storage, ValueId};
use sdgpu::internals::job::Setup;
use sdgpu::internals::measure::{Peak, Skipping, Stepper, bench, skipping};
use sdgpu::internals::train::{LearningRateSchedule, TrainOptions};

/// The CPU device, with times that depend on the dispatch alone and on how many lists were timed before: the machine
/// grows slower by `drift` from one list to the next. A list that lacks a dispatch takes `tax` longer, and each fifth
/// list that lacks none takes `hiccup` longer.
struct MadeUp {
    cpu: CpuDevice,
    drift: f64,
    tax: f64,
    hiccup: f64,
    timed: u32,
    longest: usize,
}

/// Nanoseconds of a dispatch.
fn cost(dispatch: &Dispatch) -> f64 {
    1e6 * (1 + dispatch.label.len() % 7) as f64
}

impl Device for MadeUp {
    fn info(&self) -> &DeviceInfo {
        self.cpu.info()
    }
    fn limits(&self) -> Limits {
        self.cpu.limits()
    }
    fn prepare(&mut self, storage: &Storage, dispatches: &[&Dispatch]) -> Result<(), DeviceError> {
        self.cpu.prepare(storage, dispatches)
    }
    fn write(&mut self, value: ValueId, words: &[u32]) -> Result<(), DeviceError> {
        self.cpu.write(value, words)
    }
    fn run(&mut self, list: &[Dispatch]) -> Result<(), DeviceError> {
        self.cpu.run(list)
    }
    fn clock(&self) -> Clock {
        Clock::Timestamps
    }
    fn run_timed(&mut self, list: &[Dispatch]) -> Result<DispatchTimes, DeviceError> {
        self.cpu.run(list)?;
        self.timed += 1;
        self.longest = self.longest.max(list.len());
        let delay = match list.len() == self.longest {
            true if self.timed.is_multiple_of(5) => self.hiccup,
            true => 0.0,
            false => self.tax,
        };
        let speed = (1.0 + delay) * (1.0 + self.drift * f64::from(self.timed));
        let mut now = 0.0;
        let spans = list.iter().map(|dispatch| {
            let begin = Duration::from_nanos(now as u64);
            now += speed * cost(dispatch);
            begin..Duration::from_nanos(now as u64)
        });
        Ok(DispatchTimes { encoding: Duration::ZERO, spans: spans.collect() })
    }
    fn request(&mut self, value: ValueId) -> Result<Ticket, DeviceError> {
        self.cpu.request(value)
    }
    fn is_ready(&mut self, ticket: &Ticket) -> Result<bool, DeviceError> {
        self.cpu.is_ready(ticket)
    }
    fn collect(&mut self, ticket: Ticket) -> Result<Vec<u32>, DeviceError> {
        self.cpu.collect(ticket)
    }
}

fn options(arch: &str) -> TrainOptions {
    with(TrainOptions::default(), |options| {
        options.arch = arch.into();
        (options.validation, options.batch_size, options.eval_batch) = (0, 4, 4);
        (options.steps, options.eval_every, options.warmup_steps) = (1, 1, 0);
        (options.lr, options.lr_schedule) = (1e-3, LearningRateSchedule::Constant);
    })
}

/// `arch` on a made-up device.
fn stepper(arch: &str, [drift, tax, hiccup]: [f64; 3]) -> Stepper {
    let options = options(arch);
    let images = |count: usize| {
        let pixels = (0..count * 81).map(|index| (index * 7919 % 251) as u8).collect();
        Images { height: 9, width: 9, channels: 1, pixels, labels: (0..count).map(|image| (image % 3) as u8).collect() }
    };
    let data = DataSet { name: "noise".into(), train: images(8), test: images(8), classes: 3 };
    let device = MadeUp { cpu: CpuDevice::new().expect("the CPU device"), drift, tax, hiccup, timed: 0, longest: 0 };
    let setup = Setup::builder(&options, &data).expect("a net").on(Box::new(device)).expect("a plan");
    let engine = setup.engine().expect("an engine");
    Stepper::new(engine, &options).expect("a stepper")
}

fn measured(arch: &str, faults: [f64; 3]) -> Skipping {
    skipping(&mut stepper(arch, faults), arch, 4, 0.5, 8, 6, 0).expect("figures")
}

#[test]
fn a_drift_of_the_machine_cancels() {
    // 1 % a list.
    for arch in ["resnet14", "resnet20"] {
        let net = measured(arch, [0.01, 0.0, 0.0]);
        for draw in &net.draws {
            assert!((draw.ratio.min - 1.0).abs() <= 1e-4, "{arch}: {draw:?}");
            assert!((draw.ratio.max - 1.0).abs() <= 1e-4, "{arch}: {draw:?}");
        }
        assert_eq!(net.within_two_percent, 1.0);
        assert!(net.time_share < 0.95 && net.flop_share < 0.95 && net.byte_share < 0.95, "{net:?}");
    }
}

#[test]
fn what_runs_into_a_measurement_does_not_count() {
    let net = measured("resnet14", [0.0, 0.0, 1.0]);
    for draw in net.draws.iter().filter(|draw| draw.gates.contains('0')) {
        assert!((draw.ratio.min - 1.0).abs() <= 1e-4 && (draw.ratio.max - 1.0).abs() <= 1e-4, "{draw:?}");
    }
}

#[test]
fn dispatches_that_run_only_for_dropped_blocks_are_priced() {
    let net = measured("resnet18", [0.0; 3]);
    assert!(net.draws.iter().any(|draw| draw.gates.contains('0')));
    for draw in &net.draws {
        assert!((draw.ratio.median - 1.0).abs() <= 1e-4, "{draw:?}");
    }
}

#[test]
fn skipping_that_costs_something_is_seen() {
    let net = measured("resnet14", [0.0, 0.05, 0.0]);
    for draw in net.draws.iter().filter(|draw| draw.gates.contains('0')) {
        assert!((draw.ratio.median - 1.05).abs() <= 1e-4, "{draw:?}");
    }
    assert!(net.within_two_percent < 1.0 && net.ratio.max > 1.04, "{net:?}");
}

#[test]
fn dispatches_add_up_to_kernels_and_passes() {
    let mut stepper = stepper("resnet8", [0.0; 3]);
    let peak = Peak { gflops: 100.0, gbytes: 10.0 };
    let report = bench(&mut stepper, peak, 3, 0).expect("figures");
    let total: f64 = report.dispatches.iter().map(|group| group.figures.seconds.median).sum();
    for groups in [&report.kernels, &report.passes] {
        let sum: f64 = groups.iter().map(|group| group.figures.seconds.median).sum();
        assert!((sum - total).abs() <= 1e-6 * total, "{sum} {total}");
    }
    for group in &report.dispatches {
        let seconds = 1e-9 * 1e6 * (1 + group.name.len() % 7) as f64;
        let figures = &group.figures;
        assert!((figures.seconds.median - seconds).abs() <= 1e-8, "{group:?}");
        assert!((group.share - seconds / total).abs() <= 1e-6, "{group:?}");
        let of_peak = (figures.flop / 100e9).max(figures.bytes / 10e9) / seconds;
        assert!((figures.of_peak - of_peak).abs() <= 1e-4 * of_peak, "{group:?}");
    }
}
