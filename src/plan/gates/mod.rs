//! Which blocks survive a step.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

mod systematic;

pub use systematic::Systematic;

use super::Plan;
use crate::rng::{self, Stream};

/// How the gates of a step are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateSampling {
    /// Each by itself (the paper).
    #[default]
    Independent,
    /// Together, so that hardly any chance is left in how many survive: see
    /// [`Systematic`](Systematic).
    Systematic,
}

impl GateSampling {
    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Systematic => "systematic",
        }
    }
}

impl Plan {
    /// The gates of step `step`: a function of seed and step.
    pub fn draw(&self, sampling: GateSampling, seed: u64, step: u32) -> Gates {
        match sampling {
            GateSampling::Independent => Gates::draw(&self.survival, seed, step),
            GateSampling::Systematic => self.systematic.draw(seed, step),
        }
    }
}

/// One gate a residual block, in order; `true`: the block survives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gates(pub Vec<bool>);

impl Gates {
    /// All blocks survive.
    pub fn all(blocks: usize) -> Self {
        Self(vec![true; blocks])
    }

    /// The independent draw of step `step`: block `l` survives with probability `survival[l]`, one draw a block and
    /// batch (Huang et al. 2016, section 3). A function of seed and step alone.
    pub fn draw(survival: &[f64], seed: u64, step: u32) -> Self {
        let survives =
            |block: usize| f64::from(rng::uniform(seed, Stream::Gates, step, block as u32)) < survival[block];
        Self((0..survival.len()).map(survives).collect())
    }

    /// Whether `block` survives.
    pub fn survives(&self, block: usize) -> bool {
        self.0[block]
    }

    /// Number of blocks that survive.
    pub fn survivors(&self) -> usize {
        self.0.iter().filter(|&&survives| survives).count()
    }
}

impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&survives| f.write_str(if survives { "1" } else { "0" }))
    }
}

/// A string that is no list of gates.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no list of gates: one 1 (survives) or 0 (dropped) for each block")]
pub struct InvalidGates(String);

impl FromStr for Gates {
    type Err = InvalidGates;

    fn from_str(text: &str) -> Result<Self, InvalidGates> {
        let gate = |character| match character {
            '0' => Some(false),
            '1' => Some(true),
            _ => None,
        };
        text.chars().map(gate).collect::<Option<_>>().map(Self).ok_or_else(|| InvalidGates(text.to_string()))
    }
}

/// As text, in files of JSON.
impl Serialize for Gates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Gates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
