//! `sdgpu train`.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::TrainArgs;
use super::console::{Console, duration, thousands};
use super::progress::Progress;
use super::resolve::{absolute, resolve};
use super::signals::{self, Signals};
use super::{BadInput, open_device, show_device, tune};
use crate::data::DataSet;
use crate::device::choose;
use crate::device::gpu::Backend;
use crate::device::{Device, DeviceError};
use crate::dispatch::Limits;
use crate::experiment::{
    ChromeTrace, DeviceEntry, JsonLines, Resumed, RunConfig, RunDir, RunError, StoppedRun, read_weights,
};
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::plan::{DataSizes, Gates, Plan};
use crate::train::{
    Checkpoint, Engine, EvalRecord, Every, NotFiniteRecord, Observer, OnNan, OptionError, Outcome, ProfileRecord,
    Safeguards, StepRecord, TraceRecord, TrainError, TrainOptions, Trainer, check_flag,
};

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
    let init = stopped.as_ref().map_or(args.init.clone(), |stopped| stopped.config.init_weights.clone().map(Into::into));
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
    announce(console, &net, &options, &data, &planned, chosen.device.as_ref(), chosen.note.as_deref());
    let (mut run_dir, from) = match stopped {
        // Gone again if the run does not start.
        None => (RunDir::create(args.out.as_deref(), &config)?, Checkpoint::begin(initial)),
        Some(stopped) => resume(console, stopped, &config, &net, initial)?,
    };
    let info = chosen.device.info().clone();
    let mut profile = args.profile.as_deref().map(|path| ChromeTrace::create(path, &info)).transpose()?;
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
    let outcome = result.map_err(|error| Halted {
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

/// The settings of a run that was stopped; errors if its data are not what they were.
fn settings_of(
    stopped: &StoppedRun,
    args: &TrainArgs,
    data: &DataSet,
    data_sha256: &str,
) -> anyhow::Result<TrainOptions> {
    let RunConfig { settings, data_sha256: before, .. } = &stopped.config;
    if data_sha256 != before {
        let message = format!("{}: the images or labels are not those that the run began with", settings.data);
        return Err(BadInput(message).into());
    }
    settings.check(data.train.len(), data.test.len())?;
    if args.keep_checkpoints.is_some() {
        return Err(BadInput("--keep-checkpoints is settled where the run began; leave it out".into()).into());
    }
    Ok(settings.clone())
}

/// How often a checkpoint is made.
fn checkpoint_every(
    args: &TrainArgs,
    stopped: Option<&StoppedRun>,
    options: &TrainOptions,
) -> Result<Every, BadInput> {
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

/// The device asked for, or the one that the run was made on.
fn device_flags(args: &TrainArgs, stopped: Option<&StoppedRun>) -> (String, Option<Backend>) {
    let (device, backend) = (args.model.device.clone(), args.model.backend);
    match stopped {
        Some(stopped) if device == "auto" => {
            let DeviceEntry { kind, name, backend: before, .. } = &stopped.config.device;
            let is_gpu = kind == "gpu";
            let device = if is_gpu { name } else { kind };
            (device.clone(), backend.or_else(|| before.to_lowercase().parse().ok().filter(|_| is_gpu)))
        }
        _ => (device, backend),
    }
}

/// Goes on with a run, which `config` describes as it is now, from its last checkpoint, or else from `initial`.
fn resume(
    console: Console,
    stopped: StoppedRun,
    config: &RunConfig,
    net: &ResNet,
    initial: Weights,
) -> Result<(RunDir, Checkpoint), RunError> {
    let RunConfig { version, device, settings, .. } = &stopped.config;
    if *device != config.device || *version != config.version {
        console.line(format!(
            "resuming   a run of sdgpu {version} on {} ({}): the last bits may come out differently here",
            device.name, device.backend
        ));
    }
    let steps = settings.steps;
    let Resumed { run_dir, checkpoint, passed_over } = stopped.resume(net)?;
    for error in passed_over {
        console.line(format!("resuming   {error}; it is passed over"));
    }
    match &checkpoint {
        Some(Checkpoint { counters, .. }) => {
            console.line(format!("resuming   after step {} of {steps}", counters.step));
        }
        None => console.line("resuming   from the beginning: the run was stopped before its first checkpoint"),
    }
    Ok((run_dir, checkpoint.unwrap_or_else(|| Checkpoint::begin(initial))))
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

/// What will happen, before it does.
fn announce(
    console: Console,
    net: &ResNet,
    options: &TrainOptions,
    data: &DataSet,
    plan: &Plan,
    device: &dyn Device,
    note: Option<&str>,
) {
    show_device(console, device, note);
    let (train, test) = (&data.train, &data.test);
    console.line(format!(
        "data       {}: {} training, {} validation and {} test images of {}x{}x{}, {} classes",
        options.data,
        thousands(train.len() - options.validation),
        thousands(options.validation),
        thousands(test.len()),
        train.height,
        train.width,
        train.channels,
        data.classes,
    ));
    let blocks = plan.blocks.len();
    console.line(format!(
        "net        {} {}, {} parameters, {:.1} of {blocks} blocks expected in a step",
        options.arch,
        options.model.name(),
        thousands(net.parameter_count()),
        plan.expected_depth(),
    ));
    console.line(format!(
        "step       batch {}, {:.2} GFLOP with all blocks, {:.2} expected; {:.0} MiB planned",
        options.batch_size,
        plan.step_flop(&Gates::all(blocks)) / 1e9,
        plan.expected_flop() / 1e9,
        plan.storage.bytes() as f64 / f64::from(1 << 20),
    ));
    let evaluations = match options.eval_every {
        _ if !options.evaluates() => "no evaluation on the way".into(),
        every if every < options.steps => format!("an evaluation every {every}"),
        _ => "an evaluation after the last".into(),
    };
    console.line(format!("training   {} steps, {evaluations}, seed {}", options.steps, options.seed));
}

/// How it went.
fn conclude(console: Console, outcome: &Outcome, run_dir: &RunDir) {
    let percent = |record: &EvalRecord| format!("{:.2} %", 100.0 * record.accuracy);
    let mut accuracy = format!("test accuracy {} (last weights)", percent(&outcome.test));
    if let Some(best) = &outcome.best {
        accuracy += &format!(", {} (best on validation, of step {})", percent(best), best.step);
    }
    console.line(accuracy);
    let (time, steps) = (outcome.time.as_secs_f64(), outcome.step_time.as_secs_f64());
    console.line(format!(
        "time {}, of it {} in training steps; {:.1} % of the blocks ran",
        duration(time),
        duration(steps),
        100.0 * outcome.blocks_run,
    ));
    if let Some((all_gates, samples)) = outcome.all_gates_time {
        let all_gates = all_gates.as_secs_f64();
        console.line(format!(
            "skipping saved {:.1} s of {:.1} s ({:.0} %): the same steps with all gates on, by {samples} measurements \
             along the run, of steps whose update was not applied",
            all_gates - steps,
            all_gates,
            100.0 * (1.0 - steps / all_gates),
        ));
    }
    if outcome.steps_left_out > 0 {
        console.line(format!("{} steps were left out, as a value in them was not finite", outcome.steps_left_out));
    }
    console.line(format!("run directory {}", run_dir.path().display()));
}

/// Everybody who watches the run.
struct Watchers<'a> {
    run_dir: &'a mut RunDir,
    progress: Progress,
    stdout: Option<JsonLines<io::Stdout>>,
    profile: Option<ChromeTrace>,
}

impl Watchers<'_> {
    /// Tells stdout, until it is closed.
    fn tell(&mut self, tell: impl FnOnce(&mut JsonLines<io::Stdout>) -> io::Result<()>) {
        if self.stdout.as_mut().is_some_and(|stdout| tell(stdout).is_err()) {
            self.stdout = None;
        }
    }
}

impl Observer for Watchers<'_> {
    fn initial(&mut self, weights: &Weights) -> io::Result<()> {
        self.run_dir.initial(weights)
    }

    fn trace(&mut self, record: &TraceRecord) -> io::Result<()> {
        self.run_dir.trace(record)
    }

    fn profile(&mut self, record: &ProfileRecord<'_>) -> io::Result<()> {
        self.profile.as_mut().map_or(Ok(()), |profile| profile.profile(record))
    }

    fn step(&mut self, record: &StepRecord) -> io::Result<()> {
        self.run_dir.step(record)?;
        self.tell(|stdout| stdout.step(record));
        self.progress.step(record)
    }

    fn not_finite(&mut self, record: &NotFiniteRecord) -> io::Result<()> {
        let NotFiniteRecord { step, first, goes_on_from } = record;
        let message = format!("step {step} is left out: {first}; the run goes on from the weights of step {goes_on_from}");
        self.progress.warn(&message);
        Ok(())
    }

    fn eval(&mut self, record: &EvalRecord) -> io::Result<()> {
        self.run_dir.eval(record)?;
        self.tell(|stdout| stdout.eval(record));
        self.progress.eval(record)
    }

    fn last(&mut self, weights: &Weights) -> io::Result<()> {
        self.run_dir.last(weights)
    }

    fn best(&mut self, weights: &Weights) -> io::Result<()> {
        self.run_dir.best(weights)
    }

    fn checkpoint(&mut self, checkpoint: &Arc<Checkpoint>) -> io::Result<()> {
        if let Err(error) = self.run_dir.checkpoint(checkpoint) {
            // There is an older one, and the next may be written again.
            self.progress.warn(&format!("a checkpoint could not be written: {error}; the training goes on"));
        }
        Ok(())
    }

    fn device_lost(&mut self, error: &str, from: u64) -> io::Result<()> {
        self.progress.warn(&format!("{error}; it is opened again, and the training goes on from step {from}"));
        Ok(())
    }
}
