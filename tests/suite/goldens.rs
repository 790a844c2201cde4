//! Whole nets against PyTorch: five training steps with given gates, on both devices.
//!
//! `tests/fixtures/README.md` says what the fixtures hold and where the tolerances come from.

use safetensors::SafeTensors;
use sdgpu::internals::data::{DataSet, Images};
use sdgpu::internals::device::Device;
use sdgpu::internals::device::cpu::CpuDevice;
use sdgpu::internals::job::Setup;
use sdgpu::internals::model::resnet::{NormSettings, ResNet};
use sdgpu::internals::model::weights::{Tensor, Weights};
use sdgpu::internals::plan::{BranchScale, Gates, Optimizer, Plan};
use sdgpu::internals::train::{DroppedUpdate, Step, UpdateRows};
use serde::Deserialize;

use crate::adapter;
use crate::support::{self, with};

#[derive(Deserialize)]
struct Settings {
    net: String,
    layers: Vec<usize>,
    widths: Vec<u32>,
    input: [u32; 3],
    batch: u32,
    classes: u32,
    steps: u32,
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
    batch_norm: BatchNorm,
    optimizer: OptimizerSettings,
    label_smoothing: f32,
    gates: Vec<String>,
    survival: Vec<f64>,
    branch_scale: BranchScale,
    dropped_update: String,
}

#[derive(Deserialize)]
struct BatchNorm {
    epsilon: f32,
    momentum: f32,
}

#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
enum OptimizerSettings {
    Adam { learning_rate: f64, beta1: f64, beta2: f64, epsilon: f64, weight_decay: f64 },
    Sgd { learning_rate: f64, momentum: f64, nesterov: bool, weight_decay: f64 },
}

impl OptimizerSettings {
    fn build(&self) -> (Optimizer, f64) {
        match *self {
            Self::Adam { learning_rate, beta1, beta2, epsilon, weight_decay } => {
                (Optimizer::Adam { beta1, beta2, epsilon, weight_decay }, learning_rate)
            }
            Self::Sgd { learning_rate, momentum, nesterov, weight_decay } => {
                (Optimizer::Sgd { momentum, nesterov, weight_decay }, learning_rate)
            }
        }
    }
}

/// One fixture, read.
struct Golden<'a> {
    file: SafeTensors<'a>,
    settings: Settings,
}

impl<'a> Golden<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let (_, header) = SafeTensors::read_metadata(bytes).expect("a safetensors header");
        let note = &header.metadata().as_ref().expect("metadata")["sdgpu"];
        let settings = serde_json::from_str(note).expect("the settings that the fixtures' README describes");
        Self { file: SafeTensors::deserialize(bytes).expect("a safetensors file"), settings }
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.file.tensor(name).expect(name).data().to_vec()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name).chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    fn net(&self) -> ResNet {
        let Settings { net, layers, widths, input, classes, batch_norm, .. } = &self.settings;
        let mut built = match net.as_str() {
            "cifar" => {
                let (layers, widths) = (layers.as_slice().try_into(), widths.as_slice().try_into());
                ResNet::cifar(net, layers.expect("3 stages"), widths.expect("3 stages"), input[2], *classes)
            }
            _ => {
                let (layers, widths) = (layers.as_slice().try_into(), widths.as_slice().try_into());
                let (layers, widths) = (layers.expect("4 stages"), widths.expect("4 stages"));
                ResNet::torchvision(net, layers, widths, net == "bottleneck", input[2], *classes)
            }
        };
        built.norm = NormSettings { epsilon: batch_norm.epsilon, momentum: batch_norm.momentum };
        built
    }

    fn weights(&self, prefix: &str, net: &ResNet) -> Weights {
        let tensor = |parameter: &sdgpu::internals::model::parameters::Parameter| Tensor {
            name: parameter.name.clone(),
            shape: self.file.tensor(&format!("{prefix}/{}", parameter.name)).expect("a tensor").shape().to_vec(),
            values: self.floats(&format!("{prefix}/{}", parameter.name)),
        };
        let weights = Weights(net.parameters().iter().map(tensor).collect());
        weights.fit(net).expect("PyTorch's names and shapes are ours")
    }
}

/// Asserts that every element is within `tolerance` of the tensor's largest.
fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: number of elements");
    let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let bound = tolerance * if largest > 0.0 { largest } else { 1.0 };
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= bound, "{what}, element {index}: {got} is not {expected} within {bound:e}");
    }
}

fn assert_weights(what: &str, got: &Weights, expected: &Weights, tolerance: f32) {
    for (got, expected) in got.0.iter().zip(&expected.0) {
        assert_eq!(got.name, expected.name);
        assert_close(&format!("{what} {}", got.name), &got.values, &expected.values, tolerance);
    }
}

fn check(bytes: &[u8], device: Box<dyn Device>) {
    let golden = Golden::read(bytes);
    let net = golden.net();
    let settings = &golden.settings;
    let [height, width, channels] = settings.input;
    let images = Images { height, width, channels, pixels: golden.bytes("images"), labels: golden.bytes("labels") };
    let data = DataSet { name: "fixture".into(), train: images.clone(), test: images, classes: settings.classes };
    let options = with(support::options(settings.batch, settings.batch, 1.0), |options| {
        options.label_smoothing = settings.label_smoothing;
        options.branch_scale = settings.branch_scale;
    });
    let builder = Setup::builder(&options, &data).and_then(|builder| builder.net(net.clone())).expect("a net");
    let mut setup = builder.weights(golden.weights("initial", &net)).expect("weights").on(device).expect("a plan");
    // With constants of the optimiser that no option sets.
    let (optimizer, learning_rate) = settings.optimizer.build();
    let (sizes, limits) = (setup.plan.data, setup.device.limits());
    let mut planned = options.plan_options(settings.survival.clone(), sizes, limits);
    planned.training.as_mut().expect("training").optimizer = optimizer;
    setup.plan = Plan::new(&net, &planned).expect("a plan");
    let mut engine = setup.engine().expect("a device ready for the plan");
    let normalization: Vec<f32> = settings.mean.iter().chain(&settings.inverse_deviation).copied().collect();
    let place = engine.plan.interface.normalization;
    engine.device.write(place, bytemuck::cast_slice(&normalization)).expect("an upload");

    let dropped = if settings.dropped_update == "freeze" { DroppedUpdate::Freeze } else { DroppedUpdate::ZeroGrad };
    let mut rows = UpdateRows::new(optimizer, dropped, net.blocks.len());
    let losses = golden.floats("losses");
    for step in 0..settings.steps {
        let gates: Gates = settings.gates[step as usize].parse().expect("gates");
        let indices: Vec<u32> = (step * settings.batch..(step + 1) * settings.batch).collect();
        let rows = rows.next(learning_rate, &gates);
        let ticket = engine.submit(&Step { number: step, seed: 0, indices: &indices, gates: &gates, rows: &rows });
        let report = engine.report(ticket.expect("a step")).expect("a report");
        assert!(report.finite);
        let loss = (report.loss_sum / f64::from(report.images)) as f32;
        assert_close(&format!("loss of step {}", step + 1), &[loss], &[losses[step as usize]], 5e-6);
        if step == 0 {
            let gradients = engine.gradients().expect("gradients");
            for got in gradients.0.iter().filter(|tensor| !tensor.name.contains("running_")) {
                let expected = golden.floats(&format!("gradients1/{}", got.name));
                assert_close(&format!("gradient of {}", got.name), &got.values, &expected, 3e-4);
            }
            let weights = engine.weights().expect("weights");
            assert_weights("after step 1,", &weights, &golden.weights("step1", &net), 1e-5);
        }
    }
    let weights = engine.weights().expect("weights");
    assert_weights("after step 5,", &weights, &golden.weights("step5", &net), 5e-5);

    let indices: Vec<u32> = (0..settings.batch).collect();
    engine.evaluate(sdgpu::internals::plan::ImageFile::Test, &indices).expect("an evaluation");
    let logits = engine.device.read(engine.plan.interface.eval_logits).expect("logits");
    assert_close("logits", bytemuck::cast_slice(&logits), &golden.floats("logits"), 3e-4);
}

macro_rules! goldens {
    ($($test:ident: $file:literal,)*) => {
        mod cpu {
            $(#[test]
            fn $test() {
                let bytes = include_bytes!(concat!("../fixtures/", $file, ".safetensors"));
                super::check(bytes, Box::new(super::CpuDevice::new().expect("the CPU device")));
            })*
        }
        mod gpu {
            $(#[test]
            fn $test() {
                let bytes = include_bytes!(concat!("../fixtures/", $file, ".safetensors"));
                super::check(bytes, Box::new(super::adapter::open()));
            })*
        }
    };
}

goldens! {
    cifar_adam: "cifar-adam",
    cifar_sgd: "cifar-sgd",
    cifar_freeze_adam: "cifar-freeze-adam",
    basic_adam: "basic-adam",
    basic_sgd_trainscale: "basic-sgd-trainscale",
    bottleneck_adam_smoothing: "bottleneck-adam-smoothing",
    bottleneck_freeze_sgd: "bottleneck-freeze-sgd",
}
