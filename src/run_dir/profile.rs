//! Where the time of some steps goes: a trace that chrome://tracing and Perfetto show.
//!
//! The file is Chrome's trace event format, as one array of JSON. The host's work (upload, schedule, encoding,
//! evaluations) is one track, the device's dispatches are another.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::RunError;
use crate::device::DeviceInfo;
use crate::plan::DispatchRow;
use crate::train::{Event, Observer, ProfileRecord, StepTiming};

/// Track of the host.
const HOST: u32 = 1;
/// Track of the device.
const DEVICE: u32 = 2;

/// Writes a trace while a run goes on. Its file is gone again if the run does not start.
pub struct ChromeTrace {
    path: PathBuf,
    writer: BufWriter<File>,
    /// Time zero.
    start: Instant,
    is_empty: bool,
    is_kept: bool,
}

impl ChromeTrace {
    /// Creates the file, which must not exist, for a run on the device `info`.
    pub fn create(path: &Path, info: &DeviceInfo) -> Result<Self, RunError> {
        let begin = || {
            let writer = BufWriter::new(File::create_new(path)?);
            let (path, start) = (path.to_path_buf(), Instant::now());
            let mut trace = Self { path, writer, start, is_empty: true, is_kept: false };
            trace.writer.write_all(b"[\n")?;
            trace.name_track(HOST, "host")?;
            trace.name_track(DEVICE, &format!("{}: {}", info.kind, info.name))?;
            trace.writer.flush()?;
            Ok(trace)
        };
        begin().map_err(|error| RunError::Write { path: path.into(), error })
    }

    /// Leaves the file where it is: the run starts.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Ends the array.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.write_all(b"\n]\n")?;
        self.writer.flush()
    }

    fn name_track(&mut self, track: u32, name: &str) -> io::Result<()> {
        self.event(&json!({"ph": "M", "pid": 1, "tid": track, "name": "thread_name", "args": {"name": name}}))
    }

    /// An event with a begin, counted from the trace's, and a length: a box on a track.
    fn span(&mut self, track: u32, name: &str, begin: Duration, length: Duration, args: Value) -> io::Result<()> {
        let microseconds = |time: Duration| time.as_nanos() as f64 / 1e3;
        let (ts, dur) = (microseconds(begin), microseconds(length));
        self.event(&json!({"ph": "X", "pid": 1, "tid": track, "name": name, "ts": ts, "dur": dur, "args": args}))
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        if !self.is_empty {
            self.writer.write_all(b",\n")?;
        }
        self.is_empty = false;
        serde_json::to_writer(&mut self.writer, event)?;
        Ok(())
    }

    fn step(&mut self, step: u64, rows: &[DispatchRow], timing: &StepTiming) -> io::Result<()> {
        let StepTiming { began, upload, schedule, timed } = timing;
        let (upload, schedule) = (*upload, *schedule);
        let begin = began.duration_since(self.start);
        let run = begin + upload + schedule;
        let args = json!({"step": step});
        self.span(HOST, "upload", begin, upload, args.clone())?;
        self.span(HOST, "schedule", begin + upload, schedule, args.clone())?;
        if !timed.encoding.is_zero() {
            self.span(HOST, "encode", run, timed.encoding, args)?;
        }
        for (row, span) in rows.iter().zip(&timed.spans) {
            let args = json!({
                "step": step,
                "shader": row.shader,
                "segment": row.segment,
                "pass": row.pass.name(),
                "flop": row.cost.flop,
                "bytes": row.bytes,
            });
            self.span(DEVICE, &row.label, run + span.start, span.end.saturating_sub(span.start), args)?;
        }
        Ok(())
    }
}

impl Drop for ChromeTrace {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nobody is left to be told.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Observer for ChromeTrace {
    fn observe(&mut self, event: &Event<'_>) -> io::Result<ControlFlow<()>> {
        match *event {
            Event::Profile(ProfileRecord::Step { step, rows, timing }) => self.step(step, rows, timing)?,
            Event::Profile(ProfileRecord::Evaluation { step, began, time }) => {
                let begin = began.duration_since(self.start);
                self.span(HOST, "evaluation", begin, time, json!({"step": step}))?;
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}
