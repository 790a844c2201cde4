//! `sdgpu train`.

use std::ops::RangeInclusive;

use super::args::{Record, TrainArgs};
use super::console::Console;
use super::report::write_into;
use super::resolve::resolve;
use super::runs::{
    Begin, Finished, Job, KEEP_CHECKPOINTS, Profiled, Site, checkpoint_every, device_flags, settings_of, train_one,
};
use super::signals::Signals;
use crate::data::DataSet;
use crate::run_dir::{RunDir, StoppedRun};
use crate::train::{OptionError, TrainOptions, check_flag};

mod display;
mod summary;

use display::TrainDisplay;
use summary::conclude;

/// Trains a net, from the beginning or from where a run was stopped.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let console = Console::new(args.json, args.run.quiet);
    let signals = Signals::catch()?;
    // Everything is checked before anything is written.
    args.out.as_deref().map_or(Ok(()), RunDir::check)?;
    let stopped = args.resume.as_deref().map(StoppedRun::open).transpose()?;
    let source = stopped.as_ref().map_or(&args.model.training.data, |stopped| &stopped.config.settings.data);
    let data = DataSet::load(source)?;
    let data_sha256 = data.sha256();
    let settings = match &stopped {
        Some(stopped) => settings_of(stopped, args, &data, &data_sha256)?,
        None => TrainOptions { on_nan: args.run.on_nan, ..resolve(&args.model, &data)? },
    };
    let before = stopped.as_ref().map(|stopped| stopped.config.checkpoint_every);
    let checkpoint_every = checkpoint_every(args.run.checkpoint_every, before, settings.on_nan)?;
    let steps = profiled_steps(args, settings.steps)?;
    let profile = args.profile.clone().map(|path| Profiled { path, steps: steps.clone() });
    let (init, trace, record_gradients) = match &stopped {
        Some(StoppedRun { config, .. }) => {
            (config.init_weights.clone().map(Into::into), config.trace, config.record_gradients)
        }
        None => (args.run.init.clone(), args.run.records(Record::Trace), args.run.records(Record::Gradients)),
    };
    let (device, backend) = device_flags(args, stopped.as_ref());
    let site = Site {
        data: &data,
        data_sha256,
        device,
        backend,
        tune: args.run.tune,
        threads: 0,
        jobs: 1,
        interrupted: &|| signals.came(),
        go_on: "sdgpu train --resume RUN",
    };
    let job = Job {
        settings,
        init,
        trace,
        record_gradients,
        checkpoint_every,
        keep_checkpoints: args.run.keep_checkpoints.unwrap_or(KEEP_CHECKPOINTS) as usize,
        profile,
        csv: args.run.csv,
        tensorboard: args.run.tensorboard,
        begin: match stopped {
            None => Begin::New(args.out.clone()),
            Some(stopped) => Begin::Stopped(Box::new(stopped)),
        },
    };
    let Finished { outcome, run, profile } = train_one(job, &site, &mut TrainDisplay::new(console, args.json))?;
    conclude(console, &outcome, &run);
    if !args.run.no_report {
        write_into(&run, &data, console);
    }
    profile?;
    if let Some(path) = &args.profile {
        console.line(format!("profile    {}: steps {} to {}", path.display(), steps.start(), steps.end()));
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
