//! Events and other records as lines of JSON. Numbers are always valid JSON: what is not finite is
//! `null`.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde::Serialize;

use crate::train::{Event, Observer};

/// Writes lines to a file or a pipe.
pub struct JsonLines<W> {
    writer: W,
}

impl<W: Write> JsonLines<W> {
    /// Lines go to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer }
    }

    /// Where lines go.
    pub fn writer(&self) -> &W {
        &self.writer
    }

    /// Writes `record` as one line, and sends it on its way.
    pub fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.writer.write_all(&line)?;
        self.writer.flush()
    }
}

/// Writes the lines of `metrics.jsonl`.
impl<W: Write> Observer for JsonLines<W> {
    fn observe(&mut self, event: &Event<'_>) -> io::Result<ControlFlow<()>> {
        if let Event::Step(_) | Event::Eval(_) = event {
            self.write(event)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
