//! Runs that go on after a fault: from a checkpoint, without a step that is not finite, on another device.

use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sdgpu::internals::data::{DataSet, Images};
use sdgpu::internals::device::cpu::CpuDevice;
use sdgpu::internals::device::gpu::{GpuDevice, GpuRequest};
use sdgpu::internals::device::{Clock, Device, DeviceError, DeviceInfo, DispatchTimes, Ticket};
use sdgpu::internals::dispatch::{Dispatch, Limits, Storage, ValueId};
use sdgpu::internals::job::Setup;
use sdgpu::internals::model::weights::Weights;
use sdgpu::internals::plan::{Interface, Plan};
use sdgpu::internals::protocol::CONTROL_STEP;
use sdgpu::internals::train::{
    Checkpoint, CheckpointEvery, DroppedUpdate, Engine, EvalRecord, EvaluateOn, Event, IN_FLIGHT, NotFiniteRecord,
    Observer, OnNan, OptimizerKind, Outcome, Safeguards, StepRecord, TrainError, TrainOptions, Trainer,
};

use crate::adapter;
use crate::support::with;

/// Steps of a run.
const STEPS: u64 = 12;

pub fn options() -> TrainOptions {
    with(TrainOptions::default(), |options| {
        options.arch = "resnet8".into();
        options.data = "patches".into();
        (options.validation, options.batch_size, options.eval_batch) = (4, 4, 4);
        (options.steps, options.eval_every, options.test_every) = (STEPS, 5, 3);
        (options.lr, options.weight_decay, options.warmup_steps) = (3e-3, 1e-4, 2);
        options.dropped_update = DroppedUpdate::Freeze;
        (options.dropout, options.label_smoothing) = (0.2, 0.0);
        options.seed = 5;
    })
}

/// Images whose quadrant that is bright is their class.
fn data() -> DataSet {
    let images = |count: u32| {
        let pixel = |at: u32| {
            let (image, y, x) = (at / 36, at / 6 % 6, at % 6);
            let bright = y / 3 * 2 + x / 3 == image % 3;
            (at * 7919 % 41) as u8 + if bright { 180 } else { 20 }
        };
        let pixels = (0..count * 36).map(pixel).collect();
        Images { height: 6, width: 6, channels: 1, pixels, labels: (0..count).map(|image| (image % 3) as u8).collect() }
    };
    DataSet { name: "patches".into(), train: images(28), test: images(8), classes: 3 }
}

/// What goes wrong on a [`Faulty`] device.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    /// The GPU is taken away at a run of a list with so many before it, on this device and others.
    Destroyed(u64),
    /// The device says then that it was lost.
    Lost(u64),
    /// The images of that step, from 0, are not finite.
    NotFinite(u32),
}

/// A device on which something goes wrong.
struct Faulty<D> {
    device: D,
    fault: Option<Fault>,
    /// Lists run so far, on this device and those before it.
    runs: Rc<Cell<u64>>,
    interface: Interface,
    /// How images become numbers.
    normalization: Vec<u32>,
}

impl<D: Device + AsGpu> Faulty<D> {
    /// Before a list is run.
    fn strike(&mut self) -> Result<(), DeviceError> {
        let run = self.runs.replace(self.runs.get() + 1);
        match self.fault {
            Some(Fault::Destroyed(at)) if at == run => self.device.gpu().expect("a GPU").destroy(),
            Some(Fault::Lost(at)) if at == run => {
                return Err(DeviceError::Lost { device: "this device".into(), reason: "a test".into() });
            }
            _ => {}
        }
        Ok(())
    }
}

pub trait AsGpu {
    fn gpu(&self) -> Option<&GpuDevice> {
        None
    }
}

impl AsGpu for CpuDevice {}

impl AsGpu for GpuDevice {
    fn gpu(&self) -> Option<&GpuDevice> {
        Some(self)
    }
}

impl<D: Device + AsGpu> Device for Faulty<D> {
    fn info(&self) -> &DeviceInfo {
        self.device.info()
    }
    fn limits(&self) -> Limits {
        self.device.limits()
    }
    fn prepare(&mut self, storage: &Storage, dispatches: &[&Dispatch]) -> Result<(), DeviceError> {
        self.device.prepare(storage, dispatches)
    }
    fn write(&mut self, value: ValueId, words: &[u32]) -> Result<(), DeviceError> {
        if value == self.interface.normalization {
            self.normalization = words.to_vec();
        }
        if let Some(Fault::NotFinite(step)) = self.fault.filter(|_| value == self.interface.control) {
            let broken = vec![f32::NAN.to_bits(); self.normalization.len()];
            let now = if words[CONTROL_STEP] == step { &broken } else { &self.normalization };
            self.device.write(self.interface.normalization, now)?;
        }
        self.device.write(value, words)
    }
    fn run(&mut self, list: &[Dispatch]) -> Result<(), DeviceError> {
        // A training step, not a part of one that is replayed.
        if list.len() > 1 {
            self.strike()?;
        }
        self.device.run(list)
    }
    fn clock(&self) -> Clock {
        self.device.clock()
    }
    fn run_timed(&mut self, list: &[Dispatch]) -> Result<DispatchTimes, DeviceError> {
        self.device.run_timed(list)
    }
    fn request(&mut self, value: ValueId) -> Result<Ticket, DeviceError> {
        self.device.request(value)
    }
    fn is_ready(&mut self, ticket: &Ticket) -> Result<bool, DeviceError> {
        self.device.is_ready(ticket)
    }
    fn collect(&mut self, ticket: Ticket) -> Result<Vec<u32>, DeviceError> {
        self.device.collect(ticket)
    }
}

/// Writes down what a run tells, and keeps its checkpoints.
#[derive(Default)]
pub struct Log {
    pub lines: Vec<String>,
    /// Steps that are traced, and timed.
    traced: Vec<u64>,
    timed: Vec<u64>,
    pub last: Weights,
    best: Weights,
    pub checkpoints: Vec<Arc<Checkpoint>>,
    not_finite: Vec<NotFiniteRecord>,
    losses: u32,
}

impl Observer for Log {
    fn observe(&mut self, event: &Event<'_>) -> io::Result<ControlFlow<()>> {
        match event {
            Event::Step(StepRecord { step, epoch, loss, accuracy, lr, gates, left_out, .. }) => {
                // A NaN's text does not tell its sign or payload, which may differ.
                self.lines.push(format!("{step} {epoch} {loss} {accuracy} {lr} {gates} {left_out}"));
            }
            Event::Eval(EvalRecord { split, step, loss, accuracy, .. }) => {
                self.lines.push(format!("{} {step} {loss} {accuracy}", split.name()));
            }
            Event::Trace(record) => self.traced.push(record.step),
            Event::Timing(record) => self.timed.push(record.step),
            Event::LastWeights { weights, .. } => self.last = Weights::clone(weights),
            Event::BestWeights { weights, .. } => self.best = Weights::clone(weights),
            Event::Checkpoint(checkpoint) => self.checkpoints.push(Arc::clone(checkpoint)),
            Event::NotFinite(record) => self.not_finite.push(record.clone()),
            Event::DeviceLost { .. } => self.losses += 1,
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn plan(options: &TrainOptions, limits: Limits) -> Plan {
    Setup::builder(options, &data()).expect("a net").plan(limits).expect("a plan")
}

/// Trains under `options` from `from`, or the begin, on the devices that `open` opens, where the `faults` strike, one
/// on each device.
pub fn train<D: Device + AsGpu + 'static>(
    options: &TrainOptions,
    from: Option<Checkpoint>,
    open: impl Fn() -> D,
    faults: &[Fault],
) -> (Result<Outcome, TrainError>, Log) {
    train_with(options, from, open, faults, CheckpointEvery::Steps(4))
}

/// The same, with a checkpoint `every` so often.
fn train_with<D: Device + AsGpu + 'static>(
    options: &TrainOptions,
    from: Option<Checkpoint>,
    open: impl Fn() -> D,
    faults: &[Fault],
    every: CheckpointEvery,
) -> (Result<Outcome, TrainError>, Log) {
    let mut log = Log::default();
    let result = train_observed(options, from, open, faults, every, &mut log);
    (result, log)
}

/// Trains likewise, and tells `observer` of it.
fn train_observed<D: Device + AsGpu + 'static>(
    options: &TrainOptions,
    from: Option<Checkpoint>,
    open: impl Fn() -> D,
    faults: &[Fault],
    every: CheckpointEvery,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let data = data();
    let runs = Rc::new(Cell::new(0));
    let mut faults = faults.iter().copied();
    let mut next = || {
        let device = open();
        let interface = plan(options, device.limits()).interface;
        let (fault, runs) = (faults.next(), Rc::clone(&runs));
        Box::new(Faulty { device, fault, runs, interface, normalization: Vec::new() }) as Box<dyn Device>
    };
    let device = next();
    let setup = Setup::builder(options, &data).expect("a net").on(device).expect("a plan");
    let initial = setup.initial.clone();
    let engine = setup.engine().expect("an engine");
    let safeguards =
        Safeguards { checkpoint_every: Some(every), reopen: Some(Box::new(|| Ok(next()))), ..Safeguards::default() };
    Trainer::new(engine, options, &data, safeguards)
        .and_then(|mut trainer| trainer.run(from.unwrap_or_else(|| Checkpoint::begin(initial)), observer))
}

pub fn cpu() -> CpuDevice {
    CpuDevice::new().expect("the CPU device")
}

/// The weights of the run's last checkpoint, bit by bit.
fn bits(log: &Log) -> Vec<u32> {
    let weights = &log.checkpoints.last().expect("a checkpoint").weights;
    weights.0.iter().flat_map(|tensor| tensor.values.iter().map(|value| value.to_bits())).collect()
}

#[test]
fn a_run_goes_on_from_any_checkpoint_as_if_it_had_never_stopped() {
    let momentum = with(options(), |options| {
        options.optimizer = OptimizerKind::Sgd;
        options.nesterov = true;
        options.dropped_update = DroppedUpdate::ZeroGrad;
        options.lr = 0.05;
    });
    let notebook = with(options(), |options| {
        options.validation = 0;
        options.evaluate_on = EvaluateOn::TestBatch;
        options.eval_every = 1;
    });
    let recalibrated = with(options(), |options| {
        options.bn_recalibrate = 2;
    });
    for options in [options(), momentum, notebook, recalibrated] {
        let (result, whole) = train(&options, None, cpu, &[]);
        result.expect("a run");
        assert_eq!(whole.checkpoints.iter().map(|c| c.counters.step).collect::<Vec<_>>(), [4, 8, 12]);
        for checkpoint in &whole.checkpoints {
            let step = checkpoint.counters.step;
            let (result, rest) = train(&options, Some(Checkpoint::clone(checkpoint)), cpu, &[]);
            result.expect("a run");
            assert!(whole.lines.ends_with(&rest.lines), "from step {step}: {:#?}", rest.lines);
            assert_eq!(rest.lines.iter().filter(|line| !line.starts_with(['t', 'v'])).count() as u64, STEPS - step);
            if step < STEPS {
                assert_eq!(bits(&whole), bits(&rest), "from step {step}");
                let (end, same) = (whole.checkpoints.last().unwrap(), rest.checkpoints.last().unwrap());
                assert_eq!((&end.moments, &end.best), (&same.moments, &same.best), "from step {step}");
            }
        }
    }
}

/// Runs until an observer, which is a closure, breaks at an event that `stops`, and returns the
/// steps done then with what was told.
fn stopped<D: Device + AsGpu + 'static>(open: impl Fn() -> D, stops: impl Fn(&Event<'_>) -> bool) -> (u64, Log) {
    let mut log = Log::default();
    let mut observer = |event: &Event<'_>| {
        let flow = log.observe(event)?;
        Ok(if stops(event) { ControlFlow::Break(()) } else { flow })
    };
    let result = train_observed(&options(), None, open, &[], CheckpointEvery::Steps(4), &mut observer);
    let Err(TrainError::Interrupted { step }) = result else { panic!("{result:?}") };
    (step, log)
}

#[test]
fn an_observer_stops_a_run_that_then_goes_on_as_if_it_had_never_stopped() {
    let (result, whole) = train(&options(), None, cpu, &[]);
    result.expect("a run");
    for at in 1..=STEPS {
        let (step, begin) = stopped(cpu, |event| matches!(event, Event::Step(record) if record.step == at));
        // The CPU device is never a step behind.
        assert_eq!(step, at);
        let checkpoint = Checkpoint::clone(begin.checkpoints.last().expect("a checkpoint"));
        assert_eq!(checkpoint.counters.step, at);
        let (result, end) = train(&options(), Some(checkpoint), cpu, &[]);
        result.expect("a run");
        assert_eq!([begin.lines.clone(), end.lines.clone()].concat(), whole.lines, "stopped after step {at}");
        assert_eq!(bits(if at < STEPS { &end } else { &begin }), bits(&whole), "stopped after step {at}");
    }
    assert_eq!(stopped(cpu, |event| matches!(event, Event::Initial(_))).0, 1);
    assert_eq!(stopped(cpu, |event| matches!(event, Event::Checkpoint(_))).0, 5);
    // Steps that were submitted are done before the run stops.
    let (step, log) = stopped(adapter::open, |event| matches!(event, Event::Step(record) if record.step == 2));
    assert!((2..=2 + IN_FLIGHT as u64 + 1).contains(&step), "stopped after step {step}");
    assert_eq!(log.checkpoints.last().expect("a checkpoint").counters.step, step);
}

#[test]
fn a_device_lost_at_any_time_is_replaced_and_the_bits_stay_the_same() {
    for bn_recalibrate in [0, 3] {
        lost_at_any_time(&with(options(), |options| {
            options.bn_recalibrate = bn_recalibrate;
        }));
    }
}

fn lost_at_any_time(options: &TrainOptions) {
    let (result, whole) = train(options, None, cpu, &[]);
    let whole_outcome = result.expect("a run");
    let runs = 150;
    for at in 0..runs {
        let (result, log) = train(options, None, cpu, &[Fault::Lost(at)]);
        let outcome = result.expect("a run");
        if log.losses == 0 {
            assert!(at > STEPS + 6, "the run ends after {at} lists");
            return;
        }
        assert_eq!((log.losses, &log.lines), (1, &whole.lines), "lost at {at}");
        let once: Vec<u64> = (1..=STEPS).collect();
        assert_eq!((&log.traced, &log.timed), (&once, &once), "lost at {at}");
        assert_eq!((bits(&log), &log.best, &log.last), (bits(&whole), &whole.best, &whole.last), "lost at {at}");
        assert_eq!(outcome.blocks_run, whole_outcome.blocks_run, "lost at {at}");
    }
    panic!("no run of a list is beyond the end");
}

/// A real one: wgpu's device is destroyed, after which everything asked of it seems to succeed.
#[test]
fn a_gpu_that_is_destroyed_is_opened_again() {
    let options = options();
    let (result, whole) = train(&options, None, adapter::open, &[]);
    result.expect("a run");
    for faults in [&[0][..], &[6, 14]] {
        let faults: Vec<_> = faults.iter().map(|&at| Fault::Destroyed(at)).collect();
        let (result, log) = train(&options, None, adapter::open, &faults);
        result.expect("a run");
        assert_eq!((log.losses as usize, &log.lines), (faults.len(), &whole.lines));
        assert_eq!(bits(&log), bits(&whole));
    }
}

#[test]
fn a_device_that_is_lost_again_and_again_ends_the_run() {
    // Each one is lost at its first list.
    let hopeless: Vec<_> = (0..10).map(Fault::Lost).collect();
    let (result, log) = train(&options(), None, cpu, &hopeless);
    let error = result.expect_err("no progress");
    assert!(matches!(error, TrainError::Device(DeviceError::Lost { .. })), "{error}");
    assert_eq!(log.losses, 3);
    // Where there is progress between the losses, they may be more.
    let hopeful: Vec<_> = (1..=5).map(|loss| Fault::Lost(12 * loss)).collect();
    let (result, log) = train_with(&options(), None, cpu, &hopeful, CheckpointEvery::Steps(1));
    result.expect("a run");
    assert_eq!(log.losses, 5);
}

/// The lines of steps, by their number.
pub fn steps(log: &Log) -> Vec<&String> {
    log.lines.iter().filter(|line| !line.starts_with(['t', 'v'])).collect()
}

#[test]
fn a_step_that_is_not_finite_ends_the_run_by_name() {
    let (result, log) = train(&options(), None, cpu, &[Fault::NotFinite(5)]);
    let error = result.expect_err("a NaN").to_string();
    assert!(error.starts_with("step 6: ") && error.contains("after `gather`"), "{error}");
    assert!(error.ends_with("the weights of the step before are kept"), "{error}");
    let (_, whole) = train_with(&options(), None, cpu, &[], CheckpointEvery::Steps(1));
    assert_eq!(log.last, whole.checkpoints[4].weights);
    assert_eq!(log.checkpoints.len(), 1);
}

#[test]
fn a_step_that_is_not_finite_is_left_out() {
    let base = with(options(), |options| {
        options.eval_every = STEPS;
    });
    for (on_nan, goes_on_from) in [(OnNan::Skip, 5), (OnNan::Rewind, 4)] {
        let options = with(base.clone(), |options| {
            options.on_nan = on_nan;
        });
        let (_, whole) = train_with(&options, None, cpu, &[], CheckpointEvery::Steps(1));
        let (result, log) = train(&options, None, cpu, &[Fault::NotFinite(5)]);
        assert_eq!(result.expect("a run").steps_left_out, 1);
        let [NotFiniteRecord { step: 6, first, goes_on_from: found }] = &log.not_finite[..] else {
            panic!("{:?}", log.not_finite)
        };
        assert!(first.contains("after `gather`") && *found == goes_on_from, "{first}, {found}");
        let (told, sound) = (steps(&log), steps(&whole));
        assert_eq!((told.len() as u64, &told[..5]), (STEPS, &sound[..5]), "every step is told once");
        assert!(told[5].ends_with(" true") && told[5].contains("NaN"), "{}", told[5]);
        assert_eq!(told.iter().filter(|line| line.ends_with(" true")).count(), 1);
        // The rest is what a run computes that goes on from there with the batch of step 7.
        let mut from = Checkpoint::clone(&whole.checkpoints[goes_on_from as usize - 1]);
        from.counters.step = 6;
        let (result, rest) = train(&options, Some(from), cpu, &[]);
        result.expect("a run");
        assert_eq!((steps(&rest), bits(&rest)), (told[6..].to_vec(), bits(&log)));

        let (result, gpu) = train(&options, None, adapter::open, &[Fault::NotFinite(5)]);
        assert_eq!((result.expect("a run").steps_left_out, steps(&gpu).len() as u64), (1, STEPS));
    }
}

#[test]
fn a_run_that_is_not_finite_for_long_ends() {
    let options = with(options(), |options| {
        options.on_nan = OnNan::Skip;
        options.steps = 14;
        options.lr = 1e30;
        options.warmup_steps = 0;
    });
    let (result, log) = train(&options, None, cpu, &[]);
    let error = result.expect_err("no sound step").to_string();
    assert!(error.contains("; 10 steps before it were left out; "), "{error}");
    assert_eq!(log.not_finite.len(), 10);
}

#[test]
fn a_gpu_that_does_not_answer_is_not_waited_for_without_end() {
    let request = GpuRequest { patience: Some(Duration::from_micros(50)), ..adapter::request() };
    let (result, _) = train(&options(), None, || adapter::open_with(&request), &[]);
    let error = result.expect_err("no answer");
    assert!(matches!(error, TrainError::Device(DeviceError::Hung { .. })), "{error}");
    assert!(error.to_string().ends_with("the device has not answered for 0.0 s"), "{error}");
}

#[test]
fn a_step_in_many_submissions_gives_the_same_bits() {
    let (_, whole) = train(&options(), None, adapter::open, &[]);
    let request = GpuRequest { longest_submission: 1e-6, ..adapter::request() };
    let (result, cut) = train(&options(), None, || adapter::open_with(&request), &[]);
    result.expect("a run");
    assert_eq!(bits(&cut), bits(&whole));
}

/// As the driver would refuse it, at each buffer of the plan in turn.
#[test]
fn an_allocation_that_fails_is_reported_and_survived() {
    let (_, whole) = train(&options(), None, adapter::open, &[]);
    let mut device = adapter::open();
    let plan = plan(&options(), device.limits());
    let dispatches = Engine::dispatches(&plan);
    let dispatches: Vec<_> = dispatches.iter().collect();
    let sum = |buffers: &[u64]| buffers.iter().sum::<u64>();
    let buffers = &plan.storage.buffers;
    for failing in 0..buffers.len() {
        device.fail_allocation(failing);
        let error = device.prepare(&plan.storage, &dispatches).expect_err("no memory");
        let DeviceError::OutOfMemory { needed_bytes, had_bytes, .. } = error else { panic!("{error}") };
        assert_eq!((needed_bytes, had_bytes), (sum(buffers), sum(&buffers[..failing])));
    }
    // The device is as good as new.
    let device = Cell::new(Some(device));
    let (result, log) = train(&options(), None, || device.take().expect("one device"), &[]);
    result.expect("a run");
    assert_eq!(bits(&log), bits(&whole));
}
