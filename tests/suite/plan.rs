//! The plan and its scheduler, without any device.

use std::collections::{HashMap, HashSet};

use crate::support;
use expect_test::expect_file;
use proptest::prelude::*;
use sdgpu::internals::device::gpu::{LONGEST_DISPATCH, slow_seconds};
use sdgpu::internals::dispatch::{Dispatch, Limits, Region, ValueId};
use sdgpu::internals::model::resnet::ResNet;
use sdgpu::internals::model::survival::{Rule, probabilities};
use sdgpu::internals::plan::{
    Allocation, DataSizes, DeviceClass, Estimate, GateSampling, Gates, ImageFile, Mend, Plan, PlanError, PlanOptions,
};

const ROOMY: Limits = Limits { binding_bytes: 4 << 30, buffer_bytes: 4 << 30, total_bytes: u64::MAX };

fn options(net: &ResNet, size: u32, batch: u32, limits: Limits) -> PlanOptions {
    let sizes = DataSizes { height: size, width: size, train: 20, test: 10 };
    let survival = probabilities(Rule::Linear, 1.0, 0.5, net.blocks.len()).expect("probabilities");
    support::options(batch, 4, 0.5).plan_options(survival, sizes, limits)
}

fn plan(net: &ResNet, size: u32, batch: u32) -> Plan {
    Plan::new(net, &options(net, size, batch, ROOMY)).expect("a plan")
}

/// A plan that can re-estimate running statistics.
fn recalibrating(net: &ResNet, size: u32, batch: u32) -> Plan {
    let mut options = options(net, size, batch, ROOMY);
    options.training.as_mut().expect("training").recalibration = true;
    Plan::new(net, &options).expect("a plan")
}

fn named(name: &str, size: u32) -> Plan {
    plan(&ResNet::named(name, 1, 10).expect("a net"), size, 4)
}

/// A list as text: label, shader, values by name.
fn listing(plan: &Plan, list: &[Dispatch]) -> String {
    let name = |value: &Option<ValueId>| value.map_or("-", |value| plan.values[value.index()].name.as_str());
    let names = |values: &[Option<ValueId>]| values.iter().map(name).collect::<Vec<_>>().join(", ");
    let line = |dispatch: &Dispatch| {
        let (shader, reads, writes) = (dispatch.kernel.shader().name, names(&dispatch.reads), names(&dispatch.writes));
        format!("{} [{shader}]\n    {reads}\n    -> {writes}\n", dispatch.label)
    };
    list.iter().map(line).collect()
}

fn dropping(blocks: usize, dropped: &[usize]) -> Gates {
    Gates((0..blocks).map(|block| !dropped.contains(&block)).collect())
}

/// What a step moves lies between the least and what its dispatches do one by one; and an activation between two
/// convolutions is never written by itself.
#[test]
fn a_step_moves_little_more_than_it_must() {
    for (name, most) in [("resnet20", 3.0), ("resnet50", 3.0), ("resnet110", 3.0)] {
        let plan = named(name, 28);
        let blocks = plan.blocks.len();
        let moved = |gates: &Gates| plan.step_rows(gates).iter().map(|row| row.bytes).sum::<u64>();
        let (all, none) = (Gates::all(blocks), Gates(vec![false; blocks]));
        for gates in [&all, &none] {
            let ratio = moved(gates) as f64 / plan.least_bytes(gates) as f64;
            assert!((1.0..most).contains(&ratio), "{name}: {ratio}");
        }
        assert!(plan.least_bytes(&none) < plan.least_bytes(&all) && moved(&none) < moved(&all), "{name}");
        let written: Vec<&str> = plan.values.iter().map(|value| value.name.as_str()).collect();
        let within = |name: &&&str| name.starts_with("layer") && name.ends_with("bn1 output");
        assert_eq!(written.iter().find(within), None, "{name}");
    }
}

/// Drivers reset a GPU that is busy with one dispatch for too long. Steps of deep nets take seconds, but their
/// dispatches are short; the scheduler of submissions sees to the rest.
#[test]
fn no_dispatch_takes_long_on_a_slow_gpu() {
    for (name, batch) in
        [("resnet20", 1024), ("resnet110", 512), ("resnet1202", 128), ("resnet50", 400), ("resnet152", 128)]
    {
        let plan = plan(&ResNet::named(name, 1, 10).expect("a net"), 28, batch);
        let list = plan.schedule(&Gates::all(plan.blocks.len()));
        let seconds: Vec<f64> = list.iter().map(|dispatch| slow_seconds(dispatch, &plan.storage)).collect();
        let longest = seconds.iter().copied().fold(0.0, f64::max);
        assert!(longest <= LONGEST_DISPATCH, "{name}: {longest} s");
        assert!(seconds.iter().sum::<f64>() > 0.03, "{name}: an estimate of nothing");
    }
}

#[test]
fn estimates_follow_the_tightest_bound() {
    let plan = named("resnet20", 28);
    let mut rows = plan.step_rows(&Gates::all(9));
    let class = DeviceClass { name: "even", teraflops: 1.0, gigabytes: 500.0 };
    rows.truncate(2);
    (rows[0].cost.flop, rows[0].bytes) = (4e9, 4_000_000);
    (rows[1].cost.flop, rows[1].bytes) = (4e9, 8_000_000_000);
    let estimate = Estimate::new(&rows, &class);
    let near = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-9, "{got}, not {expected}");
    near(estimate.compute, 0.01);
    near(estimate.memory, 0.02);
    near(estimate.between, 4e-6);
    near(estimate.total(), 0.030004);
}

/// Times and profiles go by the names.
#[test]
fn no_two_dispatches_of_a_step_have_one_name() {
    for (name, size) in [("resnet20", 28), ("resnet50", 32)] {
        let plan = named(name, size);
        for gates in [Gates::all(plan.blocks.len()), Gates(vec![false; plan.blocks.len()])] {
            let mut names = HashSet::new();
            let rows = plan.step_rows(&gates);
            rows.iter().for_each(|row| assert!(names.insert(&row.label), "{name}: {}", row.label));
        }
    }
}

#[test]
fn dispatch_lists_are_the_recorded_ones() {
    let cifar = named("resnet8", 9);
    expect_file!["../golden/resnet8_all.txt"].assert_eq(&listing(&cifar, &cifar.schedule(&dropping(3, &[]))));
    expect_file!["../golden/resnet8_drop_0_1.txt"].assert_eq(&listing(&cifar, &cifar.schedule(&dropping(3, &[0, 1]))));
    expect_file!["../golden/resnet8_update.txt"].assert_eq(&listing(&cifar, &cifar.schedule_update()));
    let test = cifar.schedule_inference(ImageFile::Test);
    expect_file!["../golden/resnet8_inference.txt"].assert_eq(&listing(&cifar, &test));
    let recalibrating = recalibrating(&ResNet::named("resnet8", 1, 10).expect("a net"), 9, 4);
    let recalibration = recalibrating.schedule_recalibration();
    expect_file!["../golden/resnet8_recalibration.txt"].assert_eq(&listing(&recalibrating, &recalibration));
    let net = ResNet::torchvision("bottleneck", [2, 1, 1, 1], [4, 4, 4, 4], true, 1, 10);
    let bottleneck = plan(&net, 28, 4);
    let dropped = bottleneck.schedule(&dropping(5, &[0, 1, 2]));
    expect_file!["../golden/bottleneck_drop_0_1_2.txt"].assert_eq(&listing(&bottleneck, &dropped));
}

/// A dispatch binds what its kernel's mode uses, and nothing else: so lists, lives and bytes are
/// true.
#[test]
fn dispatches_bind_what_their_kernels_use() {
    for (name, size) in [("resnet8", 28), ("resnet18", 32), ("resnet50", 32)] {
        let plan = recalibrating(&ResNet::named(name, 1, 10).expect("a net"), size, 4);
        let lists = [
            plan.schedule(&Gates::all(plan.blocks.len())),
            plan.schedule(&Gates(vec![false; plan.blocks.len()])),
            plan.schedule_update(),
            plan.schedule_inference(ImageFile::Test),
            plan.schedule_recalibration(),
        ];
        for dispatch in lists.iter().flatten() {
            for (binding, value) in dispatch.reads.iter().chain(&dispatch.writes).enumerate() {
                let (label, uses) = (&dispatch.label, dispatch.kernel.uses(binding));
                assert_eq!(value.is_some(), uses, "{name}: {label}, binding {binding}");
            }
        }
    }
}

#[test]
fn a_recorded_gradient_costs_one_dispatch_before_the_update() {
    let net = ResNet::named("resnet8", 1, 10).expect("a net");
    let mut options = options(&net, 9, 4, ROOMY);
    let plain = Plan::new(&net, &options).expect("a plan");
    options.training.as_mut().expect("training").record_gradients = true;
    let recording = Plan::new(&net, &options).expect("a plan");
    let (without, with) = (plain.schedule_update(), recording.schedule_update());
    let at = with.iter().position(|dispatch| dispatch.label.as_ref() == "first gradient").expect("the record");
    assert_eq!(
        listing(&recording, &with[at..=at]),
        "first gradient [first_gradient]\n    conv1.weight gradient\n    -> report\n"
    );
    assert!(with[at + 1].label.starts_with("adam"), "{}", with[at + 1].label);
    let rest = [&with[..at], &with[at + 1..]].concat();
    assert_eq!(listing(&recording, &rest), listing(&plain, &without));
    assert_eq!(recording.storage, plain.storage);
}

/// It runs between steps, in their buffers.
#[test]
fn a_recalibration_takes_no_memory() {
    for (name, size, batch) in [("resnet20", 28, 4), ("resnet50", 32, 4)] {
        let net = ResNet::named(name, 1, 10).expect("a net");
        let (with, without) = (recalibrating(&net, size, batch), plan(&net, size, batch));
        assert_eq!(with.storage.bytes(), without.storage.bytes(), "{name}");
        assert!(without.schedule_recalibration().is_empty());
    }
}

/// A dropped block leaves no trace: what is left is exactly the rest, in the same order.
#[test]
fn a_dropped_identity_block_leaves_no_trace() {
    let plan = named("resnet20", 28);
    let all = plan.schedule(&Gates::all(9));
    let labels = |list: &[Dispatch]| list.iter().map(|dispatch| dispatch.label.to_string()).collect::<Vec<_>>();
    for block in [0, 1, 2, 4, 5, 7, 8] {
        let name = format!("layer{}.{}", block / 3 + 1, block % 3);
        let mut rest = labels(&all);
        rest.retain(|label| !label.starts_with(&name));
        assert_eq!(labels(&plan.schedule(&dropping(9, &[block]))), rest, "block {block}");
    }
}

/// Option A's shortcut stays, and nothing else of a dropped down-sampling block does.
#[test]
fn a_dropped_down_sampling_block_keeps_its_shortcut_alone() {
    let plan = named("resnet20", 28);
    let list = plan.schedule(&dropping(9, &[3]));
    let left: Vec<&str> =
        list.iter().map(|dispatch| &*dispatch.label).filter(|label| label.starts_with("layer2.0")).collect();
    assert_eq!(left, ["layer2.0 shortcut forward", "layer2.0 shortcut backward"]);
}

/// A projection can be negative, so its ReLU stays too, and its norm is not skipped.
#[test]
fn a_dropped_projection_block_keeps_shortcut_and_relu() {
    let plan = named("resnet50", 28);
    let list = plan.schedule(&dropping(16, &[0]));
    let left: Vec<&str> =
        list.iter().map(|dispatch| &*dispatch.label).filter(|label| label.starts_with("layer1.0")).collect();
    assert_eq!(
        left,
        [
            "layer1.0.downsample.0 forward",
            "layer1.0.downsample.1 finish",
            "layer1.0.downsample.1 apply",
            "layer1.0 relu",
            "layer1.0.downsample.1 backward reduce",
            "layer1.0.downsample.1 backward finish",
            "layer1.0.downsample.1 backward apply",
            "layer1.0.downsample.0 weight gradient",
            "layer1.0.downsample.0 weight gradient sum",
            "layer1.0.downsample.0 input gradient",
        ]
    );
}

#[test]
fn values_that_bypasses_rely_on_are_not_negative() {
    for name in ["resnet20", "resnet18", "resnet50"] {
        let plan = named(name, 28);
        let facts: HashMap<&str, bool> =
            plan.values.iter().map(|value| (value.name.as_str(), value.non_negative)).collect();
        for (value, expected) in [
            ("layer1.0 output", true),
            ("layer2.0 output", true),
            ("layer1.0.bn1 output", true),
            ("max pool output", true),
            ("bn1 output", true),
            ("layer2.0 shortcut output", true),
            ("layer2.0.downsample.1 output", false),
            ("layer1.0.conv1 output", false),
            ("images", false),
        ] {
            if let Some(&fact) = facts.get(value) {
                assert_eq!(fact, expected, "{name}: {value}");
            }
        }
    }
}

#[test]
fn expected_flop_is_the_mean_over_draws() {
    let plan = named("resnet20", 28);
    let draws = 2000;
    let flop = |step| step_flop(&plan, &Gates::draw(&plan.survival, 1, step));
    let mean = (0..draws).map(flop).sum::<f64>() / f64::from(draws);
    assert!((mean / plan.expected_flop() - 1.0).abs() < 0.01, "{mean} and {}", plan.expected_flop());
    assert!(step_flop(&plan, &Gates::all(9)) > plan.expected_flop());
}

/// FLOP of the dispatches of a step.
fn step_flop(plan: &Plan, gates: &Gates) -> f64 {
    plan.step_rows(gates).iter().map(|row| row.cost.flop).sum()
}

/// FLOP counted block by block are those of the lists, whichever blocks are dropped.
#[test]
fn flop_of_blocks_add_up_to_those_of_a_step() {
    for (name, size) in [("resnet20", 28), ("resnet18", 32), ("resnet50", 32)] {
        let plan = named(name, size);
        let flop = plan.flop();
        let blocks = plan.blocks.len();
        let drawn = (1..20).map(|step| Gates::draw(&plan.survival, 7, step));
        for gates in drawn.chain([Gates::all(blocks), Gates(vec![false; blocks])]) {
            let rates: Vec<f64> = gates.0.iter().map(|&runs| f64::from(u8::from(runs))).collect();
            assert_eq!(flop.at(&rates), step_flop(&plan, &gates), "{name}: {gates:?}");
        }
        assert_eq!(flop.all_gates(), step_flop(&plan, &Gates::all(blocks)));
        assert!(flop.always > 0 && flop.blocks.iter().all(|&block| block > 0), "{flop:?}");
    }
}

/// Each block's rate of survival over many draws, per rule, within four standard deviations.
#[test]
fn gates_survive_at_their_rate() {
    let (blocks, draws) = (9, 20_000);
    for (rule, first, last) in [(Rule::Linear, 1.0, 0.5), (Rule::Uniform, 1.0, 0.3), (Rule::Linspace, 1.0, 0.6)] {
        let survival = probabilities(rule, first, last, blocks).expect("probabilities");
        let mut counts = vec![0u32; blocks];
        let mut pairs = 0u32;
        for step in 0..draws {
            let gates = Gates::draw(&survival, 5, step);
            for (block, count) in counts.iter_mut().enumerate() {
                *count += u32::from(gates.survives(block));
            }
            pairs += u32::from(gates.survives(7) && gates.survives(8));
        }
        let check = |what: &str, count: u32, p: f64| {
            let deviation = (p * (1.0 - p) / f64::from(draws)).sqrt();
            let rate = f64::from(count) / f64::from(draws);
            assert!((rate - p).abs() <= 4.0 * deviation, "{rule:?}, {what}: {rate}, not {p}");
        };
        for (block, &count) in counts.iter().enumerate() {
            check(&format!("block {block}"), count, survival[block]);
        }
        check("blocks 7 and 8 together", pairs, survival[7] * survival[8]);
    }
}

/// The most bytes of pooled values that live at one moment while `list` runs, each from its first use to its last.
fn most_live(plan: &Plan, list: &[Dispatch]) -> u64 {
    let mut lives: HashMap<ValueId, (usize, usize)> = HashMap::new();
    for (time, dispatch) in list.iter().enumerate() {
        for value in dispatch.values() {
            if plan.values[value.index()].allocation == Allocation::Pooled {
                lives.entry(value).or_insert((time, time)).1 = time;
            }
        }
    }
    let bytes = |time: usize| {
        let alive = lives.iter().filter(|(_, (first, last))| (*first..=*last).contains(&time));
        alive.map(|(value, _)| plan.values[value.index()].bytes()).sum()
    };
    (0..list.len()).map(bytes).max().expect("a list")
}

#[test]
fn the_bound_of_what_lives_holds_for_every_draw() {
    for (name, rule, last) in [
        ("resnet20", Rule::Linear, 0.5),
        ("resnet20", Rule::Uniform, 0.3),
        ("resnet50", Rule::Linspace, 0.6),
        ("resnet56", Rule::Uniform, 0.5),
    ] {
        let net = ResNet::named(name, 1, 10).expect("a net");
        let survival = probabilities(rule, 1.0, last, net.blocks.len()).expect("probabilities");
        let plan = Plan::new(&net, &PlanOptions { survival, ..options(&net, 28, 4, ROOMY) }).expect("a plan");
        let [any, systematic] =
            [GateSampling::Independent, GateSampling::Systematic].map(|sampling| plan.most_live_bytes(sampling));
        let needs = |gates: &Gates| most_live(&plan, &plan.schedule(gates));
        let all = needs(&Gates::all(plan.blocks.len()));
        assert!(all <= any && any as f64 <= 1.1 * all as f64, "{name}: {any} for {all} bytes with all gates");
        let most = (0..60).map(|step| needs(&plan.draw(GateSampling::Systematic, 3, step))).max().expect("draws");
        assert!(most <= systematic, "{name}: {most} bytes live, {systematic} at most");
        // No draw may meet the worst blocks of each stage, but some come near.
        assert!(most as f64 >= 0.8 * systematic as f64, "{name}: {systematic} is no bound to speak of beside {most}");
        assert!((systematic as f64) < 0.97 * any as f64, "{name}: {systematic} is hardly below {any}");
        assert!(any < plan.storage.bytes());
    }
}

#[test]
fn batch_norm_over_one_value_is_refused() {
    let net = ResNet::named("resnet18", 1, 10).expect("a net");
    let error = Plan::new(&net, &options(&net, 28, 1, ROOMY)).expect_err("one value a channel");
    assert!(matches!(error, PlanError::SingleValue { batch: 1, .. }), "{error}");
}

#[test]
fn a_net_beyond_the_limit_is_refused_with_the_largest_batch_that_fits() {
    let net = ResNet::named("resnet20", 1, 10).expect("a net");
    let limits = Limits { binding_bytes: 4 << 20, buffer_bytes: 4 << 20, ..ROOMY };
    let error = Plan::new(&net, &options(&net, 28, 128, limits)).expect_err("too large");
    let PlanError::TooLarge { mend: Some(Mend { batch_size: Some(batch), eval_batch: None }), .. } = error else {
        panic!("{error}")
    };
    assert!(Plan::new(&net, &options(&net, 28, batch, limits)).is_ok());
    assert!(Plan::new(&net, &options(&net, 28, batch + 1, limits)).is_err());
}

/// Where evaluation is to blame, its flag is named, and the training batch left alone.
#[test]
fn an_evaluation_batch_beyond_the_limit_is_named() {
    let net = ResNet::named("resnet20", 1, 10).expect("a net");
    let limits = Limits { binding_bytes: 4 << 20, buffer_bytes: 4 << 20, ..ROOMY };
    let refused = PlanOptions { eval_batch: 10_000, ..options(&net, 28, 16, limits) };
    let error = Plan::new(&net, &refused).expect_err("too large");
    let PlanError::TooLarge { mend: Some(Mend { batch_size: None, eval_batch: Some(batch) }), .. } = error else {
        panic!("{error}")
    };
    assert!(Plan::new(&net, &PlanOptions { eval_batch: batch, ..refused.clone() }).is_ok());
    assert!(Plan::new(&net, &PlanOptions { eval_batch: batch + 1, ..refused }).is_err());
}

#[test]
fn a_net_beyond_the_memory_is_refused_with_the_largest_batch_that_fits() {
    let net = ResNet::named("resnet20", 1, 10).expect("a net");
    let limits = Limits { total_bytes: 80 << 20, ..ROOMY };
    let error = Plan::new(&net, &options(&net, 28, 128, limits)).expect_err("too large");
    let PlanError::OutOfMemory { mend: Some(Mend { batch_size: Some(batch), .. }), .. } = error else {
        panic!("{error}")
    };
    let bytes = |batch| plan(&net, 28, batch).storage.bytes();
    assert!(bytes(batch) <= 80 << 20 && bytes(batch + 1) > 80 << 20, "{batch}");
}

#[test]
fn parameters_are_split_where_the_binding_limit_asks_for_it() {
    let net = ResNet::named("resnet20", 1, 10).expect("a net");
    let limits = Limits { binding_bytes: 4 << 16, buffer_bytes: 4 << 16, ..ROOMY };
    let plan = Plan::new(&net, &options(&net, 9, 2, limits)).expect("a plan");
    let chunks: HashSet<ValueId> = plan
        .parameters
        .iter()
        .filter(|planned| planned.parameter.kind.is_trained())
        .filter_map(|planned| match plan.values[planned.value.index()].allocation {
            Allocation::Part { of, .. } => Some(of),
            _ => None,
        })
        .collect();
    // 269,434 numbers would fit five chunks of 65,536, but no parameter is cut in two.
    assert_eq!(chunks.len(), 6);
    assert_eq!(plan.schedule_update().iter().filter(|dispatch| dispatch.label.starts_with("adam")).count(), 6);
}

/// What each buffer holds while a list runs.
struct Memory<'a> {
    plan: &'a Plan,
    /// The value that last wrote each place, by buffer and offset.
    holder: HashMap<(usize, u64), ValueId>,
}

impl<'a> Memory<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut memory = Self { plan, holder: HashMap::new() };
        for index in 0..plan.values.len() {
            // The host has written these, or they have been there since the start.
            if plan.values[index].allocation != Allocation::Pooled {
                memory.write(ValueId(index as u32));
            }
        }
        memory
    }

    fn place(&self, value: ValueId) -> (usize, u64) {
        let Region { buffer, offset, .. } = self.plan.storage.region(value);
        (buffer, offset)
    }

    fn write(&mut self, value: ValueId) {
        self.holder.insert(self.place(value), value);
    }

    /// Runs `list`; errors at the first value that is read before it is written, or was overwritten while it lived, or
    /// that shares a buffer with one written by the same dispatch, or that a dispatch names twice.
    fn run(&mut self, list: &[Dispatch]) -> Result<(), String> {
        for dispatch in list {
            let name = |value: ValueId| &self.plan.values[value.index()].name;
            // A binding that a kernel's mode does not use is unused, not filled with a value at
            // hand.
            let mut named = HashSet::new();
            if let Some(value) = dispatch.values().find(|&value| !named.insert(value)) {
                return Err(format!("{} names {} twice", dispatch.label, name(value)));
            }
            for &value in dispatch.reads.iter().flatten() {
                let pooled = self.plan.values[value.index()].allocation == Allocation::Pooled;
                let holder = self.holder.get(&self.place(value));
                if pooled && holder != Some(&value) {
                    let holder = holder.map_or("nothing", |&holder| name(holder));
                    return Err(format!("{} reads {}, but {holder} lies there", dispatch.label, name(value)));
                }
                if dispatch.writes.iter().flatten().any(|&written| self.place(written).0 == self.place(value).0) {
                    return Err(format!("{} reads and writes the buffer of {}", dispatch.label, name(value)));
                }
            }
            dispatch.writes.iter().flatten().for_each(|&value| self.write(value));
        }
        Ok(())
    }
}

/// A small net of either family.
fn any_net() -> impl Strategy<Value = ResNet> {
    let cifar = (prop::array::uniform3(1usize..4), prop::array::uniform3(1u32..5))
        .prop_map(|(blocks, widths)| ResNet::cifar("cifar", blocks, widths, 1, 10));
    let torchvision = (prop::array::uniform4(1usize..4), prop::array::uniform4(1u32..5), any::<bool>())
        .prop_map(|(blocks, widths, bottleneck)| ResNet::torchvision("net", blocks, widths, bottleneck, 1, 10));
    prop_oneof![cifar, torchvision]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// No value is read before it is written, none is overwritten while it lives, no buffer is read and written by one
    /// dispatch: for any net, and any gates in steps that follow each other, with evaluations between them.
    #[test]
    fn values_keep_their_buffers_while_they_live(
        net in any_net(),
        draws in prop::collection::vec(prop::collection::vec(any::<bool>(), 12), 3),
    ) {
        let plan = recalibrating(&net, 20, 2);
        let mut memory = Memory::new(&plan);
        for draw in draws {
            let gates = Gates(draw.into_iter().take(net.blocks.len()).collect());
            prop_assume!(gates.0.len() == net.blocks.len());
            let mut list = plan.schedule(&gates);
            list.extend(plan.schedule_update());
            list.extend(plan.schedule_recalibration());
            list.extend(plan.schedule_inference(ImageFile::Test));
            prop_assert_eq!(memory.run(&list), Ok(()));
        }
    }

    /// Only what survives is in the list: its FLOP are those of the segments that run.
    #[test]
    fn dropped_blocks_cost_nothing(net in any_net(), draw in prop::collection::vec(any::<bool>(), 12)) {
        let plan = plan(&net, 20, 2);
        let gates = Gates((0..net.blocks.len()).map(|block| draw[block % 12]).collect());
        for dispatch in plan.schedule(&gates) {
            for (block, described) in net.blocks.iter().enumerate() {
                let label: &str = &dispatch.label;
                let branch = label.starts_with(&format!("{}.conv", described.name))
                    || label.starts_with(&format!("{}.bn", described.name))
                    || label == format!("{} sum", described.name);
                prop_assert!(!branch || gates.survives(block), "{} in {}", label, gates);
            }
        }
    }
}
