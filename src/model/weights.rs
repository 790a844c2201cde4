//! The weights of a net as a file holds them: safetensors with PyTorch's names and shapes, f32.

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use thiserror::Error;

use super::init::{self, Init};
use super::parameters::Parameter;
use super::resnet::ResNet;

/// The key under which sdgpu keeps its own note in a file, as one JSON text.
const METADATA_KEY: &str = "sdgpu";

/// A named tensor in the order of files.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// PyTorch's name.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// Elements, the last axis fastest.
    pub values: Vec<f32>,
}

/// All parameters and running statistics of a net.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(pub Vec<Tensor>);

/// Why a file can't be used.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// Not a safetensors file.
    #[error("not a safetensors file ({0}); weights are read from .safetensors with f32 tensors only")]
    Format(String),
    /// Tensors do not fit the net.
    #[error("the weights do not fit {arch}: {}", first_of(problems))]
    Mismatch {
        /// The net.
        arch: String,
        /// One text for each tensor that is wrong.
        problems: Vec<String>,
    },
}

/// Mismatches that an error lists.
const SHOWN: usize = 3;

fn first_of(problems: &[String]) -> String {
    let shown = problems[..SHOWN.min(problems.len())].join("; ");
    if problems.len() > SHOWN { format!("{shown}; and {} more", problems.len() - SHOWN) } else { shown }
}

impl Weights {
    /// Initial weights of `net`.
    pub fn initial(net: &ResNet, init: Init, seed: u64) -> Self {
        let parameters = net.parameters();
        let tensor = |(index, parameter): (usize, &Parameter)| Tensor {
            name: parameter.name.clone(),
            shape: parameter.kind.shape(),
            values: init::values(init, parameter.kind, seed, index as u32, net.features()),
        };
        Self(parameters.iter().enumerate().map(tensor).collect())
    }

    /// Reads a safetensors file; returns the weights and sdgpu's note in it, if there is one.
    ///
    /// PyTorch's `num_batches_tracked` counters are passed over.
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, Option<String>), WeightsError> {
        let format = |error: SafeTensorError| WeightsError::Format(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
        let note = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY).cloned());
        let file = SafeTensors::deserialize(bytes).map_err(format)?;
        let mut tensors = Vec::new();
        for (name, view) in file.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
            if view.dtype() != Dtype::F32 {
                return Err(WeightsError::Format(format!("tensor {name} is {:?}", view.dtype())));
            }
            // The file's bytes need not be aligned.
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            tensors.push(Tensor { name: name.to_string(), shape: view.shape().to_vec(), values });
        }
        Ok((Self(tensors), note))
    }

    /// The bytes of a safetensors file with `note` as sdgpu's note.
    pub fn to_safetensors(&self, note: &str) -> Result<Vec<u8>, WeightsError> {
        let format = |error: SafeTensorError| WeightsError::Format(error.to_string());
        let bytes: Vec<Vec<u8>> =
            self.0.iter().map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
        let mut views = Vec::with_capacity(self.0.len());
        for (tensor, bytes) in self.0.iter().zip(&bytes) {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(format)?;
            views.push((tensor.name.as_str(), view));
        }
        let metadata = [(METADATA_KEY.to_string(), note.to_string())].into();
        safetensors::serialize(views, Some(metadata)).map_err(format)
    }

    /// The first value that is NaN or infinite, described.
    pub fn first_not_finite(&self) -> Option<String> {
        self.0.iter().find_map(|tensor| {
            let index = tensor.values.iter().position(|value| !value.is_finite())?;
            Some(format!("{} holds {} at element {index}", tensor.name, tensor.values[index]))
        })
    }

    /// These weights in the order of `net`'s parameters and running statistics.
    ///
    /// Errors with every tensor that is missing, unknown, of another shape, or holds a value that is not finite.
    pub fn fit(self, net: &ResNet) -> Result<Self, WeightsError> {
        self.fit_to(net, |_| true)
    }

    /// Like [`Self::fit`], for tensors that belong to parameters alone, such as the moments of an optimiser.
    pub fn fit_trained(self, net: &ResNet) -> Result<Self, WeightsError> {
        self.fit_to(net, |parameter| parameter.kind.is_trained())
    }

    fn fit_to(self, net: &ResNet, belongs: impl Fn(&Parameter) -> bool) -> Result<Self, WeightsError> {
        let mut problems = Vec::new();
        let mut rest = self.0;
        let mut fitted = Vec::new();
        for parameter in net.parameters().into_iter().filter(belongs) {
            let (name, shape) = (&parameter.name, parameter.kind.shape());
            let Some(place) = rest.iter().position(|tensor| tensor.name == *name) else {
                problems.push(format!("{name} is missing"));
                continue;
            };
            let tensor = rest.swap_remove(place);
            if tensor.shape != shape {
                problems.push(format!("{name} is {:?}, not {shape:?}", tensor.shape));
            } else if let Some(index) = tensor.values.iter().position(|value| !value.is_finite()) {
                problems.push(format!("{name} holds {} at element {index}", tensor.values[index]));
            }
            fitted.push(tensor);
        }
        rest.sort_by(|a, b| a.name.cmp(&b.name));
        problems.extend(rest.iter().map(|tensor| format!("{} is unknown", tensor.name)));
        if problems.is_empty() {
            Ok(Self(fitted))
        } else {
            Err(WeightsError::Mismatch { arch: net.name.clone(), problems })
        }
    }
}
