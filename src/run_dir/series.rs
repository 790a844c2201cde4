//! A folder of runs that belong together: a comparison or a sweep. What each one is, its `config.toml` says.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::config::RunConfig;
use super::directory::StoppedRun;
use super::error::{RunError, read_error, write_error};
use super::lock::Lock;
use super::metrics_file::{METRICS, TIMING};
use super::new_folder::NewFolder;
use super::outcome::Summary;
use crate::train::TrainOptions;

/// What decides what a run of a series is, apart from the device.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Every setting.
    pub settings: TrainOptions,
    /// SHA-256 of all images and labels.
    pub data_sha256: String,
    /// The file of weights to begin with.
    pub init_weights: Option<String>,
    /// Whether a trace is recorded.
    pub trace: bool,
}

/// How far a run of a series is.
#[derive(Clone, Debug, PartialEq)]
pub enum RunProgress {
    /// It has not begun.
    Waiting,
    /// It was stopped on its way.
    Begun,
    /// It has ended well.
    Finished(Summary),
}

impl Planned {
    /// How far the run in `folder` is; errors if it is a run of other settings.
    pub fn look(&self, folder: &Path) -> Result<RunProgress, RunError> {
        if !folder.join(RunConfig::FILE).exists() {
            // What was killed before it had begun is in nobody's way; see [`SeriesDir::enter`].
            return match folder.symlink_metadata() {
                Ok(_) if !is_unbegun(folder).map_err(read_error(folder))? => {
                    Err(RunError::Exists(folder.to_path_buf()))
                }
                _ => Ok(RunProgress::Waiting),
            };
        }
        let found = RunConfig::read(folder)?;
        if let Some((setting, found, wanted)) = self.difference(&found, &[]) {
            return Err(RunError::OtherSettings { run: folder.to_path_buf(), setting, found, wanted });
        }
        Ok(Summary::read(folder)?.map_or(RunProgress::Begun, RunProgress::Finished))
    }

    /// The first setting of `found`, but for those in `varied`, that is not as planned: its name, what it is, and what
    /// it would have to be.
    fn difference(&self, found: &RunConfig, varied: &[&str]) -> Option<(String, String, String)> {
        let (has, wanted) = (Self::of(found).named(), self.named());
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
        let differs =
            wanted.iter().find(|(name, value)| !varied.contains(&name.as_str()) && has.get(*name) != Some(value));
        differs.map(|(name, value)| (name.clone(), has.get(name).map(text).unwrap_or_default(), text(value)))
    }

    /// What was planned of a run with these settings.
    fn of(config: &RunConfig) -> Self {
        Self {
            settings: config.settings.clone(),
            data_sha256: config.data_sha256.clone(),
            init_weights: config.init_weights.clone(),
            trace: config.trace,
        }
    }

    /// All of it, by the names that `config.toml` uses.
    fn named(&self) -> Map<String, Value> {
        let Self { settings, data_sha256, init_weights, trace } = self;
        // By way of the text, which has as few digits as tell a number.
        let text = serde_json::to_string(settings).unwrap_or_default();
        let mut named: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        named.insert("data-sha256".into(), data_sha256.clone().into());
        named.insert("init-weights".into(), init_weights.clone().into());
        named.insert("trace".into(), (*trace).into());
        named.insert("record-gradients".into(), settings.record_gradients.into());
        named
    }
}

/// What a run that was killed before its settings were written can have left: names, and whether they are folders.
const BEFORE_SETTINGS: [(&str, bool); 7] = [
    ("lock", false),
    ("weights", true),
    ("checkpoints", true),
    ("trace", true),
    (METRICS, false),
    (TIMING, false),
    ("config.partial", false),
];

/// Whether `folder` holds no more than a run that was killed before it had begun.
fn is_unbegun(folder: &Path) -> std::io::Result<bool> {
    if !folder.symlink_metadata()?.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_folder = entry.file_type()?.is_dir();
        let is_empty = match is_folder {
            // The trace's own file may be there.
            true => fs::read_dir(entry.path())?.all(|inner| inner.is_ok_and(|inner| is_empty_file(&inner.path()))),
            false => name == "config.partial" || is_empty_file(&entry.path()),
        };
        if !is_empty || !BEFORE_SETTINGS.iter().any(|(known, folder)| name == *known && is_folder == *folder) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_empty_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|file| file.is_file() && file.len() == 0)
}

/// The folder of a series at work, which no other process can be at work in. Dropped, it leaves nothing behind if it
/// was made for the series and no run has begun in it.
pub struct SeriesDir {
    _lock: Lock,
    folder: NewFolder,
}

impl SeriesDir {
    /// Takes hold of `path`, and creates it if need be.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let folder = if path.is_dir() { NewFolder::existing(path) } else { NewFolder::create(path)? };
        Ok(Self { _lock: Lock::take(path)?, folder })
    }

    /// Errors if a run in `path`, not there or a folder, differs from all of `planned` in more than the settings
    /// `varied`: it would make the folder's runs a mixture.
    pub fn check(path: &Path, planned: &[Planned], varied: &[&str]) -> Result<(), RunError> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(read_error(path))?,
        };
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut runs: Vec<PathBuf> = folders.filter(|folder| folder.join(RunConfig::FILE).exists()).collect();
        runs.sort();
        for run in runs {
            let found = RunConfig::read(&run)?;
            // What to name is the difference from a run of the same net.
            let (same, other): (Vec<&Planned>, Vec<&Planned>) =
                planned.iter().partition(|planned| planned.settings.model == found.settings.model);
            let nearest_first = same.into_iter().chain(other);
            let differences: Option<Vec<_>> = nearest_first.map(|planned| planned.difference(&found, varied)).collect();
            if let Some((setting, found, wanted)) = differences.and_then(|all| all.into_iter().next()) {
                return Err(RunError::OtherSettings { run, setting, found, wanted });
            }
        }
        Ok(())
    }

    /// Takes hold of the run in `folder`, if it has begun; else makes room for it.
    pub fn enter(folder: &Path) -> Result<Option<StoppedRun>, RunError> {
        if folder.join(RunConfig::FILE).exists() {
            return StoppedRun::open(folder).map(Some);
        }
        if folder.exists() && is_unbegun(folder).map_err(read_error(folder))? {
            fs::remove_dir_all(folder).map_err(write_error(folder))?;
        }
        Ok(None)
    }
}

impl Drop for SeriesDir {
    fn drop(&mut self) {
        let runs = fs::read_dir(&self.folder.path)
            .map_or(0, |entries| entries.flatten().filter(|e| e.path().is_dir()).count());
        if runs > 0 {
            self.folder.keep();
        }
    }
}
