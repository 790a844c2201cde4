//! What the user reads: text on stdout, or on stderr where stdout carries JSON, or nowhere.

use std::io::{self, IsTerminal, Write};

/// Where text for the user goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// Stdout.
    Out,
    /// Stderr: stdout carries JSON.
    Err,
    /// Nowhere.
    Quiet,
}

impl Console {
    /// By the flags `--json` and `--quiet`.
    pub fn new(json: bool, quiet: bool) -> Self {
        match (quiet, json) {
            (true, _) => Self::Quiet,
            (_, true) => Self::Err,
            _ => Self::Out,
        }
    }

    /// Prints a line. A closed pipe is no reason to stop a training.
    pub fn line(self, text: impl AsRef<str>) {
        let text = text.as_ref();
        let _ = match self {
            Self::Out => writeln!(io::stdout(), "{text}"),
            Self::Err => writeln!(io::stderr(), "{text}"),
            Self::Quiet => Ok(()),
        };
    }

    /// Whether a progress bar can be drawn: stderr is a terminal that can move its cursor, and somebody wants to see
    /// it.
    pub fn draws(self) -> bool {
        let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        self != Self::Quiet && io::stderr().is_terminal() && !is_dumb
    }

    /// Whether text may be coloured: it goes to a terminal, and NO_COLOR is unset or empty (<https://no-color.org>).
    pub fn colours(self) -> bool {
        self == Self::Out
            && io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

/// Warns in one line on stderr.
pub fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "sdgpu: {}", text.replace('\n', " "));
}

/// `seconds` as `1:05` or `2:03:04`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `count` with commas between thousands.
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{duration, thousands};

    #[test]
    fn numbers_read_well() {
        assert_eq!(duration(65.4), "1:05");
        assert_eq!(duration(7384.0), "2:03:04");
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(269_434), "269,434");
        assert_eq!(thousands(1_727_962), "1,727,962");
    }
}
