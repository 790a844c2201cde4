//! Opening a device and choosing the variants of its shaders.

use std::time::Duration;

use super::error::JobError;
use crate::device::gpu::Backend;
use crate::device::open::{self, Chosen, DeviceChoice};
use crate::device::{Device, TuneOptions, Tuning, cache_folder};
use crate::dispatch::Dispatch;
use crate::plan::Plan;
use crate::train::Engine;

/// Limits the time for which variants of shaders are measured on a device that has not been seen
/// before.
const TUNING_TIME: Duration = Duration::from_secs(4);

/// Whether the variants of shaders are measured before a net is computed. Results do not depend on
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tune {
    /// On hardware, once: what was measured is kept.
    #[default]
    Auto,
    /// On software adapters too.
    Always,
    /// Never: each shader runs in the variant that suits most GPUs.
    Never,
}

/// Which device computes, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeviceRequest {
    /// Which device.
    pub device: DeviceChoice,
    /// Which graphics interface; any if `None`. Only for GPUs.
    pub backend: Option<Backend>,
    /// Threads of the CPU device; 0 for as many as there are cores.
    pub threads: usize,
    /// Whether variants of shaders are measured. Only for GPUs.
    pub tune: Tune,
}

impl From<&str> for DeviceRequest {
    /// Takes `auto`, `gpu`, `gpu:N`, `cpu`, `both`, or a part of an adapter's name.
    fn from(device: &str) -> Self {
        Self { device: device.into(), ..Self::default() }
    }
}

impl DeviceRequest {
    /// Opens the device. Errors if there is none such, or if a wish makes no sense for it.
    pub fn open(&self) -> Result<Chosen, JobError> {
        let gpu_only = [
            ("backend", self.backend.is_some()),
            ("tune", self.tune == Tune::Always),
            ("no_tune", self.tune == Tune::Never),
        ];
        if self.device == DeviceChoice::Cpu
            && let Some((field, _)) = gpu_only.into_iter().find(|(_, given)| *given)
        {
            return Err(JobError::NoEffectOnCpu { field });
        }
        Ok(open::open(&self.device, self.backend, self.threads)?)
    }
}

/// Chooses the variants of the shaders that `plan` needs, and has `device` use them. Tells `say`
/// where that takes a while.
pub fn tune(wish: Tune, device: &mut dyn Device, plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<Tuning, JobError> {
    if wish == Tune::Never {
        return Ok(Tuning::default());
    }
    let options = TuneOptions { forced: wish == Tune::Always, budget: TUNING_TIME, cache: cache_folder() };
    let name = device.info().name.clone();
    let mut progress = |measured: usize, kernels: usize| {
        if measured == 0 {
            let seconds = TUNING_TIME.as_secs();
            say(&format!("tuning     up to {kernels} kernels on {name}, for about {seconds} s, this once"));
        }
    };
    let dispatches = Engine::dispatches(plan);
    let dispatches: Vec<&Dispatch> = dispatches.iter().collect();
    let tuning = device.tune(&plan.storage, &dispatches, &options, &mut progress)?;
    device.set_tuning(&tuning);
    Ok(tuning)
}
