//! Checkpoints as files: the tensors of a [`Checkpoint`] under names that tell what they are, the rest in the note.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::weights_file::{self, FileError, Note};
use crate::model::resnet::ResNet;
use crate::model::weights::{Tensor, Weights, WeightsError};
use crate::train::{Best, Checkpoint, Counters, TrainOptions};

/// What a checkpoint notes beside its tensors and the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Progress {
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
    accuracy: f64,
    step: u64,
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
const BEST: &str = "best.";
/// Before a moment's name and the parameter's.
const OPTIMIZER: &str = "optimizer.";

/// Whether `name` is that of a parameter or running statistic of the run's last step.
pub fn is_weight(name: &str) -> bool {
    !name.starts_with(BEST) && !name.starts_with(OPTIMIZER)
}

fn moment_prefix(moment: &str) -> String {
    format!("{OPTIMIZER}{moment}.")
}

/// The bytes of a checkpoint's file.
pub fn encode(checkpoint: &Checkpoint, settings: &TrainOptions, lengths: Lengths) -> Result<Vec<u8>, WeightsError> {
    let Checkpoint { weights, moments, best, counters } = checkpoint;
    let mut tensors = weights.0.clone();
    let mut add = |prefix: &str, weights: &Weights| {
        let named = |tensor: &Tensor| Tensor { name: format!("{prefix}{}", tensor.name), ..tensor.clone() };
        tensors.extend(weights.0.iter().map(named));
    };
    for (name, moment) in settings.optimizer().moments().iter().zip(moments) {
        add(&moment_prefix(name), moment);
    }
    if let Some(best) = best {
        add(BEST, &best.weights);
    }
    let best = best.as_ref().map(|best| BestEntry { accuracy: best.accuracy, step: best.step });
    let progress = Progress { counters: counters.clone(), best, lengths };
    weights_file::encode(&Weights(tensors), &Note::new(settings.clone(), Some(progress)))
}

/// A file's checkpoint, which must be one of `net` under `settings`.
pub fn decode(bytes: &[u8], net: &ResNet, settings: &TrainOptions) -> Result<(Checkpoint, Lengths), FileError> {
    let (tensors, note) = weights_file::decode(bytes)?;
    let (found, progress) = note.and_then(|note| Some((note.settings, note.progress?))).ok_or(FileError::NoCheckpoint)?;
    if found != *settings {
        return Err(FileError::OtherSettings);
    }
    let Progress { counters, best, lengths } = progress;
    let mut rest = tensors.0;
    let mut take = |prefix: &str| {
        let tensors = rest.extract_if(.., |tensor| tensor.name.starts_with(prefix));
        let named = |tensor: Tensor| Tensor { name: tensor.name[prefix.len()..].to_string(), ..tensor };
        Weights(tensors.map(named).collect())
    };
    let moments = settings.optimizer().moments().iter().map(|name| take(&moment_prefix(name)).fit_trained(net));
    let moments = moments.collect::<Result<_, _>>()?;
    let best_weights = take(BEST);
    let best = match best {
        None => None,
        Some(BestEntry { accuracy, step }) => {
            Some(Arc::new(Best { accuracy, step, weights: best_weights.fit(net)? }))
        }
    };
    if !counters.are_possible(settings.steps, net.blocks.len() + 1) {
        return Err(FileError::NoCheckpoint);
    }
    Ok((Checkpoint { weights: Weights(rest).fit(net)?, moments, best, counters }, lengths))
}
