//! What stands before the residual blocks and behind them.

use super::layers::Activation;
use super::{Builder, Mode, push};
use crate::dispatch::ValueId;
use crate::kernels::{dropout, gather, linear, pool, softmax_cross_entropy};
use crate::plan::{Interface, Operand, PlanError, Runs, Segment, TrainingOptions};

impl Builder<'_> {
    /// Gather, stem convolution, norm, ReLU and max pool.
    pub(super) fn stem(&mut self, indices: ValueId, interface: &Interface) -> Result<(Segment, Activation), PlanError> {
        let (mut forward, mut backward) = (Vec::new(), Vec::new());
        let (height, width, channels) = (self.options.data.height, self.options.data.width, self.net.in_channels);
        self.check_size("images", height, width, channels)?;
        let images = self.pooled("images", self.words(height, width, channels));
        let kernel = gather::Gather::new(self.batch, height * width, channels);
        let reads = [Operand::Images, indices.into(), interface.normalization.into()];
        push(&mut forward, "gather", kernel, reads, [images]);
        let input = Activation { operand: images.into(), height, width, channels, non_negative: false };
        let layer = self.conv_norm(&mut forward, "", &self.net.stem, input)?;
        let mut output = self.apply(&mut forward, &layer, true);
        let mut gradient = Operand::TrunkGradient(0);
        let rectified = output.operand;
        if self.net.stem_pool {
            let (kernel, stride, padding) = (3, 2, 1);
            let size = |size: u32| (size + 2 * padding - kernel) / stride + 1;
            let (height, width, channels) = (size(layer.height), size(layer.width), layer.conv.out_channels);
            let words = self.words(height, width, channels);
            let pooled = self.pooled("max pool output", words);
            self.values[pooled.index()].non_negative = true;
            let argmax = self.pooled("max pool argmax", words);
            let kernel =
                pool::MaxForward::new(self.batch, layer.height, layer.width, channels, kernel, stride, padding);
            push(&mut forward, "max pool forward", kernel, [rectified], [pooled, argmax]);
            output = Activation { operand: pooled.into(), height, width, channels, non_negative: true };
            if self.mode == Mode::Training {
                let unpooled = self.pooled("stem output gradient", self.words(layer.height, layer.width, channels));
                let kernel =
                    pool::MaxBackward::new(self.batch, layer.height, layer.width, channels, 3, stride, padding);
                push(&mut backward, "max pool backward", kernel, [gradient, argmax.into()], [unpooled]);
                gradient = unpooled.into();
            }
        }
        if self.mode == Mode::Training {
            self.norm_backward(&mut backward, &layer, gradient, rectified, 1.0);
        }
        Ok((Segment { name: "stem".into(), runs: Runs::Always, forward, backward }, output))
    }

    /// Average pool, dropout, linear layer and loss.
    pub(super) fn head(&mut self, trunk: Activation, interface: &Interface, training: &TrainingOptions) -> Segment {
        let (mut forward, mut backward) = (Vec::new(), Vec::new());
        let (batch, features, classes) = (self.batch, self.net.features(), self.net.classes);
        let pixels = trunk.height * trunk.width;
        let words = (batch * features) as usize;
        let pooled = self.pooled("features", words);
        let kernel = pool::GlobalForward::new(batch, pixels, features);
        push(&mut forward, "average pool forward", kernel, [trunk.operand], [pooled]);
        let mut input = pooled;
        let dropout = (self.net.dropout > 0.0).then(|| dropout::Dropout::new(batch * features, self.net.dropout));
        if let Some(kernel) = dropout {
            input = self.pooled("features after dropout", words);
            push(&mut forward, "dropout forward", kernel, [pooled, interface.control], [input]);
        }
        let (weight, bias) = (self.parameter("fc", ".weight"), self.parameter("fc", ".bias"));
        let kernel = linear::Forward::new(batch, features, classes);
        push(&mut forward, "fc forward", kernel, [input, weight, bias], [interface.logits]);
        let dlogits = self.pooled("logits gradient", (batch * classes) as usize);
        let loss = softmax_cross_entropy::SoftmaxCrossEntropy::new(batch, classes, training.label_smoothing);
        let reads = [interface.logits.into(), Operand::Labels, interface.indices.into(), interface.control.into()];
        push(&mut forward, "loss", loss, reads, [dlogits, interface.report]);

        let kernel = linear::WeightGradient::new(batch, features, classes);
        let gradients = [self.gradient("fc", ".weight"), self.gradient("fc", ".bias")];
        push(&mut backward, "fc weight gradient", kernel, [input, dlogits], gradients);
        let mut gradient = self.pooled("features gradient", words);
        let kernel = linear::InputGradient::new(batch, features, classes);
        push(&mut backward, "fc input gradient", kernel, [dlogits, weight], [gradient]);
        if let Some(kernel) = dropout {
            let dropped = self.pooled("features gradient before dropout", words);
            push(&mut backward, "dropout backward", kernel, [gradient, interface.control], [dropped]);
            gradient = dropped;
        }
        let kernel = pool::GlobalBackward::new(batch, pixels, features);
        let target = Operand::TrunkGradient(self.net.blocks.len());
        push(&mut backward, "average pool backward", kernel, [gradient], [target]);
        Segment { name: "head".into(), runs: Runs::Always, forward, backward }
    }
}
