//! `sdgpu train`.

use std::io;
use std::ops::RangeInclusive;

use super::args::TrainArgs;
use super::console::{Console, duration, thousands};
use super::progress::Progress;
use super::resolve::{absolute, resolve};
use super::{open_device, show_device, tune};
use crate::data::DataSet;
use crate::device::{Device, DeviceError};
use crate::dispatch::Limits;
use crate::experiment::{ChromeTrace, DeviceEntry, JsonLines, RunConfig, RunDir, RunError, read_weights};
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::plan::{DataSizes, Gates, Plan};
use crate::train::{
    Engine, EvalRecord, Observer, OptionError, Outcome, ProfileRecord, StepRecord, TraceRecord, TrainError,
    TrainOptions, Trainer, check_flag,
};

/// Trains a net.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let console = Console::new(args.json, args.quiet);
    // Everything is checked before anything is written.
    args.out.as_deref().map_or(Ok(()), RunDir::check)?;
    let data = DataSet::load(&args.model.data)?;
    let options = resolve(&args.model, &data)?;
    let profiled = profiled_steps(args, options.steps)?;
    let net = options.net(data.train.channels, data.classes)?;
    let initial = initial_weights(args, &options, &net)?;
    let mut chosen = open_device(&args.model.device, args.model.backend, args.tune)?;
    let limits = chosen.device.limits();
    let planned = plan(&net, &options, &data, limits)?;
    let tuning = tune(args.tune, console, chosen.device.as_mut(), &planned)?;
    let config = RunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        init_weights: args.init.as_deref().map(absolute),
        trace: args.record.is_some(),
        device: DeviceEntry::from(chosen.device.info()),
        settings: options.clone(),
        tuning,
    };
    // Gone again if the run does not start.
    let mut run_dir = RunDir::create(args.out.as_deref(), &config)?;
    let info = chosen.device.info();
    let mut profile = args.profile.as_deref().map(|path| ChromeTrace::create(path, info)).transpose()?;
    announce(console, &net, &options, &data, &planned, chosen.device.as_ref(), chosen.note.as_deref());
    let engine = Engine::new(chosen.device, planned, options.eval_batch, &data).map_err(|error| match error {
        DeviceError::OutOfMemory { had_words, .. } => {
            // Planned again for what there was, to say what would fit.
            let limits = Limits { total_words: had_words, ..limits };
            plan(&net, &options, &data, limits).err().unwrap_or_else(|| error.into())
        }
        error => error.into(),
    })?;
    let mut trainer = Trainer::new(engine, &options, &data)?;
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
    let result = trainer.run(&initial, &mut watchers);
    watchers.progress.finish();
    // Also of a run that stopped early.
    let profile = watchers.profile.take().map_or(Ok(()), ChromeTrace::finish);
    conclude(console, &result?, &run_dir);
    profile.map_err(TrainError::from)?;
    if let Some(path) = &args.profile {
        let (first, last) = (profiled.start(), profiled.end());
        console.line(format!("profile    {}: steps {first} to {last}", path.display()));
    }
    Ok(())
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

fn initial_weights(args: &TrainArgs, options: &TrainOptions, net: &ResNet) -> anyhow::Result<Weights> {
    let Some(path) = &args.init else { return Ok(Weights::initial(net, options.initialisation, options.seed)) };
    let (weights, _) = read_weights(path)?;
    Ok(weights.fit(net).map_err(|error| RunError::Weights { path: path.clone(), error })?)
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
}
