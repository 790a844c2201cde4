//! The directory of a run.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint_file;
use super::checkpoint_writer::{self, CheckpointWriter};
use super::config::RunConfig;
use super::durable;
use super::error::{RunError, read_error, write_error};
use super::line_file::LineFile;
use super::lock::Lock;
use super::metrics::JsonLines;
use super::metrics_file::{METRICS, TIMING, TRACE};
use super::new_folder::{NewFolder, numbered};
use super::outcome::{Summary, write_predictions};
use super::weights_file::{self, Lengths, Note};
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::train::{Checkpoint, Event, Observer, Outcome, TrainOptions};

/// The files that a run appends to.
struct Lines {
    metrics: JsonLines<LineFile>,
    timing: JsonLines<LineFile>,
    trace: Option<JsonLines<LineFile>>,
}

impl Lines {
    /// Opens the files in `folder` and cuts them to `lengths`; creates those of no length that are missing.
    fn open(folder: &Path, lengths: Lengths, trace: bool) -> Result<Self, RunError> {
        let open = |name: &str, length: u64| LineFile::open(&folder.join(name), length).map(JsonLines::new);
        Ok(Self {
            metrics: open(METRICS, lengths.metrics)?,
            timing: open(TIMING, lengths.timing)?,
            trace: trace.then(|| open(TRACE, lengths.trace)).transpose()?,
        })
    }

    fn lengths(&self) -> Lengths {
        Lengths {
            metrics: self.metrics.writer().length(),
            timing: self.timing.writer().length(),
            trace: self.trace.as_ref().map_or(0, |trace| trace.writer().length()),
        }
    }

    /// Second handles of the files.
    fn handles(&self) -> Result<Vec<fs::File>, RunError> {
        let all = [Some(&self.metrics), Some(&self.timing), self.trace.as_ref()];
        all.into_iter().flatten().map(|lines| lines.writer().handle()).collect()
    }
}

/// The directory of a run that goes on; writes what the run tells. Dropped before [`Self::keep`], it leaves nothing
/// behind that was not there before.
pub struct RunDir {
    lines: Lines,
    checkpoints: CheckpointWriter,
    settings: TrainOptions,
    _lock: Lock,
    /// Last, because some systems remove no file that is open.
    folder: NewFolder,
}

/// The directory of a run that was stopped, and is not at work.
pub struct StoppedRun {
    /// The settings of the run.
    pub config: RunConfig,
    path: PathBuf,
    lock: Lock,
}

/// A run that can go on.
pub struct Resumed {
    /// Its directory, as it was at the checkpoint.
    pub run_dir: RunDir,
    /// Where it goes on; `None` if it was stopped before its first checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Checkpoints that had to be passed over, each with the reason.
    pub passed_over: Vec<RunError>,
}

impl RunDir {
    /// Errors if it shows, before anything is written, that `out` can't become a run directory.
    pub fn check(out: &Path) -> Result<(), RunError> {
        if out.symlink_metadata().is_ok() {
            let error = if out.join(RunConfig::FILE).exists() { RunError::HoldsRun } else { RunError::Exists };
            return Err(error(out.to_path_buf()));
        }
        match out.ancestors().find(|ancestor| ancestor.exists()) {
            Some(file) if !file.is_dir() => Err(RunError::Blocked { out: out.to_path_buf(), file: file.to_path_buf() }),
            _ => Ok(()),
        }
    }

    /// Creates the directory `out`, or else `runs/<arch>-<model>-<n>` with the first free n.
    pub fn create(out: Option<&Path>, config: &RunConfig) -> Result<Self, RunError> {
        let settings = &config.settings;
        let folder = match out {
            Some(out) => NewFolder::create(out)?,
            None => numbered(Path::new("runs"), &format!("{}-{}", settings.arch, settings.model.name()))?,
        };
        let lock = Lock::take(&folder.path)?;
        for name in ["weights", checkpoint_writer::FOLDER].into_iter().chain(config.trace.then_some("trace")) {
            let path = folder.path.join(name);
            fs::create_dir(&path).map_err(write_error(&path))?;
        }
        let lines = Lines::open(&folder.path, Lengths::default(), config.trace)?;
        // Last: a folder with settings is one that a run can go on in.
        config.write(&folder.path)?;
        Self::new(folder, lock, lines, config)
    }

    fn new(folder: NewFolder, lock: Lock, lines: Lines, config: &RunConfig) -> Result<Self, RunError> {
        let (settings, kept) = (config.settings.clone(), config.keep_checkpoints.max(1));
        let checkpoints = CheckpointWriter::new(&folder.path, settings.clone(), kept, lines.handles()?)
            .map_err(RunError::NoThread)?;
        Ok(Self { lines, checkpoints, settings, _lock: lock, folder })
    }

    /// Lets the directory stay, from now on.
    pub fn keep(&mut self) {
        self.folder.keep();
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Waits for what is still being written. Errors if a checkpoint could not be since the last one was handed over.
    pub fn finish(&mut self) -> io::Result<()> {
        self.checkpoints.finish()
    }

    /// Writes what came of the run, which ended well: the predictions, then the summary, when all else that the run
    /// has written is on the disk.
    pub fn conclude(&mut self, outcome: &Outcome) -> io::Result<()> {
        let conclude = || {
            let lines = self.lines.handles()?;
            lines.iter().try_for_each(fs::File::sync_data).map_err(write_error(self.path()))?;
            write_predictions(self.path(), &outcome.predictions)?;
            Summary::new(outcome, &self.settings).write(self.path())
        };
        conclude().map_err(|error: RunError| io::Error::other(error))
    }

    fn save(&self, name: &str, weights: &Weights) -> io::Result<()> {
        save_weights(&self.path().join(name), weights, &self.settings).map_err(io::Error::other)
    }
}

impl StoppedRun {
    /// Takes hold of the run in `path`, before anything of it is changed.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let config = RunConfig::read(path)?;
        Ok(Self { config, lock: Lock::take(path)?, path: path.to_path_buf() })
    }

    /// Goes back to the newest checkpoint of `net` that is sound: what was written after it is cut off.
    pub fn resume(self, net: &ResNet) -> Result<Resumed, RunError> {
        let Self { config, path, lock } = self;
        let mut unsound = Vec::new();
        let mut newest = None;
        for file in checkpoint_writer::list(&path).map_err(read_error(&path))? {
            let bytes = fs::read(&file).map_err(read_error(&file))?;
            match checkpoint_file::decode(&bytes, net, &config.settings) {
                Ok(found) => {
                    newest = Some(found);
                    break;
                }
                Err(error) => unsound.push((file, error)),
            }
        }
        if newest.is_none() && !unsound.is_empty() {
            let (path, error) = unsound.swap_remove(0);
            return Err(RunError::NoCheckpointLeft { path, error });
        }
        let (checkpoint, lengths) = newest.unzip();
        // A run that goes on has not ended.
        let summary = path.join(Summary::FILE);
        durable::remove(&summary).map_err(write_error(&summary))?;
        let lines = Lines::open(&path, lengths.unwrap_or_default(), config.trace)?;
        for (file, _) in &unsound {
            // Out of the way of those that are to come, but not lost.
            fs::rename(file, file.with_extension("damaged")).map_err(write_error(file))?;
        }
        let run_dir = RunDir::new(NewFolder::existing(&path), lock, lines, &config)?;
        if let Some(best) = checkpoint.as_ref().and_then(|checkpoint| checkpoint.best.as_ref()) {
            save_weights(&path.join(BEST), &best.weights, &config.settings)?;
        }
        let passed_over = unsound.into_iter().map(|(path, error)| RunError::File { path, error }).collect();
        Ok(Resumed { run_dir, checkpoint, passed_over })
    }
}

/// Writes `weights` of a run under `settings` to `path`, as a whole or not at all.
pub fn save_weights(path: &Path, weights: &Weights, settings: &TrainOptions) -> Result<(), RunError> {
    let encoded = weights_file::encode(weights, &Note::new(settings.clone(), None));
    let bytes = encoded.map_err(|error| RunError::File { path: path.to_path_buf(), error: error.into() })?;
    durable::write(path, &bytes).map_err(write_error(path))
}

/// Within the run directory.
const LAST: &str = "weights/last.safetensors";
const BEST: &str = "weights/best.safetensors";

impl Observer for RunDir {
    /// Writes what is to stay. Hands a checkpoint over to be written, and errors if an earlier one
    /// could not be.
    fn observe(&mut self, event: &Event<'_>) -> io::Result<ControlFlow<()>> {
        match event {
            Event::Step(_) | Event::Eval(_) => self.lines.metrics.write(event)?,
            Event::Timing(timing) => self.lines.timing.write(timing)?,
            Event::Trace(trace) => self.lines.trace.as_mut().map_or(Ok(()), |lines| lines.write(trace))?,
            Event::Initial(weights) if self.lines.trace.is_some() => self.save("trace/initial.safetensors", weights)?,
            Event::LastWeights { weights, .. } => self.save(LAST, weights)?,
            Event::BestWeights { weights, .. } => self.save(BEST, weights)?,
            Event::Checkpoint(checkpoint) => {
                self.checkpoints.submit(Arc::clone(checkpoint), self.lines.lengths())?;
            }
            Event::Initial(_) | Event::NotFinite(_) | Event::DeviceLost { .. } | Event::Profile(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}
