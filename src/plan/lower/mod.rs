//! Lowering: from the description of a net to the templates of its plan.

use std::collections::HashMap;

use super::{
    Allocation, Interface, Mend, Operand, ParameterValue, Plan, PlanError, PlanOptions, Systematic, Template, Value,
    memory,
};
use crate::dispatch::{Element, Kernel, SharedKernel, Storage, ValueId, bytes_of};
use crate::kernels::conv::ForwardEpilogue;
use crate::model::resnet::{ResNet, Shortcut};
use crate::protocol::{CONTROL_ELEMENT, REPORT_ELEMENT, REPORT_WORDS, control_words};

mod blocks;
mod layers;
mod parameters;
mod stem_and_head;

use layers::Activation;

/// Bytes of images that a u32 holds.
const BYTES_IN_WORD: usize = 4;

impl Plan {
    /// Lowers `net` for the batch sizes and the device in `options`.
    ///
    /// Errors if the images are too small for the net, if a batch norm would see one value a channel, or if a value
    /// exceeds what the device can bind.
    pub fn new(net: &ResNet, options: &PlanOptions) -> Result<Self, PlanError> {
        build(net, options).map_err(|mut error| {
            if let PlanError::TooLarge { mend, .. } | PlanError::OutOfMemory { mend, .. } = &mut error {
                *mend = find_mend(net, options);
            }
            error
        })
    }
}

/// The plan, if it fits the device's limits; does not look for a batch size that would.
fn build(net: &ResNet, options: &PlanOptions) -> Result<Plan, PlanError> {
    let mut plan = Builder::new(net, options).build()?;
    let limit = limit_bytes(options);
    if let Some(value) = plan.values.iter().filter(|value| value.bytes() > limit).max_by_key(|value| value.bytes()) {
        return Err(too_large(&value.name, value.bytes(), limit));
    }
    memory::assign(&mut plan);
    let (needed_bytes, total_bytes) = (plan.storage.bytes(), options.limits.total_bytes);
    if needed_bytes > total_bytes {
        let arch = net.name.clone();
        return Err(PlanError::OutOfMemory { arch, needed_bytes, total_bytes, mend: None });
    }
    Ok(plan)
}

/// Returns the bytes of the largest value that the device can hold.
fn limit_bytes(options: &PlanOptions) -> u64 {
    options.limits.binding_bytes.min(options.limits.buffer_bytes)
}

fn too_large(what: &str, needed_bytes: u64, limit_bytes: u64) -> PlanError {
    PlanError::TooLarge { what: what.to_string(), needed_bytes, limit_bytes, mend: None }
}

/// The largest batch sizes for which the plan fits the device's limits: of the training batch first, as if evaluation
/// cost nothing, then of the evaluation batch beside it.
fn find_mend(net: &ResNet, options: &PlanOptions) -> Option<Mend> {
    let with = |batch: Option<u32>, eval_batch: u32| {
        let mut options = options.clone();
        options.eval_batch = eval_batch;
        if let (Some(training), Some(batch)) = (&mut options.training, batch) {
            training.batch = batch;
        }
        build(net, &options).is_ok()
    };
    let batch_size = match &options.training {
        Some(training) => Some(largest(training.batch, |batch| with(Some(batch), 1))?),
        None => None,
    };
    let eval_batch = largest(options.eval_batch, |eval_batch| with(batch_size, eval_batch))?;
    let changed = |found: u32, asked: u32| (found < asked).then_some(found);
    Some(Mend {
        batch_size: options.training.as_ref().and_then(|training| changed(batch_size?, training.batch)),
        eval_batch: changed(eval_batch, options.eval_batch),
    })
}

/// The largest number up to `most` that `fits`, if 1 does or `most` itself.
fn largest(most: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
    if fits(most) {
        return Some(most);
    }
    let (mut low, mut high) = (0, most);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    (low > 0).then_some(low)
}

/// Whether the lists being made are a training step's, a recalibration's or an evaluation's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Training,
    /// With a training step's batch and its statistics, and the blocks of an evaluation.
    Recalibration,
    Inference,
}

struct Builder<'a> {
    net: &'a ResNet,
    options: &'a PlanOptions,
    values: Vec<Value>,
    parameters: HashMap<String, ParameterValue>,
    parameter_list: Vec<ParameterValue>,
    group_tables: Vec<(ValueId, Vec<u32>)>,
    update: Vec<Template>,
    mode: Mode,
    batch: u32,
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
        let mut stem_output = None;
        let mut gradient_buffers = Vec::new();
        let mut recalibration = Vec::new();
        if let Some(training) = &self.options.training {
            self.mode = Mode::Training;
            let (stem, output, trunk) = self.stem(interface.indices, &interface)?;
            stem_output = Some(output);
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
            let logits = self.pooled("logits", self.batch as usize * self.net.classes as usize);
            segments.push(self.head(trunk, interface.indices, logits, &interface));
            if training.recalibration {
                self.mode = Mode::Recalibration;
                recalibration = self.recalibration(&interface)?;
            }
        }
        self.mode = Mode::Inference;
        self.batch = self.options.eval_batch;
        let inference = self.inference(&interface)?;
        let stages: Vec<usize> = self.net.blocks.iter().map(|block| block.stage).collect();
        Ok(Plan {
            values: self.values,
            storage: Storage::default(),
            segments,
            update: self.update,
            recalibration,
            inference,
            blocks,
            parameters: self.parameter_list,
            interface,
            group_tables: self.group_tables,
            data: self.options.data,
            eval_batch: self.options.eval_batch,
            records_gradients: self.options.training.as_ref().is_some_and(|training| training.record_gradients),
            survival: self.options.survival.clone(),
            systematic: Systematic::new(&self.options.survival, &stages),
            stem_output,
            gradient_buffers,
            lifetimes: Vec::new(),
        })
    }

    fn value(&mut self, name: impl Into<String>, element: Element, count: usize, allocation: Allocation) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        self.values.push(Value { name: name.into(), element, count, allocation, non_negative: false });
        id
    }

    /// Makes a pooled value of `count` numbers.
    fn pooled(&mut self, name: impl Into<String>, count: usize) -> ValueId {
        self.pooled_of(Element::F32, name, count)
    }

    fn pooled_of(&mut self, element: Element, name: impl Into<String>, count: usize) -> ValueId {
        let name = name.into();
        let name = match self.mode {
            Mode::Training => name,
            Mode::Recalibration => format!("{name} (recalibration)"),
            Mode::Inference => format!("{name} (inference)"),
        };
        self.value(name, element, count, Allocation::Pooled)
    }

    fn parameter(&self, prefix: &str, name: &str) -> ValueId {
        self.parameters[&format!("{prefix}{name}")].value
    }

    /// The gradient of a parameter, or the batch's share in a running statistic.
    fn gradient(&self, prefix: &str, name: &str) -> ValueId {
        let parameter = &self.parameters[&format!("{prefix}{name}")];
        parameter.gradient.expect("a plan for training has a gradient of each parameter")
    }

    fn interface(&mut self) -> Interface {
        let data = self.options.data;
        let batch = self.batch as usize;
        let eval_batch = self.options.eval_batch as usize;
        let image_bytes = (data.height * data.width * self.net.in_channels) as usize;
        let classes = self.net.classes as usize;
        let (channels, groups) = (self.net.in_channels as usize, self.net.blocks.len() + 1);
        let limit = limit_bytes(self.options);
        let files = [data.train, data.test];
        let packed = |images: usize| (images * image_bytes).div_ceil(BYTES_IN_WORD);
        let streamed = files.map(|images| bytes_of(Element::U32, packed(images).max(images)) > limit);
        // Validation images lie in the training file, and are evaluated in batches of their own size.
        let held = [0, 1].map(|file| if streamed[file] { batch.max(eval_batch) } else { files[file] });
        let mut own = |name: &str, element, count: usize| self.value(name, element, count.max(1), Allocation::Own);
        Interface {
            images: [
                own("training images", Element::U32, packed(held[0])),
                own("test images", Element::U32, packed(held[1])),
            ],
            labels: [own("training labels", Element::U32, held[0]), own("test labels", Element::U32, held[1])],
            streamed,
            normalization: own("normalization", Element::F32, 2 * channels),
            indices: own("batch indices", Element::U32, batch),
            eval_indices: own("evaluation indices", Element::U32, eval_batch),
            control: own("control", CONTROL_ELEMENT, control_words(groups)),
            report: own("report", REPORT_ELEMENT, REPORT_WORDS),
            eval_logits: own("evaluation logits", Element::F32, eval_batch * classes),
        }
    }

    /// Returns the elements of a batch's map.
    fn elements(&self, height: u32, width: u32, channels: u32) -> usize {
        self.batch as usize * height as usize * width as usize * channels as usize
    }

    /// Refuses a tensor whose elements a u32 can't count, before any kernel is given its size.
    fn check_size(&self, what: &str, height: u32, width: u32, channels: u32) -> Result<(), PlanError> {
        let needed = bytes_of(Element::F32, self.elements(height, width, channels));
        let limit = limit_bytes(self.options).min(bytes_of(Element::F32, i32::MAX as usize));
        if needed > limit { Err(too_large(what, needed, limit)) } else { Ok(()) }
    }

    fn too_small(&self, layer: &str) -> PlanError {
        let (height, width) = (self.options.data.height, self.options.data.width);
        PlanError::ImageTooSmall { arch: self.net.name.clone(), height, width, layer: layer.to_string() }
    }

    /// The statistics of every norm on a training batch: every block, scaled by its rule, by the batch's statistics.
    fn recalibration(&mut self, interface: &Interface) -> Result<Vec<Template>, PlanError> {
        let (net, mut list) = (self.net, Vec::new());
        let images = self.images(&mut list, interface.indices, interface)?;
        let stem = self.conv_norm(&mut list, "", &net.stem, images)?;
        let mut trunk = stem.activation(self.apply(&mut list, &stem, true), true);
        if net.stem_pool {
            (trunk, ..) = self.max_pool(&mut list, trunk);
        }
        for index in 0..net.blocks.len() {
            let layers = self.branch(&mut list, index, trunk)?;
            let (shortcut, _) = self.shortcut(&mut list, index, trunk)?;
            let last = &layers[layers.len() - 1];
            trunk = last.activation(self.sum(&mut list, index, last, shortcut), true);
        }
        Ok(list)
    }

    /// One evaluation batch: every block, scaled by its rule; no dropout; running statistics.
    fn inference(&mut self, interface: &Interface) -> Result<Vec<Template>, PlanError> {
        let (net, mut list) = (self.net, Vec::new());
        let images = self.images(&mut list, interface.eval_indices, interface)?;
        let mut trunk = self.inference_conv(
            &mut list,
            "",
            &net.stem,
            images,
            (ForwardEpilogue::NormalizeRectify, None),
            &net.stem.norm,
        )?;
        if net.stem_pool {
            (trunk, ..) = self.max_pool(&mut list, trunk);
        }
        for index in 0..net.blocks.len() {
            trunk = self.inference_block(&mut list, index, trunk)?;
        }
        list.extend(self.head(trunk, interface.eval_indices, interface.eval_logits, interface).forward);
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
    let template = Template {
        label: label.into().into(),
        kernel: SharedKernel::new(kernel),
        reads: reads.into_iter().map(Into::into).collect(),
        writes: writes.into_iter().map(Into::into).collect(),
    };
    let is_used = |operand: &Operand| *operand != Operand::Unused;
    let used = template.reads.iter().chain(&template.writes).map(is_used);
    debug_assert!(
        used.enumerate().all(|(binding, used)| used == template.kernel.uses(binding)),
        "{} has an operand for each binding that its kernel uses, and for no other",
        template.label
    );
    list.push(template);
}
