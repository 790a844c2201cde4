//! `config.toml`: every setting of a run as it was resolved, what it began with and records, the
//! version, the device, and facts that follow from all of these.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::durable;
use super::error::{ConfigError, RunError};
use super::facts::RunFacts;
use super::older;
use crate::device::{DeviceInfo, DeviceKind, Tuning};
use crate::train::{CheckpointEvery, OptionError, TrainOptions};

/// The device that a run was made on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEntry {
    /// GPU, CPU, or both at once.
    pub kind: DeviceKind,
    /// Name of the adapter or processor.
    pub name: String,
    /// Vulkan, Metal, Dx12, or the instruction set.
    pub backend: String,
    /// Driver, or number of threads.
    pub driver: String,
}

impl From<&DeviceInfo> for DeviceEntry {
    fn from(info: &DeviceInfo) -> Self {
        let DeviceInfo { kind, name, backend, driver } = info.clone();
        Self { kind, name, backend, driver }
    }
}

/// The contents of `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunConfig {
    /// Version of sdgpu.
    pub version: String,
    /// The command that began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The file of weights that the run began with, if any.
    pub init_weights: Option<String>,
    /// Whether what is needed to replay the run is recorded.
    pub trace: bool,
    /// How often a checkpoint is made.
    pub checkpoint_every: CheckpointEvery,
    /// How many of the last checkpoints stay.
    pub keep_checkpoints: usize,
    /// SHA-256 of all images and labels, in hexadecimal.
    pub data_sha256: String,
    /// The device.
    pub device: DeviceEntry,
    /// The settings.
    pub settings: TrainOptions,
    /// Variants of shaders that were measured to be the fastest; results do not depend on them.
    #[serde(default, skip_serializing_if = "Tuning::is_empty")]
    pub tuning: Tuning,
    /// Facts that the run wrote as it began; `None` of a run of an older sdgpu. See
    /// [`Self::facts_with`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<RunFacts>,
}

impl RunConfig {
    /// Name of the file in a run directory.
    pub const FILE: &str = "config.toml";

    /// Writes the settings of the run in `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        let path = folder.join(Self::FILE);
        let text = toml::to_string(self).map_err(std::io::Error::other);
        text.and_then(|text| durable::write(&path, text.as_bytes())).map_err(|error| RunError::Write { path, error })
    }

    /// What the `text` of a settings file says, or where and why it is not one, on one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let message = |error: toml::de::Error| error.message().replace('\n', " ");
        let (text, records_gradients) = older::upgrade(text);
        let mut config: Self = toml::from_str(&text).map_err(message)?;
        config.settings.record_gradients |= records_gradients;
        Ok(config)
    }

    /// Reads the settings of the run in `folder`; each must be in its range.
    pub fn read(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(Self::FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| ConfigError::Read { path: path.clone(), error })?;
        let checked = Self::parse(&text).and_then(|config| match config.check() {
            Ok(()) => Ok(config),
            Err(error) => Err(error.to_string()),
        });
        checked.map_err(|message| ConfigError::Parse { path, message })
    }

    /// Checks what can be checked without the data.
    fn check(&self) -> Result<(), OptionError> {
        let any = u32::MAX as usize;
        self.settings.check(any, any)?;
        self.settings.blocks().map(drop)
    }
}
