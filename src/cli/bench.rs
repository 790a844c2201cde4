//! `sdgpu bench`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::args::{BenchArgs, ModelArgs, SkippedNets};
use super::console::{Console, thousands};
use super::{BadInput, request, show_device};
use crate::data::DataSet;
use crate::device::Device;
use crate::device::cpu::processor_name;
use crate::device::open::DeviceChoice;
use crate::job::{DeviceRequest, Setup, SetupBuilder};
use crate::measure::{
    BenchReport, Caption, Group, Peak, Skipping, Spread, StepTime, Stepper, bench, skipping, skipping_plot,
};
use crate::plan::GateSampling;
use crate::run_dir::{DeviceEntry, RunError};
use crate::train::{Model, TrainOptions, check_field};

/// Images in a batch, unless said otherwise and if there are so many.
const BATCH_SIZE: usize = 128;
/// Survival probabilities of the last block at which skipping is measured, unless one is given.
const SURVIVAL_LAST: [f64; 2] = [0.5, 0.2];

/// Measures a net's step, or what skipping saves.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let most = 1_000_000;
    check_field("repeats", args.repeats, (1..=most).contains(&args.repeats), &format!("from 1 to {most}"))?;
    if DeviceChoice::from(args.model.training.device.as_str()) == DeviceChoice::Both {
        return Err(BadInput("--device both runs everything twice, to compare; give gpu or cpu".into()).into());
    }
    let data = DataSet::load(&args.model.training.data)?;
    match &args.skipping {
        None => figures(args, &data),
        Some(nets) => skipped(args, nets, &data),
    }
}

/// Where figures were measured, and by what.
#[derive(Serialize)]
struct Origin {
    version: &'static str,
    machine: Machine,
    device: DeviceEntry,
    /// What dispatches are timed by.
    clock: &'static str,
}

/// The host.
#[derive(Serialize)]
pub(super) struct Machine {
    processor: String,
    cores: usize,
    os: &'static str,
    arch: &'static str,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        Self {
            processor: processor_name(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
        }
    }
}

impl Origin {
    fn new(device: &dyn Device) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::this(),
            device: DeviceEntry::from(device.info()),
            clock: device.clock().describe(),
        }
    }
}

/// The net that was measured.
#[derive(Serialize)]
struct Net {
    arch: String,
    model: &'static str,
    batch_size: u32,
    eval_batch: u32,
    image: [u32; 3],
    parameters: usize,
    survival_last: Option<f64>,
    gate_sampling: Option<GateSampling>,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    origin: &'a Origin,
    net: &'a Net,
    #[serde(flatten)]
    report: &'a BenchReport,
}

/// The document of `--skipping --json`.
#[derive(Serialize)]
struct SkippingDocument<'a> {
    #[serde(flatten)]
    origin: &'a Origin,
    skipping: &'a [Skipping],
}

/// What `args` ask for on `data`, with defaults for measuring.
fn options(mut args: ModelArgs, data: &DataSet) -> anyhow::Result<TrainOptions> {
    let batch_size = *args.training.batch_size.get_or_insert(BATCH_SIZE.min(data.train.len()) as u32);
    // All training images can be in the batch: none is needed for validation.
    args.training.validation.get_or_insert(0);
    check_field("batch_size", batch_size, batch_size > 0, "at least 1")?;
    Ok(request::request(&args)?.resolve(data)?)
}

/// Returns which device `args` ask for.
fn device(args: &BenchArgs) -> DeviceRequest {
    request::device(&args.model.training, args.tune)
}

/// Warms up the net of `setup`, tuned as `args` say.
fn stepper(args: &BenchArgs, mut setup: Setup<'_>, options: &TrainOptions) -> anyhow::Result<Stepper> {
    let console = Console::new(args.json, false);
    setup.tune(device(args).tune, &mut |text| console.line(text))?;
    Ok(Stepper::new(setup.engine()?, options)?)
}

fn figures(args: &BenchArgs, data: &DataSet) -> anyhow::Result<()> {
    let options = options(args.model.clone(), data)?;
    let builder = Setup::builder(&options, data)?;
    let chosen = device(args).open()?;
    // What does not fit is refused before anything is measured.
    let mut setup = builder.on(chosen.device)?;
    show_device(Console::new(args.json, false), setup.device.as_ref(), chosen.note.as_deref());
    let origin = Origin::new(setup.device.as_ref());
    let net = Net {
        arch: options.arch.clone(),
        model: options.model.name(),
        batch_size: options.batch_size,
        eval_batch: options.eval_batch,
        image: [data.train.height, data.train.width, data.train.channels],
        parameters: setup.net.parameter_count(),
        survival_last: (options.model == Model::Stochastic).then_some(options.survival_last),
        gate_sampling: (options.model == Model::Stochastic).then_some(options.gate_sampling),
    };
    let peak = Peak::measure(setup.device.as_mut())?;
    let mut stepper = stepper(args, setup, &options)?;
    let report = bench(&mut stepper, peak, args.repeats, options.seed)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        let document = Document { origin: &origin, net: &net, report: &report };
        serde_json::to_writer_pretty(&mut out, &document).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        show(&mut out, &origin, &net, &report, args.each)?;
    }
    out.flush()?;
    Ok(())
}

fn show(out: &mut impl Write, origin: &Origin, net: &Net, report: &BenchReport, each: bool) -> io::Result<()> {
    let BenchReport { peak, repeats, plain, .. } = report;
    writeln!(out, "clock      {}", origin.clock)?;
    writeln!(
        out,
        "peak       {:.1} GFLOP/s in multiply-adds, {:.1} GB/s in a triad beyond the caches",
        peak.gflops, peak.gbytes
    )?;
    let [height, width, channels] = net.image;
    writeln!(
        out,
        "net        {}, batch {}, {height}x{width}x{channels}, {} parameters",
        net.arch,
        net.batch_size,
        thousands(net.parameters)
    )?;
    let (gigaflop, gigabytes) = (plain.figures.flop / 1e9, plain.figures.bytes / 1e9);
    writeln!(
        out,
        "step       {} dispatches, {gigaflop:.2} GFLOP, {gigabytes:.2} GB moved; medians of {repeats} repeats",
        report.dispatches.len()
    )?;
    if each {
        table(out, "dispatch", &report.dispatches)?;
    }
    table(out, "kernel", &report.kernels)?;
    table(out, "pass", &report.passes)?;
    writeln!(out)?;
    writeln!(out, "{:11} {:>9}  {:23} {:>9} {:>8} {:>7}", "step", "ms", "quartiles", "images/s", "GFLOP/s", "of peak")?;
    step(out, "plain", plain)?;
    if let Some(stochastic) = &report.stochastic {
        step(out, "stochastic", &stochastic.step)?;
        writeln!(
            out,
            "{} {} draws at p_L = {} take {:.1} % of the time of plain steps, with {:.1} % of the FLOP and {:.1} % of \
             the bytes",
            stochastic.draws,
            net.gate_sampling.unwrap_or_default().name(),
            net.survival_last.unwrap_or(1.0),
            100.0 * stochastic.time_share,
            100.0 * stochastic.flop_share,
            100.0 * stochastic.byte_share
        )?;
    }
    let evaluation = &report.evaluation;
    writeln!(
        out,
        "evaluation {:.0} images/s, in batches of {} ({} images)",
        evaluation.images_per_second, net.eval_batch, evaluation.images
    )?;
    let encoding = &report.encoding;
    let part = |name: &str, spread: &Option<Spread>| {
        spread.map_or(String::new(), |spread| format!(", {name} {:.1} us", 1e6 * spread.median))
    };
    writeln!(
        out,
        "host       schedule {:.1} us{}{}: {:.3} us a dispatch",
        1e6 * encoding.schedule.median,
        part("record", &encoding.record),
        part("submit", &encoding.submit),
        1e6 * encoding.per_dispatch
    )
}

fn table(out: &mut impl Write, what: &str, groups: &[Group]) -> io::Result<()> {
    let widest = groups.iter().map(|group| group.name.len()).max().unwrap_or(0).max(what.len());
    writeln!(out)?;
    writeln!(
        out,
        "{what:widest$} {:>5} {:>9} {:>15} {:>6} {:>8} {:>6} {:>7}",
        "count", "ms", "quartiles", "share", "GFLOP/s", "GB/s", "of peak"
    )?;
    for Group { name, dispatches, share, figures, .. } in groups {
        let seconds = &figures.seconds;
        let quartiles = format!("{:.2}..{:.2}", 1e3 * seconds.lower_quartile, 1e3 * seconds.upper_quartile);
        writeln!(
            out,
            "{name:widest$} {dispatches:5} {:9.3} {quartiles:>15} {:4.1} % {:8.1} {:6.1} {:5.1} %",
            1e3 * seconds.median,
            100.0 * share,
            figures.gflops,
            figures.gbytes,
            100.0 * figures.of_peak
        )?;
    }
    Ok(())
}

fn step(out: &mut impl Write, name: &str, step: &StepTime) -> io::Result<()> {
    let StepTime { images_per_second, figures } = step;
    let seconds = &figures.seconds;
    let quartiles = format!("{:.2}..{:.2}", 1e3 * seconds.lower_quartile, 1e3 * seconds.upper_quartile);
    writeln!(
        out,
        "{name:11} {:9.2}  {quartiles:23} {images_per_second:9.0} {:8.1} {:5.1} %",
        1e3 * seconds.median,
        figures.gflops,
        100.0 * figures.of_peak
    )
}

/// The nets and probabilities of `--skipping`, one after the other, each on a device of its own.
fn skipped(args: &BenchArgs, nets: &SkippedNets, data: &DataSet) -> anyhow::Result<()> {
    check_field("draws", args.draws, (1..=100_000).contains(&args.draws), "from 1 to 100000")?;
    if args.model.model == Model::Resnet {
        return Err(BadInput("--skipping has no effect with --model resnet; leave one of them out".into()).into());
    }
    let probabilities = args.model.net.survival_last.map_or(SURVIVAL_LAST.to_vec(), |given| vec![given]);
    let mut settings = Vec::new();
    for (arch, batch_size) in &nets.0 {
        for &survival_last in &probabilities {
            let mut model = args.model.clone();
            model.net.arch = Some(arch.clone());
            model.training.batch_size = Some(*batch_size);
            model.net.survival_last = Some(survival_last);
            settings.push(options(model, data)?);
        }
    }
    let console = Console::new(args.json, false);
    let builders: Vec<SetupBuilder<'_>> =
        settings.iter().map(|options| Setup::builder(options, data)).collect::<Result<_, _>>()?;
    let chosen = device(args).open()?;
    for builder in &builders {
        builder.plan(chosen.device.limits())?;
    }
    args.svg.as_deref().map_or(Ok(()), check_writable)?;
    show_device(console, chosen.device.as_ref(), chosen.note.as_deref());
    let origin = Origin::new(chosen.device.as_ref());
    console.line(format!("clock      {}", origin.clock));
    drop(chosen);
    let mut measured = Vec::new();
    for (options, builder) in settings.iter().zip(builders) {
        let mut stepper = stepper(args, builder.on(device(args).open()?.device)?, options)?;
        let (arch, batch_size, last) = (&options.arch, options.batch_size, options.survival_last);
        let net = skipping(&mut stepper, arch, batch_size, last, args.draws, args.repeats, options.seed)?;
        tell(console, &net, args.each);
        measured.push(net);
    }
    if let Some(path) = &args.svg {
        let DeviceEntry { kind, name, backend, driver } = &origin.device;
        let caption = Caption {
            machine: format!("{kind}: {name} ({backend}, {driver}); sdgpu {}", origin.version),
            command: request::command(),
        };
        let written = fs::write(path, skipping_plot(&measured, &caption));
        written.map_err(|error| RunError::Write { path: path.clone(), error })?;
        console.line(format!("plot       {}", path.display()));
    }
    if args.json {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let document = SkippingDocument { origin: &origin, skipping: &measured };
        serde_json::to_writer_pretty(&mut out, &document).map_err(io::Error::from)?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

fn tell(console: Console, net: &Skipping, each: bool) {
    let Skipping { arch, batch_size, survival_last, repeats, all_gates, ratio, .. } = net;
    console.line(format!(
        "\n{arch}, batch {batch_size}, p_L = {survival_last}: {} draws, {repeats} times each; {:.2} ms with all gates \
         on",
        net.draws.len(),
        1e3 * all_gates.median
    ));
    if each {
        console.line("time / sum   quartiles        time     sum    FLOP   bytes  dispatches  gates");
        for draw in &net.draws {
            console.line(format!(
                "     {:.3}   {:.3}..{:.3}   {:5.1} %  {:5.1} %  {:5.1} %  {:5.1} %  {:10}  {}",
                draw.ratio.median,
                draw.ratio.lower_quartile,
                draw.ratio.upper_quartile,
                100.0 * draw.time_share.median,
                100.0 * draw.summed_share.median,
                100.0 * draw.flop_share,
                100.0 * draw.byte_share,
                draw.dispatches,
                draw.gates
            ));
        }
    }
    console.line(format!(
        "step's time / summed times of its dispatches with all gates on, by draw: median {:.3}, quartiles \
         {:.3}..{:.3}, all {:.3}..{:.3}; {:.0} % of the draws within 2 %",
        ratio.median,
        ratio.lower_quartile,
        ratio.upper_quartile,
        ratio.min,
        ratio.max,
        100.0 * net.within_two_percent
    ));
    console.line(format!(
        "saved: {:.1} % of the time, {:.1} % of the FLOP, {:.1} % of the bytes",
        100.0 * (1.0 - net.time_share),
        100.0 * (1.0 - net.flop_share),
        100.0 * (1.0 - net.byte_share)
    ));
}

/// Errors now, not after minutes of measuring, if `path` can't be written; does not touch what is there.
fn check_writable(path: &Path) -> Result<(), RunError> {
    let opened = File::options().append(true).create(true).open(path);
    opened.map(drop).map_err(|error| RunError::Write { path: path.into(), error })
}
