//! Running statistics re-estimated for evaluations: what they are, and that training does not see them.

use sdgpu::internals::data::DataSet;
use sdgpu::internals::device::Device;
use sdgpu::internals::device::cpu::CpuDevice;
use sdgpu::internals::job::Setup;
use sdgpu::internals::model::resnet::ResNet;
use sdgpu::internals::model::weights::{Tensor, Weights};
use sdgpu::internals::plan::{BranchScale, DataSizes, Gates, ImageFile, Plan};
use sdgpu::internals::train::{DroppedUpdate, Engine, Step, UpdateRows};

use crate::adapter;
use crate::devices::{ADAM, patches};
use crate::recovery::{self, AsGpu, cpu, steps, train};
use crate::support::{self, with};

const BATCH: u32 = 8;
const SIZE: u32 = 18;

/// Opens a device.
type Open = fn() -> Box<dyn Device>;

const DEVICES: [Open; 2] = [|| Box::new(CpuDevice::new().expect("the CPU device")), || Box::new(adapter::open())];

/// Identities and shortcuts that pool; and projections, behind a max pool.
fn nets() -> [ResNet; 2] {
    [
        ResNet::cifar("cifar", [2, 1, 1], [3, 4, 6], 1, 6),
        ResNet::torchvision("torchvision", [2, 1, 1, 1], [3, 2, 4, 3], true, 1, 6),
    ]
}

/// An engine that can recalibrate, with the weights of seed 0.
fn engine(net: &ResNet, open: Open, survival: f64, branch_scale: BranchScale) -> Engine {
    let data = DataSet { name: "patches".into(), train: patches(64, SIZE, 6), test: patches(24, SIZE, 6), classes: 6 };
    let options = with(support::options(BATCH, BATCH, 1.0), |options| {
        (options.branch_scale, options.bn_recalibrate) = (branch_scale, 1);
    });
    let builder = Setup::builder(&options, &data).and_then(|builder| builder.net(net.clone())).expect("a net");
    let mut setup = builder.on(open()).expect("a plan");
    // One of the tests has a "probability" of 2, which no setting allows.
    let sizes = DataSizes { height: SIZE, width: SIZE, train: 64, test: 24 };
    let survival = vec![survival; net.blocks.len()];
    let planned = options.plan_options(survival, sizes, setup.device.limits());
    setup.plan = Plan::new(net, &planned).expect("a plan");
    setup.engine().expect("an engine")
}

/// The images of batch `number`.
fn batch(number: u32) -> Vec<u32> {
    (0..BATCH).map(|image| (number * 29 + image * 7) % 64).collect()
}

/// A step on batch `number`, with an update by `rows`.
fn step(engine: &mut Engine, number: u32, gates: &Gates, rows: &[u32]) {
    let ticket = engine.submit(&Step { number, seed: 1, indices: &batch(number), gates, rows }).expect("a step");
    assert!(engine.report(ticket).expect("a report").finite);
}

fn statistics(weights: Weights) -> Vec<Tensor> {
    weights.0.into_iter().filter(|tensor| tensor.name.contains(".running_")).collect()
}

/// Averaged by the host from what training steps say of their batches, in a net whose branches are scaled in training
/// as the other's are in inference: by 1/2, which is the inverse of a "probability" of 2.
#[test]
fn estimates_are_the_means_over_the_batches() {
    for (net, open) in nets().iter().flat_map(|net| DEVICES.map(|open| (net, open))) {
        let (all, rows) =
            (Gates::all(net.blocks.len()), UpdateRows::new(ADAM, DroppedUpdate::Freeze, net.blocks.len()));
        let mut stepping = engine(net, open, 2.0, BranchScale::Train);
        // More batches than read-backs under way.
        let batches = 7;
        let mut sums: Vec<Vec<f64>> = Vec::new();
        for number in 0..batches {
            step(&mut stepping, number, &all, &rows.skip());
            let of_batch = statistics(stepping.gradients().expect("statistics"));
            sums.resize(of_batch.len(), Vec::new());
            for (sums, tensor) in sums.iter_mut().zip(of_batch) {
                sums.resize(tensor.values.len(), 0.0);
                sums.iter_mut().zip(tensor.values).for_each(|(sum, value)| *sum += f64::from(value));
            }
        }
        let mut engine = engine(net, open, 0.5, BranchScale::Eval);
        engine.recalibrate((0..batches).map(batch)).expect("a recalibration");
        for (tensor, sums) in statistics(engine.weights().expect("weights")).iter().zip(sums) {
            let means: Vec<f32> = sums.iter().map(|sum| (sum / f64::from(batches)) as f32).collect();
            assert_eq!(tensor.values, means, "{}: {}", net.name, tensor.name);
        }
    }
}

/// With a momentum of 1, running statistics are those of the last batch.
#[test]
fn one_batch_is_what_a_momentum_of_one_keeps() {
    for (mut net, open) in nets().into_iter().flat_map(|net| DEVICES.map(|open| (net.clone(), open))) {
        net.norm.momentum = 1.0;
        let (all, mut rows) =
            (Gates::all(net.blocks.len()), UpdateRows::new(ADAM, DroppedUpdate::Freeze, net.blocks.len()));
        let mut engine = engine(&net, open, 1.0, BranchScale::Eval);
        step(&mut engine, 3, &all, &rows.next(0.0, &all));
        let images: Vec<u32> = (0..24).collect();
        let (kept, score) = (engine.weights().expect("weights"), engine.evaluate(ImageFile::Test, &images));
        engine.recalibrate([batch(3)]).expect("a recalibration");
        let (estimated, again) = (engine.weights().expect("weights"), engine.evaluate(ImageFile::Test, &images));
        for (kept, estimated) in kept.0.iter().zip(&estimated.0) {
            for (kept, estimated) in kept.values.iter().zip(&estimated.values) {
                // running + 1 * (batch - running) is rounded.
                assert!((kept - estimated).abs() <= 1e-6 * (1.0 + kept.abs()), "{kept}, not {estimated}");
            }
        }
        let (kept, estimated) = (score.expect("a score").loss, again.expect("a score").loss);
        assert!((kept - estimated).abs() <= 1e-4 * estimated, "a loss of {kept}, not {estimated}");
    }
}

#[test]
fn what_training_had_is_put_back() {
    for (net, open) in nets().iter().flat_map(|net| DEVICES.map(|open| (net, open))) {
        let mut rows = UpdateRows::new(ADAM, DroppedUpdate::Freeze, net.blocks.len());
        let mut engine = engine(net, open, 0.5, BranchScale::Eval);
        let gates = Gates((0..net.blocks.len()).map(|block| block != 1).collect());
        let rows = rows.next(1e-3, &gates);
        step(&mut engine, 0, &gates, &rows);
        let all = |engine: &mut Engine| {
            let (weights, gradients) = (engine.weights().expect("weights"), engine.gradients().expect("gradients"));
            (weights, gradients, engine.moments().expect("moments"))
        };
        let before = all(&mut engine);
        let trained = engine.recalibrate([batch(1), batch(2)]).expect("a recalibration");
        let during = all(&mut engine);
        assert_ne!(statistics(during.0), statistics(before.0.clone()));
        engine.put_back(&trained).expect("an upload");
        assert!(all(&mut engine) == before, "{}: something is not as it was", net.name);
    }
}

/// Lines of steps, weights and moments of whole runs.
#[test]
fn training_does_not_see_it() {
    fn check<D: Device + AsGpu + 'static>(open: impl Fn() -> D) {
        let run = |bn_recalibrate| {
            let options = with(recovery::options(), |options| options.bn_recalibrate = bn_recalibrate);
            let (result, log) = train(&options, None, &open, &[]);
            (result.expect("a run"), log)
        };
        let ((with_outcome, with), (without_outcome, without)) = (run(3), run(0));
        assert_eq!(steps(&with), steps(&without));
        assert!(with.last == without.last, "other weights");
        for (with, without) in with.checkpoints.iter().zip(&without.checkpoints) {
            assert_eq!((&with.weights, &with.moments), (&without.weights, &without.moments));
        }
        let evaluations =
            |lines: &[String]| lines.iter().filter(|line| line.starts_with(['t', 'v'])).cloned().collect();
        let [with, without]: [Vec<String>; 2] = [evaluations(&with.lines), evaluations(&without.lines)];
        assert!(with.len() == without.len() && with.iter().zip(&without).all(|(a, b)| a != b), "{with:?}\n{without:?}");
        assert_ne!(with_outcome.test.loss, without_outcome.test.loss);
        assert_ne!(with_outcome.predictions, without_outcome.predictions);
    }
    check(cpu);
    check(adapter::open);
}
