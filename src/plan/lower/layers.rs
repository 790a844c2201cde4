//! A convolution with its batch norm: forward, backward, and what is needed between; and the two in inference.

use super::{Builder, push};
use crate::dispatch::ValueId;
use crate::kernels::conv::{ForwardEpilogue, InputGradientEpilogue, Load};
use crate::kernels::{batch_norm, conv};
use crate::model::resnet::Conv;
use crate::plan::{Operand, PlanError, Template};
use crate::protocol::CONV_CHUNK_PIXELS;

/// An activation on its way through the net.
#[derive(Clone, Copy)]
pub(super) struct Activation {
    pub operand: Operand,
    pub height: u32,
    pub width: u32,
    pub channels: u32,
    pub non_negative: bool,
    /// The norm through which it is still to be read, with a ReLU.
    pub norm: Option<ValueId>,
}

impl Activation {
    /// How a convolution reads it.
    fn load(&self) -> Load {
        if self.norm.is_some() { Load::Normalized } else { Load::Plain }
    }
}

/// The gradient that comes to a norm.
#[derive(Clone, Copy)]
pub(super) enum Incoming {
    /// To the ReLU behind, whose output is `mask` and whose input had this factor.
    BehindRelu { dy: Operand, mask: Operand, scale: f32 },
    /// To the norm itself, with its sums over chunks of pixels.
    Summed { dy: ValueId, partials: ValueId, chunks: u32 },
}

/// What becomes of the gradient of a convolution's input.
pub(super) enum Outgoing {
    /// It is written here.
    Alone(Operand),
    /// With this gradient added.
    Plus(Operand, Operand),
    /// With this gradient added, through the ReLU whose output is the third.
    PlusMasked(Operand, Operand, Operand),
}

/// A convolution and its batch norm, lowered forward.
pub(super) struct ConvNorm<'a> {
    pub conv: &'a Conv,
    pub prefix: String,
    pub shape: conv::ConvShape,
    pub input: Activation,
    /// The convolution's output.
    pub output: ValueId,
    /// What the batch norm does to it.
    pub norm: ValueId,
    pub height: u32,
    pub width: u32,
    pub pixels: u32,
}

impl ConvNorm<'_> {
    /// `operand`, of the size of the output.
    pub(super) fn activation(&self, operand: impl Into<Operand>, non_negative: bool) -> Activation {
        let (operand, channels) = (operand.into(), self.conv.out_channels);
        Activation { operand, height: self.height, width: self.width, channels, non_negative, norm: None }
    }

    /// The output behind norm and ReLU, to be read by a convolution.
    pub(super) fn rectified(&self) -> Activation {
        Activation { norm: Some(self.norm), ..self.activation(self.output, true) }
    }
}

impl Builder<'_> {
    /// The shape of a convolution of `input`; refuses sizes that kernels can't have.
    fn conv_shape(&self, label: &str, conv: &Conv, input: Activation) -> Result<conv::ConvShape, PlanError> {
        if input.height.min(input.width) + 2 * conv.padding < conv.kernel {
            return Err(self.too_small(label));
        }
        let (height, width) = (conv.output(input.height), conv.output(input.width));
        self.check_size(&format!("{label} output"), height, width, conv.out_channels)?;
        Ok(conv::ConvShape {
            batch: self.batch,
            height: input.height,
            width: input.width,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            kernel_height: conv.kernel,
            kernel_width: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
        })
    }

    /// Convolution, and what its norm does, by the statistics of the batch.
    pub(super) fn conv_norm<'c>(
        &mut self,
        list: &mut Vec<Template>,
        prefix: &str,
        conv: &'c Conv,
        input: Activation,
    ) -> Result<ConvNorm<'c>, PlanError> {
        let (label, norm_label) = (format!("{prefix}{}", conv.name), format!("{prefix}{}", conv.norm));
        let shape = self.conv_shape(&label, conv, input)?;
        let (height, width, channels) = (shape.out_height(), shape.out_width(), conv.out_channels);
        let pixels = shape.out_pixels();
        if pixels < 2 {
            let (arch, layer) = (self.net.name.clone(), norm_label);
            return Err(PlanError::SingleValue { arch, batch: self.batch, layer });
        }
        let output = self.pooled(format!("{label} output"), self.elements(height, width, channels));
        let count = batch_norm::partial_elements(shape.output_chunks(), channels);
        let statistics = self.pooled(format!("{label} statistics"), count);
        let weight = self.parameter(&label, ".weight");
        let reads = [input.operand, weight.into(), input.norm.into(), Operand::Unused];
        let forward = conv::Forward::training(&shape, input.load());
        push(list, format!("{label} forward"), forward, reads, [output, statistics]);

        let norm = self.pooled(format!("{norm_label} norm"), batch_norm::norm_elements(channels));
        let affine = [".weight", ".bias"].map(|name| self.parameter(&norm_label, name));
        let batch = [".running_mean", ".running_var"].map(|name| self.gradient(&norm_label, name));
        let finish =
            batch_norm::Finish { pixels, channels, chunk_pixels: CONV_CHUNK_PIXELS, epsilon: self.net.norm.epsilon };
        let reads = [statistics, affine[0], affine[1]];
        push(list, format!("{norm_label} finish"), finish, reads, [norm, batch[0], batch[1]]);
        Ok(ConvNorm { conv, prefix: prefix.to_string(), shape, input, output, norm, height, width, pixels })
    }

    /// Convolution behind its norm, by the running statistics, and what `epilogue` adds: the end of
    /// a residual block adds `shortcut`. The output is called `name`.
    pub(super) fn inference_conv(
        &mut self,
        list: &mut Vec<Template>,
        prefix: &str,
        conv: &Conv,
        input: Activation,
        (epilogue, shortcut): (ForwardEpilogue, Option<Operand>),
        name: &str,
    ) -> Result<Activation, PlanError> {
        let (label, norm_label) = (format!("{prefix}{}", conv.name), format!("{prefix}{}", conv.norm));
        let shape = self.conv_shape(&label, conv, input)?;
        let (height, width, channels) = (shape.out_height(), shape.out_width(), conv.out_channels);
        let norm = self.pooled(format!("{norm_label} norm"), batch_norm::norm_elements(channels));
        let statistics = [".running_mean", ".running_var", ".weight", ".bias"];
        let reads = statistics.map(|name| self.parameter(&norm_label, name));
        let running = batch_norm::Running { channels, epsilon: self.net.norm.epsilon };
        push(list, format!("{norm_label} running"), running, reads, [norm]);

        let output = self.pooled(format!("{name} output"), self.elements(height, width, channels));
        let non_negative = epilogue.is_non_negative();
        self.values[output.index()].non_negative = non_negative;
        let weight = self.parameter(&label, ".weight");
        let reads = [input.operand, weight.into(), norm.into(), shortcut.unwrap_or(Operand::Unused)];
        let writes = [output.into(), Operand::Unused];
        push(list, format!("{label} forward"), conv::Forward::inference(&shape, epilogue), reads, writes);
        Ok(Activation { operand: output.into(), height, width, channels, non_negative, norm: None })
    }

    /// Writes a convolution's output behind its norm, with or without ReLU.
    pub(super) fn apply(&mut self, list: &mut Vec<Template>, layer: &ConvNorm<'_>, relu: bool) -> ValueId {
        let (name, channels) = (format!("{}{}", layer.prefix, layer.conv.norm), layer.conv.out_channels);
        let output = self.pooled(format!("{name} output"), self.elements(layer.height, layer.width, channels));
        self.values[output.index()].non_negative = relu;
        let kernel = batch_norm::Apply::new(layer.pixels, channels, relu);
        push(list, format!("{name} apply"), kernel, [layer.output, layer.norm], [output]);
        output
    }

    /// Backward through a norm and to the weights of its convolution. Returns the gradient of the convolution's output.
    pub(super) fn norm_backward(
        &mut self,
        list: &mut Vec<Template>,
        layer: &ConvNorm<'_>,
        incoming: Incoming,
    ) -> ValueId {
        let label = format!("{}{}", layer.prefix, layer.conv.name);
        let norm_label = format!("{}{}", layer.prefix, layer.conv.norm);
        let (pixels, channels) = (layer.pixels, layer.conv.out_channels);
        let (output, norm) = (Operand::from(layer.output), Operand::from(layer.norm));
        let (dy, mask, scale, partials, chunks) = match incoming {
            Incoming::BehindRelu { dy, mask, scale } => {
                let chunks = batch_norm::reduce_chunks(pixels);
                let count = batch_norm::partial_elements(chunks, channels);
                let partials = self.pooled(format!("{norm_label} gradient sums"), count);
                let reduce = batch_norm::BackwardReduce::new(pixels, channels, scale);
                push(list, format!("{norm_label} backward reduce"), reduce, [dy, mask, output, norm], [partials]);
                (dy, Some(mask), scale, partials, chunks)
            }
            Incoming::Summed { dy, partials, chunks } => (dy.into(), None, 1.0, partials, chunks),
        };
        let (dgamma, dbeta) = (self.gradient(&norm_label, ".weight"), self.gradient(&norm_label, ".bias"));
        let finish = batch_norm::BackwardFinish { chunks, channels };
        push(list, format!("{norm_label} backward finish"), finish, [partials], [dgamma, dbeta]);
        let gradient =
            self.pooled(format!("{label} output gradient"), self.elements(layer.height, layer.width, channels));
        let apply = batch_norm::BackwardApply::new(pixels, channels, scale, mask.is_some());
        let reads = [dy, mask.unwrap_or(Operand::Unused), output, norm, dgamma.into(), dbeta.into()];
        push(list, format!("{norm_label} backward apply"), apply, reads, [gradient]);

        let partials = self.pooled(format!("{label} weight gradient partials"), layer.shape.partial_elements());
        let kernel = conv::WeightGradient::new(&layer.shape, layer.input.load());
        let reads = [layer.input.operand, gradient.into(), layer.input.norm.into()];
        push(list, format!("{label} weight gradient"), kernel, reads, [partials]);
        let sum = conv::WeightGradientSum::new(&layer.shape);
        let weight_gradient = self.gradient(&label, ".weight");
        push(list, format!("{label} weight gradient sum"), sum, [partials], [weight_gradient]);
        gradient
    }

    /// The gradient of a convolution's input, from that of its output. The input was not read through a norm.
    pub(super) fn input_gradient(
        &mut self,
        list: &mut Vec<Template>,
        layer: &ConvNorm<'_>,
        dy: ValueId,
        outgoing: Outgoing,
    ) {
        let (epilogue, target, addend, mask) = match outgoing {
            Outgoing::Alone(target) => (InputGradientEpilogue::Plain, target, Operand::Unused, Operand::Unused),
            Outgoing::Plus(target, addend) => (InputGradientEpilogue::Add, target, addend, Operand::Unused),
            Outgoing::PlusMasked(target, addend, mask) => (InputGradientEpilogue::AddMasked, target, addend, mask),
        };
        let reads = [addend, mask, Operand::Unused, Operand::Unused];
        self.push_input_gradient(list, layer, dy, epilogue, reads, [target, Operand::Unused]);
    }

    /// The gradient of what `before` handed to `layer` through its norm and ReLU: back to the norm.
    pub(super) fn gradient_between(
        &mut self,
        list: &mut Vec<Template>,
        before: &ConvNorm<'_>,
        layer: &ConvNorm<'_>,
        dy: ValueId,
    ) -> Incoming {
        let (label, channels) = (format!("{}{}", layer.prefix, layer.conv.name), before.conv.out_channels);
        let dx = self.pooled(format!("{label} input gradient"), self.elements(before.height, before.width, channels));
        let chunks = layer.shape.input_chunks();
        let count = batch_norm::partial_elements(chunks, channels);
        let partials = self.pooled(format!("{label} input gradient sums"), count);
        let reads = [Operand::Unused, Operand::Unused, before.output.into(), before.norm.into()];
        self.push_input_gradient(list, layer, dy, InputGradientEpilogue::Rectify, reads, [dx.into(), partials.into()]);
        Incoming::Summed { dy: dx, partials, chunks }
    }

    fn push_input_gradient(
        &self,
        list: &mut Vec<Template>,
        layer: &ConvNorm<'_>,
        dy: ValueId,
        epilogue: InputGradientEpilogue,
        others: [Operand; 4],
        writes: [Operand; 2],
    ) {
        let label = format!("{}{}", layer.prefix, layer.conv.name);
        let weight = self.parameter(&label, ".weight");
        let kernel = conv::InputGradient::new(&layer.shape, epilogue);
        let reads = [dy.into(), weight.into()].into_iter().chain(others);
        push(list, format!("{label} input gradient"), kernel, reads, writes);
    }
}
