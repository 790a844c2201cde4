//! Trainings on an adapter with lowered limits, which wgpu enforces: the same bits as without, or a clear refusal.

use sdgpu::internals::data::DataSet;
use sdgpu::internals::device::gpu::{GpuRequest, LoweredLimits};
use sdgpu::internals::device::{Device, DeviceError};
use sdgpu::internals::dispatch::{Dispatch, Element, SharedKernel, Storage, ValueId};
use sdgpu::internals::job::{JobError, Setup};
use sdgpu::internals::kernels::probe::Triad;
use sdgpu::internals::model::weights::Weights;
use sdgpu::internals::plan::{Gates, ImageFile, PlanError};
use sdgpu::internals::train::{DroppedUpdate, Prediction, Score, Step, UpdateRows};

use crate::adapter;
use crate::devices::{ADAM, patches};
use crate::support::{self, with};

const BATCH: u32 = 8;
const EVAL_BATCH: u32 = 5;

/// The adapter with what `limits` say, as `SDGPU_LIMITS` would.
fn request(limits: &str) -> GpuRequest {
    let limits = if limits.is_empty() { LoweredLimits::default() } else { limits.parse().expect("limits") };
    // No timestamps either, where there is anything to lower.
    GpuRequest { timestamps: limits == LoweredLimits::default(), limits, ..adapter::request() }
}

/// More than 256 KiB in each file, of images whose size is no multiple of a word.
fn data() -> DataSet {
    DataSet { name: "patches".into(), train: patches(3500, 9, 6), test: patches(3300, 9, 6), classes: 6 }
}

/// What came of a training.
#[derive(Debug, PartialEq)]
struct Outcome {
    losses: Vec<f64>,
    /// Of images of the training file, and of the test file.
    scores: [Score; 2],
    /// Of the same images.
    predictions: [Vec<Prediction>; 2],
    weights: Weights,
}

/// A few steps within `limits`; whether each file was streamed, and what came of them.
fn train(limits: &str, data: &DataSet) -> Result<([bool; 2], Outcome), PlanError> {
    let device = adapter::open_with(&request(limits));
    let options = with(support::options(BATCH, EVAL_BATCH, 0.5), |options| options.arch = "resnet8".into());
    let setup = Setup::builder(&options, data).expect("a net").on(Box::new(device)).map_err(|error| match error {
        JobError::Plan(error) => error,
        error => panic!("{error}"),
    })?;
    let (streamed, net) = (setup.plan.interface.streamed, setup.net.clone());
    let mut engine = setup.engine().expect("an engine");
    let mut rows = UpdateRows::new(ADAM, DroppedUpdate::ZeroGrad, net.blocks.len());
    let fewest = data.train.len().min(data.test.len()) as u32;
    let scattered = |from: u32, count: u32| -> Vec<u32> { (from..from + count).map(|i| i * 977 % fewest).collect() };
    let mut tickets = Vec::new();
    for number in 0..4 {
        let (indices, gates) = (scattered(number * BATCH, BATCH), Gates::draw(&engine.plan.survival, 1, number));
        let rows = rows.next(2e-3, &gates);
        let step = Step { number, seed: 1, indices: &indices, gates: &gates, rows: &rows };
        // Nothing is waited for, so that a batch written too early would show.
        tickets.push(engine.submit(&step).expect("a step"));
    }
    let reports = tickets.into_iter().map(|ticket| engine.report(ticket).expect("a report"));
    let losses = reports.map(|report| report.loss_sum / f64::from(report.images)).collect();
    let evaluated = scattered(100, 2 * EVAL_BATCH + 1);
    let scores = [ImageFile::Train, ImageFile::Test].map(|file| engine.evaluate(file, &evaluated).expect("a score"));
    let predictions = [ImageFile::Train, ImageFile::Test].map(|file| {
        let (score, predictions) = engine.predict(file, &evaluated).expect("predictions");
        assert_eq!(score, scores[file as usize]);
        // The last batch is padded; what fills it is not predicted.
        assert_eq!(predictions.iter().map(|prediction| prediction.image).collect::<Vec<_>>(), evaluated);
        let right = predictions.iter().filter(|prediction| prediction.predicted == prediction.label);
        assert_eq!(right.count() as f64 / evaluated.len() as f64, score.accuracy);
        predictions
    });
    Ok((streamed, Outcome { losses, scores, predictions, weights: engine.weights().expect("weights") }))
}

#[test]
fn lowered_limits_do_not_change_a_bit() {
    let data = data();
    let (streamed, plain) = train("", &data).expect("a plan");
    assert_eq!(streamed, [false, false]);
    assert!(plain.losses.iter().all(|loss| loss.is_finite()) && plain.losses[0] != plain.losses[1], "{plain:?}");
    for (limits, expected) in [
        ("webgpu,memory=16KiB,buffers=8", false),
        ("groups=7", false),
        ("groups=1", false),
        ("binding=256KiB", true),
        ("binding=256KiB,buffer=256KiB,groups=7,memory=16KiB,buffers=8", true),
    ] {
        let (streamed, outcome) = train(limits, &data).expect("a plan");
        assert_eq!(streamed, [expected; 2], "{limits}");
        assert!(outcome == plain, "{limits}: other bits; losses {:?}, not {:?}", outcome.losses, plain.losses);
    }
    let refused = train("binding=128KiB", &data).expect_err("a convolution of 144 KiB");
    assert!(refused.to_string().contains("binds at most 128 KiB at once; no batch size fits"), "{refused}");
}

/// All 47 MB of MNIST's training images, where no more than 1 MiB can be bound at once.
#[test]
fn mnist_is_streamed_where_it_can_not_be_bound() {
    let data = DataSet::load(DataSet::EMBEDDED).expect("MNIST");
    let (streamed, whole) = train("", &data).expect("a plan");
    assert_eq!(streamed, [false, false]);
    let (streamed, outcome) = train("binding=1MiB,buffer=1MiB", &data).expect("a plan");
    assert_eq!(streamed, [true, true]);
    assert!(outcome == whole, "other bits; losses {:?}, not {:?}", outcome.losses, whole.losses);
}

/// What is larger than the limits is refused by wgpu, not by us alone.
#[test]
fn lowered_limits_are_enforced() {
    let run = |limits: &str, count: usize| -> Result<(), DeviceError> {
        let mut device = adapter::open_with(&request(limits));
        let storage = Storage::separate([(Element::F32, count); 3]);
        let kernel = SharedKernel::new(Triad { elements: count as u32, factor: 0.5 });
        let (reads, writes) = (vec![Some(ValueId(0)), Some(ValueId(1))], vec![Some(ValueId(2))]);
        let dispatch = Dispatch { label: "triad".into(), kernel, reads, writes };
        device.prepare(&storage, &[&dispatch])?;
        device.run(&[dispatch])?;
        device.read(ValueId(2)).map(drop)
    };
    let count = (256 << 10) / 4;
    assert!(run("binding=256KiB,buffer=256KiB", count).is_ok());
    for limits in ["binding=256KiB", "buffer=256KiB"] {
        let error = run(limits, count + 1).expect_err(limits);
        assert!(matches!(error, DeviceError::Refused { .. }), "{limits}: {error}");
        assert!(error.to_string().contains("262144"), "{limits}: {error}");
    }
}
