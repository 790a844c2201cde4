//! Every kernel over its table's rows, on one device.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Serialize;

use super::harness::{Failure, Implementation, check};
use super::row::Row;
use crate::device::DeviceError;
use crate::device::cpu::CpuDevice;
use crate::device::gpu::{GpuDevice, GpuRequest, LoweredLimits};

/// How a kernel did over its rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelReport {
    /// Name of the shader.
    pub kernel: &'static str,
    /// Rows that were run.
    pub cases: usize,
    /// Texts and constants of its shader that were run.
    pub variants: usize,
    /// Largest error of the rows that are right, as a share of what is allowed.
    pub worst_error: f64,
    /// Time that all of it took, compiling included.
    pub seconds: f64,
    /// What is wrong, a line for each row that fails.
    pub failures: Vec<String>,
}

/// The CPU device.
pub fn twins() -> Result<Implementation, DeviceError> {
    Ok(Implementation::of_twins().with_mode("every thread", false, CpuDevice::new()?))
}

/// The adapter that `request` asks for: as trainings use it, in every variant that tuning can choose; and with so few
/// workgroups that every large grid is folded and strides over its work. `quick`: the first variants only, and grids as
/// they are.
pub fn shaders(request: &GpuRequest, quick: bool) -> Result<Implementation, DeviceError> {
    let shaders = Implementation::of_shaders().with_mode("as in training", !quick, GpuDevice::open(request)?);
    if quick {
        return Ok(shaders);
    }
    let limits = LoweredLimits { groups: Some(2), ..request.limits.clone() };
    let strided = GpuRequest { limits, ..request.clone() };
    Ok(shaders.with_mode("at most 2 workgroups per dimension", false, GpuDevice::open(&strided)?))
}

/// Runs `rows` on `implementation`, and tells `progress` of each before; kernels come in the order of their first rows.
///
/// Errors if the device is lost or hangs. What else it refuses is a failure of the row.
pub fn test_kernels(
    implementation: &mut Implementation,
    rows: &[Row],
    progress: &mut dyn FnMut(&Row),
) -> Result<Vec<KernelReport>, DeviceError> {
    let mut reports: Vec<KernelReport> = Vec::new();
    let mut variants = BTreeSet::new();
    for row in rows {
        progress(row);
        let kernel = row.name();
        let index = reports.iter().position(|report| report.kernel == kernel).unwrap_or_else(|| {
            let (worst_error, seconds, failures) = (0.0, 0.0, vec![]);
            reports.push(KernelReport { kernel, cases: 0, variants: 0, worst_error, seconds, failures });
            reports.len() - 1
        });
        let report = &mut reports[index];
        report.cases += 1;
        let run = if implementation.runs_every_variant() { usize::MAX } else { 1 };
        for variant in row.kernel.variants().iter().take(run) {
            let text = format!("{kernel} {:?} {:?}", variant.imports, variant.constants);
            report.variants += usize::from(variants.insert(text));
        }
        let start = Instant::now();
        let checked = check(implementation, row);
        report.seconds += start.elapsed().as_secs_f64();
        match checked {
            Ok(share) => report.worst_error = report.worst_error.max(share),
            Err(Failure::Device(error @ (DeviceError::Lost { .. } | DeviceError::Hung { .. }))) => return Err(error),
            Err(failure) => report.failures.push(format!("{row}: {failure}")),
        }
    }
    Ok(reports)
}
