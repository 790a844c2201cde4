//! A net on a device with its data: runs steps, loads and hands back weights. `predict.rs` evaluates it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::data::{DataSet, Images, Sampler};
use crate::device::{Device, DeviceError, DispatchTimes, Ticket};
use crate::dispatch::{Dispatch, ValueId};
use crate::model::weights::{Tensor, Weights};
use crate::plan::{Allocation, Gates, ImageFile, ParameterValue, Plan};
use crate::protocol::{self, REPORT_WORDS};

/// Read-backs that may be under way at once: enough to keep a GPU busy, few enough to bound what waits in its queue.
pub const IN_FLIGHT: usize = 4;

/// A net on a device.
pub struct Engine {
    /// The device.
    pub device: Box<dyn Device>,
    /// The net's plan.
    pub plan: Plan,
    update: Vec<Dispatch>,
    /// The files that do not lie on the device.
    streamed: [Option<Images>; 2],
    /// Labels of both files, as far as the plan knows of them.
    pub(super) labels: [Arc<[u8]>; 2],
}

/// Everything that decides what a training step computes, weights apart.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// From 0; with the seed, the key of the dropout masks.
    pub number: u32,
    /// Seed of the dropout masks.
    pub seed: u64,
    /// Images of the batch, by their place in the training file.
    pub indices: &'a [u32],
    /// Which blocks run.
    pub gates: &'a Gates,
    /// What the update does with each group: see [`UpdateRows`](super::UpdateRows).
    pub rows: &'a [u32],
}

impl<'a> Step<'a> {
    /// The step `step` (from 0) of a run with `seed`, on the batch that `sampler` draws for it.
    pub fn new(step: u64, seed: u64, sampler: &'a mut Sampler, gates: &'a Gates, rows: &'a [u32]) -> Self {
        // Runs are not longer than what 32 bits count.
        Self { number: step as u32, seed, indices: sampler.batch(step), gates, rows }
    }
}

/// When the parts of a step ran, one after the other.
#[derive(Clone, Debug)]
pub struct StepTiming {
    /// When the step began, with its upload.
    pub began: Instant,
    /// Upload of the batch and of what the step needs to know.
    pub upload: Duration,
    /// From gates to the list of dispatches.
    pub schedule: Duration,
    /// The dispatches.
    pub timed: DispatchTimes,
}

/// What a step or an evaluation batch reports.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Sum of the losses.
    pub loss_sum: f64,
    /// Number of correct predictions.
    pub correct: u32,
    /// Number of images.
    pub images: u32,
    /// Nothing that the device checked was NaN or infinite.
    pub finite: bool,
    /// Mean absolute gradient of the first convolution's weights, of the loss alone, if the plan records it; of a step.
    pub first_gradient: Option<f64>,
}

impl StepReport {
    fn new(words: &[u32], records_gradients: bool) -> Self {
        let loss = f32::from_bits(words[protocol::REPORT_LOSS]);
        let first_gradient = f32::from_bits(words[protocol::REPORT_FIRST_GRADIENT]);
        Self {
            loss_sum: f64::from(loss),
            correct: words[protocol::REPORT_CORRECT],
            images: words[protocol::REPORT_IMAGES],
            finite: words[protocol::REPORT_NOT_FINITE] == 0 && loss.is_finite(),
            first_gradient: records_gradients.then_some(first_gradient.into()),
        }
    }
}

impl Engine {
    /// Dispatches of all kernels that `plan` can ever need.
    pub fn dispatches(plan: &Plan) -> Vec<Dispatch> {
        let mut dispatches = plan.schedule_inference(ImageFile::Test);
        if !plan.segments.is_empty() {
            let blocks = plan.blocks.len();
            dispatches.extend(plan.schedule(&Gates::all(blocks)));
            // Bypasses run only for dropped blocks.
            dispatches.extend(plan.schedule(&Gates(vec![false; blocks])));
            dispatches.extend(plan.schedule_update());
            dispatches.extend(plan.schedule_recalibration());
        }
        dispatches
    }

    /// Prepares `device` for `plan`, with `data` on it; the weights are all zero until [`Self::load`].
    pub fn new(mut device: Box<dyn Device>, plan: Plan, data: &DataSet) -> Result<Self, DeviceError> {
        let dispatches = Self::dispatches(&plan);
        device.prepare(&plan.storage, &dispatches.iter().collect::<Vec<_>>())?;
        let interface = &plan.interface;
        let planned = [(plan.data.train, &data.train), (plan.data.test, &data.test)];
        let mut streamed = [None, None];
        for (file, (_, images)) in planned.into_iter().enumerate().filter(|(_, (count, _))| *count > 0) {
            if interface.streamed[file] {
                streamed[file] = Some(images.clone());
                continue;
            }
            device.write(interface.images[file], &images.packed_words())?;
            device.write(interface.labels[file], &images.label_words())?;
        }
        device.write(interface.normalization, bytemuck::cast_slice(&data.normalization()))?;
        for (table, groups) in &plan.group_tables {
            device.write(*table, groups)?;
        }
        let labels = planned.map(|(count, images)| if count > 0 { images.labels.as_slice().into() } else { [].into() });
        Ok(Self { device, update: plan.schedule_update(), plan, streamed, labels })
    }

    /// Images in an evaluation batch.
    pub fn eval_batch(&self) -> usize {
        self.plan.eval_batch as usize
    }

    /// Submits a training step with its update; its report is collected with [`Self::report`].
    pub fn submit(&mut self, step: &Step<'_>) -> Result<Ticket, DeviceError> {
        self.upload(step)?;
        self.device.run(&self.list(step.gates))?;
        self.device.request(self.plan.interface.report)
    }

    /// Like [`Self::submit`], with the same results, but runs the step to its end and tells when its parts ran.
    pub fn submit_timed(&mut self, step: &Step<'_>) -> Result<(Ticket, StepTiming), DeviceError> {
        let began = Instant::now();
        self.upload(step)?;
        let upload = began.elapsed();
        let list = self.list(step.gates);
        let schedule = began.elapsed() - upload;
        let timed = self.device.run_timed(&list)?;
        let ticket = self.device.request(self.plan.interface.report)?;
        Ok((ticket, StepTiming { began, upload, schedule, timed }))
    }

    /// The dispatches of a step, with its update.
    pub fn list(&self, gates: &Gates) -> Vec<Dispatch> {
        let mut list = self.plan.schedule(gates);
        list.extend_from_slice(&self.update);
        list
    }

    /// Uploads a step's batch and what the step needs to know.
    pub(super) fn upload(&mut self, step: &Step<'_>) -> Result<(), DeviceError> {
        let control = protocol::control(step.indices.len() as u32, step.number, step.seed, step.rows);
        self.write_batch(ImageFile::Train, self.plan.interface.indices, step.indices)?;
        self.device.write(self.plan.interface.control, &control)
    }

    /// Writes which images of `file` a batch has to `value`; and, if the file is streamed, the images themselves, which
    /// are numbered by their places in the batch then.
    pub(super) fn write_batch(&mut self, file: ImageFile, value: ValueId, indices: &[u32]) -> Result<(), DeviceError> {
        let Some(images) = &self.streamed[file as usize] else { return self.device.write(value, indices) };
        let (batch, interface) = (images.pick(indices), &self.plan.interface);
        self.device.write(interface.images[file as usize], &batch.packed_words())?;
        self.device.write(interface.labels[file as usize], &batch.label_words())?;
        let numbers: Vec<u32> = (0..indices.len() as u32).collect();
        self.device.write(value, &numbers)
    }

    /// The report of a step or of an evaluation batch, waiting for it if need be.
    pub fn report(&mut self, ticket: Ticket) -> Result<StepReport, DeviceError> {
        Ok(StepReport::new(&self.device.collect(ticket)?, self.plan.records_gradients))
    }

    /// Forgets what a step has left behind that was not finite and was not applied: the report's word that stops all
    /// updates, and gradients that the check would find again.
    pub fn forget_step(&mut self) -> Result<(), DeviceError> {
        let gradients = self.plan.parameters.iter().filter_map(|planned| planned.gradient);
        let chunks: BTreeSet<ValueId> = gradients.map(|gradient| self.flat_buffer(gradient).0).collect();
        for chunk in chunks {
            self.device.write(chunk, &vec![0; self.count(chunk)])?;
        }
        self.device.write(self.plan.interface.report, &[0; REPORT_WORDS])
    }

    /// Puts `weights`, in the order of the plan's parameters, on the device.
    pub fn load(&mut self, weights: &Weights) -> Result<(), DeviceError> {
        self.write_flat(weights, |planned| Some(planned.value))
    }

    /// The weights on the device, now.
    pub fn weights(&mut self) -> Result<Weights, DeviceError> {
        self.read_flat(|planned| Some(planned.value))
    }

    /// The gradients of the last step, by the names of their parameters; running statistics appear as the batch's.
    pub fn gradients(&mut self) -> Result<Weights, DeviceError> {
        self.read_flat(|planned| planned.gradient)
    }

    /// Puts what the optimiser keeps on the device: each moment with a tensor for each parameter, in the plan's order.
    pub fn load_moments(&mut self, moments: &[Weights]) -> Result<(), DeviceError> {
        let mut moments = moments.iter().enumerate();
        moments.try_for_each(|(index, moment)| self.write_flat(moment, |planned| planned.moments.get(index).copied()))
    }

    /// What the optimiser keeps, in the order of [`Optimizer::moments`](crate::plan::Optimizer::moments), by the names
    /// of the parameters.
    pub fn moments(&mut self) -> Result<Vec<Weights>, DeviceError> {
        let count = self.plan.parameters.iter().map(|planned| planned.moments.len()).max().unwrap_or(0);
        (0..count).map(|index| self.read_flat(|planned| planned.moments.get(index).copied())).collect()
    }

    /// Writes `tensors`, one for each parameter that has a `value`, in the plan's order.
    fn write_flat(
        &mut self,
        tensors: &Weights,
        value: impl Fn(&ParameterValue) -> Option<ValueId>,
    ) -> Result<(), DeviceError> {
        let mut chunks: HashMap<ValueId, Vec<u32>> = HashMap::new();
        let planned = self.plan.parameters.iter().filter_map(|planned| Some((planned, value(planned)?)));
        for ((planned, value), tensor) in planned.zip(&tensors.0) {
            let (chunk, offset) = self.flat_buffer(value);
            let count = self.count(chunk);
            let memory = planned.parameter.kind.to_memory(&tensor.values);
            let chunk = chunks.entry(chunk).or_insert_with(|| vec![0; count]);
            chunk[offset..][..memory.len()].copy_from_slice(bytemuck::cast_slice(&memory));
        }
        chunks.iter().try_for_each(|(chunk, words)| self.device.write(*chunk, words))
    }

    fn read_flat(&mut self, value: impl Fn(&ParameterValue) -> Option<ValueId>) -> Result<Weights, DeviceError> {
        let mut chunks: HashMap<ValueId, Vec<u32>> = HashMap::new();
        let mut tensors = Vec::with_capacity(self.plan.parameters.len());
        for planned in &self.plan.parameters {
            let Some(value) = value(planned) else { continue };
            let (chunk, offset) = self.flat_buffer(value);
            if let std::collections::hash_map::Entry::Vacant(entry) = chunks.entry(chunk) {
                entry.insert(self.device.read(chunk)?);
            }
            let kind = planned.parameter.kind;
            let memory: &[f32] = bytemuck::cast_slice(&chunks[&chunk][offset..][..kind.elements()]);
            let name = planned.parameter.name.clone();
            tensors.push(Tensor { name, shape: kind.shape(), values: kind.to_file(memory) });
        }
        Ok(Weights(tensors))
    }

    /// Returns the flat buffer that a parameter is part of, and its first element there.
    pub(super) fn flat_buffer(&self, value: ValueId) -> (ValueId, usize) {
        match self.plan.values[value.index()].allocation {
            Allocation::Part { of, offset } => (of, offset),
            _ => (value, 0),
        }
    }

    /// Returns the number of a value's elements.
    pub(super) fn count(&self, value: ValueId) -> usize {
        self.plan.values[value.index()].count
    }
}
