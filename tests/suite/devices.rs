//! Whole trainings on both devices: they agree, each repeats itself bit for bit, and a wrong kernel is found by name.

use std::time::Duration;

use sdgpu::internals::data::{DataSet, Images};
use sdgpu::internals::device::compare::ComparedDevices;
use sdgpu::internals::device::cpu::CpuDevice;
use sdgpu::internals::device::gpu::GpuRequest;
use sdgpu::internals::device::{Clock, Device, DeviceError, TuneOptions, Tuning};
use sdgpu::internals::dispatch::{
    Bindings, Cost, Dispatch, Element, Kernel, Limits, Parameters, Shader, SharedKernel, Storage, ValueId, Variant,
};
use sdgpu::internals::job::{JobError, Setup};
use sdgpu::internals::kernels::probe::Triad;
use sdgpu::internals::model::resnet::ResNet;
use sdgpu::internals::model::weights::Weights;
use sdgpu::internals::plan::{Gates, Optimizer, Plan};
use sdgpu::internals::rng::{self, Stream};
use sdgpu::internals::train::{DroppedUpdate, Engine, Step, TrainOptions, UpdateRows};

use crate::adapter;
use crate::support;

pub const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };

/// Images of noise around a bright patch whose place is the class.
pub fn patches(count: u32, size: u32, classes: u32) -> Images {
    let pixel = |index: u32| {
        let (image, x, y) = (index / (size * size), index % size, index / size % size);
        let noise = (rng::word(3, Stream::TestBatch, 0, index) % 60) as u8;
        let (row, column) = (image % classes / 3 * size / 3, image % classes % 3 * size / 3);
        let bright = (row..row + size / 3).contains(&y) && (column..column + size / 3).contains(&x);
        if bright { 255 - noise } else { noise }
    };
    let pixels = (0..count * size * size).map(pixel).collect();
    Images { height: size, width: size, channels: 1, pixels, labels: (0..count).map(|i| (i % classes) as u8).collect() }
}

fn data(size: u32) -> DataSet {
    DataSet { name: "patches".into(), train: patches(64, size, 6), test: patches(24, size, 6), classes: 6 }
}

/// Settings under which half of the blocks are dropped, on average.
fn options(batch: u32) -> TrainOptions {
    support::options(batch, 8, 0.5)
}

/// The plan of `net` on `data`.
fn plan(net: &ResNet, data: &DataSet, batch: u32, limits: Limits) -> Plan {
    let options = options(batch);
    let builder = Setup::builder(&options, data).and_then(|builder| builder.net(net.clone())).expect("a net");
    builder.plan(limits).expect("a plan")
}

/// An engine for `net` with the weights of seed 0.
fn engine(device: Box<dyn Device>, net: &ResNet, data: &DataSet, batch: u32) -> Result<Engine, DeviceError> {
    let options = options(batch);
    let builder = Setup::builder(&options, data).and_then(|builder| builder.net(net.clone())).expect("a net");
    builder.on(device).expect("a plan").engine().map_err(|error| match error {
        JobError::Device(error) => error,
        error => panic!("{error}"),
    })
}

/// Trains for `steps` steps; returns the losses, and the weights at the end.
fn train(engine: &mut Engine, net: &ResNet, batch: u32, steps: u32) -> Result<(Vec<f64>, Weights), DeviceError> {
    let mut rows = UpdateRows::new(ADAM, DroppedUpdate::ZeroGrad, net.blocks.len());
    let mut losses = Vec::new();
    for number in 0..steps {
        let indices: Vec<u32> = (0..batch).map(|i| (number * batch + i) % 64).collect();
        let gates = Gates::draw(&engine.plan.survival, 1, number);
        let rows = rows.next(2e-3, &gates);
        let ticket = engine.submit(&Step { number, seed: 1, indices: &indices, gates: &gates, rows: &rows })?;
        let report = engine.report(ticket)?;
        losses.push(report.loss_sum / f64::from(report.images));
    }
    Ok((losses, engine.weights()?))
}

fn resnet8() -> ResNet {
    ResNet::named("resnet8", 1, 6).expect("a net")
}

#[test]
fn both_devices_learn_the_same() {
    let (net, data) = (resnet8(), data(9));
    let run = |device: Box<dyn Device>| {
        let mut engine = engine(device, &net, &data, 16).expect("an engine");
        train(&mut engine, &net, 16, 20).expect("a training").0
    };
    let (gpu, cpu) = (run(Box::new(adapter::open())), run(Box::new(CpuDevice::new().expect("the CPU device"))));
    assert!(cpu[19] < 0.7 * cpu[0], "the loss does not fall: {cpu:?}");
    for (step, (gpu, cpu)) in gpu.iter().zip(&cpu).enumerate() {
        assert!((gpu - cpu).abs() <= 1e-3, "step {}: {gpu} on the GPU, {cpu} on the CPU", step + 1);
    }
}

#[test]
fn the_gpu_repeats_itself_bit_for_bit() {
    let (net, data) = (resnet8(), data(9));
    let run = || {
        let mut engine = engine(Box::new(adapter::open()), &net, &data, 8).expect("an engine");
        train(&mut engine, &net, 8, 6).expect("a training")
    };
    assert_eq!(run(), run());
}

/// Training in the last variant of every kernel gives the bits of the first.
#[test]
fn variants_do_not_change_a_bit() {
    let (net, data) = (resnet8(), data(9));
    let run = |choose: fn(usize) -> usize| {
        let mut device = adapter::open();
        let plan = plan(&net, &data, 8, device.limits());
        let mut tuning = Tuning::default();
        for Dispatch { kernel, .. } in Engine::dispatches(&plan) {
            let variants = kernel.variants();
            let name = variants[choose(variants.len())].name;
            tuning.0.insert(Tuning::key(kernel.as_ref()), name.to_string());
            assert_eq!(tuning.variant(kernel.as_ref()).name, name);
        }
        device.set_tuning(&tuning);
        let mut engine = engine(Box::new(device), &net, &data, 8).expect("an engine");
        train(&mut engine, &net, 8, 4).expect("a training")
    };
    assert_eq!(run(|_| 0), run(|variants| variants - 1));
}

/// The file of compiled pipelines is written, read again, and replaced if it is broken; the results never depend on it.
#[test]
fn compiled_pipelines_are_kept() {
    let (net, data) = (resnet8(), data(9));
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("sdgpu");
    let run = |cache: Option<std::path::PathBuf>| {
        let device = adapter::open_with(&GpuRequest { cache, ..adapter::request() });
        let mut engine = engine(Box::new(device), &net, &data, 8).expect("an engine");
        train(&mut engine, &net, 8, 1).expect("a training")
    };
    let plain = run(None);
    assert!(!cache.exists());
    assert_eq!(run(Some(cache.clone())), plain);
    let files: Vec<_> = std::fs::read_dir(&cache).expect("a folder").map(|file| file.expect("a file").path()).collect();
    let [file] = &files[..] else { panic!("one file of pipelines, not {files:?}") };
    let whole = std::fs::read(file).expect("a file of pipelines");
    // More than the checksum; software drivers keep little more than a header there.
    assert!(whole.len() > 8, "{} bytes", whole.len());
    std::fs::write(file, &whole[..whole.len() / 2]).expect("half of it");
    assert_eq!(run(Some(cache.clone())), plain);
    assert!(std::fs::metadata(file).expect("a file").len() > whole.len() as u64 / 2, "half a file is left");
    assert_eq!(run(Some(cache)), plain);
}

/// What is measured once is known from then on, and only on a real GPU unless it is asked for.
#[test]
fn tuning_measures_each_kernel_once() {
    let (net, data) = (resnet8(), data(9));
    let folder = tempfile::tempdir().expect("a folder");
    let mut device = adapter::open();
    let plan = plan(&net, &data, 8, device.limits());
    let dispatches = Engine::dispatches(&plan);
    let mut choices: Vec<&Dispatch> = dispatches.iter().filter(|one| one.kernel.variants().len() > 1).collect();
    choices.dedup_by_key(|one| Tuning::key(one.kernel.as_ref()));
    choices.truncate(2);
    let mut tune = |dispatches: &[&Dispatch], forced, seconds| {
        let cache = Some(folder.path().to_path_buf());
        let options = TuneOptions { forced, budget: Duration::from_secs(seconds), cache };
        let mut told = Vec::new();
        let mut progress = |measured, kernels| told.push((measured, kernels));
        let tuning = device.tune(&plan.storage, dispatches, &options, &mut progress).expect("a measurement");
        for (key, name) in &tuning.0 {
            let named =
                dispatches.iter().find(|one| Tuning::key(one.kernel.as_ref()) == *key).expect("a kernel asked for");
            assert!(named.kernel.variants().iter().any(|variant| variant.name == *name), "{name}");
        }
        (tuning, told)
    };

    if adapter::open().is_software() {
        assert_eq!(tune(&choices, false, 60), (Tuning::default(), vec![]));
    }
    let (one, told) = tune(&choices, true, 0);
    assert_eq!((one.0.len(), told), (1, vec![(0, 2), (1, 2)]), "out of time after the first kernel");
    let (both, told) = tune(&choices, true, 60);
    assert_eq!((both.0.len(), told), (2, vec![(0, 1)]), "the other kernel");
    assert!(one.0.iter().all(|(key, name)| both.0[key] == *name));
    assert_eq!(tune(&choices, true, 60), (both, vec![]), "nothing is left to be measured");
    assert_eq!(tune(&choices[..1], true, 60).0.0.len(), 1, "only what is asked for");
}

/// [`Triad`] in a variant for each of `taken`, which says whether a driver takes it.
#[derive(Debug)]
struct Fussy {
    triad: Triad,
    taken: &'static [bool],
}

impl Parameters for Fussy {
    fn shader(&self) -> &'static Shader {
        self.triad.shader()
    }
    fn params(&self) -> &[u8] {
        self.triad.params()
    }
}

impl Kernel for Fussy {
    fn workgroups(&self) -> u32 {
        self.triad.workgroups()
    }
    fn variants(&self) -> Vec<Variant> {
        let constants = |taken: bool| if taken { vec![] } else { vec![("NO_SUCH_CONSTANT", 1.0)] };
        let named = self.taken.iter().zip(["first", "second", "third"]);
        named.map(|(&taken, name)| Variant { name, constants: constants(taken), ..one(&self.triad) }).collect()
    }
    fn cost(&self) -> Cost {
        self.triad.cost()
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        self.triad.twin(bindings);
    }
}

/// The only variant of `kernel`.
fn one(kernel: &impl Kernel) -> Variant {
    kernel.variants().swap_remove(0)
}

#[test]
fn tuning_leaves_out_what_the_driver_refuses() {
    let count = 1000;
    let storage = Storage::separate([(Element::F32, count); 3]);
    let tune = |taken: &'static [bool]| {
        let kernel = SharedKernel::new(Fussy { triad: Triad { elements: count as u32, factor: 0.5 }, taken });
        let dispatch = Dispatch {
            label: "triad".into(),
            kernel,
            reads: vec![Some(ValueId(0)), Some(ValueId(1))],
            writes: vec![Some(ValueId(2))],
        };
        let options = TuneOptions { forced: true, budget: Duration::from_secs(60), cache: None };
        let mut device = adapter::open();
        let tuning = device.tune(&storage, &[&dispatch], &options, &mut |_, _| {})?;
        // What was chosen runs.
        device.set_tuning(&tuning);
        device.prepare(&storage, &[&dispatch])?;
        device.run(std::slice::from_ref(&dispatch))?;
        device.read(ValueId(2))?;
        Ok::<_, DeviceError>(tuning.0.into_values().collect::<Vec<_>>())
    };
    assert_eq!(tune(&[false, true, false]).expect("a choice"), ["second"]);
    assert_eq!(tune(&[true, false]).expect("a choice"), ["first"]);
    let error = tune(&[false, false]).expect_err("no choice");
    assert!(matches!(&error, DeviceError::Refused { message, .. } if message.contains("NO_SUCH_CONSTANT")), "{error}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let (net, data) = (resnet8(), data(13));
    let run = |threads| {
        let device = CpuDevice::with_threads(threads).expect("the CPU device");
        let mut engine = engine(Box::new(device), &net, &data, 16).expect("an engine");
        train(&mut engine, &net, 16, 6).expect("a training")
    };
    let one = run(1);
    assert_eq!(one, run(4));
    assert_eq!(one, run(3));
}

/// A bottleneck net with three dropped blocks, one of them a projection's.
#[test]
fn both_devices_agree_on_every_dispatch_of_a_resnet50_step() {
    let net = ResNet::named("resnet50", 1, 6).expect("a net");
    let gpu = Box::new(adapter::open());
    let both = ComparedDevices::new(gpu, CpuDevice::new().expect("the CPU device"));
    let mut engine = engine(Box::new(both), &net, &data(28), 4).expect("an engine");
    let gates: Gates = "1101111011101111".parse().expect("gates");
    let indices = [0, 1, 2, 3];
    let rows = [1, 1e-3f32.to_bits(), 1f32.to_bits(), 0].repeat(17);
    let step = Step { number: 0, seed: 0, indices: &indices, gates: &gates, rows: &rows };
    let ticket = engine.submit(&step).expect("no difference");
    assert!(engine.report(ticket).expect("a report").finite);
}

/// What `--device both` says of a training with `find` replaced in the shader `name`.
fn difference(name: &'static str, find: &'static str, replace: &'static str) -> String {
    let request = adapter::with_fault(name, find, replace);
    let both = ComparedDevices::new(Box::new(adapter::open_with(&request)), CpuDevice::new().expect("the CPU device"));
    let (net, data) = (resnet8(), data(9));
    let mut engine = engine(Box::new(both), &net, &data, 8).expect("an engine");
    train(&mut engine, &net, 8, 4).expect_err("a difference").to_string()
}

#[test]
fn a_wrong_kernel_is_found_by_name() {
    let error = difference("batch_norm_residual", "relu(fma(p.scale,", "relu(fma(1.01 * p.scale,");
    assert!(error.contains("sum (shader batch_norm_residual)"), "{error}");
}

/// A count is an integer, and off by one is wrong, however small beside the loss that it stands next to.
#[test]
fn a_wrong_count_is_found_by_name() {
    let error = difference("softmax_cross_entropy", "= total.correct;", "= total.correct + 1u;");
    assert!(error.contains("loss (shader softmax_cross_entropy)"), "{error}");
}

/// What a step that was not applied leaves behind must not stop the next one, which may not overwrite all of it.
#[test]
fn a_forgotten_step_stops_nothing() {
    let (net, data) = (resnet8(), data(9));
    let mut engine = engine(Box::new(CpuDevice::new().expect("the CPU device")), &net, &data, 8).expect("an engine");
    for gradient in engine.plan.parameters.iter().filter_map(|planned| planned.gradient).collect::<Vec<_>>() {
        let count = engine.plan.values[gradient.index()].count;
        engine.device.write(gradient, &vec![f32::NAN.to_bits(); count]).expect("an upload");
    }
    let indices: Vec<u32> = (0..8).collect();
    let gates = Gates(vec![false; 3]);
    let rows = [1, 1e-3f32.to_bits(), 1f32.to_bits(), 0].repeat(4);
    let step = Step { number: 0, seed: 0, indices: &indices, gates: &gates, rows: &rows };
    let is_finite = |engine: &mut Engine| {
        let ticket = engine.submit(&step).expect("a step");
        engine.report(ticket).expect("a report").finite
    };
    assert!(!is_finite(&mut engine), "the stale gradients of dropped blocks are found");
    engine.forget_step().expect("an upload");
    assert!(is_finite(&mut engine));
}

/// The same gates need no new bind groups, and all draws together no more than the plan says.
#[test]
fn bind_groups_are_made_once() {
    let (net, data) = (resnet8(), data(9));
    let mut gpu = adapter::open();
    let plan = plan(&net, &data, 4, gpu.limits());
    let lists: Vec<Vec<Dispatch>> =
        (0..8u32).map(|draw| plan.schedule(&Gates((0..3).map(|block| draw >> block & 1 == 1).collect()))).collect();
    gpu.prepare(&plan.storage, &lists.iter().flatten().collect::<Vec<_>>()).expect("memory");
    let mut run_all = || {
        lists.iter().for_each(|list| gpu.run(list).expect("a run"));
        gpu.bind_groups()
    };
    let made = run_all();
    assert_eq!(run_all(), made);
    assert!(made <= plan.bind_group_bound(), "{made} bind groups, where {} are possible", plan.bind_group_bound());
}

/// However a list is timed, its values are those of a list that is not, and the times lie one after the other. The list
/// is longer than what one set of timestamps holds.
#[test]
fn timing_changes_nothing() {
    const COUNT: usize = 300;
    const LENGTH: usize = 2100;
    let storage = Storage::separate([(Element::F32, COUNT); 3]);
    let kernel = SharedKernel::new(Triad { elements: COUNT as u32, factor: 0.001 });
    // Back and forth: each reads what the one before wrote.
    let dispatch = |index: usize| {
        let (from, to) = (ValueId((index % 2) as u32), ValueId((1 - index % 2) as u32));
        let label = format!("triad {index}").into();
        Dispatch { label, kernel: kernel.clone(), reads: vec![Some(from), Some(ValueId(2))], writes: vec![Some(to)] }
    };
    let list: Vec<Dispatch> = (0..LENGTH).map(dispatch).collect();
    let run = |device: &mut dyn Device, timed: bool| {
        device.prepare(&storage, &list.iter().collect::<Vec<_>>()).expect("memory");
        let ones = vec![1f32.to_bits(); COUNT];
        [0, 2].iter().for_each(|&value| device.write(ValueId(value), &ones).expect("an upload"));
        let spans = if timed {
            let timed = device.run_timed(&list).expect("a run");
            let (slots, extent) = (timed.slots().sum::<f64>(), timed.extent());
            assert!((slots - extent).abs() <= 1e-6 * extent, "{slots} {extent}");
            assert!(timed.seconds().sum::<f64>() <= 1.000001 * extent);
            timed.spans
        } else {
            device.run(&list).expect("a run");
            Vec::new()
        };
        (device.read(ValueId(0)).expect("a value"), spans)
    };
    let without = GpuRequest { timestamps: false, ..adapter::request() };
    let cpu = || CpuDevice::new().expect("the CPU device");
    let devices: [Box<dyn Device>; 4] = [
        Box::new(cpu()),
        Box::new(adapter::open()),
        Box::new(adapter::open_with(&without)),
        Box::new(ComparedDevices::new(Box::new(adapter::open()), cpu())),
    ];
    for mut device in devices {
        let (plain, _) = run(device.as_mut(), false);
        let (values, spans) = run(device.as_mut(), true);
        let clock = (device.info().kind, device.clock());
        assert!(values == plain && plain[0] != 1f32.to_bits(), "{clock:?}");
        assert_eq!(spans.len(), LENGTH, "{clock:?}");
        assert!(spans.iter().all(|span| span.start <= span.end), "{clock:?}");
        assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{clock:?}");
        assert!(spans[LENGTH - 1].end > spans[0].start, "{clock:?}");
    }
    assert_eq!(adapter::open_with(&without).clock(), Clock::RoundTrip);
}
