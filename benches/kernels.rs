//! Kernels one by one, at the shapes of a net: convolutions, batch norm, the optimiser.
//!
//!     cargo bench                                        on the CPU device, ResNet-20 at batch 128
//!     cargo bench -- conv                                only those whose name holds `conv`
//!     SDGPU_BENCH_DEVICE=gpu SDGPU_BENCH_NET=resnet50:64 cargo bench
//!
//! Each distinct kernel of a step (shader and parameters) is measured once, in the first dispatch that has it, by the
//! device's own clock. `elem/s` are operations, for convolutions, or words moved. `sdgpu bench` says what a whole step
//! takes.

use std::collections::HashSet;
use std::error::Error;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use sdgpu::internals::data::DataSet;
use sdgpu::internals::device::Device;
use sdgpu::internals::device::open::{self, DeviceChoice};
use sdgpu::internals::dispatch::ValueId;
use sdgpu::internals::job::Setup;
use sdgpu::internals::plan::{Gates, Plan};
use sdgpu::internals::rng::{self, Stream};
use sdgpu::internals::train::{Model, TrainOptions};

/// Families of kernels that take a step's time.
const FAMILIES: [&str; 4] = ["conv", "batch_norm", "adam", "sgd"];

fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_string());
    let net = variable("SDGPU_BENCH_NET", "resnet20:128");
    let (arch, batch) = net.split_once(':').ok_or("SDGPU_BENCH_NET is NET:BATCH, as in resnet20:128")?;
    let batch = batch.parse()?;
    let choice = DeviceChoice::from(variable("SDGPU_BENCH_DEVICE", "cpu").as_str());
    let mut device = open::open(&choice, None, 0)?.device;

    let mut options = TrainOptions::quick();
    (options.model, options.arch) = (Model::Resnet, arch.into());
    (options.batch_size, options.eval_batch, options.label_smoothing) = (batch, 1, 0.0);
    let data = DataSet::load(DataSet::EMBEDDED)?;
    let plan = Setup::builder(&options, &data)?.plan(device.limits())?;
    let blocks = plan.blocks.len();
    let list = [plan.schedule(&Gates::all(blocks)), plan.schedule_update()].concat();
    device.prepare(&plan.storage, &list.iter().collect::<Vec<_>>())?;
    fill(device.as_mut(), &plan)?;

    let rows = plan.step_rows(&Gates::all(blocks));
    let mut criterion = Criterion::default().configure_from_args().measurement_time(Duration::from_secs(3));
    let mut met = HashSet::new();
    for (row, dispatch) in rows.iter().zip(&list) {
        let is_new = met.insert((row.shader, dispatch.kernel.params().to_vec()));
        if !is_new || !FAMILIES.iter().any(|family| row.shader.starts_with(family)) {
            continue;
        }
        let mut group = criterion.benchmark_group(row.shader);
        let work = if row.is_convolution { row.cost.flop as u64 } else { row.bytes / 4 };
        group.throughput(Throughput::Elements(work)).sample_size(20);
        group.bench_function(&row.label, |bencher| {
            bencher.iter_custom(|times| {
                let list = vec![dispatch.clone(); times as usize];
                let timed = device.run_timed(&list).expect("the device runs what it has prepared");
                Duration::from_secs_f64(timed.seconds().sum())
            });
        });
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}

/// Numbers between -1 and 1 in all activations, gradients and parameters: what a kernel costs hardly depends on values,
/// but numbers below the smallest normal one are slow on some processors. What the host writes for a step is set to
/// sensible values, so that the optimiser updates.
fn fill(device: &mut dyn Device, plan: &Plan) -> Result<(), Box<dyn Error>> {
    let interface = &plan.interface;
    let of_the_host = [
        interface.images[0],
        interface.images[1],
        interface.labels[0],
        interface.labels[1],
        interface.indices,
        interface.eval_indices,
        interface.report,
    ];
    for (index, value) in plan.values.iter().enumerate() {
        let id = ValueId(index as u32);
        // Parts are filled with what they are part of, and values without a place are used by nobody.
        let count = plan.storage.region(id).count;
        let is_part = matches!(value.allocation, sdgpu::internals::plan::Allocation::Part { .. });
        if count == 0 || is_part || of_the_host.contains(&id) {
            continue;
        }
        let number = |word: usize| 2.0 * rng::uniform(0, Stream::Init, index as u32, word as u32) - 1.0;
        let words: Vec<u32> = (0..count).map(|word| number(word % 4096).to_bits()).collect();
        device.write(id, &words)?;
    }
    for (table, groups) in &plan.group_tables {
        device.write(*table, groups)?;
    }
    let rows = [1, 1e-6f32.to_bits(), 1f32.to_bits(), 0].repeat(plan.blocks.len() + 1);
    let indices: Vec<u32> = (0..plan.data.train as u32).collect();
    device.write(interface.indices, &indices)?;
    device.write(interface.control, &sdgpu::internals::protocol::control(indices.len() as u32, 0, 0, &rows))?;
    Ok(())
}
