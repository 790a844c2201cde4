//! `sdgpu train`.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::TrainArgs;
use super::console::Console;
use super::progress::Progress;
use super::resolve::{absolute, resolve};
use super::signals::{self, Signals};
use super::{BadInput, open_device, tune};
use crate::data::DataSet;
use crate::device::{DeviceError, choose};
use crate::dispatch::Limits;
use crate::experiment::{ChromeTrace, DeviceEntry, JsonLines, RunConfig, RunDir, RunError, StoppedRun, read_weights};
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::plan::{DataSizes, Plan};
use crate::train::{
    Checkpoint, Engine, Every, OnNan, OptionError, Safeguards, TrainError, TrainOptions, Trainer, check_flag,
};

mod report;
mod resume;
mod watchers;

use report::{announce, conclude};
use resume::{device_flags, resume, settings_of};
use watchers::Watchers;

/// How often a checkpoint is made, unless `--checkpoint-every` says otherwise.
const CHECKPOINT_EVERY: Every = Every::Time(Duration::from_secs(300));
/// Checkpoints that stay, unless `--keep-checkpoints` says otherwise: one to fall back on if the last is damaged.
const KEEP_CHECKPOINTS: u32 = 2;

/// A run that ended before it was done.
#[derive(Debug, thiserror::Error)]
pub struct Halted {
    error: TrainError,
    /// That ended it.
    signal: Option<i32>,
    /// Its directory, if it can go on there.
    run: Option<PathBuf>,
}

impl Halted {
    /// As shells have it after a signal.
    pub fn exit_code(&self) -> u8 {
        self.signal.map_or(1, signals::exit_code)
    }
}

impl fmt::Display for Halted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        if let Some(signal) = self.signal {
            write!(f, " by {}", signals::name(signal))?;
        }
        match &self.run {
            Some(run) => write!(f, "; to go on: sdgpu train --resume {}", run.display()),
            None => Ok(()),
        }
    }
}

/// Trains a net, from the beginning or from where a run was stopped.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let console = Console::new(args.json, args.quiet);
    let signals = Signals::catch()?;
    // Everything is checked before anything is written.
    args.out.as_deref().map_or(Ok(()), RunDir::check)?;
    let stopped = args.resume.as_deref().map(StoppedRun::open).transpose()?;
    let source = stopped.as_ref().map_or(&args.model.data, |stopped| &stopped.config.settings.data);
    let data = DataSet::load(source)?;
    let data_sha256 = data.sha256();
    let options = match &stopped {
        Some(stopped) => settings_of(stopped, args, &data, &data_sha256)?,
        None => TrainOptions { on_nan: args.on_nan, ..resolve(&args.model, &data)? },
    };
    let checkpoint_every = checkpoint_every(args, stopped.as_ref(), &options)?;
    let profiled = profiled_steps(args, options.steps)?;
    let net = options.net(data.train.channels, data.classes)?;
    let init =
        stopped.as_ref().map_or(args.init.clone(), |stopped| stopped.config.init_weights.clone().map(Into::into));
    let initial = initial_weights(init.as_deref(), &options, &net)?;

    let (device, backend) = device_flags(args, stopped.as_ref());
    let mut chosen = open_device(&device, backend, args.tune)?;
    let limits = chosen.device.limits();
    let planned = plan(&net, &options, &data, limits)?;
    let entry = DeviceEntry::from(chosen.device.info());
    let before = stopped.as_ref().map(|stopped| &stopped.config).filter(|config| config.device == entry);
    let tuning = match before {
        // As the run began, so it goes on, where it can.
        Some(config) => config.tuning.clone(),
        None => tune(args.tune, console, chosen.device.as_mut(), &planned)?,
    };
    chosen.device.set_tuning(&tuning);
    let config = RunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        init_weights: args.init.as_deref().map(absolute),
        trace: args.record.is_some(),
        checkpoint_every,
        keep_checkpoints: args.keep_checkpoints.unwrap_or(KEEP_CHECKPOINTS) as usize,
        data_sha256,
        device: entry,
        settings: options.clone(),
        tuning: tuning.clone(),
    };
    let (mut run_dir, from, notes) = match stopped {
        // Gone again if the run does not start.
        None => (RunDir::create(args.out.as_deref(), &config)?, Checkpoint::begin(initial), Vec::new()),
        Some(stopped) => resume(stopped, &config, &net, initial)?,
    };
    let info = chosen.device.info().clone();
    let mut profile = args.profile.as_deref().map(|path| ChromeTrace::create(path, &info)).transpose()?;
    announce(console, &net, &options, &data, &planned, chosen.device.as_ref(), chosen.note.as_deref());
    notes.iter().for_each(|note| console.line(format!("resuming   {note}")));
    let engine = Engine::new(chosen.device, planned, options.eval_batch, &data).map_err(|error| match error {
        DeviceError::OutOfMemory { had_words, .. } => {
            // Planned again for what there was, to say what would fit.
            let limits = Limits { total_words: had_words, ..limits };
            plan(&net, &options, &data, limits).err().unwrap_or_else(|| error.into())
        }
        error => error.into(),
    })?;
    let safeguards = Safeguards {
        checkpoint_every: Some(checkpoint_every),
        interrupted: Box::new(|| signals.came().is_some()),
        reopen: Some(Box::new(|| {
            let mut device = choose::reopen(&info)?;
            device.set_tuning(&tuning);
            Ok(device)
        })),
    };
    let mut trainer = Trainer::new(engine, &options, &data, safeguards)?;
    if let Some(profile) = &mut profile {
        profile.keep();
        trainer.profile(profiled.clone());
    }
    run_dir.keep();

    let batches = (data.train.len() - options.validation) as u64 / u64::from(options.batch_size);
    let mut watchers = Watchers {
        progress: Progress::new(console, options.steps, options.steps.div_ceil(batches)),
        stdout: args.json.then(|| JsonLines::new(io::stdout())),
        run_dir: &mut run_dir,
        profile,
    };
    let result = trainer.run(from, &mut watchers);
    watchers.progress.finish();
    // Also of a run that stopped early.
    let profile = watchers.profile.take().map_or(Ok(()), ChromeTrace::finish);
    if let Err(error) = watchers.run_dir.finish() {
        watchers.progress.warn(&format!("a checkpoint could not be written: {error}"));
    }
    let concluded = result.and_then(|outcome| {
        run_dir.conclude(&outcome)?;
        Ok(outcome)
    });
    let outcome = concluded.map_err(|error| Halted {
        signal: signals.came().filter(|_| matches!(error, TrainError::Interrupted { .. })),
        // What is not finite would not be so the second time either.
        run: (!matches!(error, TrainError::NotFinite { .. })).then(|| run_dir.path().to_path_buf()),
        error,
    })?;
    conclude(console, &outcome, &run_dir);
    profile?;
    if let Some(path) = &args.profile {
        let (first, last) = (profiled.start(), profiled.end());
        console.line(format!("profile    {}: steps {first} to {last}", path.display()));
    }
    Ok(())
}

/// How often a checkpoint is made.
fn checkpoint_every(args: &TrainArgs, stopped: Option<&StoppedRun>, options: &TrainOptions) -> Result<Every, BadInput> {
    let before = stopped.map_or(CHECKPOINT_EVERY, |stopped| stopped.config.checkpoint_every);
    let every = args.checkpoint_every.unwrap_or(before);
    if options.on_nan != OnNan::Rewind {
        return Ok(every);
    }
    match every {
        // What the run computes depends on it.
        Every::Steps(_) if stopped.is_some() && every != before => {
            Err(BadInput(format!("--checkpoint-every {every} would change what a run with --on-nan rewind computes")))
        }
        Every::Steps(_) => Ok(every),
        Every::Time(_) => Err(BadInput(
            "--on-nan rewind needs a --checkpoint-every in steps: by the clock, no two runs would be the same".into(),
        )),
    }
}

/// The steps that `--profile` is about, of a run of `steps`.
fn profiled_steps(args: &TrainArgs, steps: u64) -> Result<RangeInclusive<u64>, OptionError> {
    let Some(range) = &args.profile_steps else {
        // Past the first steps, in which memory is touched and bind groups are made for the first time.
        return Ok(if steps < 20 { steps / 2 + 1..=steps } else { 10..=20 });
    };
    let (first, last) = (*range.start(), *range.end());
    let holds = first >= 1 && last <= steps;
    check_flag("profile-steps", format!("{first}..{last}"), holds, &format!("within the run's steps, 1..{steps}"))?;
    Ok(range.clone())
}

fn initial_weights(init: Option<&Path>, options: &TrainOptions, net: &ResNet) -> anyhow::Result<Weights> {
    let Some(path) = init else { return Ok(Weights::initial(net, options.initialisation, options.seed)) };
    let (weights, _) = read_weights(path)?;
    Ok(weights.fit(net).map_err(|error| RunError::File { path: path.into(), error: error.into() })?)
}

/// The plan of `net` within `limits`.
pub(super) fn plan(net: &ResNet, options: &TrainOptions, data: &DataSet, limits: Limits) -> anyhow::Result<Plan> {
    let sizes = DataSizes {
        height: data.train.height,
        width: data.train.width,
        train: data.train.len(),
        test: data.test.len(),
    };
    Ok(Plan::new(net, &options.plan(net, sizes, limits)?)?)
}
