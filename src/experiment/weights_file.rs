//! Files of weights, and what sdgpu notes in them.
//!
//! They are safetensors files, whose header has room for one text: a note, as JSON, with the settings of the run, what
//! else a checkpoint needs, and a checksum of all of it. Files of other programs have no note.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::checkpoint_file::Progress;
use super::run_dir::RunError;
use crate::model::weights::{Weights, WeightsError};
use crate::train::TrainOptions;

/// What sdgpu notes in a file: the settings, and nothing of the machine, so that equal runs give equal weights files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Note {
    /// SHA-256 of the note, with zeros in this place, and of all tensors.
    sha256: String,
    /// The settings of the run.
    pub settings: TrainOptions,
    /// Only in a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// Stands in the note for the checksum while that is computed.
const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Note {
    /// To be completed by [`encode`].
    pub fn new(settings: TrainOptions, progress: Option<Progress>) -> Self {
        Self { sha256: UNKNOWN.into(), settings, progress }
    }
}

/// SHA-256, in hexadecimal, of `note` and of `tensors`: of names, shapes and values, in the order of the names.
fn checksum(note: &str, tensors: &Weights) -> String {
    let mut hash = Sha256::new();
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    text(&mut hash, note);
    let mut sorted: Vec<_> = tensors.0.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for tensor in sorted {
        text(&mut hash, &tensor.name);
        hash.update((tensor.shape.len() as u64).to_le_bytes());
        tensor.shape.iter().for_each(|&size| hash.update((size as u64).to_le_bytes()));
        for values in tensor.values.chunks(1 << 12) {
            hash.update(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    hex(&hash.finalize())
}

/// `bytes` in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a file of `tensors` with `note`.
pub fn encode(tensors: &Weights, note: &Note) -> Result<Vec<u8>, WeightsError> {
    let text = serde_json::to_string(note).map_err(|error| WeightsError::Format(error.to_string()))?;
    tensors.to_safetensors(&text.replacen(UNKNOWN, &checksum(&text, tensors), 1))
}

/// Why the bytes of a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not a safetensors file, or with other tensors.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The note is not what this version writes.
    #[error("its settings are from another version of sdgpu ({0})")]
    Note(serde_json::Error),
    /// The content is not what was written.
    #[error("the file is damaged: its checksum is wrong")]
    Damaged,
    /// A checkpoint, but of another run.
    #[error("its settings are not those of the run's config.toml")]
    OtherSettings,
    /// A file of weights, or one of another program.
    #[error("not a checkpoint of sdgpu")]
    NoCheckpoint,
}

/// Reads a file's bytes: its tensors, and sdgpu's note, if there is one.
pub fn decode(bytes: &[u8]) -> Result<(Weights, Option<Note>), FileError> {
    // A zip archive or a pickle's first opcode: what `torch.save` writes.
    if bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 1..=5, ..] if !looks_like_safetensors(bytes)) {
        let message = "it is a pickle, as torch.save writes them, which can run code when it is read".into();
        return Err(WeightsError::Format(message).into());
    }
    let (tensors, text) = Weights::from_safetensors(bytes)?;
    let Some(text) = text else { return Ok((tensors, None)) };
    let note: Note = serde_json::from_str(&text).map_err(FileError::Note)?;
    let unsigned = text.replacen(&note.sha256, UNKNOWN, 1);
    if note.sha256.len() != UNKNOWN.len() || checksum(&unsigned, &tensors) != note.sha256 {
        return Err(FileError::Damaged);
    }
    Ok((tensors, Some(note)))
}

/// A safetensors file begins with the length of its header, which is an object.
fn looks_like_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// Reads a file of weights, or the weights of a checkpoint, with the settings of the run, if it was written by sdgpu.
pub fn read_weights(path: &Path) -> Result<(Weights, Option<TrainOptions>), RunError> {
    let bytes = fs::read(path).map_err(|error| RunError::Read { path: path.to_path_buf(), error })?;
    decode_weights(&bytes).map_err(|error| RunError::File { path: path.to_path_buf(), error })
}

/// The same, from the file's bytes.
pub fn decode_weights(bytes: &[u8]) -> Result<(Weights, Option<TrainOptions>), FileError> {
    let (mut tensors, note) = decode(bytes)?;
    if note.as_ref().is_some_and(|note| note.progress.is_some()) {
        tensors.0.retain(|tensor| super::checkpoint_file::is_weight(&tensor.name));
    }
    Ok((tensors, note.map(|note| note.settings)))
}
