//! Files of weights, and what sdgpu notes in them.
//!
//! They are safetensors files, whose header has room for one text: a note, as JSON, with the settings of the run, what
//! else a checkpoint needs, and a checksum of all of it. Files of other programs have no note.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{FileError, RunError};
use crate::model::weights::{Weights, WeightsError};
use crate::train::{Counters, TrainOptions};

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
    pub progress: Option<CheckpointEntry>,
}

/// What a checkpoint notes beside its tensors and the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckpointEntry {
    /// What the run has counted.
    pub counters: Counters,
    /// The best weights so far.
    pub best: Option<BestEntry>,
    /// Lengths of the run's files, in bytes.
    pub lengths: Lengths,
}

/// How good the best weights are, and of which step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BestEntry {
    /// Share of correct predictions on the validation images.
    pub accuracy: f64,
    /// Step of the weights, from 1.
    pub step: u64,
}

/// Lengths, in bytes, of the files that a run appends to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lengths {
    /// Of `metrics.jsonl`.
    pub metrics: u64,
    /// Of `timing.jsonl`.
    pub timing: u64,
    /// Of `trace/steps.jsonl`; 0 without one.
    pub trace: u64,
}

/// Before the names of the best weights. No parameter's name begins so, nor with [`OPTIMIZER`].
pub const BEST: &str = "best.";
/// Before a moment's name and the parameter's.
pub const OPTIMIZER: &str = "optimizer.";

/// Whether `name` is that of a parameter or running statistic of the run's last step.
pub fn is_weight(name: &str) -> bool {
    !name.starts_with(BEST) && !name.starts_with(OPTIMIZER)
}

/// Stands in the note for the checksum while that is computed.
const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Note {
    /// To be completed by [`encode`].
    pub fn new(settings: TrainOptions, progress: Option<CheckpointEntry>) -> Self {
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
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a file of `tensors` with `note`.
pub fn encode(tensors: &Weights, note: &Note) -> Result<Vec<u8>, WeightsError> {
    let text = serde_json::to_string(note).map_err(|error| WeightsError::Format(error.to_string()))?;
    tensors.to_safetensors(&text.replacen(UNKNOWN, &checksum(&text, tensors), 1))
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
        tensors.0.retain(|tensor| is_weight(&tensor.name));
    }
    Ok((tensors, note.map(|note| note.settings)))
}
