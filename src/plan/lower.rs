//! Lowering: from the description of a net to the templates of its plan.

use std::collections::HashMap;

use super::{
    BlockPlan, BranchScale, DroppedOutput, Interface, Operand, Optimizer, ParameterValue, Place, Plan, PlanError,
    PlanOptions, Runs, Segment, Template, TrainingOptions, Value, memory,
};
use crate::dispatch::{Kernel, Storage, ValueId};
use crate::kernels::conv::Addend;
use crate::kernels::update::{GRANULE, control_words};
use crate::kernels::{
    adam, batch_norm, conv, dropout, finite, gather, linear, pool, relu, sgd, shared, shortcut, softmax_cross_entropy,
};
use crate::model::resnet::{Conv, ResNet, Shortcut};

impl Plan {
    /// Lowers `net` for the batch sizes and the device in `options`.
    ///
    /// Errors if the images are too small for the net, if a batch norm would see one value a channel, or if a value
    /// exceeds what the device can bind.
    pub fn new(net: &ResNet, options: &PlanOptions) -> Result<Self, PlanError> {
        let mut plan = build(net, options).map_err(|error| match error {
            PlanError::TooLarge { what, needed_words, limit_words, .. } => {
                let largest_batch = largest_batch(net, options);
                PlanError::TooLarge { what, needed_words, limit_words, largest_batch }
            }
            error => error,
        })?;
        memory::assign(&mut plan);
        Ok(plan)
    }
}

/// The plan without its memory, if every value fits the device's limits.
fn build(net: &ResNet, options: &PlanOptions) -> Result<Plan, PlanError> {
    let plan = Builder::new(net, options).build()?;
    let limit_words = limit_words(options);
    match plan.values.iter().filter(|value| value.words > limit_words).max_by_key(|value| value.words) {
        Some(value) => Err(too_large(&value.name, value.words, limit_words)),
        None => Ok(plan),
    }
}

fn limit_words(options: &PlanOptions) -> usize {
    options.limits.binding_words.min(options.limits.buffer_words)
}

fn too_large(what: &str, needed_words: usize, limit_words: usize) -> PlanError {
    PlanError::TooLarge { what: what.to_string(), needed_words, limit_words, largest_batch: None }
}

/// The largest batch size for which every value fits the device's limits.
fn largest_batch(net: &ResNet, options: &PlanOptions) -> Option<u32> {
    let fits = |batch: u32| {
        let mut options = options.clone();
        options.eval_batch = options.eval_batch.min(batch);
        if let Some(training) = &mut options.training {
            training.batch = batch;
        }
        build(net, &options).is_ok()
    };
    let asked = options.training.as_ref().map_or(options.eval_batch, |training| training.batch.max(options.eval_batch));
    let (mut low, mut high) = (0, asked);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    (low > 0).then_some(low)
}

/// An activation on its way through the net.
#[derive(Clone, Copy)]
struct Activation {
    operand: Operand,
    height: u32,
    width: u32,
    channels: u32,
    non_negative: bool,
}

/// A convolution and its batch norm, lowered forward.
struct ConvNorm<'a> {
    conv: &'a Conv,
    prefix: String,
    shape: conv::Shape,
    input: Operand,
    /// The convolution's output.
    output: ValueId,
    /// Mean and 1 / deviation of each channel.
    statistics: ValueId,
    height: u32,
    width: u32,
    pixels: u32,
}

impl ConvNorm<'_> {
    fn activation(&self, operand: impl Into<Operand>, non_negative: bool) -> Activation {
        let channels = self.conv.out_channels;
        Activation { operand: operand.into(), height: self.height, width: self.width, channels, non_negative }
    }
}

/// Whether the lists being made are a training step's or an evaluation's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Training,
    Inference,
}

struct Builder<'a> {
    net: &'a ResNet,
    options: &'a PlanOptions,
    values: Vec<Value>,
    parameters: HashMap<String, ParameterValue>,
    parameter_list: Vec<ParameterValue>,
    group_tables: Vec<(ValueId, Vec<u32>)>,
    moments: Vec<ValueId>,
    update: Vec<Template>,
    mode: Mode,
    batch: u32,
}

/// A flat buffer being filled with parameters, each on its own granules.
struct Chunk {
    values: ValueId,
    gradients: Option<ValueId>,
    words: usize,
    groups: Vec<u32>,
}

impl<'a> Builder<'a> {
    fn new(net: &'a ResNet, options: &'a PlanOptions) -> Self {
        Self {
            net,
            options,
            values: Vec::new(),
            parameters: HashMap::new(),
            parameter_list: Vec::new(),
            group_tables: Vec::new(),
            moments: Vec::new(),
            update: Vec::new(),
            mode: Mode::Training,
            batch: options.training.as_ref().map_or(0, |training| training.batch),
        }
    }

    fn build(mut self) -> Result<Plan, PlanError> {
        let interface = self.interface();
        self.allocate_parameters(&interface);
        let mut blocks = Vec::new();
        let mut segments = Vec::new();
        let mut stem_output = interface.logits;
        let mut gradient_buffers = Vec::new();
        if let Some(training) = &self.options.training {
            self.mode = Mode::Training;
            let (stem, trunk) = self.stem(interface.indices, &interface)?;
            if let Operand::Value(value) = trunk.operand {
                stem_output = value;
            }
            segments.push(stem);
            let mut trunk = Activation { operand: Operand::Trunk(0), ..trunk };
            gradient_buffers.push(self.gradient_buffers(0, trunk));
            for index in 0..self.net.blocks.len() {
                let (block, output) = self.block(index, trunk, &mut segments)?;
                trunk = Activation { operand: Operand::Trunk(index + 1), ..output };
                gradient_buffers.push(match self.net.blocks[index].shortcut {
                    Shortcut::Identity => gradient_buffers[index],
                    _ => self.gradient_buffers(index + 1, trunk),
                });
                blocks.push(block);
            }
            segments.push(self.head(trunk, &interface, training));
        }
        self.mode = Mode::Inference;
        self.batch = self.options.eval_batch;
        let inference = self.inference(&interface)?;
        Ok(Plan {
            values: self.values,
            storage: Storage::default(),
            segments,
            update: self.update,
            inference,
            blocks,
            parameters: self.parameter_list,
            interface,
            group_tables: self.group_tables,
            moments: self.moments,
            survival: self.options.survival.clone(),
            stem_output,
            gradient_buffers,
            lifetimes: Vec::new(),
        })
    }

    fn value(&mut self, name: impl Into<String>, words: usize, place: Place) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        self.values.push(Value { name: name.into(), words, place, non_negative: false });
        id
    }

    fn pooled(&mut self, name: impl Into<String>, words: usize) -> ValueId {
        let name = name.into();
        let name = if self.mode == Mode::Inference { format!("{name} (inference)") } else { name };
        self.value(name, words, Place::Pooled)
    }

    fn parameter(&self, prefix: &str, name: &str) -> ValueId {
        self.parameters[&format!("{prefix}{name}")].value
    }

    /// The gradient of a parameter, or the batch's share in a running statistic.
    fn gradient(&self, prefix: &str, name: &str) -> ValueId {
        let parameter = &self.parameters[&format!("{prefix}{name}")];
        parameter.gradient.unwrap_or(parameter.value)
    }

    fn interface(&mut self) -> Interface {
        let data = self.options.data;
        let batch = self.batch as usize;
        let eval_batch = self.options.eval_batch as usize;
        let image_bytes = (data.height * data.width * self.net.in_channels) as usize;
        let classes = self.net.classes as usize;
        let (channels, groups) = (self.net.in_channels as usize, self.net.blocks.len() + 1);
        let mut own = |name: &str, words: usize| self.value(name, words.max(1), Place::Own);
        Interface {
            images: [
                own("training images", (data.train * image_bytes).div_ceil(4)),
                own("test images", (data.test * image_bytes).div_ceil(4)),
            ],
            labels: [own("training labels", data.train), own("test labels", data.test)],
            normalization: own("normalization", 2 * channels),
            indices: own("batch indices", batch),
            eval_indices: own("evaluation indices", eval_batch),
            control: own("control", control_words(groups)),
            report: own("report", 4),
            logits: own("logits", batch * classes),
            eval_logits: own("evaluation logits", eval_batch * classes),
        }
    }

    /// Lays parameters, gradients and running statistics out in flat buffers, and makes the updates of each buffer.
    fn allocate_parameters(&mut self, interface: &Interface) {
        let parameters = self.net.parameters();
        let (mut checks, mut updates) = (Vec::new(), Vec::new());
        for trained in [true, false] {
            let what = if trained { "parameters" } else { "running statistics" };
            let derived = if trained { "gradients" } else { "batch statistics" };
            let mut chunk: Option<Chunk> = None;
            let limit = limit_words(self.options);
            let mut chunks = Vec::new();
            for parameter in parameters.iter().filter(|parameter| parameter.kind.is_trained() == trained) {
                let elements = parameter.kind.elements();
                let words = elements.next_multiple_of(GRANULE);
                if let Some(full) = chunk.take_if(|chunk| chunk.words + words > limit) {
                    chunks.push(full);
                }
                if chunk.is_none() {
                    chunk = Some(self.open_chunk(what, derived));
                }
                let Some(chunk) = &mut chunk else { continue };
                let offset = chunk.words;
                chunk.words += words;
                chunk.groups.extend(std::iter::repeat_n(parameter.block.map_or(0, |b| b as u32 + 1), words / GRANULE));
                let (values, gradients) = (chunk.values, chunk.gradients);
                let value = self.value(&parameter.name, elements, Place::Part { of: values, offset });
                let gradient = gradients.map(|of| {
                    let name = format!("{} {}", parameter.name, if trained { "gradient" } else { "of the batch" });
                    self.value(name, elements, Place::Part { of, offset })
                });
                let planned = ParameterValue { parameter: parameter.clone(), value, gradient };
                self.parameters.insert(parameter.name.clone(), planned);
            }
            chunks.extend(chunk);
            for chunk in chunks {
                self.close_chunk(chunk, trained, interface, &mut checks, &mut updates);
            }
        }
        // `take` in file order; the map is for lowering only.
        self.parameter_list = parameters.iter().map(|parameter| self.parameters[&parameter.name].clone()).collect();
        // Every check comes before every update, so that nothing moves if anything is not finite.
        self.update = checks;
        self.update.extend(updates);
    }

    fn open_chunk(&mut self, what: &str, derived: &str) -> Chunk {
        let values = self.value(what, 0, Place::Own);
        let gradients = self.options.training.is_some().then(|| self.value(derived, 0, Place::Own));
        Chunk { values, gradients, words: 0, groups: Vec::new() }
    }

    fn close_chunk(
        &mut self,
        chunk: Chunk,
        trained: bool,
        interface: &Interface,
        checks: &mut Vec<Template>,
        updates: &mut Vec<Template>,
    ) {
        let Chunk { values, gradients, words, groups } = chunk;
        self.values[values.index()].words = words;
        let (Some(gradients), Some(training)) = (gradients, &self.options.training) else { return };
        self.values[gradients.index()].words = words;
        let name = self.values[values.index()].name.clone();
        let table = self.value(format!("groups of the {name}"), groups.len(), Place::Own);
        self.group_tables.push((table, groups));
        let check = finite::Finite::new(words as u32);
        push(checks, format!("finite {}", self.values[gradients.index()].name), check, [gradients], [interface.report]);
        let reads = [gradients, table, interface.control, interface.report];
        if !trained {
            let commit = batch_norm::Commit::new(words as u32, self.net.norm.momentum);
            push(updates, "commit running statistics", commit, reads, [values]);
            return;
        }
        let moment = |builder: &mut Self, name: &str| {
            let moment = builder.value(name, words, Place::Own);
            builder.moments.push(moment);
            moment
        };
        match training.optimizer {
            Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
                let first = moment(self, "adam first moment");
                let second = moment(self, "adam second moment");
                let adam = adam::Adam::new(words as u32, beta1, beta2, epsilon, weight_decay);
                push(updates, "adam", adam, reads, [values, first, second]);
            }
            Optimizer::Sgd { momentum, nesterov, weight_decay } => {
                let buffer = moment(self, "sgd momentum");
                let sgd = sgd::Sgd::new(words as u32, momentum, nesterov, weight_decay);
                push(updates, "sgd", sgd, reads, [values, buffer]);
            }
        }
    }

    /// The two buffers for the gradient of `trunk`, the input of block `index`; one, twice, where no identity block
    /// needs a second.
    fn gradient_buffers(&mut self, index: usize, trunk: Activation) -> [ValueId; 2] {
        let words = self.words(trunk.height, trunk.width, trunk.channels);
        let first = self.pooled(format!("trunk gradient {index} a"), words);
        let alternates = matches!(self.net.blocks.get(index).map(|block| &block.shortcut), Some(Shortcut::Identity));
        let second = if alternates { self.pooled(format!("trunk gradient {index} b"), words) } else { first };
        [first, second]
    }

    fn words(&self, height: u32, width: u32, channels: u32) -> usize {
        self.batch as usize * height as usize * width as usize * channels as usize
    }

    /// Refuses a tensor whose elements a u32 can't count, before any kernel is given its size.
    fn check_size(&self, what: &str, height: u32, width: u32, channels: u32) -> Result<(), PlanError> {
        let (words, limit) = (self.words(height, width, channels), limit_words(self.options).min(i32::MAX as usize));
        if words > limit { Err(too_large(what, words, limit)) } else { Ok(()) }
    }

    fn too_small(&self, layer: &str) -> PlanError {
        let (height, width) = (self.options.data.height, self.options.data.width);
        PlanError::ImageTooSmall { arch: self.net.name.clone(), height, width, layer: layer.to_string() }
    }

    /// Convolution, and the statistics that its norm needs: of the batch in training, running in inference.
    fn conv_norm<'c>(
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

    fn norm_operands(&self, layer: &ConvNorm<'_>) -> [ValueId; 4] {
        let norm = format!("{}{}", layer.prefix, layer.conv.norm);
        [layer.output, layer.statistics, self.parameter(&norm, ".weight"), self.parameter(&norm, ".bias")]
    }

    /// Normalises a convolution's output, with or without ReLU.
    fn apply(&mut self, list: &mut Vec<Template>, layer: &ConvNorm<'_>, relu: bool) -> Activation {
        let (name, channels) = (format!("{}{}", layer.prefix, layer.conv.norm), layer.conv.out_channels);
        let output = self.pooled(format!("{name} output"), self.words(layer.height, layer.width, channels));
        self.values[output.index()].non_negative = relu;
        let kernel = batch_norm::Apply::new(layer.pixels, channels, relu);
        push(list, format!("{name} apply"), kernel, self.norm_operands(layer), [output]);
        layer.activation(output, relu)
    }

    /// Backward through a norm (with the ReLU behind it, whose output is `mask`) and the gradient of its convolution's
    /// weights. Returns the gradient of the convolution's output.
    fn norm_backward(
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

    /// The gradient of a convolution's input, from that of its output, plus what comes another way.
    fn input_gradient(
        &mut self,
        list: &mut Vec<Template>,
        layer: &ConvNorm<'_>,
        dy: ValueId,
        addend: (Addend, Operand, Operand),
        target: Operand,
    ) {
        let label = format!("{}{}", layer.prefix, layer.conv.name);
        let weight = self.parameter(&label, ".weight");
        let (kind, addend, mask) = addend;
        let kernel = conv::InputGradient::new(&layer.shape, kind);
        push(list, format!("{label} input gradient"), kernel, [dy.into(), weight.into(), addend, mask], [target]);
    }

    /// Gather, stem convolution, norm, ReLU and max pool.
    fn stem(&mut self, indices: ValueId, interface: &Interface) -> Result<(Segment, Activation), PlanError> {
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

    /// The factor of block `index`'s branch.
    fn scale(&self, index: usize) -> f32 {
        let survival = self.options.survival[index];
        match (self.options.branch_scale, self.mode) {
            (BranchScale::Eval, Mode::Inference) => survival as f32,
            (BranchScale::Train, Mode::Training) => (1.0 / survival) as f32,
            _ => 1.0,
        }
    }

    /// Convolutions of a block's branch up to the last norm's statistics. Returns them with the outputs of the ReLUs
    /// between them.
    fn branch(
        &mut self,
        list: &mut Vec<Template>,
        index: usize,
        input: Activation,
    ) -> Result<(Vec<ConvNorm<'a>>, Vec<Activation>), PlanError> {
        let net = self.net;
        let prefix = format!("{}.", net.blocks[index].name);
        let (mut layers, mut between) = (Vec::new(), Vec::new());
        let mut current = input;
        for (place, conv) in net.blocks[index].branch.iter().enumerate() {
            let layer = self.conv_norm(list, &prefix, conv, current)?;
            if place + 1 < net.blocks[index].branch.len() {
                current = self.apply(list, &layer, true);
                between.push(current);
            }
            layers.push(layer);
        }
        Ok((layers, between))
    }

    /// The shortcut's output, and the projection, if it has one.
    fn shortcut(
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
            Shortcut::PoolAndPad => {
                let (height, width) = (input.height.div_ceil(2), input.width.div_ceil(2));
                let channels = block.out_channels();
                let output =
                    self.pooled(format!("{} shortcut output", block.name), self.words(height, width, channels));
                self.values[output.index()].non_negative = input.non_negative;
                let kernel = shortcut::Forward::new(self.batch, input.height, input.width, input.channels, channels);
                push(list, format!("{} shortcut forward", block.name), kernel, [input.operand], [output]);
                let non_negative = input.non_negative;
                Ok((Activation { operand: output.into(), height, width, channels, non_negative }, None))
            }
            Shortcut::Projection(conv) => {
                let layer = self.conv_norm(list, &prefix, conv, input)?;
                Ok((self.apply(list, &layer, false), Some(layer)))
            }
        }
    }

    /// `ReLU(scale * norm(branch) + shortcut)`.
    fn sum(&mut self, list: &mut Vec<Template>, index: usize, last: &ConvNorm<'_>, shortcut: Activation) -> ValueId {
        let name = &self.net.blocks[index].name;
        let channels = last.conv.out_channels;
        let output = self.pooled(format!("{name} output"), self.words(last.height, last.width, channels));
        self.values[output.index()].non_negative = true;
        let kernel = batch_norm::Residual::new(last.pixels, channels, self.scale(index));
        let reads: Vec<Operand> =
            self.norm_operands(last).map(Operand::from).into_iter().chain([shortcut.operand]).collect();
        push(list, format!("{name} sum"), kernel, reads, [output]);
        output
    }

    /// Lowers a residual block for training into its segments.
    fn block(
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
        let mut branch = segment("branch", Runs::Kept(index));
        let mut around = segment("shortcut", Runs::Always);
        let mut sum = segment("sum", Runs::Kept(index));
        let mut bypass = segment("bypass", Runs::Dropped(index));

        let (layers, between) = self.branch(&mut branch.forward, index, input)?;
        let last = &layers[layers.len() - 1];
        let (shortcut, projection) = self.shortcut(&mut around.forward, index, input)?;
        let output = self.sum(&mut sum.forward, index, last, shortcut);

        let (gradient, trunk_output) = (Operand::TrunkGradient(index + 1), Operand::Trunk(index + 1));
        let target = Operand::TrunkGradient(index);
        let shortcut_gradient = match &self.net.blocks[index].shortcut {
            Shortcut::Identity => None,
            _ => Some(
                self.pooled(format!("{name} shortcut gradient"), self.words(input.height, input.width, input.channels)),
            ),
        };
        match (shortcut_gradient, &projection) {
            (None, _) => {}
            (Some(to), None) => {
                let channels = last.conv.out_channels;
                let kernel = shortcut::Backward::new(self.batch, input.height, input.width, input.channels, channels);
                let label = format!("{name} shortcut backward");
                push(&mut around.backward, label, kernel, [gradient, trunk_output], [to]);
            }
            (Some(to), Some(layer)) => {
                let dz = self.norm_backward(&mut around.backward, layer, gradient, trunk_output, 1.0);
                self.input_gradient(&mut around.backward, layer, dz, (Addend::None, dz.into(), dz.into()), to.into());
            }
        }

        let mut dy = gradient;
        let mut mask = Operand::Value(output);
        let mut scale = self.scale(index);
        for (place, layer) in layers.iter().enumerate().rev() {
            let dz = self.norm_backward(&mut branch.backward, layer, dy, mask, scale);
            scale = 1.0;
            if place > 0 {
                let words = self.words(between[place - 1].height, between[place - 1].width, layer.conv.in_channels);
                let dx = self.pooled(format!("{name}.{} input gradient", layer.conv.name), words);
                let none = (Addend::None, dz.into(), dz.into());
                self.input_gradient(&mut branch.backward, layer, dz, none, dx.into());
                (dy, mask) = (dx.into(), between[place - 1].operand);
            } else {
                // What comes through the shortcut is added where the branch's gradient is written.
                let addend = match shortcut_gradient {
                    None => (Addend::Masked, gradient, Operand::Value(output)),
                    Some(shortcut) => (Addend::Plain, shortcut.into(), dz.into()),
                };
                self.input_gradient(&mut branch.backward, layer, dz, addend, target);
            }
        }

        let dropped_output = match (shortcut.non_negative, shortcut.operand) {
            (true, Operand::Value(value)) => DroppedOutput::Shortcut(value),
            (true, _) => DroppedOutput::Input,
            (false, operand) => {
                let elements = last.pixels * last.conv.out_channels;
                push(&mut bypass.forward, format!("{name} relu"), relu::Relu::new(elements), [operand], [output]);
                DroppedOutput::Rectified
            }
        };
        let parts = [branch, around, sum, bypass];
        segments.extend(parts.into_iter().filter(|part| !part.forward.is_empty() || !part.backward.is_empty()));
        Ok((BlockPlan { output, dropped_output, shortcut_gradient }, last.activation(output, true)))
    }

    /// Average pool, dropout, linear layer and loss.
    fn head(&mut self, trunk: Activation, interface: &Interface, training: &TrainingOptions) -> Segment {
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

    /// One evaluation batch: every block, scaled by its rule; no dropout; running statistics.
    fn inference(&mut self, interface: &Interface) -> Result<Vec<Template>, PlanError> {
        let (stem, mut trunk) = self.stem(interface.eval_indices, interface)?;
        let mut list = stem.forward;
        for index in 0..self.net.blocks.len() {
            let (layers, _) = self.branch(&mut list, index, trunk)?;
            let last = &layers[layers.len() - 1];
            let (shortcut, _) = self.shortcut(&mut list, index, trunk)?;
            let output = self.sum(&mut list, index, last, shortcut);
            trunk = last.activation(output, true);
        }
        let (batch, features, classes) = (self.batch, self.net.features(), self.net.classes);
        let pooled = self.pooled("features", (batch * features) as usize);
        let kernel = pool::GlobalForward::new(batch, trunk.height * trunk.width, features);
        push(&mut list, "average pool forward", kernel, [trunk.operand], [pooled]);
        let (weight, bias) = (self.parameter("fc", ".weight"), self.parameter("fc", ".bias"));
        let kernel = linear::Forward::new(batch, features, classes);
        push(&mut list, "fc forward", kernel, [pooled, weight, bias], [interface.eval_logits]);
        let dlogits = self.pooled("logits gradient", (batch * classes) as usize);
        let loss = softmax_cross_entropy::SoftmaxCrossEntropy::new(batch, classes, 0.0);
        let reads =
            [interface.eval_logits.into(), Operand::Labels, interface.eval_indices.into(), interface.control.into()];
        push(&mut list, "loss", loss, reads, [dlogits, interface.report]);
        Ok(list)
    }
}

fn push<R: Into<Operand>, W: Into<Operand>>(
    list: &mut Vec<Template>,
    label: impl Into<String>,
    kernel: impl Kernel + 'static,
    reads: impl IntoIterator<Item = R>,
    writes: impl IntoIterator<Item = W>,
) {
    list.push(Template {
        label: label.into().into(),
        kernel: shared(kernel),
        reads: reads.into_iter().map(Into::into).collect(),
        writes: writes.into_iter().map(Into::into).collect(),
    });
}
