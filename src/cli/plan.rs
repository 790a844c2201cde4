//! `sdgpu plan`.

use std::collections::HashSet;
use std::io::{self, Write};

use super::args::{PlanArgs, TuneArgs};
use super::{BadInput, request};
use crate::data::DataSet;
use crate::job::Setup;
use crate::plan::{DEVICE_CLASSES, DispatchRow, Estimate, GateSampling, Gates, Plan};

/// Shows a step without running it.
pub fn run(args: &PlanArgs) -> anyhow::Result<()> {
    let data = DataSet::load(&args.model.training.data)?;
    let options = request::request(&args.model)?.resolve(&data)?;
    let device = request::device(&args.model.training, TuneArgs::default()).open()?.device;
    let plan = Setup::builder(&options, &data)?.plan(device.limits())?;
    let blocks = plan.blocks.len();
    let gates = args.gates.clone().unwrap_or_else(|| Gates::all(blocks));
    if gates.0.len() != blocks {
        let given = gates.0.len();
        return Err(BadInput(format!("--gates has {given} gates; {} has {blocks} blocks", options.arch)).into());
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    step(&mut out, &plan, &gates, options.gate_sampling)?;
    left_out(&mut out, &plan, &gates)?;
    memory(&mut out, &plan, options.gate_sampling)?;
    out.flush()?;
    Ok(())
}

fn step(out: &mut impl Write, plan: &Plan, gates: &Gates, sampling: GateSampling) -> io::Result<()> {
    let rows = plan.step_rows(gates);
    writeln!(out, "step with gates {gates}: {} dispatches", rows.len())?;
    let heads = ["MFLOP", "KiB", "loads/FMA", "groups"];
    writeln!(out, "  {:10} {:10} {:9} {:8}  {:30} dispatch", heads[0], heads[1], heads[2], heads[3], "shader")?;
    let mut segment = "";
    for row in &rows {
        if row.segment != segment {
            segment = &row.segment;
            writeln!(out, "{segment}")?;
        }
        let loads = if row.is_convolution { format!("{:9.3}", row.loads_per_fma()) } else { " ".repeat(9) };
        let (megaflop, kibibytes) = (row.cost.flop / 1e6, row.bytes as f64 / 1024.0);
        let DispatchRow { workgroups, shader, label, .. } = row;
        writeln!(out, "  {megaflop:10.3} {kibibytes:10.1} {loads} {workgroups:8}  {shader:30} {label}")?;
    }
    let flop: f64 = rows.iter().map(|row| row.cost.flop).sum();
    let bytes: u64 = rows.iter().map(|row| row.bytes).sum();
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (moved, least) = (mebibytes(bytes), mebibytes(plan.least_bytes(gates)));
    writeln!(out, "total {:.3} GFLOP, {moved:.1} MiB moved, of {least:.1} at the least", flop / 1e9)?;
    writeln!(
        out,
        "expected over all draws: {:.3} GFLOP, {:.2} of {} blocks{}",
        plan.expected_flop() / 1e9,
        plan.expected_depth(),
        plan.blocks.len(),
        survivors(plan, sampling)
    )?;
    writeln!(out, "at most {} bind groups over all draws", plan.bind_group_bound())?;
    writeln!(out, "\nestimated on a GPU: arithmetic + memory + between dispatches")?;
    DEVICE_CLASSES.iter().try_for_each(|class| {
        let estimate = Estimate::new(&rows, class);
        let [total, compute, memory, between] =
            [estimate.total(), estimate.compute, estimate.memory, estimate.between].map(|seconds| 1e3 * seconds);
        let (name, teraflops, gigabytes) = (class.name, class.teraflops, class.gigabytes);
        write!(out, "  {name:12} {teraflops:3} TFLOP/s {gigabytes:5} GB/s  {total:8.2} ms")?;
        writeln!(out, " = {compute:.2} + {memory:.2} + {between:.2}")
    })
}

/// The dispatches that a step with all gates on has and this one has not.
fn left_out(out: &mut impl Write, plan: &Plan, gates: &Gates) -> io::Result<()> {
    let labels: HashSet<String> = plan.step_rows(gates).into_iter().map(|row| row.label).collect();
    let all = plan.step_rows(&Gates::all(gates.0.len()));
    let missing: Vec<&DispatchRow> = all.iter().filter(|row| !labels.contains(&row.label)).collect();
    // Not `sum`, which is -0 over nothing.
    let flop = |rows: &mut dyn Iterator<Item = &DispatchRow>| rows.fold(0.0, |flop, row| flop + row.cost.flop);
    let share = flop(&mut missing.iter().copied()) / flop(&mut all.iter());
    writeln!(out, "\nleft out by these gates: {} dispatches, {:.1} % of the FLOP", missing.len(), 100.0 * share)?;
    missing.iter().try_for_each(|row| writeln!(out, "  {}", row.label))
}

/// How many blocks survive a step, where that hardly varies.
pub(super) fn survivors(plan: &Plan, sampling: GateSampling) -> String {
    match (sampling, plan.systematic.survivors()) {
        (GateSampling::Independent, _) => String::new(),
        (GateSampling::Systematic, (least, most)) if least == most => format!(", {least} in each"),
        (GateSampling::Systematic, (least, most)) => format!(", {least} or {most} in each"),
    }
}

fn memory(out: &mut impl Write, plan: &Plan, sampling: GateSampling) -> io::Result<()> {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let allocated = mebibytes(plan.storage.bytes());
    writeln!(out, "\nmemory: {allocated:.1} MiB in {} buffers, for any gates", plan.storage.buffers.len())?;
    let all_gates = mebibytes(plan.most_live_bytes(GateSampling::Independent));
    write!(out, "of it live at one moment of a step: at most {all_gates:.1} MiB with all gates on")?;
    if sampling == GateSampling::Systematic {
        write!(out, ", {:.1} MiB with systematic ones", mebibytes(plan.most_live_bytes(sampling)))?;
    }
    writeln!(out, "; parameters, data and results apart")?;
    plan.memory_lines().iter().try_for_each(|line| writeln!(out, "  {line}"))
}
