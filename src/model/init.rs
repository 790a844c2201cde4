//! Initial weights.

use serde::{Deserialize, Serialize};

use super::parameters::ParameterKind;
use crate::rng::{self, Stream};

/// How convolution and linear weights begin. Norms begin as gamma 1, beta 0, mean 0, variance 1 in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Convolutions: He et al. 2015, normal with variance 2 / fan_out. Last layer: PyTorch's default, uniform within
    /// 1 / sqrt(in_features), bias too.
    KaimingNormal,
    /// Glorot and Bengio 2010: uniform within sqrt(6 / (fan_in + fan_out)); bias 0. The notebook's.
    GlorotUniform,
}

/// Initial values of parameter number `index`, in the order of files.
pub fn values(init: Init, kind: ParameterKind, seed: u64, index: u32, in_features: u32) -> Vec<f32> {
    let elements = kind.elements() as u32;
    let uniform = |bound: f64| -> Vec<f32> {
        (0..elements).map(|i| (unit(seed, index, i).mul_add(2.0, -1.0) * bound) as f32).collect()
    };
    match (kind, init) {
        (ParameterKind::ConvWeight { out_channels, kernel, .. }, Init::KaimingNormal) => {
            let fan_out = f64::from(out_channels * kernel * kernel);
            normal(seed, index, elements, (2.0 / fan_out).sqrt())
        }
        (ParameterKind::ConvWeight { out_channels, in_channels, kernel }, Init::GlorotUniform) => {
            uniform((6.0 / f64::from((in_channels + out_channels) * kernel * kernel)).sqrt())
        }
        (ParameterKind::LinearWeight { out_features, in_features }, Init::GlorotUniform) => {
            uniform((6.0 / f64::from(in_features + out_features)).sqrt())
        }
        (ParameterKind::LinearWeight { .. } | ParameterKind::LinearBias(_), Init::KaimingNormal) => {
            uniform(1.0 / f64::from(in_features).sqrt())
        }
        (ParameterKind::NormWeight(_) | ParameterKind::RunningVar(_), _) => vec![1.0; elements as usize],
        _ => vec![0.0; elements as usize],
    }
}

/// A number in (0, 1).
fn unit(seed: u64, parameter: u32, index: u32) -> f64 {
    (f64::from(rng::word(seed, Stream::Init, parameter, index)) + 0.5) / 4_294_967_296.0
}

/// Normal numbers with mean 0 (Box and Muller 1958).
fn normal(seed: u64, parameter: u32, elements: u32, deviation: f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(elements as usize + 1);
    for pair in 0..elements.div_ceil(2) {
        let radius = deviation * (-2.0 * unit(seed, parameter, 2 * pair).ln()).sqrt();
        let angle = std::f64::consts::TAU * unit(seed, parameter, 2 * pair + 1);
        values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
    }
    values.truncate(elements as usize);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f32]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        (mean, values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count)
    }

    #[test]
    fn variances_are_those_of_the_papers() {
        let conv = ParameterKind::ConvWeight { out_channels: 64, in_channels: 32, kernel: 3 };
        for (init, expected) in
            [(Init::KaimingNormal, 2.0 / (64.0 * 9.0)), (Init::GlorotUniform, 2.0 / ((32.0 + 64.0) * 9.0))]
        {
            let (mean, variance) = moments(&values(init, conv, 0, 3, 64));
            assert!(mean.abs() < 0.03 * f64::sqrt(expected), "{init:?}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.03, "{init:?}: variance {variance}, not {expected}");
        }
    }
}
