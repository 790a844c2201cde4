//! A convolution with its batch norm: forward, backward, and what is needed between.

use super::{Builder, Mode, push};
use crate::dispatch::ValueId;
use crate::kernels::conv::Addend;
use crate::kernels::{batch_norm, conv};
use crate::model::resnet::Conv;
use crate::plan::{Operand, PlanError, Template};

/// An activation on its way through the net.
#[derive(Clone, Copy)]
pub(super) struct Activation {
    pub operand: Operand,
    pub height: u32,
    pub width: u32,
    pub channels: u32,
    pub non_negative: bool,
}

/// What comes to the gradient of a convolution's input another way.
pub(super) enum Added {
    Nothing,
    /// This gradient.
    Plain(Operand),
    /// This gradient, through the ReLU whose output is the second.
    Masked(Operand, Operand),
}

/// A convolution and its batch norm, lowered forward.
pub(super) struct ConvNorm<'a> {
    pub conv: &'a Conv,
    pub prefix: String,
    pub shape: conv::Shape,
    pub input: Operand,
    /// The convolution's output.
    pub output: ValueId,
    /// Mean and 1 / deviation of each channel.
    pub statistics: ValueId,
    pub height: u32,
    pub width: u32,
    pub pixels: u32,
}

impl ConvNorm<'_> {
    pub(super) fn activation(&self, operand: impl Into<Operand>, non_negative: bool) -> Activation {
        let channels = self.conv.out_channels;
        Activation { operand: operand.into(), height: self.height, width: self.width, channels, non_negative }
    }
}

impl Builder<'_> {
    /// Convolution, and the statistics that its norm needs: of the batch in training, running in inference.
    pub(super) fn conv_norm<'c>(
        &mut self,
        list: &mut Vec<Template>,
        prefix: &str,
        conv: &'c Conv,
        input: Activation,
    ) -> Result<ConvNorm<'c>, PlanError> {
        let (label, norm) = (format!("{prefix}{}", conv.name), format!("{prefix}{}", conv.norm));
        if input.height.min(input.width) + 2 * conv.padding < conv.kernel {
            return Err(self.too_small(&label));
        }
        let (height, width, channels) = (conv.output(input.height), conv.output(input.width), conv.out_channels);
        self.check_size(&format!("{label} output"), height, width, channels)?;
        let shape = conv::Shape {
            batch: self.batch,
            height: input.height,
            width: input.width,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            kernel_height: conv.kernel,
            kernel_width: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
        };
        let pixels = self.batch * height * width;
        let output = self.pooled(format!("{label} output"), self.words(height, width, channels));
        let statistics = self.pooled(format!("{norm} statistics"), 2 * channels as usize);
        let weight = self.parameter(&label, ".weight");
        let forward = conv::Forward::new(&shape);
        push(list, format!("{label} forward"), forward, [input.operand, weight.into()], [output]);
        let epsilon = self.net.norm.epsilon;
        match self.mode {
            Mode::Training => {
                if pixels < 2 {
                    let (arch, layer) = (self.net.name.clone(), norm);
                    return Err(PlanError::SingleValue { arch, batch: self.batch, layer });
                }
                let partials = self.pooled(format!("{norm} partials"), batch_norm::partial_words(pixels, channels));
                let kernel = batch_norm::Statistics::new(pixels, channels);
                push(list, format!("{norm} statistics"), kernel, [output], [partials]);
                let batch = [".running_mean", ".running_var"].map(|name| self.gradient(&norm, name));
                let kernel = batch_norm::Finish::new(pixels, channels, epsilon);
                push(list, format!("{norm} finish"), kernel, [partials], [statistics, batch[0], batch[1]]);
            }
            Mode::Inference => {
                let running = [".running_mean", ".running_var"].map(|name| self.parameter(&norm, name));
                push(
                    list,
                    format!("{norm} running"),
                    batch_norm::Running::new(channels, epsilon),
                    running,
                    [statistics],
                );
            }
        }
        let (prefix, input) = (prefix.to_string(), input.operand);
        Ok(ConvNorm { conv, prefix, shape, input, output, statistics, height, width, pixels })
    }

    pub(super) fn norm_operands(&self, layer: &ConvNorm<'_>) -> [ValueId; 4] {
        let norm = format!("{}{}", layer.prefix, layer.conv.norm);
        [layer.output, layer.statistics, self.parameter(&norm, ".weight"), self.parameter(&norm, ".bias")]
    }

    /// Normalises a convolution's output, with or without ReLU.
    pub(super) fn apply(&mut self, list: &mut Vec<Template>, layer: &ConvNorm<'_>, relu: bool) -> ValueId {
        let (name, channels) = (format!("{}{}", layer.prefix, layer.conv.norm), layer.conv.out_channels);
        let output = self.pooled(format!("{name} output"), self.words(layer.height, layer.width, channels));
        self.values[output.index()].non_negative = relu;
        let kernel = batch_norm::Apply::new(layer.pixels, channels, relu);
        push(list, format!("{name} apply"), kernel, self.norm_operands(layer), [output]);
        output
    }

    /// Backward through a norm (with the ReLU behind it, whose output is `mask`) and the gradient of its convolution's
    /// weights. Returns the gradient of the convolution's output.
    pub(super) fn norm_backward(
        &mut self,
        list: &mut Vec<Template>,
        layer: &ConvNorm<'_>,
        dy: Operand,
        mask: Operand,
        scale: f32,
    ) -> ValueId {
        let label = format!("{}{}", layer.prefix, layer.conv.name);
        let norm = format!("{}{}", layer.prefix, layer.conv.norm);
        let (pixels, channels) = (layer.pixels, layer.conv.out_channels);
        let [output, statistics, gamma, _] = self.norm_operands(layer);
        let (dgamma, dbeta) = (self.gradient(&norm, ".weight"), self.gradient(&norm, ".bias"));
        let partials = self.pooled(format!("{norm} backward partials"), batch_norm::partial_words(pixels, channels));
        let reduce = batch_norm::BackwardReduce::new(pixels, channels, scale);
        push(list, format!("{norm} backward reduce"), reduce, [dy, mask, output.into(), statistics.into()], [partials]);
        let finish = batch_norm::BackwardFinish::new(pixels, channels);
        push(list, format!("{norm} backward finish"), finish, [partials], [dgamma, dbeta]);
        let gradient = self.pooled(format!("{label} output gradient"), self.words(layer.height, layer.width, channels));
        let apply = batch_norm::BackwardApply::new(pixels, channels, scale);
        let fixed = [output, statistics, gamma, dgamma, dbeta].map(Operand::from);
        let reads: Vec<Operand> = [dy, mask].into_iter().chain(fixed).collect();
        push(list, format!("{norm} backward apply"), apply, reads, [gradient]);

        let partials = self.pooled(format!("{label} weight gradient partials"), layer.shape.partial_words());
        let kernel = conv::WeightGradient::new(&layer.shape);
        let reads = [layer.input, gradient.into()];
        push(list, format!("{label} weight gradient"), kernel, reads, [partials]);
        let sum = conv::WeightGradientSum::new(&layer.shape);
        let weight_gradient = self.gradient(&label, ".weight");
        push(list, format!("{label} weight gradient sum"), sum, [partials], [weight_gradient]);
        gradient
    }

    /// The gradient of a convolution's input, from that of its output, plus what is `added` on the way.
    pub(super) fn input_gradient(
        &mut self,
        list: &mut Vec<Template>,
        layer: &ConvNorm<'_>,
        dy: ValueId,
        added: Added,
        target: Operand,
    ) {
        let label = format!("{}{}", layer.prefix, layer.conv.name);
        let weight = self.parameter(&label, ".weight");
        // Every binding needs a value, though not every kernel reads it.
        let unused = dy.into();
        let (addend, [added, mask]) = match added {
            Added::Nothing => (Addend::None, [unused; 2]),
            Added::Plain(added) => (Addend::Plain, [added, unused]),
            Added::Masked(added, mask) => (Addend::Masked, [added, mask]),
        };
        let kernel = conv::InputGradient::new(&layer.shape, addend);
        push(list, format!("{label} input gradient"), kernel, [dy.into(), weight.into(), added, mask], [target]);
    }
}
