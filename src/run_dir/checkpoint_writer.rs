//! Writing checkpoints beside the training, so that it need not wait for the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::checkpoint_file;
use super::durable;
use super::weights_file::Lengths;
use crate::train::{Checkpoint, TrainOptions};

/// The folder, in the run's, that holds the checkpoints.
pub const FOLDER: &str = "checkpoints";

/// The name of the checkpoint after `step`, so that names sort as steps do: there are fewer than 2^32.
fn file_name(step: u64) -> String {
    format!("step-{step:010}.safetensors")
}

/// The checkpoints in the run directory `run`, the newest first. A run that has none yet may lack the folder.
pub fn list(run: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(run.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let step = name.strip_prefix("step-").and_then(|name| name.strip_suffix(".safetensors"));
        if let Some(step) = step.and_then(|digits| digits.parse::<u64>().ok()) {
            found.push((step, entry.path()));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// A checkpoint to be written.
struct Job {
    checkpoint: Arc<Checkpoint>,
    lengths: Lengths,
}

/// A thread that writes checkpoints, and removes those that are not needed any more.
pub struct CheckpointWriter {
    /// Taken when no more are to come.
    jobs: Option<SyncSender<Job>>,
    results: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CheckpointWriter {
    /// For the run directory `run`, of whose checkpoints the last `kept` (at least 1) stay. What the checkpoints count
    /// of `files` is on the disk before them. Errors if the system gives no thread.
    pub fn new(run: &Path, settings: TrainOptions, kept: usize, files: Vec<File>) -> io::Result<Self> {
        // One may wait while another is written; the training waits if there are more, which bounds the memory.
        let (jobs, incoming) = sync_channel::<Job>(1);
        let (outgoing, results) = std::sync::mpsc::channel();
        let run = run.to_path_buf();
        let thread = thread::Builder::new().name("checkpoints".into()).spawn(move || {
            for job in incoming {
                let result = write(&run, &settings, kept, &files, &job);
                if outgoing.send(result).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs: Some(jobs), results, thread: Some(thread) })
    }

    /// Has `checkpoint` written. Errors if an earlier one could not be; this one is written nevertheless.
    pub fn submit(&mut self, checkpoint: Arc<Checkpoint>, lengths: Lengths) -> io::Result<()> {
        let gone = || io::Error::other("the thread that writes checkpoints is gone");
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(Job { checkpoint, lengths }).map_err(|_| gone())?;
        self.results.try_iter().fold(Ok(()), io::Result::and)
    }

    /// Waits for what was submitted. Errors if any of it could not be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.jobs = None;
        let result = self.results.iter().fold(Ok(()), io::Result::and);
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(io::Error::other("the thread that writes checkpoints has failed")),
            _ => result,
        }
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        // Whoever wants to know calls `finish`.
        let _ = self.finish();
    }
}

/// Writes a checkpoint, then removes those before the last `kept`.
fn write(run: &Path, settings: &TrainOptions, kept: usize, files: &[File], job: &Job) -> io::Result<()> {
    let Job { checkpoint, lengths } = job;
    files.iter().try_for_each(File::sync_data)?;
    let bytes = checkpoint_file::encode(checkpoint, settings, *lengths).map_err(io::Error::other)?;
    let path = run.join(FOLDER).join(file_name(checkpoint.counters.step));
    durable::write(&path, &bytes)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    for old in list(run)?.iter().skip(kept) {
        // One that can't be removed does no harm but to the disk's space.
        let _ = fs::remove_file(old);
    }
    Ok(())
}
