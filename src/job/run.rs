//! One run: from its settings, or from where it was stopped, to its outcome.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::checkpoints::{KEEP_CHECKPOINTS, checkpoint_every};
use super::device::DeviceRequest;
use super::error::{Halted, JobError, StopRequest};
use super::listener::{Fanout, Listener, Start};
use super::presets::location;
use super::resume::{check_resumable, resume};
use super::setup::Setup;
use crate::data::DataSet;
use crate::device::open::{self, Chosen};
use crate::device::{DeviceInfo, Tuning};
use crate::model::weights::WeightsError;
use crate::run_dir::{
    ChromeTrace, DeviceEntry, RunConfig, RunDir, RunError, RunFacts, StoppedRun, absolute, read_weights,
    write_metrics_csv, write_tensorboard,
};
use crate::train::{Checkpoint, CheckpointEvery, Outcome, Safeguards, TrainError, TrainOptions, Trainer};

/// Data, device and caller that several runs have in common.
#[derive(Clone)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The images.
    pub data: &'a DataSet,
    /// Their checksum.
    pub data_sha256: String,
    /// Which device computes.
    pub device: DeviceRequest,
    /// Runs that are made at once.
    pub jobs: usize,
    /// Asked after each step, whether and why the run is to stop.
    pub stop: &'a (dyn Fn() -> Option<StopRequest> + Sync),
    /// How to go on with a run, for messages; `RUN` in it stands for the run's folder.
    pub go_on: Option<&'a str>,
    /// The command that makes the runs, for `config.toml`.
    pub command: Option<&'a str>,
}

impl<'a> Context<'a> {
    /// Returns the context of runs on `data` and `device`, which nothing stops but their listeners.
    pub fn new(data: &'a DataSet, device: DeviceRequest) -> Self {
        let data_sha256 = data.sha256();
        Self { data, data_sha256, device, jobs: 1, stop: &|| None, go_on: None, command: None }
    }
}

/// The weights that a run begins with, its checkpoints, and the files that it leaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recording {
    /// A file of weights to begin with.
    pub init: Option<PathBuf>,
    /// Whether initial weights and each step's batch and gates are recorded, so that the run can be
    /// replayed.
    pub trace: bool,
    /// How often a checkpoint is made; as before or as usual if `None`.
    pub checkpoint_every: Option<CheckpointEvery>,
    /// How many of them stay.
    pub keep_checkpoints: usize,
    /// Whether `metrics.csv` is written at the end.
    pub csv: bool,
    /// Whether events for TensorBoard are written at the end.
    pub tensorboard: bool,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            init: None,
            trace: false,
            checkpoint_every: None,
            keep_checkpoints: KEEP_CHECKPOINTS,
            csv: false,
            tensorboard: false,
        }
    }
}

/// A run to be done.
pub struct Job {
    settings: TrainOptions,
    begin: Begin,
    recording: Recording,
    profile: Option<Profiled>,
}

/// Where a run begins.
enum Begin {
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
    /// Tests, times and predictions.
    pub outcome: Outcome,
    /// Its directory.
    pub run: PathBuf,
    /// Whether the profile could be written; it is no reason to lose the run.
    pub profile: io::Result<()>,
}

impl Job {
    /// Begins a run under `settings` in the directory `out`, which must not exist; in the first
    /// free one below `runs/` if it is `None`.
    pub fn new(settings: TrainOptions, out: Option<PathBuf>, recording: Recording) -> Self {
        Self { settings, begin: Begin::New(out), recording, profile: None }
    }

    /// Goes on with a run that was stopped. Its settings, what it began with, whether it records a
    /// trace and how many checkpoints it keeps are settled in its directory; the rest of
    /// `recording` counts.
    pub fn resume(stopped: StoppedRun, recording: Recording) -> Self {
        let RunConfig { settings, init_weights, trace, keep_checkpoints, .. } = &stopped.config;
        let (trace, keep_checkpoints) = (*trace, *keep_checkpoints);
        let init = init_weights.clone().map(PathBuf::from);
        Self {
            settings: settings.clone(),
            recording: Recording { init, trace, keep_checkpoints, ..recording },
            begin: Begin::Stopped(Box::new(stopped)),
            profile: None,
        }
    }

    /// Has some steps profiled.
    pub fn profile(self, profile: Option<Profiled>) -> Self {
        Self { profile, ..self }
    }

    /// Does the job and tells `listener` of it. Nothing is left behind if the run does not start.
    pub fn run(self, context: &Context<'_>, listener: &mut dyn Listener) -> Result<Finished, JobError> {
        let Self { mut settings, begin, recording, profile } = self;
        if let Begin::New(_) = begin {
            settings.data = location(&context.data.name);
        }
        let stopped = match &begin {
            Begin::Stopped(stopped) => Some(&stopped.config),
            Begin::New(_) => None,
        };
        if let Some(config) = stopped {
            check_resumable(config, context.data, &context.data_sha256)?;
        }
        let before = stopped.map(|config| config.checkpoint_every);
        let checkpoint_every = checkpoint_every(recording.checkpoint_every, before, settings.on_nan)?;
        let mut setup = set_up(&settings, &recording, stopped, context, listener)?;
        let config = RunConfig {
            version: env!("CARGO_PKG_VERSION").into(),
            command: context.command.map(Into::into),
            init_weights: recording.init.as_deref().map(absolute),
            trace: recording.trace,
            checkpoint_every,
            keep_checkpoints: recording.keep_checkpoints,
            data_sha256: context.data_sha256.clone(),
            device: DeviceEntry::from(setup.device.info()),
            settings: settings.clone(),
            tuning: setup.tuning.clone(),
            facts: Some(RunFacts { jobs: context.jobs, flop: Some(setup.plan.flop()) }),
        };
        let initial = std::mem::take(&mut setup.initial);
        let (mut run_dir, from, notes) = match begin {
            // Gone again if the run does not start.
            Begin::New(out) => (RunDir::create(out.as_deref(), &config)?, Checkpoint::begin(initial), Vec::new()),
            Begin::Stopped(stopped) => resume(*stopped, &config, &setup.net, initial)?,
        };
        let info = setup.device.info().clone();
        let mut trace = profile.as_ref().map(|asked| ChromeTrace::create(&asked.path, &info)).transpose()?;
        listener.begins(&Start {
            net: &setup.net,
            settings: &settings,
            data: context.data,
            plan: &setup.plan,
            device: setup.device.as_ref(),
            device_note: setup.note.as_deref(),
            from_step: from.counters.step,
            notes: &notes,
        });
        let safeguards = safeguards(checkpoint_every, context, info, setup.tuning.clone());
        let mut trainer = Trainer::new(setup.engine()?, &settings, context.data, safeguards)?;
        if let (Some(trace), Some(asked)) = (&mut trace, &profile) {
            trace.keep();
            trainer.profile(asked.steps.clone());
        }
        run_dir.keep();

        let mut fanout = Fanout { run_dir: &mut run_dir, listener, profile: trace };
        let result = trainer.run(from, &mut fanout);
        fanout.listener.ends();
        // Also of a run that stopped early.
        let profile = fanout.profile.take().map_or(Ok(()), ChromeTrace::finish);
        if let Err(error) = run_dir.finish() {
            listener.warn(&format!("a checkpoint could not be written: {error}"));
        }
        let concluded = result.and_then(|outcome| {
            run_dir.conclude(&outcome)?;
            Ok(outcome)
        });
        let run = run_dir.path().to_path_buf();
        export(&run, &recording, |message| listener.warn(message));
        match concluded {
            Ok(outcome) => Ok(Finished { outcome, run, profile }),
            Err(error) => Err(halted(error, &run, context).into()),
        }
    }
}

/// Sets up the net of `settings` with its initial weights. A run that goes on on the device that it
/// began on uses the variants of shaders that it began with.
fn set_up<'a>(
    settings: &'a TrainOptions,
    recording: &Recording,
    stopped: Option<&RunConfig>,
    context: &Context<'a>,
    listener: &mut dyn Listener,
) -> Result<Setup<'a>, JobError> {
    let mut builder = Setup::builder(settings, context.data)?;
    builder.check()?;
    if let Some(path) = recording.init.as_deref() {
        let (weights, _) = read_weights(path)?;
        let misfit = |error: WeightsError| RunError::File { path: path.into(), error: error.into() };
        builder = builder.weights(weights).map_err(misfit)?;
    }
    let Chosen { device, note } = context.device.open()?;
    let mut setup = builder.on(device)?;
    setup.note = note;
    let entry = DeviceEntry::from(setup.device.info());
    match stopped.filter(|config| config.device == entry) {
        Some(config) => setup.set_tuning(config.tuning.clone()),
        None => setup.tune(context.device.tune, &mut |text| listener.say(text))?,
    }
    Ok(setup)
}

fn safeguards<'a>(
    checkpoint_every: CheckpointEvery,
    context: &'a Context<'_>,
    info: DeviceInfo,
    tuning: Tuning,
) -> Safeguards<'a> {
    Safeguards {
        checkpoint_every: Some(checkpoint_every),
        interrupted: Box::new(|| (context.stop)().is_some()),
        reopen: Some(Box::new(move || {
            let mut device = open::reopen(&info)?;
            device.set_tuning(&tuning);
            Ok(device)
        })),
    }
}

/// Returns how the run in the folder `run` ended, and how it can go on.
fn halted(error: TrainError, run: &Path, context: &Context<'_>) -> Halted {
    let signal = match (context.stop)() {
        Some(StopRequest::Signal { number, name }) if matches!(error, TrainError::Interrupted { .. }) => {
            Some((number, name))
        }
        _ => None,
    };
    // A run that is not finite would not be so the second time either.
    let go_on = context.go_on.filter(|_| !matches!(error, TrainError::NotFinite { .. }));
    let go_on = go_on.map(|command| command.replace("RUN", &run.display().to_string()));
    Halted { error: Some(error), signal, go_on }
}

/// Writes the metrics of `run` for other programs, as far as `recording` asks for it.
pub fn export(run: &Path, recording: &Recording, mut warn: impl FnMut(&str)) {
    let formats = [(recording.csv, write_metrics_csv as fn(&Path) -> _), (recording.tensorboard, write_tensorboard)];
    for (wanted, write) in formats {
        if wanted && let Err(error) = write(run) {
            warn(&error.to_string());
        }
    }
}
