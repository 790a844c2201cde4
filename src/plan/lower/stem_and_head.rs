//! What stands before the residual blocks and behind them.

use super::layers::{Activation, Incoming};
use super::{Builder, Mode, push};
use crate::dispatch::{Element, ValueId};
use crate::kernels::{dropout, gather, linear, pool, softmax_cross_entropy};
use crate::plan::{Interface, Operand, PlanError, Runs, Segment, Template};

/// Kernel, stride and padding of the max pool behind torchvision's stem.
const STEM_POOL: [u32; 3] = [3, 2, 1];

impl Builder<'_> {
    /// The images `indices`, normalised.
    pub(super) fn images(
        &mut self,
        list: &mut Vec<Template>,
        indices: ValueId,
        interface: &Interface,
    ) -> Result<Activation, PlanError> {
        let (height, width, channels) = (self.options.data.height, self.options.data.width, self.net.in_channels);
        self.check_size("images", height, width, channels)?;
        let images = self.pooled("images", self.elements(height, width, channels));
        let kernel = gather::Gather { batch: self.batch, pixels: height * width, channels };
        let reads = [Operand::Images, indices.into(), interface.normalization.into()];
        push(list, "gather", kernel, reads, [images]);
        Ok(Activation { operand: images.into(), height, width, channels, non_negative: false, norm: None })
    }

    /// The max pool of a stem's output, and where its maxima were.
    pub(super) fn max_pool(&mut self, list: &mut Vec<Template>, input: Activation) -> (Activation, ValueId, ValueId) {
        let [kernel, stride, padding] = STEM_POOL;
        let Activation { height, width, channels, .. } = input;
        let pool = pool::MaxForward::new(self.batch, height, width, channels, kernel, stride, padding);
        let [height, width] = pool.out_size();
        let count = self.elements(height, width, channels);
        let output = self.pooled("max pool output", count);
        self.values[output.index()].non_negative = input.non_negative;
        let argmax = self.pooled_of(Element::U32, "max pool argmax", count);
        push(list, "max pool forward", pool, [input.operand], [output, argmax]);
        (Activation { operand: output.into(), height, width, ..input }, output, argmax)
    }

    /// Gather, stem convolution, norm, ReLU and max pool, for training, and the value that they end in.
    pub(super) fn stem(
        &mut self,
        indices: ValueId,
        interface: &Interface,
    ) -> Result<(Segment, ValueId, Activation), PlanError> {
        let (mut forward, mut backward) = (Vec::new(), Vec::new());
        let input = self.images(&mut forward, indices, interface)?;
        let layer = self.conv_norm(&mut forward, "", &self.net.stem, input)?;
        let rectified = self.apply(&mut forward, &layer, true);
        let (mut output, mut trunk) = (rectified, layer.activation(rectified, true));
        let mut gradient = Operand::TrunkGradient(0);
        if self.net.stem_pool {
            let argmax;
            (trunk, output, argmax) = self.max_pool(&mut forward, trunk);
            let channels = layer.conv.out_channels;
            let unpooled = self.pooled("stem output gradient", self.elements(layer.height, layer.width, channels));
            let [kernel, stride, padding] = STEM_POOL;
            let pool = pool::MaxBackward::new(self.batch, layer.height, layer.width, channels, kernel, stride, padding);
            push(&mut backward, "max pool backward", pool, [gradient, argmax.into()], [unpooled]);
            gradient = unpooled.into();
        }
        let incoming = Incoming::BehindRelu { dy: gradient, mask: rectified.into(), scale: 1.0 };
        self.norm_backward(&mut backward, &layer, incoming);
        Ok((Segment { name: "stem".into(), runs: Runs::Always, forward, backward }, output, trunk))
    }

    /// Average pool, dropout, linear layer and loss, of the images `indices`.
    pub(super) fn head(
        &mut self,
        trunk: Activation,
        indices: ValueId,
        logits: ValueId,
        interface: &Interface,
    ) -> Segment {
        let (mut forward, mut backward) = (Vec::new(), Vec::new());
        let (batch, features, classes) = (self.batch, self.net.features(), self.net.classes);
        let pixels = trunk.height * trunk.width;
        let count = (batch * features) as usize;
        let training = self.options.training.as_ref().filter(|_| self.mode == Mode::Training);
        let dropout = training.filter(|_| self.net.dropout > 0.0);
        let dropout = dropout.map(|_| dropout::Dropout::new(batch * features, self.net.dropout));

        let mut input = self.pooled("features", count);
        let kernel = pool::GlobalForward::new(batch, pixels, features);
        push(&mut forward, "average pool forward", kernel, [trunk.operand], [input]);
        if let Some(kernel) = dropout {
            let dropped = self.pooled("features after dropout", count);
            push(&mut forward, "dropout forward", kernel, [input, interface.control], [dropped]);
            input = dropped;
        }
        let (weight, bias) = (self.parameter("fc", ".weight"), self.parameter("fc", ".bias"));
        let kernel = linear::Forward::new(batch, features, classes);
        push(&mut forward, "fc forward", kernel, [input, weight, bias], [logits]);
        let dlogits = self.pooled("logits gradient", (batch * classes) as usize);
        let label_smoothing = training.map_or(0.0, |training| training.label_smoothing);
        let loss = softmax_cross_entropy::SoftmaxCrossEntropy { batch, classes, label_smoothing };
        let reads = [logits.into(), Operand::Labels, indices.into(), interface.control.into()];
        push(&mut forward, "loss", loss, reads, [dlogits, interface.report]);

        if training.is_some() {
            let kernel = linear::WeightGradient::new(batch, features, classes);
            let gradients = [self.gradient("fc", ".weight"), self.gradient("fc", ".bias")];
            push(&mut backward, "fc weight gradient", kernel, [input, dlogits], gradients);
            let mut gradient = self.pooled("features gradient", count);
            let kernel = linear::InputGradient::new(batch, features, classes);
            push(&mut backward, "fc input gradient", kernel, [dlogits, weight], [gradient]);
            if let Some(kernel) = dropout {
                let dropped = self.pooled("features gradient before dropout", count);
                push(&mut backward, "dropout backward", kernel, [gradient, interface.control], [dropped]);
                gradient = dropped;
            }
            let kernel = pool::GlobalBackward::new(batch, pixels, features);
            let target = Operand::TrunkGradient(self.net.blocks.len());
            push(&mut backward, "average pool backward", kernel, [gradient], [target]);
        }
        Segment { name: "head".into(), runs: Runs::Always, forward, backward }
    }
}
