//! The parameters of a net: names, shapes, and their order in files and in memory.

use super::resnet::{Conv, ResNet, Shortcut};

/// What a parameter is, and with it its shape in files (PyTorch's) and in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// `[out_channels, in_channels, kernel, kernel]` in files; `[kernel, kernel, in_channels, out_channels]` in memory.
    ConvWeight {
        /// Channels out.
        out_channels: u32,
        /// Channels in.
        in_channels: u32,
        /// Height and width.
        kernel: u32,
    },
    /// `[out_features, in_features]` in files; `[in_features, out_features]` in memory.
    LinearWeight {
        /// Features out.
        out_features: u32,
        /// Features in.
        in_features: u32,
    },
    /// Bias of the last layer, `[out_features]`.
    LinearBias(u32),
    /// gamma, `[channels]`.
    NormWeight(u32),
    /// beta, `[channels]`.
    NormBias(u32),
    /// `[channels]`; not trained.
    RunningMean(u32),
    /// `[channels]`; not trained.
    RunningVar(u32),
}

impl ParameterKind {
    /// Shape in files.
    pub fn shape(self) -> Vec<usize> {
        match self {
            Self::ConvWeight { out_channels, in_channels, kernel } => {
                [out_channels, in_channels, kernel, kernel].map(|size| size as usize).to_vec()
            }
            Self::LinearWeight { out_features, in_features } => vec![out_features as usize, in_features as usize],
            Self::LinearBias(size)
            | Self::NormWeight(size)
            | Self::NormBias(size)
            | Self::RunningMean(size)
            | Self::RunningVar(size) => vec![size as usize],
        }
    }

    /// Number of elements.
    pub fn elements(self) -> usize {
        self.shape().iter().product()
    }

    /// Whether the optimiser moves it; running statistics follow the batches instead.
    pub fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean(_) | Self::RunningVar(_))
    }

    /// `values` from the order of files, `[out, in, taps]`, to the order of memory, `[taps, in, out]`.
    pub fn to_memory(self, values: &[f32]) -> Vec<f32> {
        let mut reordered = vec![0.0; values.len()];
        self.for_each_place(|file, memory| reordered[memory] = values[file]);
        reordered
    }

    /// `values` from the order of memory to the order of files.
    pub fn to_file(self, values: &[f32]) -> Vec<f32> {
        let mut reordered = vec![0.0; values.len()];
        self.for_each_place(|file, memory| reordered[file] = values[memory]);
        reordered
    }

    /// Calls `each` with the place of every element in files and in memory: a few outputs at a time, so that the lines
    /// of the cache that one order touches are still there when it comes back to them.
    fn for_each_place(self, mut each: impl FnMut(usize, usize)) {
        const OUTPUTS: usize = 16;
        let [out, inputs, taps] = self.axes();
        for first in (0..out).step_by(OUTPUTS) {
            for input in 0..inputs {
                for tap in 0..taps {
                    for o in first..out.min(first + OUTPUTS) {
                        each((o * inputs + input) * taps + tap, (tap * inputs + input) * out + o);
                    }
                }
            }
        }
    }

    /// Sizes out, in, and of the filter; vectors are `[out]`.
    fn axes(self) -> [usize; 3] {
        match self {
            Self::ConvWeight { out_channels, in_channels, kernel } => {
                [out_channels as usize, in_channels as usize, (kernel * kernel) as usize]
            }
            Self::LinearWeight { out_features, in_features } => [out_features as usize, in_features as usize, 1],
            kind => [kind.elements(), 1, 1],
        }
    }
}

/// A parameter or running statistic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// PyTorch's name, e.g. `layer2.0.bn1.running_mean`.
    pub name: String,
    /// What it is.
    pub kind: ParameterKind,
    /// The residual block that it belongs to the *branch* of; `None` for what always runs: stem, head and shortcuts.
    pub block: Option<usize>,
}

impl ResNet {
    /// Every parameter and running statistic, in the order of PyTorch's `state_dict`.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = Vec::new();
        push_conv(&mut list, "", &self.stem, None);
        for (index, block) in self.blocks.iter().enumerate() {
            let prefix = format!("{}.", block.name);
            for conv in &block.branch {
                push_conv(&mut list, &prefix, conv, Some(index));
            }
            if let Shortcut::Projection(conv) = &block.shortcut {
                push_conv(&mut list, &prefix, conv, None);
            }
        }
        let (out_features, in_features) = (self.classes, self.features());
        let weight = ParameterKind::LinearWeight { out_features, in_features };
        push(&mut list, "fc.weight".into(), weight, None);
        push(&mut list, "fc.bias".into(), ParameterKind::LinearBias(out_features), None);
        list
    }

    /// Number of trained parameters.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.parameters();
        parameters.iter().filter(|parameter| parameter.kind.is_trained()).map(|p| p.kind.elements()).sum()
    }
}

fn push(list: &mut Vec<Parameter>, name: String, kind: ParameterKind, block: Option<usize>) {
    list.push(Parameter { name, kind, block });
}

/// The parameters of a convolution and of its norm.
fn push_conv(list: &mut Vec<Parameter>, prefix: &str, conv: &Conv, block: Option<usize>) {
    let &Conv { in_channels, out_channels, kernel, .. } = conv;
    let weight = ParameterKind::ConvWeight { out_channels, in_channels, kernel };
    push(list, format!("{prefix}{}.weight", conv.name), weight, block);
    let norm = |what: &str| format!("{prefix}{}.{what}", conv.norm);
    push(list, norm("weight"), ParameterKind::NormWeight(out_channels), block);
    push(list, norm("bias"), ParameterKind::NormBias(out_channels), block);
    push(list, norm("running_mean"), ParameterKind::RunningMean(out_channels), block);
    push(list, norm("running_var"), ParameterKind::RunningVar(out_channels), block);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_file_and_memory_are_inverse() {
        let kind = ParameterKind::ConvWeight { out_channels: 33, in_channels: 2, kernel: 2 };
        let file: Vec<f32> = (0..264).map(|i| i as f32).collect();
        let memory = kind.to_memory(&file);
        // Element [tap 1, in 1, out 18] of memory is element [18, 1, 0, 1] of the file.
        assert_eq!(memory[(2 + 1) * 33 + 18], file[(18 * 2 + 1) * 4 + 1]);
        assert_eq!(kind.to_file(&memory), file);
    }
}
