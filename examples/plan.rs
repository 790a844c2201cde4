//! Prints what a training step is: a list of dispatches, in which those of dropped blocks do not
//! occur.
//!
//!     cargo run --release --example plan

use sdgpu::{DataSet, Error, Gates, Limits, Setup, TrainOptions};

fn main() -> Result<(), Error> {
    let data = DataSet::load("mnist")?;
    let mut options = TrainOptions::quick();
    options.arch = "resnet8".into();
    // A plan needs no device, only what one can hold.
    let plan = Setup::builder(&options, &data)?.plan(Limits::WEBGPU)?;

    let gates: Gates = "101".parse().expect("a gate for each block");
    for dispatch in plan.schedule(&gates).into_iter().chain(plan.schedule_update()) {
        let cost = dispatch.kernel.cost();
        let name = |value: sdgpu::kernel::ValueId| plan.values[value.index()].name.as_str();
        let reads: Vec<&str> = dispatch.reads.iter().flatten().map(|&value| name(value)).collect();
        let writes: Vec<&str> = dispatch.writes.iter().flatten().map(|&value| name(value)).collect();
        println!("{:9.3} MFLOP  {}: {} -> {}", cost.flop / 1e6, dispatch.label, reads.join(", "), writes.join(", "));
    }
    let all = Gates::all(plan.blocks.len());
    let [kept, whole] = [gates, all].map(|gates| plan.schedule(&gates).len() + plan.schedule_update().len());
    println!("{kept} dispatches, {whole} with all blocks");
    println!("{:.1} MiB for any gates", plan.storage.bytes() as f64 / f64::from(1 << 20));
    Ok(())
}
