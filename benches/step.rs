//! Where the time of a step goes, and whether a dropped block really costs nothing.
//!
//!     cargo bench --bench step [-- ARCH BATCH]
//!
//! On the CPU device, on ResNet-20 at batch 128 unless said otherwise, with 28x28 images of zeros: what a kernel costs
//! does not depend on the values. First the dispatches of a step with all gates on, one by one and summed by shader;
//! then, for some draws of the gates, the time of the whole step against the summed times of exactly the dispatches
//! that it encodes. All times are means of several runs: unlike medians, they add up.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::time::{Duration, Instant};

use sdgpu::device::Device;
use sdgpu::device::cpu::CpuDevice;
use sdgpu::dispatch::{Dispatch, Label};
use sdgpu::model::resnet::ResNet;
use sdgpu::model::survival::{Rule, probabilities};
use sdgpu::plan::{BranchScale, DataSizes, Gates, Optimizer, Plan, PlanOptions, TrainingOptions};

const DRAWS: u32 = 20;
const REPEATS: usize = 9;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo passes flags of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let arch = arguments.next().unwrap_or("resnet20".into());
    let batch = arguments.next().map_or(Ok(128), |batch| batch.parse())?;

    let net = ResNet::named(&arch, 1, 10)?;
    let mut device = CpuDevice::new()?;
    let optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    let options = PlanOptions {
        data: DataSizes { height: 28, width: 28, train: batch as usize, test: 1 },
        training: Some(TrainingOptions { batch, optimizer, label_smoothing: 0.0 }),
        eval_batch: 1,
        survival: probabilities(Rule::Linear, 1.0, 0.5, net.blocks.len())?,
        branch_scale: BranchScale::Eval,
        limits: device.limits(),
    };
    let plan = Plan::new(&net, &options)?;
    device.prepare(&plan.storage, &[])?;
    let step = |gates: &Gates| [plan.schedule(gates), plan.schedule_update()].concat();

    let all = step(&Gates::all(net.blocks.len()));
    let draws: Vec<Vec<Dispatch>> = (0..DRAWS).map(|draw| step(&Gates::draw(&plan.survival, 0, draw))).collect();
    // Dispatches and whole steps in turn, so that a busy machine slows both alike.
    let mut single: HashMap<Label, Vec<Duration>> = HashMap::new();
    let mut whole: Vec<Vec<Duration>> = vec![Vec::new(); draws.len()];
    for repeat in 0..=REPEATS {
        for dispatch in &all {
            let time = time(&mut device, std::slice::from_ref(dispatch))?;
            if repeat > 0 {
                single.entry(dispatch.label.clone()).or_default().push(time);
            }
        }
        for (draw, times) in draws.iter().zip(&mut whole) {
            let time = time(&mut device, draw)?;
            if repeat > 0 {
                times.push(time);
            }
        }
    }

    by_shader(&plan, &all, &single);
    let cost = |list: &[Dispatch]| -> f64 {
        // What runs only for dropped blocks is not in a step with all gates on.
        list.iter().filter_map(|dispatch| single.get(&dispatch.label)).map(|times| mean(times)).sum()
    };
    println!("{arch}, batch {batch}, {}: {:.1} ms with all gates on", device.info().name, 1e3 * cost(&all));
    let (mut got, mut expected) = (0.0, 0.0);
    for (draw, times) in draws.iter().zip(&whole) {
        let (time, sum) = (mean(times), cost(draw));
        println!(
            "{:4} dispatches: {:7.1} ms, summed {:7.1} ms, ratio {:.3}",
            draw.len(),
            1e3 * time,
            1e3 * sum,
            time / sum
        );
        (got, expected) = (got + time, expected + sum);
    }
    println!("over {DRAWS} draws: {:.1} ms, summed {:.1} ms, ratio {:.3}", 1e3 * got, 1e3 * expected, got / expected);
    Ok(())
}

/// Times of a step with all gates on, summed by shader.
fn by_shader(plan: &Plan, list: &[Dispatch], single: &HashMap<Label, Vec<Duration>>) {
    let mut rows: BTreeMap<&str, [f64; 3]> = BTreeMap::new();
    for dispatch in list {
        let values = dispatch.reads.iter().chain(&dispatch.writes);
        let bytes: usize = values.map(|&value| 4 * plan.storage.region(value).words).sum();
        let row = rows.entry(dispatch.kernel.shader().name).or_default();
        let sums = [mean(&single[&dispatch.label]), dispatch.kernel.cost().flop, bytes as f64];
        row.iter_mut().zip(sums).for_each(|(row, sum)| *row += sum);
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by(|a, b| b.1[0].total_cmp(&a.1[0]));
    for (shader, [seconds, flop, bytes]) in rows {
        let (gigaflops, gigabytes) = (flop / seconds / 1e9, bytes / seconds / 1e9);
        println!("{shader:28} {:8.2} ms {gigaflops:7.1} GFLOP/s {gigabytes:6.1} GB/s", 1e3 * seconds);
    }
}

fn time(device: &mut CpuDevice, list: &[Dispatch]) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    device.run(list)?;
    Ok(start.elapsed())
}

fn mean(times: &[Duration]) -> f64 {
    times.iter().sum::<Duration>().as_secs_f64() / times.len() as f64
}
