//! Many runs in one folder, one after the other or some at once: finished ones are not repeated, stopped ones go on.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::board::Board;
use super::one::{Begin, Finished, Halted, Job, Site, export, plan, train_one};
use super::{KEEP_CHECKPOINTS, SeriesRun, checkpoint_every};
use crate::cli::args::{Record, RunArgs, TrainingArgs};
use crate::cli::console::Console;
use crate::cli::open_device_with;
use crate::cli::progress::warn;
use crate::cli::resolve::absolute;
use crate::cli::signals::Signals;
use crate::data::DataSet;
use crate::device::DeviceError;
use crate::plan::PlanError;
use crate::run_dir::{Planned, Progress, RunError, SeriesDir, Summary};
use crate::train::TrainError;

/// Share of the memory that is free which several runs at once may plan with.
const MEMORY_SHARE: f64 = 0.8;

/// A series of runs that can be done: all of it is checked.
pub struct Series<'a> {
    runs: Vec<SeriesRun>,
    progress: Vec<Progress>,
    out: PathBuf,
    data: &'a DataSet,
    data_sha256: String,
    training: &'a TrainingArgs,
    args: &'a RunArgs,
    /// Runs at once.
    jobs: usize,
    /// Threads for each on the CPU device; 0 for all.
    threads: usize,
}

impl<'a> Series<'a> {
    /// Checks `runs`, which are to be done in the folder `out` with the device that `training` names, at most `jobs` at
    /// once. Nothing is written. Runs that are there already may differ from these in the settings `varied`.
    pub fn new(
        runs: Vec<SeriesRun>,
        out: PathBuf,
        (training, args): (&'a TrainingArgs, &'a RunArgs),
        data: &'a DataSet,
        jobs: usize,
        varied: &[&str],
    ) -> anyhow::Result<Self> {
        checkpoint_every(args.checkpoint_every, None, args.on_nan)?;
        let data_sha256 = data.sha256();
        let planned = |run: &SeriesRun| Planned {
            settings: run.settings.clone(),
            data_sha256: data_sha256.clone(),
            init_weights: args.init.as_deref().map(absolute),
            trace: args.records(Record::Trace),
            record_gradients: args.records(Record::Gradients),
        };
        let all: Vec<Planned> = runs.iter().map(planned).collect();
        if out.symlink_metadata().is_ok() && !out.is_dir() {
            return Err(RunError::Exists(out).into());
        }
        SeriesDir::check(&out, &all, varied)?;
        let look = |(run, planned): (&SeriesRun, &Planned)| planned.look(&out.join(&run.name));
        let progress = runs.iter().zip(&all).map(look).collect::<Result<Vec<_>, _>>()?;

        let device = open_device_with(&training.device, training.backend, args.tune, 0)?.device;
        let (limits, kind) = (device.limits(), device.info().kind);
        let mut words = 0;
        for SeriesRun { settings, .. } in &runs {
            let net = settings.net(data.train.channels, data.classes)?;
            let plan = plan(&net, settings, data, limits, args.records(Record::Gradients))?;
            // On the host: weights and moments, as they are handed out and as they are written, twice each.
            words = words.max(plan.storage.buffers.iter().sum::<usize>() + 12 * net.parameter_count());
        }
        let jobs = at_once(jobs.min(runs.len()), limits.total_words, words);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = if jobs > 1 && kind == "cpu" { (cores / jobs).max(1) } else { 0 };
        Ok(Self { runs, progress, out, data, data_sha256, training, args, jobs, threads })
    }

    /// Runs at once.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// Its folder.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The runs in order, each with its summary once it has ended well.
    pub fn results(&self) -> impl Iterator<Item = (&SeriesRun, Option<&Summary>)> {
        self.runs.iter().zip(&self.progress).map(|(run, progress)| match progress {
            Progress::Finished(summary) => (run, Some(summary)),
            _ => (run, None),
        })
    }

    /// Trains what is left, as `groups` of runs that are shown together. Runs whose values are not finite are passed
    /// over; what became of the first of them is the second result.
    pub fn train(&mut self, console: Console, groups: &[Vec<usize>]) -> anyhow::Result<Option<String>> {
        let signals = Signals::catch()?;
        let series_dir = SeriesDir::open(&self.out)?;
        for (SeriesRun { name, .. }, _) in self.results().filter(|(_, summary)| summary.is_some()) {
            export(&self.out.join(name), self.args.csv, self.args.tensorboard, warn);
        }
        let board = Board::new(console, &self.out, &self.runs, &self.progress, groups, self.jobs);
        let left = (0..self.runs.len()).filter(|&index| !matches!(self.progress[index], Progress::Finished(_)));
        let queue = Mutex::new(left.collect::<VecDeque<usize>>());
        let (stop, workers) = (AtomicBool::new(false), Mutex::new(self.jobs));
        let done = Mutex::new(Vec::new());
        let not_finite = Mutex::new(None);
        let first_error = Mutex::new(None);
        // 0 stands for another run's error.
        let interrupted = || signals.came().or(stop.load(Ordering::Relaxed).then_some(0));
        let site = || Site {
            data: self.data,
            data_sha256: self.data_sha256.clone(),
            device: self.training.device.clone(),
            backend: self.training.backend,
            tune: self.args.tune,
            threads: self.threads,
            jobs: *lock(&workers),
            interrupted: &interrupted,
            go_on: "the same command again",
        };
        let work = || {
            while interrupted().is_none() {
                let Some(index) = lock(&queue).pop_front() else { return };
                match self.train_one(index, &site(), &board) {
                    Ok(Finished { run, .. }) => lock(&done).push((index, run)),
                    // Others need the memory now: it is tried again when one of them has ended.
                    Err(error) if is_out_of_memory(&error) && *lock(&workers) > 1 => {
                        *lock(&workers) -= 1;
                        lock(&queue).push_front(index);
                        return;
                    }
                    Err(error) if is_not_finite(&error) => {
                        let message = format!("{}: {error:#}", self.out.join(&self.runs[index].name).display());
                        board.failed(index, &message);
                        lock(&not_finite).get_or_insert(message);
                    }
                    Err(error) => {
                        // In this order: that others are stopped by it is no news.
                        lock(&first_error).get_or_insert(error);
                        stop.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        };
        if self.jobs > 1 {
            thread::scope(|scope| {
                for _ in 0..self.jobs {
                    // Where the system gives no more threads, those that there are do the work.
                    if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                        *lock(&workers) -= 1;
                    }
                }
            });
        }
        // Alone, also with what there was no memory for beside others.
        *lock(&workers) = 1;
        work();
        board.close();
        drop(series_dir);
        if let Some(error) = first_error.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            return Err(error);
        }
        if let Some(signal) = signals.came() {
            // It came between two runs.
            return Err(Halted::between_runs(signal, "the same command again").into());
        }
        let done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        for (index, run) in done {
            if let Some(summary) = Summary::read(&run)? {
                self.progress[index] = Progress::Finished(summary);
            }
        }
        Ok(not_finite.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    fn train_one(&self, index: usize, site: &Site<'_>, board: &Board) -> anyhow::Result<Finished> {
        let SeriesRun { name, settings } = &self.runs[index];
        let folder = self.out.join(name);
        let stopped = SeriesDir::enter(&folder)?;
        let before = stopped.as_ref().map(|stopped| stopped.config.checkpoint_every);
        let every = checkpoint_every(self.args.checkpoint_every, before, settings.on_nan)?;
        let job = Job {
            settings: settings.clone(),
            begin: match stopped {
                Some(stopped) => Begin::Stopped(Box::new(stopped)),
                None => Begin::New(Some(folder)),
            },
            init: self.args.init.clone(),
            trace: self.args.records(Record::Trace),
            record_gradients: self.args.records(Record::Gradients),
            checkpoint_every: every,
            keep_checkpoints: self.args.keep_checkpoints.unwrap_or(KEEP_CHECKPOINTS) as usize,
            profile: None,
            csv: self.args.csv,
            tensorboard: self.args.tensorboard,
        };
        train_one(job, site, &mut board.row(index))
    }
}

/// As many of `jobs` runs as fit, at least 1, where `total` words of memory are free and a run needs `needed`.
fn at_once(jobs: usize, total: usize, needed: usize) -> usize {
    let fit = total as f64 * MEMORY_SHARE / needed.max(1) as f64;
    jobs.min(fit as usize).max(1)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn is_out_of_memory(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(DeviceError::OutOfMemory { .. }))
        || matches!(error.downcast_ref(), Some(PlanError::OutOfMemory { .. }))
}

fn is_not_finite(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Halted { error: Some(TrainError::NotFinite { .. }), .. }))
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
        assert_eq!(at_once(8, usize::MAX, 1 << 30), 8);
    }
}
