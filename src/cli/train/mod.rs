//! `sdgpu train`.

use std::ops::RangeInclusive;

use super::BadInput;
use super::args::TrainArgs;
use super::console::Console;
use super::report::write_into;
use super::request;
use super::session::Session;
use crate::data::DataSet;
use crate::job::{Finished, Job, Profiled};
use crate::run_dir::{RunDir, StoppedRun};
use crate::train::{OptionError, check_field};

mod display;
mod summary;

use display::TrainDisplay;
use summary::conclude;

/// Trains a net, from the beginning or from where a run was stopped.
pub fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let console = Console::new(args.json, args.run.quiet);
    let session = Session::begin()?;
    // Everything is checked before anything is written.
    args.out.as_deref().map_or(Ok(()), RunDir::check)?;
    let stopped = args.resume.as_deref().map(StoppedRun::open).transpose()?;
    let source = stopped.as_ref().map_or(&args.model.training.data, |stopped| &stopped.config.settings.data);
    let data = DataSet::load(source)?;
    let settings = match &stopped {
        Some(stopped) => stopped.config.settings.clone(),
        None => request::run_request(&args.model, &args.run)?.resolve(&data)?,
    };
    if stopped.is_some() && args.run.keep_checkpoints.is_some() {
        return Err(BadInput("--keep-checkpoints is settled where the run began; leave it out".into()).into());
    }
    let steps = profiled_steps(args, settings.steps)?;
    let device = request::device(&args.model.training, args.run.tune);
    let device = match &stopped {
        Some(stopped) => device.or_that_of(stopped),
        None => device,
    };
    let context = session.context(&data, device, "sdgpu train --resume RUN");
    let recording = request::recording(&args.run);
    let job = match stopped {
        Some(stopped) => Job::resume(stopped, recording),
        None => Job::new(settings, args.out.clone(), recording),
    };
    let job = job.profile(args.profile.clone().map(|path| Profiled { path, steps: steps.clone() }));
    let Finished { outcome, run, profile } = job.run(&context, &mut TrainDisplay::new(console, args.json))?;
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
    check_field("profile_steps", format!("{first}..{last}"), holds, &format!("within the run's steps, 1..{steps}"))?;
    Ok(range.clone())
}
