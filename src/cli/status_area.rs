//! The place below a command's text where a terminal shows how far it is; elsewhere there is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::{Console, warn};

/// Time between plain lines, where there is no status area.
pub const LINE_EVERY: Duration = Duration::from_secs(10);

/// Weight of the newest step in smoothed figures: a span of 20 steps.
const SMOOTHING: f64 = 2.0 / 21.0;

/// Moves `smoothed` towards `new`, where it begins.
pub fn smooth(smoothed: &mut Option<f64>, new: f64) {
    *smoothed = Some(smoothed.map_or(new, |old| old + SMOOTHING * (new - old)));
}

/// A console, with a status area if it draws.
pub struct StatusArea {
    console: Console,
    bar: Option<ProgressBar>,
}

impl StatusArea {
    /// Opens the area of `console`, drawn by a `template` of indicatif, for `length` steps if they
    /// are known.
    pub fn open(console: Console, length: Option<u64>, template: &str) -> Self {
        let bar = console.draws().then(|| {
            let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template(template);
            style.map(|style| bar.with_style(style)).unwrap_or_else(|_| ProgressBar::hidden())
        });
        Self { console, bar }
    }

    /// Returns what is drawn, if anything is.
    pub fn bar(&self) -> Option<&ProgressBar> {
        self.bar.as_ref()
    }

    /// Does `print` while nothing is drawn.
    pub fn suspend(&self, print: impl FnOnce(Console)) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print(self.console)),
            None => print(self.console),
        }
    }

    /// Prints a line above the area.
    pub fn line(&self, text: &str) {
        self.suspend(|console| console.line(text));
    }

    /// Warns in a line above the area, also where nothing else is to be printed.
    pub fn warn(&self, text: &str) {
        self.suspend(|_| warn(text));
    }

    /// Takes the area away.
    pub fn close(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
