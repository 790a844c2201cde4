//! How a run guards against faults.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::device::{Device, DeviceError};

/// How often a run makes a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum CheckpointEvery {
    /// After so many steps, at least 1.
    Steps(u64),
    /// After this time, more than none.
    Time(Duration),
}

/// Units of time and their seconds, the longest first.
const UNITS: [(char, u64); 3] = [('h', 3600), ('m', 60), ('s', 1)];

impl FromStr for CheckpointEvery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a number of steps is needed, as in 500, or a time, as in 30s, 5m or 1h".to_string();
        let unit = UNITS.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
        let number = |digits: &str| digits.parse().ok().filter(|&number: &u64| number > 0).ok_or_else(wrong);
        match unit {
            None => Ok(Self::Steps(number(text)?)),
            Some((digits, seconds)) => {
                let seconds = number(digits)?.checked_mul(seconds).ok_or_else(wrong)?;
                Ok(Self::Time(Duration::from_secs(seconds)))
            }
        }
    }
}

impl fmt::Display for CheckpointEvery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Time(time) => {
                let whole = |(_, seconds): &(char, u64)| time.as_secs().is_multiple_of(*seconds);
                let (unit, seconds) = UNITS.into_iter().find(whole).unwrap_or(UNITS[2]);
                write!(f, "{}{unit}", time.as_secs() / seconds)
            }
        }
    }
}

impl From<CheckpointEvery> for String {
    fn from(every: CheckpointEvery) -> Self {
        every.to_string()
    }
}

impl TryFrom<String> for CheckpointEvery {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What a run does with a step whose loss or gradient is NaN or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNan {
    /// It stops; the weights of the step before are kept.
    #[default]
    Stop,
    /// It leaves the step's update out, and goes on with the next batch.
    Skip,
    /// It goes back to the weights and moments of the last checkpoint, and goes on with the next batch.
    Rewind,
}

/// Opens a device once more, after the one before was lost.
pub type Reopen<'a> = Box<dyn FnMut() -> Result<Box<dyn Device>, DeviceError> + 'a>;

/// What guards a run. An undisturbed run computes the same with and without.
pub struct Safeguards<'a> {
    /// When checkpoints are handed out, apart from the last step's; `None` for no checkpoints at all.
    pub checkpoint_every: Option<CheckpointEvery>,
    /// Whether the run is to end after the step at hand.
    pub interrupted: Box<dyn Fn() -> bool + 'a>,
    /// How a lost device is replaced; without it, a loss ends the run.
    pub reopen: Option<Reopen<'a>>,
}

impl Default for Safeguards<'_> {
    fn default() -> Self {
        Self { checkpoint_every: None, interrupted: Box::new(|| false), reopen: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_as_they_are_written() {
        let seconds = |seconds| CheckpointEvery::Time(Duration::from_secs(seconds));
        for (text, every) in
            [("1", CheckpointEvery::Steps(1)), ("30s", seconds(30)), ("5m", seconds(300)), ("2h", seconds(7200))]
        {
            assert_eq!((text.parse(), every.to_string().as_str()), (Ok(every), text));
        }
        assert_eq!(seconds(90).to_string(), "90s");
        for text in ["", "0", "0m", "-1", "5 m", "m", "1.5h", "5d", "99999999999999999h", "ä"] {
            assert!(text.parse::<CheckpointEvery>().is_err(), "{text}");
        }
    }
}
