//! Gradients of whole small nets against finite differences of the loss, computed by plain loops in f64.

use std::collections::HashMap;

use sdgpu::internals::data::{DataSet, Images};
use sdgpu::internals::device::Device;
use sdgpu::internals::device::cpu::CpuDevice;
use sdgpu::internals::job::Setup;
use sdgpu::internals::model::init::Init;
use sdgpu::internals::model::resnet::{Conv, ResNet, Shortcut};
use sdgpu::internals::model::weights::Weights;
use sdgpu::internals::plan::{BranchScale, Gates};
use sdgpu::internals::rng::{self, Stream};
use sdgpu::internals::train::{OptimizerKind, Step};

use crate::adapter;
use crate::support::{self, with};

/// A batch of images, `[batch, channels, height, width]`.
#[derive(Clone)]
struct Maps {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f64>,
}

impl Maps {
    fn new(batch: usize, channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width, values: vec![0.0; batch * channels * height * width] }
    }

    fn batch(&self) -> usize {
        self.values.len() / (self.channels * self.height * self.width)
    }

    fn index(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        ((n * self.channels + c) * self.height + y) * self.width + x
    }

    /// Zero outside the image.
    fn at(&self, n: usize, c: usize, y: isize, x: isize) -> f64 {
        let inside = (0..self.height as isize).contains(&y) && (0..self.width as isize).contains(&x);
        if inside { self.values[self.index(n, c, y as usize, x as usize)] } else { 0.0 }
    }

    /// A batch of other maps, each element by a formula of (image, channel, y, x).
    fn fill(batch: usize, [c, h, w]: [usize; 3], formula: impl Fn(usize, usize, usize, usize) -> f64) -> Self {
        let mut maps = Self::new(batch, c, h, w);
        for index in 0..maps.values.len() {
            maps.values[index] = formula(index / (c * h * w), index / (h * w) % c, index / w % h, index % w);
        }
        maps
    }

    fn relu(mut self) -> Self {
        self.values.iter_mut().for_each(|value| *value = value.max(0.0));
        self
    }

    fn plus(mut self, other: &Self, factor: f64) -> Self {
        self.values.iter_mut().zip(&other.values).for_each(|(value, other)| *value += factor * other);
        self
    }
}

/// A net in f64, with its weights in the order of files.
struct Reference<'a> {
    net: &'a ResNet,
    case: &'a Case,
    weights: HashMap<String, Vec<f64>>,
}

impl Reference<'_> {
    fn conv_norm(&self, prefix: &str, conv: &Conv, x: &Maps) -> Maps {
        let weight = &self.weights[&format!("{prefix}{}.weight", conv.name)];
        let (kernel, stride, padding) = (conv.kernel as usize, conv.stride as usize, conv.padding as isize);
        let (height, width) = (conv.output(x.height as u32) as usize, conv.output(x.width as u32) as usize);
        let shape = [conv.out_channels as usize, height, width];
        let y = Maps::fill(x.batch(), shape, |n, o, oy, ox| {
            let mut sum = 0.0;
            for i in 0..x.channels {
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        let (y, xx) = ((oy * stride + ky) as isize - padding, (ox * stride + kx) as isize - padding);
                        sum += x.at(n, i, y, xx) * weight[((o * x.channels + i) * kernel + ky) * kernel + kx];
                    }
                }
            }
            sum
        });
        let [gamma, beta] = ["weight", "bias"].map(|name| &self.weights[&format!("{prefix}{}.{name}", conv.norm)]);
        let count = (y.batch() * height * width) as f64;
        let channel =
            |c: usize| y.values.iter().enumerate().filter(move |(i, _)| i / (height * width) % y.channels == c);
        let mean: Vec<f64> = (0..y.channels).map(|c| channel(c).map(|(_, y)| y).sum::<f64>() / count).collect();
        let variance: Vec<f64> =
            (0..y.channels).map(|c| channel(c).map(|(_, y)| (y - mean[c]).powi(2)).sum::<f64>() / count).collect();
        let epsilon = f64::from(self.net.norm.epsilon);
        Maps::fill(y.batch(), shape, |n, c, yy, xx| {
            let normalised = (y.values[y.index(n, c, yy, xx)] - mean[c]) / (variance[c] + epsilon).sqrt();
            gamma[c] * normalised + beta[c]
        })
    }

    fn shortcut(&self, block: usize, x: &Maps) -> Maps {
        let block = &self.net.blocks[block];
        match &block.shortcut {
            Shortcut::Identity => x.clone(),
            Shortcut::Projection(conv) => self.conv_norm(&format!("{}.", block.name), conv, x),
            Shortcut::PoolAndPad => {
                let shape = [block.out_channels() as usize, x.height.div_ceil(2), x.width.div_ceil(2)];
                Maps::fill(x.batch(), shape, |n, c, oy, ox| {
                    let rows = 2 * oy..(2 * oy + 2).min(x.height);
                    let pixels: Vec<(usize, usize)> =
                        rows.flat_map(|y| (2 * ox..(2 * ox + 2).min(x.width)).map(move |x| (y, x))).collect();
                    let value =
                        |&(y, xx): &(usize, usize)| if c < x.channels { x.values[x.index(n, c, y, xx)] } else { 0.0 };
                    pixels.iter().map(value).sum::<f64>() / pixels.len() as f64
                })
            }
        }
    }

    /// The mean loss over the batch.
    fn loss(&self, images: &Maps, labels: &[u8]) -> f64 {
        let mut x = self.conv_norm("", &self.net.stem, images).relu();
        if self.net.stem_pool {
            let size = |size: usize| (size - 1) / 2 + 1;
            x = Maps::fill(x.batch(), [x.channels, size(x.height), size(x.width)], |n, c, oy, ox| {
                let rows = (2 * oy).saturating_sub(1)..(2 * oy + 2).min(x.height);
                let pixels =
                    rows.flat_map(|y| ((2 * ox).saturating_sub(1)..(2 * ox + 2).min(x.width)).map(move |x| (y, x)));
                pixels.map(|(y, xx)| x.values[x.index(n, c, y, xx)]).fold(f64::NEG_INFINITY, f64::max)
            });
        }
        for (index, block) in self.net.blocks.iter().enumerate() {
            let shortcut = self.shortcut(index, &x);
            if !self.case.gates[index] {
                x = shortcut.relu();
                continue;
            }
            let mut branch = x;
            for (place, conv) in block.branch.iter().enumerate() {
                branch = self.conv_norm(&format!("{}.", block.name), conv, &branch);
                if place + 1 < block.branch.len() {
                    branch = branch.relu();
                }
            }
            let factor = if self.case.scale == BranchScale::Train { 1.0 / self.case.survival } else { 1.0 };
            x = shortcut.plus(&branch, factor).relu();
        }
        self.head(&x, labels)
    }

    fn head(&self, x: &Maps, labels: &[u8]) -> f64 {
        let (weight, bias) = (&self.weights["fc.weight"], &self.weights["fc.bias"]);
        let (classes, pixels, dropout) = (bias.len(), x.height * x.width, self.net.dropout);
        let mut total = 0.0;
        for (n, &label) in labels.iter().enumerate() {
            let feature = |c: usize| {
                let draw = rng::uniform(SEED, Stream::Dropout, 0, (n * x.channels + c) as u32);
                let kept = if draw >= dropout { 1.0 / (1.0 - f64::from(dropout)) } else { 0.0 };
                let first = x.index(n, c, 0, 0);
                kept * x.values[first..first + pixels].iter().sum::<f64>() / pixels as f64
            };
            let features: Vec<f64> = (0..x.channels).map(feature).collect();
            let logit =
                |k: usize| bias[k] + (0..x.channels).map(|c| weight[k * x.channels + c] * features[c]).sum::<f64>();
            let logits: Vec<f64> = (0..classes).map(logit).collect();
            let normaliser = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
            let smoothing = f64::from(self.case.label_smoothing);
            for (k, logit) in logits.iter().enumerate() {
                let hot = if k == usize::from(label) { 1.0 - smoothing } else { 0.0 };
                total -= (hot + smoothing / classes as f64) * (logit - normaliser);
            }
        }
        total / labels.len() as f64
    }
}

const SEED: u64 = 11;
const BATCH: u32 = 4;

/// A net, and how it is trained.
struct Case {
    net: ResNet,
    size: u32,
    gates: Vec<bool>,
    scale: BranchScale,
    survival: f64,
    label_smoothing: f32,
}

fn check(case: &Case, device: Box<dyn Device>) {
    let Case { net, size, .. } = case;
    let size = *size;
    let word = |index: u32| rng::word(SEED, Stream::TestBatch, 0, index);
    let bytes: Vec<u8> = (0..BATCH * size * size).map(|index| word(index) as u8).collect();
    let labels: Vec<u8> = (0..BATCH).map(|index| (word(1_000_000 + index) % net.classes) as u8).collect();
    let images = Images { height: size, width: size, channels: 1, pixels: bytes.clone(), labels: labels.clone() };
    let data = DataSet { name: "noise".into(), train: images.clone(), test: images, classes: net.classes };

    // Norms start at gamma 1, beta 0: shaken, so that no gradient is what it is by symmetry.
    let mut weights = Weights::initial(net, Init::KaimingNormal, SEED);
    for (place, tensor) in weights.0.iter_mut().enumerate().filter(|(_, tensor)| tensor.name.contains("bn")) {
        for (index, value) in tensor.values.iter_mut().enumerate() {
            *value += 0.4 * (rng::uniform(SEED, Stream::Init, 1000 + place as u32, index as u32) - 0.5);
        }
    }

    let options = with(support::options(BATCH, BATCH, case.survival), |options| {
        (options.optimizer, options.momentum) = (OptimizerKind::Sgd, 0.0);
        (options.label_smoothing, options.branch_scale) = (case.label_smoothing, case.scale);
        options.record_gradients = true;
    });
    let builder = Setup::builder(&options, &data).and_then(|builder| builder.net(net.clone())).expect("a net");
    let mut engine =
        builder.weights(weights.clone()).expect("weights").on(device).expect("a plan").engine().expect("an engine");
    let gates = Gates(case.gates.clone());
    let rows = vec![0; 4 * (net.blocks.len() + 1)];
    let indices: Vec<u32> = (0..BATCH).collect();
    let step = Step { number: 0, seed: SEED, indices: &indices, gates: &gates, rows: &rows };
    let ticket = engine.submit(&step).expect("a step");
    let report = engine.report(ticket).expect("a report");
    let gradients = engine.gradients().expect("gradients");

    let first = gradients.0.iter().find(|tensor| tensor.name == "conv1.weight").expect("the first convolution");
    let mean = first.values.iter().map(|g| f64::from(g.abs())).sum::<f64>() / first.values.len() as f64;
    let recorded = report.first_gradient.expect("a recorded gradient");
    assert!(mean > 0.0 && (recorded - mean).abs() <= 1e-6 * mean, "first gradient {recorded}, not {mean}");

    let normalization = data.normalization();
    let (mean, scale) = (f64::from(normalization[0]), f64::from(normalization[1]));
    let input = Maps {
        channels: 1,
        height: size as usize,
        width: size as usize,
        values: bytes.iter().map(|&byte| (f64::from(byte) / 255.0 - mean) * scale).collect(),
    };
    let as_f64 = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
    let map = weights.0.iter().map(|tensor| (tensor.name.clone(), as_f64(&tensor.values))).collect();
    let mut reference = Reference { net, case, weights: map };
    let loss = reference.loss(&input, &labels);
    let got = report.loss_sum / f64::from(report.images);
    assert!((got - loss).abs() <= 1e-5 * loss, "loss {got}, not {loss}");

    for tensor in gradients.0.iter().filter(|tensor| !tensor.name.contains("running_")) {
        let largest = tensor.values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let count = tensor.values.len();
        for index in [0, count / 3, count / 2, count - 1] {
            let mut moved = |step: f64| {
                let original = reference.weights[&tensor.name][index];
                reference.weights.entry(tensor.name.clone()).and_modify(|values| values[index] = original + step);
                let loss = reference.loss(&input, &labels);
                reference.weights.entry(tensor.name.clone()).and_modify(|values| values[index] = original);
                loss
            };
            let step = 1e-6;
            let expected = (moved(step) - moved(-step)) / (2.0 * step);
            let got = f64::from(tensor.values[index]);
            let bound = 1e-3 * f64::from(largest) + 1e-6;
            assert!((got - expected).abs() <= bound, "{}, element {index}: {got}, not {expected}", tensor.name);
        }
    }
}

fn cifar(gates: [bool; 6], scale: BranchScale) -> Case {
    let net = ResNet::cifar("cifar", [2, 2, 2], [3, 4, 6], 1, 5);
    Case { net, size: 7, gates: gates.to_vec(), scale, survival: 0.7, label_smoothing: 0.0 }
}

fn torchvision(bottleneck: bool, gates: [bool; 5]) -> Case {
    let mut net = ResNet::torchvision("torchvision", [1, 2, 1, 1], [3, 2, 4, 3], bottleneck, 1, 5);
    net.dropout = 0.3;
    Case { net, size: 17, gates: gates.to_vec(), scale: BranchScale::Eval, survival: 0.5, label_smoothing: 0.1 }
}

macro_rules! cases {
    ($($test:ident: $case:expr;)*) => {
        mod cpu {
            use super::*;
            $(#[test]
            fn $test() {
                check(&$case, Box::new(CpuDevice::new().expect("the CPU device")));
            })*
        }
        mod gpu {
            use super::*;
            $(#[test]
            fn $test() {
                check(&$case, Box::new(adapter::open()));
            })*
        }
    };
}

const T: bool = true;
const F: bool = false;

cases! {
    cifar_with_every_block: cifar([T, T, T, T, T, T], BranchScale::Eval);
    cifar_with_identity_blocks_dropped: cifar([F, T, T, F, T, T], BranchScale::Train);
    cifar_with_down_sampling_blocks_dropped: cifar([T, F, F, T, F, F], BranchScale::Eval);
    cifar_with_every_block_dropped: cifar([F, F, F, F, F, F], BranchScale::Eval);
    basic_with_every_block: torchvision(F, [T, T, T, T, T]);
    basic_with_projections_dropped: torchvision(F, [T, F, T, F, T]);
    bottleneck_with_every_block: torchvision(T, [T, T, T, T, T]);
    bottleneck_with_the_first_projection_dropped: torchvision(T, [F, T, F, T, F]);
}
