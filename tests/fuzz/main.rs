//! Hostile and broken files, on stable Rust: random mutations of sound ones, for every entry point of `fuzz/`. None may
//! panic, and none may take more memory than a small multiple of the file's size.
//!
//! SDGPU_FUZZ_ROUNDS=N makes N mutations of each entry point instead of some thousand. `cargo fuzz run NAME` (on a
//! nightly compiler) goes on from here, guided by coverage.

use std::alloc::System;
use std::sync::Arc;

use cap::Cap;
use sdgpu::internals::data::DataSet;
use sdgpu::internals::device::{DeviceInfo, DeviceKind};
use sdgpu::internals::model::init::Init;
use sdgpu::internals::model::weights::Weights;
use sdgpu::internals::rng::{self, Stream};
use sdgpu::internals::run_dir::{DeviceEntry, Lengths, RunConfig, RunFacts, StepFlop, encode_checkpoint};
use sdgpu::internals::train::{Best, Checkpoint, CheckpointEvery, Counters};

#[path = "../../fuzz/entry_points.rs"]
mod entry_points;

use entry_points::{ALL, net, settings};

/// Counts what is allocated.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Random numbers that are the same in every run.
struct Dice {
    stream: u32,
    drawn: u32,
}

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.drawn += 1;
        rng::word(17, Stream::TestBatch, self.stream, self.drawn) as usize % end.max(1)
    }
}

/// A file that is like `sound`, but for some mutations; pieces come from `sound` too.
fn mutate(sound: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let length = dice.below(16);
        let to = (at + length).min(bytes.len());
        match dice.below(9) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let from = dice.below(sound.len());
                let piece = &sound[from..(from + length).min(sound.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            3 => bytes[at..to].iter_mut().for_each(|byte| *byte = 0xff),
            4 => bytes[at..to].iter_mut().for_each(|byte| *byte = 0),
            // A number in a text, or the length of something.
            5 => {
                let number = [0, 1, 0x7f, 0xffff, 1 << 31, u64::MAX][dice.below(6)];
                bytes.splice(at..to, number.to_string().into_bytes());
            }
            6 => {
                let number = [1u64 << 31, 1 << 40, u64::MAX, 0][dice.below(4)].to_le_bytes();
                let to = (at + 8).min(bytes.len());
                bytes.splice(at..to, number);
            }
            7 => {
                let nesting = [&b"["[..], b"{\"a\":", b"{"][dice.below(3)].repeat(1 + dice.below(500));
                bytes.splice(at..at, nesting);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
    bytes
}

fn idx(sizes: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend((0..sizes.iter().product::<u32>()).map(|at| (at % 3) as u8));
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn checkpoint() -> Vec<u8> {
    let weights = Weights::initial(&net(), Init::KaimingNormal, 1);
    let trained: Vec<String> = net().parameters().into_iter().filter(|p| p.kind.is_trained()).map(|p| p.name).collect();
    let moment = Weights(weights.0.iter().filter(|tensor| trained.contains(&tensor.name)).cloned().collect());
    let checkpoint = Checkpoint {
        best: Some(Arc::new(Best { accuracy: 0.5, step: 3, weights: weights.clone() })),
        moments: vec![moment.clone(), moment],
        counters: Counters { step: 7, updates: vec![7, 5], ..Counters::default() },
        weights,
    };
    encode_checkpoint(&checkpoint, &settings(), Lengths::default()).unwrap()
}

fn config() -> Vec<u8> {
    let info =
        DeviceInfo { kind: DeviceKind::Cpu, name: "A CPU".into(), backend: "AVX2".into(), driver: "2 threads".into() };
    let config = RunConfig {
        version: "0.1.0".into(),
        command: Some("sdgpu train --data 'a b'".into()),
        init_weights: Some("weights/last.safetensors".into()),
        trace: true,
        checkpoint_every: CheckpointEvery::Steps(500),
        keep_checkpoints: 2,
        data_sha256: "0".repeat(64),
        device: DeviceEntry::from(&info),
        settings: settings(),
        tuning: Default::default(),
        facts: Some(RunFacts { jobs: 2, flop: Some(StepFlop { always: 1000, blocks: vec![200, 300, 400] }) }),
    };
    toml::to_string(&config).unwrap().into_bytes()
}

fn metrics() -> Vec<u8> {
    let line = |step: u32| {
        let train = r#"{"kind":"train","step":STEP,"epoch":0,"loss":2.5,"accuracy":0.25,"lr":0.1,"gates":"101"}"#;
        let eval = r#"{"kind":"eval","split":"test-batch","step":STEP,"loss":2.25,"accuracy":0.5,"images":4}"#;
        format!("{train}\n{eval}\n").replace("STEP", &step.to_string())
    };
    (1..=4).map(line).collect::<String>().into_bytes()
}

/// A sound file for the entry point `name`.
fn sound(name: &str) -> Vec<u8> {
    match name {
        "idx_images" => idx(&[6, 5, 4]),
        "idx_labels" => idx(&[60]),
        "idx_gzip" => gzip(&idx(&[600])),
        "weights" => Weights::initial(&net(), Init::KaimingNormal, 1).to_safetensors_without_note(),
        "checkpoint" => checkpoint(),
        "config" => config(),
        "metrics" => metrics(),
        _ => br#"{"identity":{"adapter":"A GPU","vendor_and_device":[4318,1],"backend":"Vulkan","driver":"driver 1",
              "bounds_checked":false,"sdgpu":"0.1.0","shaders":18446744073709551615},
              "variants":{"conv_forward 16 16":"wide"}}"#
            .to_vec(),
    }
}

/// Bytes of memory that a byte of the file may take, and bytes beside them. Deflate expands a byte to 1,032 at most.
fn allowed(name: &str, bytes: &[u8]) -> usize {
    let factor = if name == "idx_gzip" { 3 * 1032 } else { 64 };
    factor * bytes.len() + (1 << 17)
}

trait WithoutNote {
    fn to_safetensors_without_note(&self) -> Vec<u8>;
}

impl WithoutNote for Weights {
    /// As other programs write it.
    fn to_safetensors_without_note(&self) -> Vec<u8> {
        use safetensors::tensor::{Dtype, TensorView};
        let bytes: Vec<Vec<u8>> =
            self.0.iter().map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
        let views = self.0.iter().zip(&bytes).map(|(tensor, bytes)| {
            (tensor.name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }
}

// One test, as the memory of all threads is counted together.
#[test]
fn no_file_can_do_harm() {
    let rounds: u32 = std::env::var("SDGPU_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4000);
    for (stream, (name, read)) in ALL.into_iter().enumerate() {
        let sound = sound(name);
        assert!(read(&sound), "{name}: the sound file is refused");
        let mut dice = Dice { stream: stream as u32, drawn: 0 };
        let (mut total, mut accepted) = (0, 0);
        for round in 0..rounds {
            let bytes = mutate(&sound, &mut dice);
            total += bytes.len();
            let before = MEMORY.allocated();
            // The most that is allocated at once from now on.
            MEMORY.set_limit(before + allowed(name, &bytes)).unwrap();
            accepted += u32::from(read(&bytes));
            MEMORY.set_limit(usize::MAX).unwrap();
            assert!(MEMORY.allocated() <= before + 4096, "{name}, round {round}: memory is lost");
        }
        println!("{name}: {rounds} files, {total} bytes, {accepted} accepted");
        assert!(accepted < rounds / 2, "{name}: the mutations do nothing");
    }
    // The set inside the binary is sound.
    assert_eq!(DataSet::load(DataSet::EMBEDDED).unwrap().classes, 10);
}
