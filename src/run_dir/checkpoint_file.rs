//! Checkpoints as files: the tensors of a [`Checkpoint`] under names that tell what they are, the rest in the note.

use std::sync::Arc;

use super::error::FileError;
use super::weights_file::{self, BEST, BestEntry, CheckpointEntry, Lengths, Note, OPTIMIZER};
use crate::model::resnet::ResNet;
use crate::model::weights::{Tensor, Weights, WeightsError};
use crate::train::{Best, Checkpoint, TrainOptions};

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
    let progress = CheckpointEntry { counters: counters.clone(), best, lengths };
    weights_file::encode(&Weights(tensors), &Note::new(settings.clone(), Some(progress)))
}

/// A file's checkpoint, which must be one of `net` under `settings`.
pub fn decode(bytes: &[u8], net: &ResNet, settings: &TrainOptions) -> Result<(Checkpoint, Lengths), FileError> {
    let (tensors, note) = weights_file::decode(bytes)?;
    let (found, progress) =
        note.and_then(|note| Some((note.settings, note.progress?))).ok_or(FileError::NoCheckpoint)?;
    // Older versions noted elsewhere whether gradients are recorded, which changes nothing that is
    // computed.
    let found = TrainOptions { record_gradients: settings.record_gradients, ..found };
    if found != *settings {
        return Err(FileError::OtherSettings);
    }
    let CheckpointEntry { counters, best, lengths } = progress;
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
        Some(BestEntry { accuracy, step }) => Some(Arc::new(Best { accuracy, step, weights: best_weights.fit(net)? })),
    };
    if !counters.are_possible(settings.steps, net.blocks.len() + 1) {
        return Err(FileError::NoCheckpoint);
    }
    Ok((Checkpoint { weights: Weights(rest).fit(net)?, moments, best, counters }, lengths))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::init::Init;
    use crate::run_dir::weights_file::is_weight;
    use crate::train::{Counters, Model, OptimizerKind};

    /// A net of one block with two channels.
    fn net() -> ResNet {
        let mut net = ResNet::named("resnet8", 1, 2).unwrap();
        net.blocks.truncate(1);
        net.stem.out_channels = 2;
        for conv in &mut net.blocks[0].branch {
            (conv.in_channels, conv.out_channels) = (2, 2);
        }
        net
    }

    fn settings() -> TrainOptions {
        let text = include_str!("../../tests/fixtures/settings.json");
        let settings: TrainOptions = serde_json::from_str(text).unwrap();
        assert_eq!((settings.model, settings.optimizer), (Model::Stochastic, OptimizerKind::Adam));
        settings
    }

    fn checkpoint() -> Checkpoint {
        let net = net();
        let weights = |seed| Weights::initial(&net, Init::KaimingNormal, seed);
        let moment = |seed| {
            let trained: Vec<_> =
                net.parameters().into_iter().filter(|p| p.kind.is_trained()).map(|p| p.name).collect();
            Weights(weights(seed).0.into_iter().filter(|tensor| trained.contains(&tensor.name)).collect())
        };
        Checkpoint {
            weights: weights(1),
            moments: vec![moment(2), moment(3)],
            best: Some(Arc::new(Best { accuracy: 0.1 + 0.2, step: 3, weights: weights(4) })),
            counters: Counters {
                step: 7,
                updates: vec![7, 5],
                blocks_run: 5,
                time: Duration::from_nanos(1_234_567_890_123),
                ..Counters::default()
            },
        }
    }

    const LENGTHS: Lengths = Lengths { metrics: 1234, timing: 567, trace: 0 };

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let bytes = encode(&checkpoint(), &settings(), LENGTHS).unwrap();
        assert_eq!(decode(&bytes, &net(), &settings()).unwrap(), (checkpoint(), LENGTHS));
        let begin = Checkpoint { best: None, ..checkpoint() };
        let bytes = encode(&begin, &settings(), LENGTHS).unwrap();
        assert_eq!(decode(&bytes, &net(), &settings()).unwrap().0, begin);
        // What is there twice is told apart: `eval` finds the run's weights in it.
        let (tensors, _) = weights_file::decode(&bytes).unwrap();
        assert_eq!(tensors.0.iter().filter(|tensor| is_weight(&tensor.name)).count(), net().parameters().len());
    }

    /// Also those flips that leave a sound file of other content.
    #[test]
    fn a_damaged_checkpoint_is_refused_or_the_same() {
        let sound = encode(&checkpoint(), &settings(), LENGTHS).unwrap();
        let (mut refused, mut same) = (0, 0);
        let mut judge = |bytes: &[u8], what: &str| match decode(bytes, &net(), &settings()) {
            Err(_) => refused += 1,
            Ok(found) => {
                assert_eq!(found, (checkpoint(), LENGTHS), "{what}");
                same += 1;
            }
        };
        for at in 0..sound.len() {
            for flip in [1, 0x20, 0x80, 0xff] {
                let mut bytes = sound.clone();
                bytes[at] ^= flip;
                judge(&bytes, &format!("byte {at} ^ {flip}"));
            }
            judge(&sound[..at], &format!("{at} bytes"));
        }
        judge(&[&sound[..], &[0]].concat(), "a byte more");
        assert!(refused > 4 * sound.len() && same < sound.len() / 10, "{refused} refused, {same} the same");
    }

    #[test]
    fn a_checkpoint_of_another_run_is_refused() {
        let bytes = encode(&checkpoint(), &settings(), LENGTHS).unwrap();
        let refusal = |bytes: &[u8], net: &ResNet, settings: &TrainOptions| {
            decode(bytes, net, settings).expect_err("another run's").to_string()
        };
        let other = TrainOptions { seed: 99, ..settings() };
        assert!(refusal(&bytes, &net(), &other).contains("its settings are not those"));
        let wider = ResNet::named("resnet8", 1, 2).unwrap();
        assert!(refusal(&bytes, &wider, &settings()).contains("do not fit"));
        let weights = weights_file::encode(&checkpoint().weights, &Note::new(settings(), None)).unwrap();
        assert!(refusal(&weights, &net(), &settings()).contains("not a checkpoint"));
        let impossible = Checkpoint { counters: Counters { step: 8, ..checkpoint().counters }, ..checkpoint() };
        let settings = TrainOptions { steps: 7, ..settings() };
        let bytes = encode(&impossible, &settings, LENGTHS).unwrap();
        assert!(refusal(&bytes, &net(), &settings).contains("not a checkpoint"));
        // Counters that would overflow as the run goes on.
        let counters = checkpoint().counters;
        for counters in [
            Counters { updates: vec![u64::MAX, 5], ..counters.clone() },
            Counters { updates: vec![7; 3], ..counters.clone() },
            Counters { blocks_run: u64::MAX, ..counters.clone() },
            Counters { step_time: Duration::MAX, ..counters.clone() },
            Counters { steps_left_out: 8, ..counters },
        ] {
            let bytes = encode(&Checkpoint { counters, ..checkpoint() }, &settings, LENGTHS).unwrap();
            assert!(refusal(&bytes, &net(), &settings).contains("not a checkpoint"));
        }
        for pickle in [&b"\x80\x02}q\x00."[..], b"PK\x03\x04rest of a zip archive"] {
            assert!(refusal(pickle, &net(), &settings).contains("pickle"));
        }
    }
}
