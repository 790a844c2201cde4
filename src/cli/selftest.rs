//! `sdgpu selftest`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::BadInput;
use super::args::SelftestArgs;
use super::bench::Machine;
use super::console::Console;
use crate::data::DataSet;
use crate::device::cpu::CpuDevice;
use crate::device::gpu::{self, AdapterChoice, AdapterSummary, Backend, GpuDevice, GpuRequest, LoweredLimits};
use crate::device::open::DeviceChoice;
use crate::device::{Device, DeviceError};
use crate::run_dir::DeviceEntry;
use crate::selftest::{
    Implementation, KernelReport, Row, TrainingReport, Trainings, shaders, tables, test_kernels, twins,
};

/// Failures of a kernel that the text shows; JSON has all.
const FAILURES_SHOWN: usize = 3;

/// Tests the adapters asked for, and the CPU device.
pub fn run(args: &SelftestArgs) -> anyhow::Result<()> {
    let adapters = adapters(&args.device, args.backend)?;
    let limits = LoweredLimits::from_environment()?;
    let console = Console::new(args.json, false);
    let rows = tables::rows();
    let cpu = CpuReport::new(console, &rows)?;
    let trainings = if adapters.is_empty() { None } else { Some(Trainings::new(&DataSet::load(DataSet::EMBEDDED)?)?) };
    let mut reports = Vec::new();
    for (number, summary) in adapters {
        let (adapter, backend, limits) = (AdapterChoice::Numbered(number), args.backend, limits.clone());
        let request = GpuRequest { adapter, backend, limits, ..Default::default() };
        let report = AdapterReport::new(console, number, summary, &request, args.quick, &rows, trainings.as_ref());
        if !args.json {
            show_adapter(&mut io::stdout().lock(), &report, &cpu)?;
        }
        reports.push(report);
    }
    let document = Document::new(args.quick, cpu, reports);
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &document).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        show_end(&mut out, &document)?;
    }
    match document.wrong() {
        None => Ok(()),
        Some(wrong) => Err(anyhow::anyhow!("{wrong}; `sdgpu selftest --json` writes all of it, for a bug report")),
    }
}

/// The adapters that `device` means, by their places in the list of all; none for `cpu`.
fn adapters(device: &str, backend: Option<Backend>) -> anyhow::Result<Vec<(usize, AdapterSummary)>> {
    let wanted = match DeviceChoice::from(device) {
        DeviceChoice::Cpu if backend.is_some() => {
            return Err(BadInput("--backend has no effect with --device cpu; leave it out".into()).into());
        }
        DeviceChoice::Cpu => return Ok(Vec::new()),
        DeviceChoice::Auto | DeviceChoice::Both => {
            let message = format!("--device is {device}; it must be all, gpu, gpu:N, an adapter's name, or cpu");
            return Err(BadInput(message).into());
        }
        DeviceChoice::Gpu(AdapterChoice::Named(name)) if name == "all" => None,
        DeviceChoice::Gpu(wanted) => Some(wanted),
    };
    // Without any adapter, `all` is refused as well: it would test nothing of what it is asked for.
    let first = gpu::number(wanted.as_ref().unwrap_or(&AdapterChoice::Preferred), backend)?;
    let all = gpu::list(backend).into_iter().enumerate();
    Ok(all.filter(|(number, _)| wanted.is_none() || *number == first).collect())
}

/// Everything that is said of a self-test.
#[derive(Serialize)]
struct Document {
    version: &'static str,
    machine: Machine,
    quick: bool,
    /// `right` or `wrong`.
    verdict: &'static str,
    cpu: CpuReport,
    adapters: Vec<AdapterReport>,
}

/// How the CPU device did.
#[derive(Serialize)]
struct CpuReport {
    device: DeviceEntry,
    kernels: Vec<KernelReport>,
}

/// How an adapter did.
#[derive(Serialize)]
struct AdapterReport {
    number: usize,
    device: DeviceEntry,
    /// `discrete GPU`, `software` and the like.
    kind: &'static str,
    /// Limits and features.
    facts: BTreeMap<&'static str, String>,
    kernels: Vec<KernelReport>,
    trainings: Vec<TrainingReport>,
    /// Why the test came to no end.
    error: Option<String>,
}

impl Document {
    fn new(quick: bool, cpu: CpuReport, adapters: Vec<AdapterReport>) -> Self {
        let (version, machine) = (env!("CARGO_PKG_VERSION"), Machine::this());
        let document = Self { version, machine, quick, verdict: "right", cpu, adapters };
        let verdict = if document.wrong().is_none() { "right" } else { "wrong" };
        Self { verdict, ..document }
    }

    /// What is wrong, in one line.
    fn wrong(&self) -> Option<String> {
        let of_cpu = wrong_parts(&self.cpu.kernels, &[]);
        let mut wrong = Vec::new();
        if !of_cpu.is_empty() {
            wrong.push(format!("the CPU device fails in {}", of_cpu.join(", ")));
        }
        for AdapterReport { number, device, kernels, trainings, error, .. } in &self.adapters {
            let parts = wrong_parts(kernels, trainings);
            if !parts.is_empty() {
                wrong.push(format!("gpu:{number} {} fails in {}", device.name, parts.join(", ")));
            }
            wrong.extend(error.as_ref().map(|error| format!("gpu:{number} could not be tested to the end: {error}")));
        }
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

fn wrong_parts(kernels: &[KernelReport], trainings: &[TrainingReport]) -> Vec<String> {
    let kernels = kernels.iter().filter(|report| !report.failures.is_empty()).map(|report| report.kernel.to_string());
    let trainings = trainings.iter().filter(|report| !report.failures.is_empty());
    kernels.chain(trainings.map(|report| format!("the {} training", report.model))).collect()
}

impl CpuReport {
    fn new(console: Console, rows: &[Row]) -> anyhow::Result<Self> {
        let device = DeviceEntry::from(CpuDevice::new()?.info());
        console.line(format!("cpu        {} ({}, {})", device.name, device.backend, device.driver));
        let kernels = test_with_progress(console, &mut twins()?, rows)?;
        Ok(Self { device, kernels })
    }
}

impl AdapterReport {
    fn new(
        console: Console,
        number: usize,
        summary: AdapterSummary,
        request: &GpuRequest,
        quick: bool,
        rows: &[Row],
        trainings: Option<&Trainings>,
    ) -> Self {
        let device = DeviceEntry::from(&summary.info);
        console.line(format!("gpu:{number:<6} {} ({}, {})", device.name, device.backend, device.driver));
        let mut report = Self {
            number,
            device,
            kind: summary.kind,
            facts: summary.facts.into_iter().collect(),
            kernels: vec![],
            trainings: vec![],
            error: None,
        };
        let tested = shaders(request, quick).and_then(|mut shaders| {
            report.kernels = test_with_progress(console, &mut shaders, rows)?;
            let open = || -> Result<Box<dyn Device>, DeviceError> { Ok(Box::new(GpuDevice::open(request)?)) };
            if let Some(trainings) = trainings {
                report.trainings = trainings.test(&open)?;
            }
            Ok(())
        });
        report.error = tested.err().map(|error| error.to_string());
        report
    }
}

/// Tests the kernels, with a bar on a terminal.
fn test_with_progress(
    console: Console,
    implementation: &mut Implementation,
    rows: &[Row],
) -> Result<Vec<KernelReport>, DeviceError> {
    let bar = match console.draws() {
        true => ProgressBar::with_draw_target(Some(rows.len() as u64), ProgressDrawTarget::stderr_with_hz(10)),
        false => ProgressBar::hidden(),
    };
    let bar = match ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    let reports = test_kernels(implementation, rows, &mut |row| {
        bar.set_message(row.name());
        bar.inc(1);
    });
    bar.finish_and_clear();
    reports
}

fn show_adapter(out: &mut impl Write, report: &AdapterReport, cpu: &CpuReport) -> io::Result<()> {
    writeln!(out)?;
    writeln!(out, "errors as shares of what is allowed      gpu:{:<3}   cpu", report.number)?;
    writeln!(out, "{:26} {:>5} {:>8} {:>5} {:>5}  verdict", "kernel", "cases", "variants", "worst", "worst")?;
    for kernel in &report.kernels {
        let on_cpu = cpu.kernels.iter().find(|on_cpu| on_cpu.kernel == kernel.kernel);
        let worst = |report: &KernelReport| format!("{:5.2}", report.worst_error);
        writeln!(
            out,
            "{:26} {:5} {:8} {} {}  {}",
            kernel.kernel,
            kernel.cases,
            kernel.variants,
            worst(kernel),
            on_cpu.map_or(String::new(), worst),
            verdict(&kernel.failures)
        )?;
    }
    for training in &report.trainings {
        let name = format!("{} training", training.model);
        let TrainingReport { steps, worst_error, failures, .. } = training;
        writeln!(out, "{name:26} {steps:5} {:8} {worst_error:5.2} {:5}  {}", "steps", "", verdict(failures))?;
    }
    let kernels = report.kernels.iter().map(|kernel| &kernel.failures);
    show_failures(out, kernels.chain(report.trainings.iter().map(|training| &training.failures)))?;
    writeln!(out)
}

fn verdict(failures: &[String]) -> String {
    if failures.is_empty() { "right".into() } else { format!("WRONG in {}", failures.len()) }
}

fn show_failures<'a>(out: &mut impl Write, failures: impl Iterator<Item = &'a Vec<String>>) -> io::Result<()> {
    for failures in failures.filter(|failures| !failures.is_empty()) {
        for failure in failures.iter().take(FAILURES_SHOWN) {
            writeln!(out, "{failure}")?;
        }
        if failures.len() > FAILURES_SHOWN {
            writeln!(out, "... and {} more", failures.len() - FAILURES_SHOWN)?;
        }
    }
    Ok(())
}

fn show_end(out: &mut impl Write, document: &Document) -> io::Result<()> {
    let Document { version, cpu, adapters, .. } = document;
    show_failures(out, cpu.kernels.iter().map(|kernel| &kernel.failures))?;
    if document.verdict == "right" {
        let cases: usize = cpu.kernels.iter().map(|kernel| kernel.cases).sum();
        let gpus = if adapters.len() == 1 { "1 adapter".into() } else { format!("{} adapters", adapters.len()) };
        let kernels = cpu.kernels.len();
        writeln!(out, "right: {kernels} kernels over {cases} cases, on the CPU device and {gpus} (sdgpu {version})")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceKind;

    fn kernel(kernel: &'static str, failures: usize) -> KernelReport {
        let failures = (0..failures).map(|number| format!("{kernel} (row {number}): shader: wrong")).collect();
        KernelReport { kernel, cases: 5, variants: 1, worst_error: 0.25, seconds: 0.5, failures }
    }

    fn document(gpu_failures: usize, training_failure: Option<&str>, error: Option<&str>) -> Document {
        let device = DeviceEntry { kind: DeviceKind::Gpu, name: "A".into(), backend: "B".into(), driver: "C".into() };
        let cpu = CpuReport { device: device.clone(), kernels: vec![kernel("adam", 0), kernel("sgd", 0)] };
        let training = TrainingReport {
            model: "plain",
            steps: 3,
            loss_difference: 0.0,
            weights_difference: 0.0,
            worst_error: 0.0,
            seconds: 0.5,
            failures: training_failure.into_iter().map(str::to_string).collect(),
        };
        let adapter = AdapterReport {
            number: 1,
            device,
            kind: "software",
            facts: BTreeMap::new(),
            kernels: vec![kernel("adam", 0), kernel("sgd", gpu_failures)],
            trainings: vec![training],
            error: error.map(str::to_string),
        };
        Document::new(false, cpu, vec![adapter])
    }

    fn shown(document: &Document) -> String {
        let mut out = Vec::new();
        show_adapter(&mut out, &document.adapters[0], &document.cpu).unwrap();
        show_end(&mut out, document).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_right_adapter_passes() {
        let right = document(0, None, None);
        assert_eq!((right.verdict, right.wrong()), ("right", None));
        let text = shown(&right);
        assert!(text.contains("right: 2 kernels over 10 cases, on the CPU device and 1 adapter"), "{text}");
        assert!(!text.contains("WRONG") && text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn whatever_is_wrong_fails_and_is_named() {
        let wrong = document(5, None, None);
        assert_eq!((wrong.verdict, wrong.wrong()), ("wrong", Some("gpu:1 A fails in sgd".to_string())));
        let text = shown(&wrong);
        assert!(text.contains("WRONG in 5") && !text.contains("right: "), "{text}");
        assert!(text.contains("sgd (row 2): shader: wrong\n... and 2 more\n") && !text.contains("row 3"), "{text}");

        let trained = document(0, Some("a loss is off"), None);
        assert_eq!(trained.wrong(), Some("gpu:1 A fails in the plain training".to_string()));
        assert!(shown(&trained).contains("a loss is off"));

        let stopped = document(0, None, Some("lost"));
        assert_eq!((stopped.verdict, stopped.wrong().is_some()), ("wrong", true));

        let mut of_cpu = document(0, None, None);
        of_cpu.cpu.kernels[0].failures.push("adam (row): twin: wrong".into());
        assert_eq!(of_cpu.wrong(), Some("the CPU device fails in adam".to_string()));
    }
}
