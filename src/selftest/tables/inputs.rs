//! Inputs of the rows, and the check of a gradient's formula.

use crate::protocol::{self, REPORT_NOT_FINITE, REPORT_WORDS};
use crate::rng::{Stream, uniform, word};
use crate::selftest::row::relu;

/// Draws inputs: the same ones for the same seed. Each number is exact in f32.
pub struct Draw {
    seed: u64,
    index: u32,
}

impl Draw {
    /// A sequence of its own for each `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, index: 0 }
    }

    fn next(&mut self) -> u32 {
        self.index += 1;
        self.index
    }

    /// `count` numbers, uniform in [low, high).
    pub fn between(&mut self, low: f32, high: f32, count: usize) -> Vec<f64> {
        let mut number = || low + (high - low) * uniform(self.seed, Stream::Init, 0, self.next());
        (0..count).map(|_| f64::from(number())).collect()
    }

    /// `count` numbers, uniform in [-1, 1).
    pub fn signed(&mut self, count: usize) -> Vec<f64> {
        self.between(-1.0, 1.0, count)
    }

    /// `count` outputs of a ReLU: about half of them 0.
    pub fn mask(&mut self, count: usize) -> Vec<f64> {
        self.signed(count).into_iter().map(relu).collect()
    }

    /// `numbers`, of which two of three are replaced: by a number of either sign below the smallest normal one, which
    /// devices may take for 0, and by one whose square is.
    pub fn among_subnormals(&mut self, numbers: Vec<f64>) -> Vec<f64> {
        let replaced = |(i, number): (usize, f64)| {
            let bits = word(self.seed, Stream::Init, 0, self.next());
            match i % 3 {
                0 => number,
                1 => f64::from(f32::from_bits(bits & 0x807f_ffff)),
                _ => f64::from(1e-20 * number as f32),
            }
        };
        numbers.into_iter().enumerate().map(replaced).collect()
    }

    /// A batch norm's norm: mean, 1 / deviation, gamma and beta of each channel.
    pub fn norm(&mut self, channels: usize) -> Vec<f64> {
        [self.signed(channels), self.between(0.5, 2.0, channels), self.signed(2 * channels)].concat()
    }

    /// `count` integers, uniform in 0..bound.
    pub fn below(&mut self, bound: u32, count: usize) -> Vec<u32> {
        (0..count).map(|_| word(self.seed, Stream::Init, 0, self.next()) % bound).collect()
    }
}

/// Why there are rows with [`Draw::among_subnormals`].
pub const SUBNORMAL: &str = "numbers below the smallest normal one, which devices may take for 0";

/// Returns a `control` value with a row per group: its mode and its two coefficients.
pub fn control(groups: &[(u32, f32, f32)]) -> Vec<u32> {
    let rows: Vec<u32> = groups.iter().flat_map(|&(mode, a, b)| protocol::control_row(mode, a, b)).collect();
    protocol::control(0, 0, 0, &rows)
}

/// Returns a `report` value that stops all updates, if `stop` is not 0.
pub fn report(stop: u32) -> Vec<u32> {
    let mut report = vec![0; REPORT_WORDS];
    report[REPORT_NOT_FINITE] = stop;
    report
}

/// Asserts that `gradient` is the gradient of `loss` at `x`, by central differences in f64.
#[cfg(test)]
pub fn assert_gradient(x: &[f64], gradient: &[f64], loss: impl Fn(&[f64]) -> f64) {
    const STEP: f64 = 1e-5;
    assert_eq!(x.len(), gradient.len());
    let scale = gradient.iter().fold(1.0, |scale: f64, g| scale.max(g.abs()));
    let mut moved = x.to_vec();
    for i in 0..x.len() {
        let mut at = |value| {
            moved[i] = value;
            loss(&moved)
        };
        let slope = (at(x[i] + STEP) - at(x[i] - STEP)) / (2.0 * STEP);
        moved[i] = x[i];
        let difference = (slope - gradient[i]).abs();
        assert!(difference <= 1e-7 * scale, "gradient[{i}] is {}, but the loss rises by {slope}", gradient[i]);
    }
}
