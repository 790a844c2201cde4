//! Many runs in one folder, one after the other or some at once: finished ones are not repeated,
//! stopped ones go on.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::checkpoints::checkpoint_every;
use super::error::{Halted, JobError, StopRequest};
use super::listener::Listener;
use super::run::{Context, Finished, Job, Recording, export};
use super::setup::Setup;
use crate::device::DeviceKind;
use crate::dispatch::{Element, bytes_of};
use crate::run_dir::{Planned, RunError, RunProgress, SeriesDir, Summary, absolute};
use crate::train::{OnNan, TrainOptions};

/// Share of the memory that is free which several runs at once may plan with.
const MEMORY_SHARE: f64 = 0.8;

/// A run of a queue.
#[derive(Clone, Debug)]
pub struct QueuedRun {
    /// Name of its folder in the queue's.
    pub name: String,
    /// Its settings.
    pub settings: TrainOptions,
}

/// Where a queue's runs are made, and how.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// The folder that has a folder for each run.
    pub out: PathBuf,
    /// Files that each run leaves, and its checkpoints.
    pub recording: Recording,
    /// Runs at once, at most.
    pub jobs: usize,
    /// Settings, by the names that `config.toml` uses, in which runs that are there already may
    /// differ from these.
    pub varied: &'static [&'static str],
}

/// Shows a queue at work.
pub trait QueueView: Sync {
    /// Returns who listens to the run `index`.
    fn listener(&self, index: usize) -> Box<dyn Listener + '_>;
    /// Learns that the run `index` ended as `message` says, and that the others go on.
    fn failed(&self, index: usize, message: &str);
    /// Hears of a fault that the queue survives.
    fn warn(&self, message: &str);
    /// Learns that no run will follow.
    fn ends(&self);
}

/// Runs that can be done: all of them are checked.
pub struct Queue<'a> {
    runs: Vec<QueuedRun>,
    progress: Vec<RunProgress>,
    options: QueueOptions,
    context: Context<'a>,
    /// Runs at once.
    jobs: usize,
}

/// State that the workers of a queue share.
struct Work {
    /// Indices of the runs that are left.
    left: Mutex<VecDeque<usize>>,
    workers: Mutex<usize>,
    /// Raised when a run has failed, to stop the others.
    stop: AtomicBool,
    /// Runs that ended well, and their folders.
    done: Mutex<Vec<(usize, PathBuf)>>,
    /// The message of the first run that was not finite.
    not_finite: Mutex<Option<String>>,
    first_error: Mutex<Option<JobError>>,
}

impl<'a> Queue<'a> {
    /// Checks `runs`, which are to be done as `options` say. Writes nothing.
    pub fn new(runs: Vec<QueuedRun>, options: QueueOptions, context: Context<'a>) -> Result<Self, JobError> {
        let QueueOptions { out, recording, varied, .. } = &options;
        let on_nan = runs.first().map_or(OnNan::Stop, |run| run.settings.on_nan);
        checkpoint_every(recording.checkpoint_every, None, on_nan)?;
        let planned = |run: &QueuedRun| Planned {
            settings: run.settings.clone(),
            data_sha256: context.data_sha256.clone(),
            init_weights: recording.init.as_deref().map(absolute),
            trace: recording.trace,
        };
        let all: Vec<Planned> = runs.iter().map(planned).collect();
        if out.symlink_metadata().is_ok() && !out.is_dir() {
            return Err(RunError::Exists(out.clone()).into());
        }
        SeriesDir::check(out, &all, varied)?;
        let look = |(run, planned): (&QueuedRun, &Planned)| planned.look(&out.join(&run.name));
        let progress = runs.iter().zip(&all).map(look).collect::<Result<Vec<_>, _>>()?;
        let (jobs, threads) = shares(&runs, options.jobs, &context)?;
        let mut context = context;
        context.device.threads = threads;
        Ok(Self { runs, progress, options, context, jobs })
    }

    /// Returns how many runs are made at once.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// Returns the queue's folder.
    pub fn out(&self) -> &Path {
        &self.options.out
    }

    /// Returns the runs in order, each with how far it is.
    pub fn progress(&self) -> impl Iterator<Item = (&QueuedRun, &RunProgress)> {
        self.runs.iter().zip(&self.progress)
    }

    /// Returns the runs in order, each with its summary once it has ended well.
    pub fn results(&self) -> impl Iterator<Item = (&QueuedRun, Option<&Summary>)> {
        self.progress().map(|(run, progress)| match progress {
            RunProgress::Finished(summary) => (run, Some(summary)),
            _ => (run, None),
        })
    }

    /// Trains what is left, and shows it to `view`.
    ///
    /// Passes over runs whose values are not finite, and returns what became of the first of them.
    /// Another error stops all runs.
    pub fn train(&mut self, view: &dyn QueueView) -> Result<Option<String>, JobError> {
        stop_between_runs(&self.context)?;
        let series_dir = SeriesDir::open(self.out())?;
        for (QueuedRun { name, .. }, _) in self.results().filter(|(_, summary)| summary.is_some()) {
            export(&self.out().join(name), &self.options.recording, |message| view.warn(message));
        }
        let is_left = |index: &usize| !matches!(self.progress[*index], RunProgress::Finished(_));
        let work = Work {
            left: Mutex::new((0..self.runs.len()).filter(is_left).collect()),
            workers: Mutex::new(self.jobs),
            stop: AtomicBool::new(false),
            done: Mutex::default(),
            not_finite: Mutex::default(),
            first_error: Mutex::default(),
        };
        if self.jobs > 1 {
            thread::scope(|scope| {
                for _ in 0..self.jobs {
                    // Where the system gives no more threads, those that there are do the work.
                    if thread::Builder::new().spawn_scoped(scope, || self.work(&work, view)).is_err() {
                        *lock(&work.workers) -= 1;
                    }
                }
            });
        }
        // Runs what is left one at a time: those that did not fit beside others get the whole
        // machine.
        *lock(&work.workers) = 1;
        self.work(&work, view);
        view.ends();
        drop(series_dir);
        self.conclude(work)
    }

    /// Does runs until none is left, or one fails, or there is too little memory for so many at
    /// once.
    fn work(&self, work: &Work, view: &dyn QueueView) {
        let stop = || (self.context.stop)().or(work.stop.load(Ordering::Relaxed).then_some(StopRequest::OtherRun));
        while stop().is_none() {
            let Some(index) = lock(&work.left).pop_front() else { return };
            let context = Context { stop: &stop, jobs: *lock(&work.workers), ..self.context.clone() };
            match self.run(index, &context, view) {
                Ok(Finished { run, .. }) => lock(&work.done).push((index, run)),
                // Others need the memory now: it is tried again when one of them has ended.
                Err(error) if error.is_out_of_memory() && *lock(&work.workers) > 1 => {
                    *lock(&work.workers) -= 1;
                    lock(&work.left).push_front(index);
                    return;
                }
                Err(error) if error.is_not_finite() => {
                    let message = format!("{}: {error}", self.out().join(&self.runs[index].name).display());
                    view.failed(index, &message);
                    lock(&work.not_finite).get_or_insert(message);
                }
                Err(error) => {
                    // Stored before the others are stopped, so that theirs, which say that they
                    // were, come too late.
                    lock(&work.first_error).get_or_insert(error);
                    work.stop.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    fn run(&self, index: usize, context: &Context<'_>, view: &dyn QueueView) -> Result<Finished, JobError> {
        let QueuedRun { name, settings } = &self.runs[index];
        let folder = self.out().join(name);
        let recording = self.options.recording.clone();
        let job = match SeriesDir::enter(&folder)? {
            Some(stopped) => Job::resume(stopped, recording),
            None => Job::new(settings.clone(), Some(folder), recording),
        };
        job.run(context, view.listener(index).as_mut())
    }

    /// Takes notice of what was done.
    fn conclude(&mut self, work: Work) -> Result<Option<String>, JobError> {
        if let Some(error) = into_inner(work.first_error) {
            return Err(error);
        }
        stop_between_runs(&self.context)?;
        for (index, run) in into_inner(work.done) {
            if let Some(summary) = Summary::read(&run)? {
                self.progress[index] = RunProgress::Finished(summary);
            }
        }
        Ok(into_inner(work.not_finite))
    }
}

/// Errors if a signal has come while no run was at work.
fn stop_between_runs(context: &Context<'_>) -> Result<(), JobError> {
    let Some(StopRequest::Signal { number, name }) = (context.stop)() else { return Ok(()) };
    let go_on = context.go_on.map(String::from);
    Err(Halted { error: None, signal: Some((number, name)), go_on }.into())
}

/// Returns how many of `runs` are made at once, at most `jobs`, and the threads of each on the CPU
/// device; 0 for all.
fn shares(runs: &[QueuedRun], jobs: usize, context: &Context<'_>) -> Result<(usize, usize), JobError> {
    let device = context.device.open()?.device;
    let (limits, kind) = (device.limits(), device.info().kind);
    let mut bytes = 0;
    for QueuedRun { settings, .. } in runs {
        stop_between_runs(context)?;
        let builder = Setup::builder(settings, context.data)?;
        let on_device = builder.plan(limits)?.storage.bytes();
        // On the host: weights and moments, as they are handed out and as they are written, twice
        // each.
        let parameters = bytes_of(Element::F32, builder.as_net().parameter_count());
        bytes = bytes.max(on_device + 12 * parameters);
    }
    let jobs = at_once(jobs.min(runs.len()), limits.total_bytes, bytes);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Ok((jobs, if jobs > 1 && kind == DeviceKind::Cpu { (cores / jobs).max(1) } else { 0 }))
}

/// Returns as many of `jobs` runs as fit, at least 1, where `total` bytes of memory are free and a
/// run needs `needed`.
fn at_once(jobs: usize, total: u64, needed: u64) -> usize {
    let fit = total as f64 * MEMORY_SHARE / needed.max(1) as f64;
    jobs.min(fit as usize).max(1)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::at_once;

    #[test]
    fn memory_bounds_the_runs_at_once() {
        assert_eq!(at_once(8, 100, 20), 4);
        assert_eq!(at_once(3, 100, 20), 3);
        // One is tried in any case: its plan was made for what there is.
        assert_eq!([at_once(8, 100, 90), at_once(0, 100, 1)], [1, 1]);
        // A device that does not tell how much it has.
        assert_eq!(at_once(8, u64::MAX, 1 << 30), 8);
    }
}
