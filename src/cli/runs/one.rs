//! One run: from its settings, or from where it was stopped, to its outcome.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::resume::resume;
use super::watchers::{Display, Start, Watchers};
use crate::cli::args::TuneArgs;
use crate::cli::resolve::absolute;
use crate::cli::signals;
use crate::cli::{open_device_with, tune};
use crate::data::DataSet;
use crate::device::gpu::Backend;
use crate::device::{DeviceError, open};
use crate::dispatch::Limits;
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::plan::{DataSizes, Plan};
use crate::run_dir::{
    Arguments, ChromeTrace, DeviceEntry, RunConfig, RunDir, RunError, RunFacts, StoppedRun, read_weights,
    write_metrics_csv, write_tensorboard,
};
use crate::train::{Checkpoint, CheckpointEvery, Engine, Outcome, Safeguards, TrainError, TrainOptions, Trainer};

/// What the runs of one command have in common.
pub struct Site<'a> {
    /// The images.
    pub data: &'a DataSet,
    /// Their checksum.
    pub data_sha256: String,
    /// As given with `--device`.
    pub device: String,
    /// As given with `--backend`.
    pub backend: Option<Backend>,
    /// Whether to measure variants of shaders.
    pub tune: TuneArgs,
    /// Threads of the CPU device; 0 for as many as there are cores.
    pub threads: usize,
    /// Runs that are made at once.
    pub jobs: usize,
    /// The signal that has asked the command to end, or 0 if something else has.
    pub interrupted: &'a (dyn Fn() -> Option<i32> + Sync),
    /// What is to be typed to go on with a run, which is `RUN` in it.
    pub go_on: &'a str,
}

/// A run to be done.
pub struct Job {
    /// Every setting.
    pub settings: TrainOptions,
    /// Where it begins.
    pub begin: Begin,
    /// The file of weights to begin with.
    pub init: Option<PathBuf>,
    /// Whether a trace is recorded.
    pub trace: bool,
    /// Whether the gradient of the first convolution is recorded.
    pub record_gradients: bool,
    /// How often a checkpoint is made.
    pub checkpoint_every: CheckpointEvery,
    /// How many of them stay.
    pub keep_checkpoints: usize,
    /// What is profiled, if anything.
    pub profile: Option<Profiled>,
    /// Whether `metrics.csv` is written at the end.
    pub csv: bool,
    /// Whether events for TensorBoard are written at the end.
    pub tensorboard: bool,
}

/// Where a run begins.
pub enum Begin {
    /// At its first step, in this directory or else in the first free one.
    New(Option<PathBuf>),
    /// Where it was stopped.
    Stopped(Box<StoppedRun>),
}

/// Steps to be profiled.
pub struct Profiled {
    /// Where the profile goes.
    pub path: PathBuf,
    /// From 1.
    pub steps: RangeInclusive<u64>,
}

/// A run that ended well.
pub struct Finished {
    /// What came of it.
    pub outcome: Outcome,
    /// Its directory.
    pub run: PathBuf,
    /// Whether the profile could be written; it is no reason to lose the run.
    pub profile: anyhow::Result<()>,
}

/// A run that ended before it was done.
#[derive(Debug, thiserror::Error)]
pub struct Halted {
    /// Why; `None` if no run was at work.
    pub error: Option<TrainError>,
    /// The signal that ended it.
    signal: Option<i32>,
    /// What to type to go on, if it can.
    go_on: Option<String>,
}

impl Halted {
    /// By `signal`, while no run was at work; `go_on` is to be typed to go on.
    pub fn between_runs(signal: i32, go_on: &str) -> Self {
        Self { error: None, signal: Some(signal), go_on: Some(go_on.into()) }
    }

    /// As shells have it after a signal.
    pub fn exit_code(&self) -> u8 {
        self.signal.map_or(1, signals::exit_code)
    }
}

impl fmt::Display for Halted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{error}")?,
            None => write!(f, "stopped between two runs")?,
        }
        if let Some(signal) = self.signal {
            write!(f, " by {}", signals::name(signal))?;
        }
        match &self.go_on {
            Some(command) => write!(f, "; to go on: {command}"),
            None => Ok(()),
        }
    }
}

/// Does `job`, and tells `display` of it. Nothing is left behind if the run does not start.
pub fn train_one(job: Job, site: &Site<'_>, display: &mut dyn Display) -> anyhow::Result<Finished> {
    let Job { settings, begin, init, trace, record_gradients, checkpoint_every, keep_checkpoints, .. } = job;
    let net = settings.net(site.data.train.channels, site.data.classes)?;
    let initial = initial_weights(init.as_deref(), &settings, &net)?;

    let mut chosen = open_device_with(&site.device, site.backend, site.tune, site.threads)?;
    let limits = chosen.device.limits();
    let planned = plan(&net, &settings, site.data, limits, record_gradients)?;
    let entry = DeviceEntry::from(chosen.device.info());
    let before = match &begin {
        Begin::Stopped(stopped) if stopped.config.device == entry => Some(stopped.config.tuning.clone()),
        _ => None,
    };
    let tuning = match before {
        // As the run began, so it goes on, where it can.
        Some(tuning) => tuning,
        None => tune(site.tune, &mut |text| display.line(text), chosen.device.as_mut(), &planned)?,
    };
    chosen.device.set_tuning(&tuning);
    let config = RunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        command: Some(typed()),
        init_weights: init.as_deref().map(absolute),
        trace,
        record_gradients,
        checkpoint_every,
        keep_checkpoints,
        data_sha256: site.data_sha256.clone(),
        device: entry,
        settings: settings.clone(),
        tuning: tuning.clone(),
        facts: Some(RunFacts {
            arguments: Arguments::of(arguments()),
            jobs: site.jobs,
            training_images: site.data.train.len().checked_sub(settings.validation),
            flop: Some(planned.flop()),
        }),
    };
    let (mut run_dir, from, notes) = match begin {
        // Gone again if the run does not start.
        Begin::New(out) => (RunDir::create(out.as_deref(), &config)?, Checkpoint::begin(initial), Vec::new()),
        Begin::Stopped(stopped) => resume(*stopped, &config, &net, initial)?,
    };
    let info = chosen.device.info().clone();
    let mut profile = job.profile.as_ref().map(|asked| ChromeTrace::create(&asked.path, &info)).transpose()?;
    display.begins(&Start {
        net: &net,
        settings: &settings,
        data: site.data,
        plan: &planned,
        device: chosen.device.as_ref(),
        device_note: chosen.note.as_deref(),
        from_step: from.counters.step,
        notes: &notes,
    });
    let engine = Engine::new(chosen.device, planned, settings.eval_batch, site.data).map_err(|error| match error {
        DeviceError::OutOfMemory { had_words, .. } => {
            // Planned again for what there was, to say what would fit.
            let limits = Limits { total_words: had_words, ..limits };
            plan(&net, &settings, site.data, limits, record_gradients).err().unwrap_or_else(|| error.into())
        }
        error => error.into(),
    })?;
    let safeguards = Safeguards {
        checkpoint_every: Some(checkpoint_every),
        interrupted: Box::new(|| (site.interrupted)().is_some()),
        reopen: Some(Box::new(|| {
            let mut device = open::reopen(&info)?;
            device.set_tuning(&tuning);
            Ok(device)
        })),
    };
    let mut trainer = Trainer::new(engine, &settings, site.data, safeguards)?;
    if let (Some(profile), Some(asked)) = (&mut profile, &job.profile) {
        profile.keep();
        trainer.profile(asked.steps.clone());
    }
    run_dir.keep();

    let mut watchers = Watchers { run_dir: &mut run_dir, display, profile };
    let result = trainer.run(from, &mut watchers);
    watchers.display.ends();
    // Also of a run that stopped early.
    let profile = watchers.profile.take().map_or(Ok(()), ChromeTrace::finish);
    if let Err(error) = run_dir.finish() {
        display.warn(&format!("a checkpoint could not be written: {error}"));
    }
    let concluded = result.and_then(|outcome| {
        run_dir.conclude(&outcome)?;
        Ok(outcome)
    });
    let run = run_dir.path().to_path_buf();
    export(&run, job.csv, job.tensorboard, |message| display.warn(message));
    match concluded {
        Ok(outcome) => Ok(Finished { outcome, run, profile: profile.map_err(Into::into) }),
        Err(error) => Err(Halted {
            signal: (site.interrupted)()
                .filter(|&signal| signal > 0 && matches!(error, TrainError::Interrupted { .. })),
            // What is not finite would not be so the second time either.
            go_on: (!matches!(error, TrainError::NotFinite { .. }))
                .then(|| site.go_on.replace("RUN", &run.display().to_string())),
            error: Some(error),
        }
        .into()),
    }
}

/// Returns the command's arguments.
fn arguments() -> impl Iterator<Item = String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned())
}

/// The command as a shell takes it.
fn typed() -> String {
    let quoted = |argument: String| {
        let is_plain = |letter: char| letter.is_alphanumeric() || "-_./,:=+@%".contains(letter);
        if !argument.is_empty() && argument.chars().all(is_plain) {
            argument
        } else {
            format!("'{}'", argument.replace('\'', r"'\''"))
        }
    };
    ["sdgpu".to_string()].into_iter().chain(arguments().map(quoted)).collect::<Vec<_>>().join(" ")
}

fn initial_weights(init: Option<&Path>, options: &TrainOptions, net: &ResNet) -> anyhow::Result<Weights> {
    let Some(path) = init else { return Ok(Weights::initial(net, options.initialisation, options.seed)) };
    let (weights, _) = read_weights(path)?;
    Ok(weights.fit(net).map_err(|error| RunError::File { path: path.into(), error: error.into() })?)
}

/// The plan of `net` within `limits`; with `record_gradients`, each step reports that of the first convolution.
pub fn plan(
    net: &ResNet,
    options: &TrainOptions,
    data: &DataSet,
    limits: Limits,
    record_gradients: bool,
) -> anyhow::Result<Plan> {
    let sizes = DataSizes {
        height: data.train.height,
        width: data.train.width,
        train: data.train.len(),
        test: data.test.len(),
    };
    Ok(Plan::new(net, &options.plan(net, sizes, limits, record_gradients)?)?)
}

/// Writes the metrics of `run` for other programs, as far as it is asked for.
pub fn export(run: &Path, csv: bool, tensorboard: bool, mut warn: impl FnMut(&str)) {
    for (wanted, write) in [(csv, write_metrics_csv as fn(&Path) -> _), (tensorboard, write_tensorboard)] {
        if wanted && let Err(error) = write(run) {
            warn(&error.to_string());
        }
    }
}
