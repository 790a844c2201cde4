//! Residual blocks: branch, shortcut, sum, and what replaces the sum when the block is dropped.

use super::layers::{Activation, ConvNorm, Incoming, Outgoing};
use super::{Builder, Mode, push};
use crate::dispatch::ValueId;
use crate::kernels::conv::ForwardEpilogue;
use crate::kernels::{batch_norm, relu, shortcut};
use crate::model::resnet::{Conv, Shortcut};
use crate::plan::{BlockPlan, BranchScale, DroppedOutput, Operand, PlanError, Runs, Segment, Template};

impl<'a> Builder<'a> {
    /// The two buffers for the gradient of `trunk`, the input of block `index`; one, twice, where no identity block
    /// needs a second.
    pub(super) fn gradient_buffers(&mut self, index: usize, trunk: Activation) -> [ValueId; 2] {
        let count = self.elements(trunk.height, trunk.width, trunk.channels);
        let first = self.pooled(format!("trunk gradient {index} a"), count);
        let alternates = matches!(self.net.blocks.get(index).map(|block| &block.shortcut), Some(Shortcut::Identity));
        let second = if alternates { self.pooled(format!("trunk gradient {index} b"), count) } else { first };
        [first, second]
    }

    /// The factor of block `index`'s branch.
    pub(super) fn scale(&self, index: usize) -> f32 {
        let survival = self.options.survival[index];
        match (self.options.branch_scale, self.mode) {
            (BranchScale::Eval, Mode::Recalibration | Mode::Inference) => survival as f32,
            (BranchScale::Train, Mode::Training) => (1.0 / survival) as f32,
            _ => 1.0,
        }
    }

    /// Convolutions of a block's branch, each reading the one before it through norm and ReLU, up to the last norm.
    pub(super) fn branch(
        &mut self,
        list: &mut Vec<Template>,
        index: usize,
        input: Activation,
    ) -> Result<Vec<ConvNorm<'a>>, PlanError> {
        let net = self.net;
        let prefix = format!("{}.", net.blocks[index].name);
        let mut layers: Vec<ConvNorm<'a>> = Vec::new();
        for conv in &net.blocks[index].branch {
            let input = layers.last().map_or(input, ConvNorm::rectified);
            layers.push(self.conv_norm(list, &prefix, conv, input)?);
        }
        Ok(layers)
    }

    /// The shortcut's output, and the projection, if it has one.
    pub(super) fn shortcut(
        &mut self,
        list: &mut Vec<Template>,
        index: usize,
        input: Activation,
    ) -> Result<(Activation, Option<ConvNorm<'a>>), PlanError> {
        let net = self.net;
        let block = &net.blocks[index];
        let prefix = format!("{}.", block.name);
        match &block.shortcut {
            Shortcut::Identity => Ok((input, None)),
            Shortcut::PoolAndPad => Ok((self.pool_and_pad(list, index, input), None)),
            Shortcut::Projection(conv) => {
                let layer = self.conv_norm(list, &prefix, conv, input)?;
                let output = layer.activation(self.apply(list, &layer, false), false);
                Ok((output, Some(layer)))
            }
        }
    }

    /// The output of the shortcut of block `index`, which has no parameters.
    fn pool_and_pad(&mut self, list: &mut Vec<Template>, index: usize, input: Activation) -> Activation {
        let (net, batch) = (self.net, self.batch);
        let (name, channels) = (&net.blocks[index].name, net.blocks[index].out_channels());
        let (height, width) = (input.height.div_ceil(2), input.width.div_ceil(2));
        let output = self.pooled(format!("{name} shortcut output"), self.elements(height, width, channels));
        self.values[output.index()].non_negative = input.non_negative;
        let kernel = shortcut::Forward::new(batch, input.height, input.width, input.channels, channels);
        push(list, format!("{name} shortcut forward"), kernel, [input.operand], [output]);
        Activation { operand: output.into(), height, width, channels, ..input }
    }

    /// A block in inference. Its last convolution stores the sum, so the shortcut comes first.
    pub(super) fn inference_block(
        &mut self,
        list: &mut Vec<Template>,
        index: usize,
        input: Activation,
    ) -> Result<Activation, PlanError> {
        let net = self.net;
        let block = &net.blocks[index];
        let prefix = format!("{}.", block.name);
        let norm_name = |conv: &Conv| format!("{prefix}{}", conv.norm);
        let shortcut = match &block.shortcut {
            Shortcut::Identity => input,
            Shortcut::PoolAndPad => self.pool_and_pad(list, index, input),
            Shortcut::Projection(conv) => {
                self.inference_conv(list, &prefix, conv, input, (ForwardEpilogue::Normalize, None), &norm_name(conv))?
            }
        };
        let mut output = input;
        for (place, conv) in block.branch.iter().enumerate() {
            output = if place + 1 < block.branch.len() {
                self.inference_conv(
                    list,
                    &prefix,
                    conv,
                    output,
                    (ForwardEpilogue::NormalizeRectify, None),
                    &norm_name(conv),
                )?
            } else {
                let residual = ForwardEpilogue::Residual { scale: self.scale(index) };
                let epilogue = (residual, Some(shortcut.operand));
                self.inference_conv(list, &prefix, conv, output, epilogue, &block.name)?
            };
        }
        Ok(output)
    }

    /// `ReLU(scale * norm(branch) + shortcut)`.
    pub(super) fn sum(
        &mut self,
        list: &mut Vec<Template>,
        index: usize,
        last: &ConvNorm<'_>,
        shortcut: Activation,
    ) -> ValueId {
        let name = &self.net.blocks[index].name;
        let channels = last.conv.out_channels;
        let output = self.pooled(format!("{name} output"), self.elements(last.height, last.width, channels));
        self.values[output.index()].non_negative = true;
        let kernel = batch_norm::Residual { pixels: last.pixels, channels, scale: self.scale(index) };
        let reads = [last.output.into(), last.norm.into(), shortcut.operand];
        push(list, format!("{name} sum"), kernel, reads, [output]);
        output
    }

    /// Lowers a residual block for training into its segments.
    pub(super) fn block(
        &mut self,
        index: usize,
        input: Activation,
        segments: &mut Vec<Segment>,
    ) -> Result<(BlockPlan, Activation), PlanError> {
        let name = self.net.blocks[index].name.clone();
        let segment = |what: &str, runs| Segment {
            name: format!("{name} {what}"),
            runs,
            forward: Vec::new(),
            backward: Vec::new(),
        };
        let mut branch_segment = segment("branch", Runs::Kept(index));
        let mut shortcut_segment = segment("shortcut", Runs::Always);
        let mut sum_segment = segment("sum", Runs::Kept(index));
        let mut bypass_segment = segment("bypass", Runs::Dropped(index));

        let layers = self.branch(&mut branch_segment.forward, index, input)?;
        let last = &layers[layers.len() - 1];
        let (shortcut, projection) = self.shortcut(&mut shortcut_segment.forward, index, input)?;
        let output = self.sum(&mut sum_segment.forward, index, last, shortcut);

        let (gradient, trunk_output) = (Operand::TrunkGradient(index + 1), Operand::Trunk(index + 1));
        let target = Operand::TrunkGradient(index);
        let shortcut_gradient =
            match &self.net.blocks[index].shortcut {
                Shortcut::Identity => None,
                _ => Some(self.pooled(
                    format!("{name} shortcut gradient"),
                    self.elements(input.height, input.width, input.channels),
                )),
            };
        match (shortcut_gradient, &projection) {
            (None, _) => {}
            (Some(to), None) => {
                let channels = last.conv.out_channels;
                let kernel = shortcut::Backward::new(self.batch, input.height, input.width, input.channels, channels);
                let label = format!("{name} shortcut backward");
                push(&mut shortcut_segment.backward, label, kernel, [gradient, trunk_output], [to]);
            }
            (Some(to), Some(layer)) => {
                let incoming = Incoming::BehindRelu { dy: gradient, mask: trunk_output, scale: 1.0 };
                let dz = self.norm_backward(&mut shortcut_segment.backward, layer, incoming);
                self.input_gradient(&mut shortcut_segment.backward, layer, dz, Outgoing::Alone(to.into()));
            }
        }

        let backward = &mut branch_segment.backward;
        let mask = Operand::Value(output);
        let mut incoming = Incoming::BehindRelu { dy: gradient, mask, scale: self.scale(index) };
        for (place, layer) in layers.iter().enumerate().rev() {
            let dz = self.norm_backward(backward, layer, incoming);
            if place > 0 {
                incoming = self.gradient_between(backward, &layers[place - 1], layer, dz);
            } else {
                // What comes through the shortcut is added where the branch's gradient is written.
                let outgoing = match shortcut_gradient {
                    None => Outgoing::PlusMasked(target, gradient, mask),
                    Some(shortcut) => Outgoing::Plus(target, shortcut.into()),
                };
                self.input_gradient(backward, layer, dz, outgoing);
            }
        }

        let dropped_output = match (shortcut.non_negative, shortcut.operand) {
            (true, Operand::Value(value)) => DroppedOutput::Shortcut(value),
            (true, _) => DroppedOutput::Input,
            // Backward, a dropped identity hands its gradient on as it is: right only where no ReLU stands between.
            (false, Operand::Trunk(_)) => unreachable!("the trunk is never negative: every block ends in a ReLU"),
            (false, operand) => {
                let elements = last.pixels * last.conv.out_channels;
                push(&mut bypass_segment.forward, format!("{name} relu"), relu::Relu { elements }, [operand], [output]);
                DroppedOutput::Rectified
            }
        };
        let parts = [branch_segment, shortcut_segment, sum_segment, bypass_segment];
        segments.extend(parts.into_iter().filter(|part| !part.forward.is_empty() || !part.backward.is_empty()));
        Ok((BlockPlan { output, dropped_output, shortcut_gradient }, last.activation(output, true)))
    }
}
