//! A short training, plain and stochastic, on an adapter and on the CPU device: what no kernel shows alone, such as
//! dispatches that do not wait for each other.

use std::time::Instant;

use serde::Serialize;

use crate::data::{DataSet, Images};
use crate::device::cpu::CpuDevice;
use crate::device::{Device, DeviceError};
use crate::job::{JobError, Setup};
use crate::model::survival::Rule;
use crate::model::weights::Weights;
use crate::plan::{Gates, ImageFile};
use crate::train::{OptimizerKind, Step, TrainOptions, UpdateRows};

/// The net.
const ARCHITECTURE: &str = "resnet8";
/// Images that are trained on, and as many that are tested.
const IMAGES: usize = 24;
/// Images in a batch, for training and for the test.
const BATCH: u32 = 8;
/// Steps of a training.
const STEPS: u32 = 3;
/// Seed of weights, gates and dropout: in these steps each block runs and is dropped.
const SEED: u64 = 1;

/// What a training is made with.
struct Setting {
    model: &'static str,
    /// Survival probability of every block.
    survival: f64,
    dropout: f32,
    label_smoothing: f32,
    optimizer: OptimizerKind,
    weight_decay: f64,
    learning_rate: f64,
    /// How far losses of two right devices may be apart, in each step and in the test behind the last.
    loss_bound: f64,
    /// How far the weights may be apart at the end, as a share of the way that the training took them.
    weights_bound: f64,
}

/// Both optimisers, and everything random in one of them. The devices that were tried stay within a tenth of the
/// bounds. Adam's are wider: where a gradient is nothing but rounding errors, its first steps are as long as all
/// others.
const SETTINGS: [Setting; 2] = [
    Setting {
        model: "plain",
        survival: 1.0,
        dropout: 0.0,
        label_smoothing: 0.0,
        optimizer: OptimizerKind::Adam,
        weight_decay: 0.0,
        learning_rate: 1e-3,
        loss_bound: 1e-3,
        weights_bound: 1e-2,
    },
    Setting {
        model: "stochastic",
        survival: 0.5,
        dropout: 0.3,
        label_smoothing: 0.1,
        optimizer: OptimizerKind::Sgd,
        weight_decay: 1e-4,
        learning_rate: 1e-2,
        loss_bound: 1e-5,
        weights_bound: 1e-5,
    },
];

impl Setting {
    fn options(&self) -> TrainOptions {
        TrainOptions {
            arch: ARCHITECTURE.into(),
            validation: 0,
            batch_size: BATCH,
            eval_batch: BATCH,
            optimizer: self.optimizer,
            nesterov: self.optimizer == OptimizerKind::Sgd,
            weight_decay: self.weight_decay,
            survival: Rule::Uniform,
            survival_last: self.survival,
            dropout: self.dropout,
            label_smoothing: self.label_smoothing,
            seed: SEED,
            ..TrainOptions::default()
        }
    }
}

/// What a training came to.
#[derive(PartialEq)]
struct Outcome {
    /// Loss of each step, then of the test.
    losses: Vec<f64>,
    weights: Weights,
}

/// How a training on a device compares with the same one on the CPU device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingReport {
    /// `plain` or `stochastic`.
    pub model: &'static str,
    /// Its steps.
    pub steps: u32,
    /// Largest difference of two losses.
    pub loss_difference: f64,
    /// Distance of the weights at the end, as a share of the way that the training took them.
    pub weights_difference: f64,
    /// The larger of both as a share of what is allowed.
    pub worst_error: f64,
    /// Time that all of it took, compiling included.
    pub seconds: f64,
    /// What is wrong, a line each.
    pub failures: Vec<String>,
}

/// The trainings on the CPU device, which those on adapters are held against.
pub struct Trainings {
    data: DataSet,
    initial: Weights,
    expected: Vec<Outcome>,
}

impl Trainings {
    /// Trains on the first images of `data` on the CPU device.
    ///
    /// Errors if the CPU device fails.
    pub fn new(data: &DataSet) -> Result<Self, DeviceError> {
        let data = DataSet { train: first(&data.train), test: first(&data.test), ..data.clone() };
        let mut expected = Vec::new();
        for setting in &SETTINGS {
            let (outcome, _) = train(Box::new(CpuDevice::new()?), &data, setting).map_err(|error| match error {
                JobError::Device(error) => error,
                error => DeviceError::Refused { device: "CPU".into(), message: error.to_string() },
            })?;
            expected.push(outcome);
        }
        let options = SETTINGS[0].options();
        let net = options.net(data.train.channels, data.classes).expect("a net that exists");
        let initial = Weights::initial(&net, options.initialisation, options.seed);
        Ok(Self { data, initial, expected })
    }

    /// Makes each training twice on a device that `open` opens: it must give the same bits, near those of the CPU
    /// device.
    ///
    /// Errors if no device can be opened, or if it is lost or hangs. What else it refuses is a failure.
    pub fn test(
        &self,
        open: &dyn Fn() -> Result<Box<dyn Device>, DeviceError>,
    ) -> Result<Vec<TrainingReport>, DeviceError> {
        let mut reports = Vec::new();
        for (setting, expected) in SETTINGS.iter().zip(&self.expected) {
            let start = Instant::now();
            let twice = train(open()?, &self.data, setting).and_then(|(outcome, device)| {
                let (again, _) = train(device, &self.data, setting)?;
                Ok((outcome, again))
            });
            let report = match twice {
                Ok((outcome, again)) => self.compare(setting, expected, &outcome, outcome == again),
                Err(JobError::Device(error @ (DeviceError::Lost { .. } | DeviceError::Hung { .. }))) => {
                    return Err(error);
                }
                Err(error) => not_run(setting, error.to_string()),
            };
            reports.push(TrainingReport { seconds: start.elapsed().as_secs_f64(), ..report });
        }
        Ok(reports)
    }

    fn compare(&self, setting: &Setting, expected: &Outcome, outcome: &Outcome, repeats: bool) -> TrainingReport {
        let pairs = outcome.losses.iter().zip(&expected.losses);
        // Not `f64::max`, which hides NaN.
        let loss_difference = pairs.fold(0.0, |most: f64, (one, other)| {
            let difference = (one - other).abs();
            if difference <= most { most } else { difference }
        });
        let weights_difference =
            distance(&outcome.weights, &expected.weights) / distance(&expected.weights, &self.initial);
        let mut failures = Vec::new();
        let mut judge = |what: &str, difference: f64, bound: f64| {
            let right = difference <= bound;
            if !right {
                failures
                    .push(format!("{what} {difference:.1e} apart from the CPU device's, where {bound:e} is allowed"));
            }
            difference / bound
        };
        let shares = [
            judge("a loss is", loss_difference, setting.loss_bound),
            judge("the weights, as a share of their way, are", weights_difference, setting.weights_bound),
        ];
        if !repeats {
            failures.push("the same training gives other bits the second time".into());
        }
        TrainingReport {
            model: setting.model,
            steps: STEPS,
            loss_difference,
            weights_difference,
            worst_error: shares[0].max(shares[1]),
            seconds: 0.0,
            failures,
        }
    }
}

fn not_run(setting: &Setting, why: String) -> TrainingReport {
    TrainingReport {
        model: setting.model,
        steps: 0,
        loss_difference: 0.0,
        weights_difference: 0.0,
        worst_error: 0.0,
        seconds: 0.0,
        failures: vec![why],
    }
}

/// The first [`IMAGES`] of `images`, or as many as there are.
fn first(images: &Images) -> Images {
    let indices: Vec<u32> = (0..images.len().min(IMAGES) as u32).collect();
    images.pick(&indices)
}

/// Trains on `device`, and hands it back.
fn train(device: Box<dyn Device>, data: &DataSet, setting: &Setting) -> Result<(Outcome, Box<dyn Device>), JobError> {
    let options = setting.options();
    let mut engine = Setup::builder(&options, data)?.on(device)?.engine()?;
    let mut rows = UpdateRows::new(options.optimizer(), options.dropped_update, engine.plan.blocks.len());
    let mut tickets = Vec::new();
    for number in 0..STEPS {
        let indices: Vec<u32> = (0..BATCH).map(|i| (number * BATCH + i) % data.train.len() as u32).collect();
        let gates = Gates::draw(&engine.plan.survival, SEED, number);
        let rows = rows.next(setting.learning_rate, &gates);
        // Reported later, so that steps follow each other as in a training.
        tickets.push(engine.submit(&Step { number, seed: SEED, indices: &indices, gates: &gates, rows: &rows })?);
    }
    let mut losses = Vec::new();
    for ticket in tickets {
        let report = engine.report(ticket)?;
        losses.push(report.loss_sum / f64::from(report.images));
    }
    let indices: Vec<u32> = (0..data.test.len() as u32).collect();
    losses.push(engine.evaluate(ImageFile::Test, &indices)?.loss);
    let weights = engine.weights()?;
    Ok((Outcome { losses, weights }, engine.device))
}

/// The Euclidean distance of all weights and running statistics.
fn distance(a: &Weights, b: &Weights) -> f64 {
    let pairs = a.0.iter().zip(&b.0).flat_map(|(a, b)| a.values.iter().zip(&b.values));
    pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}
