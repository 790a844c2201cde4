//! What `sdgpu train` shows of its run.

use std::io;
use std::ops::ControlFlow;

use super::summary::announce;
use crate::cli::console::{Console, warn};
use crate::cli::progress::Progress;
use crate::job::{Listener, Start};
use crate::run_dir::JsonLines;
use crate::train::{Event, Observer};

/// Text for the user, and metrics on stdout if they are asked for.
pub struct TrainDisplay {
    console: Console,
    /// From the beginning of the run.
    progress: Option<Progress>,
    stdout: Option<JsonLines<io::Stdout>>,
}

impl TrainDisplay {
    /// Text goes to `console`; `json` has metrics on stdout.
    pub fn new(console: Console, json: bool) -> Self {
        Self { console, progress: None, stdout: json.then(|| JsonLines::new(io::stdout())) }
    }
}

impl Listener for TrainDisplay {
    fn say(&mut self, text: &str) {
        self.console.line(text);
    }

    fn begins(&mut self, start: &Start<'_>) {
        announce(self.console, start);
        let options = start.settings;
        let batches = (start.data.train.len() - options.validation) as u64 / u64::from(options.batch_size);
        self.progress = Some(Progress::new(self.console, options, batches));
    }

    fn warn(&mut self, text: &str) {
        match &self.progress {
            Some(progress) => progress.area().warn(text),
            None => warn(text),
        }
    }

    fn ends(&mut self) {
        self.progress.iter().for_each(|progress| progress.area().close());
    }
}

impl Observer for TrainDisplay {
    fn observe(&mut self, event: &Event<'_>) -> io::Result<ControlFlow<()>> {
        // Metrics go to stdout until it is closed.
        if self.stdout.as_mut().is_some_and(|stdout| stdout.observe(event).is_err()) {
            self.stdout = None;
        }
        self.progress.iter_mut().for_each(|progress| progress.observe(event));
        Ok(ControlFlow::Continue(()))
    }
}
