//! TensorBoard's event files.
//!
//! One is a sequence of records: the length of the data (u64), its checksum, the data, and their checksum (u32), all
//! little-endian. The data are protocol buffers, messages of type `Event`. The checksum is CRC-32C, rotated and shifted
//! so that checksums of checksums are none (`masked` below). Formats: tensorflow/core/lib/io/record_writer.h and
//! tensorflow/core/util/event.proto.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crc::{CRC_32_ISCSI, Crc};

use super::config::RunConfig;
use super::durable;
use super::error::{RunError, read_error, write_error};
use super::metrics_file::{read_metrics, read_timing};
use crate::train::{EvalRecord, Event, StepRecord, WhichWeights};

/// In the run directory. TensorBoard takes every file whose name contains `tfevents`.
const FILE: &str = "events.out.tfevents.sdgpu";

/// Writes the metrics of the run in `folder` as scalars into an event file: training loss, accuracy, learning rate,
/// share of the blocks run and gradient of the first convolution, where it was recorded; and loss and accuracy of every
/// evaluation of the step's own weights. The time of a step is that of the run's begin and of the steps since then.
pub fn write_tensorboard(folder: &Path) -> Result<(), RunError> {
    let config = folder.join(RunConfig::FILE);
    let begun = fs::metadata(&config).and_then(|file| file.modified()).map_err(read_error(&config))?;
    let mut time = begun.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut timing = read_timing(folder)?.into_iter().peekable();
    let mut file = Vec::new();
    record(&mut file, &version_event(time));
    for event in read_metrics(folder)? {
        let step = event.step();
        while let Some(row) = timing.next_if(|row| row.step <= step) {
            time += row.seconds;
        }
        record(&mut file, &scalars_event(time, step, &scalars(&event)));
    }
    let path = folder.join(FILE);
    durable::write(&path, &file).map_err(write_error(&path))
}

/// The names and values under which an event is shown; a value that is not finite is not.
fn scalars(event: &Event<'_>) -> Vec<(String, f64)> {
    let named = match event {
        Event::Step(StepRecord { loss, accuracy, lr, gates, first_gradient, .. }) => {
            let blocks_run = gates.survivors() as f64 / gates.0.len().max(1) as f64;
            let named = [
                ("loss", *loss),
                ("accuracy", *accuracy),
                ("lr", *lr),
                ("blocks_run", blocks_run),
                ("first_gradient", first_gradient.unwrap_or(f64::NAN)),
            ];
            named.map(|(name, x)| (format!("train/{name}"), x)).to_vec()
        }
        Event::Eval(EvalRecord { split, weights: WhichWeights::Last, loss, accuracy, .. }) => {
            let split = split.name();
            vec![(format!("{split}/loss"), *loss), (format!("{split}/accuracy"), *accuracy)]
        }
        _ => Vec::new(),
    };
    named.into_iter().filter(|(_, x)| x.is_finite()).collect()
}

/// Wire types of protocol buffers.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn field(out: &mut Vec<u8>, number: u8, wire_type: u8) {
    out.push(number << 3 | wire_type);
}

fn bytes(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    field(out, number, BYTES);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// `Event { wall_time = 1: double, step = 2: int64 }`, to be completed.
fn event(time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    field(&mut event, 1, FIXED64);
    event.extend(time.to_le_bytes());
    field(&mut event, 2, VARINT);
    varint(&mut event, step);
    event
}

/// The first event of a file: `Event { file_version = 3: string }`.
fn version_event(time: f64) -> Vec<u8> {
    let mut event = event(time, 0);
    bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// `Event { summary = 5: Summary { value = 1: repeated Value { tag = 1: string, simple_value = 2: float } } }`.
fn scalars_event(time: f64, step: u64, scalars: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (name, x) in scalars {
        let mut value = Vec::new();
        bytes(&mut value, 1, name.as_bytes());
        field(&mut value, 2, FIXED32);
        value.extend((*x as f32).to_le_bytes());
        bytes(&mut summary, 1, &value);
    }
    let mut event = event(time, step);
    bytes(&mut event, 5, &summary);
    event
}

const CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

fn masked(data: &[u8]) -> [u8; 4] {
    CRC_32C.checksum(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn record(out: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked(&length));
    out.extend(data);
    out.extend(masked(data));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first record that TensorFlow's own writer leaves in a file begun at time 0.
    #[test]
    fn records_are_framed_as_tensorflow_frames_them() {
        // RFC 3720, B.4: the checksum of 32 zeros.
        assert_eq!(CRC_32C.checksum(&[0; 32]), 0x8a91_36aa);
        let mut file = Vec::new();
        record(&mut file, b"abc");
        assert_eq!(file.len(), 8 + 4 + 3 + 4);
        assert_eq!(file[..8], 3u64.to_le_bytes());
        // CRC-32C of `abc` is 0x364b3fb7; rotated right by 15 bits and shifted.
        let expected = 0x364b_3fb7_u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(file[15..], expected.to_le_bytes());
    }

    #[test]
    fn numbers_and_names_lie_where_the_protocol_has_them() {
        let event = scalars_event(1.5, 300, &[("a".into(), 0.5)]);
        let value = [0x0a, 1, b'a', 0x15, 0, 0, 0, 0x3f];
        let mut expected = vec![0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 0xac, 0x02, 0x2a, 10, 0x0a, 8];
        expected.extend(value);
        assert_eq!(event, expected);
        assert!(version_event(0.0).ends_with(b"\x1a\x0dbrain.Event:2"));
    }
}
