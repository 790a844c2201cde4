//! A net on a device, ready to be trained, evaluated or measured.

use super::device::{DeviceRequest, Tune, tune};
use super::error::JobError;
use crate::data::DataSet;
use crate::device::open::Chosen;
use crate::device::{Device, DeviceError, Tuning};
use crate::dispatch::Limits;
use crate::model::resnet::ResNet;
use crate::model::weights::{Weights, WeightsError};
use crate::plan::{DataSizes, Plan};
use crate::train::{
    Checkpoint, Engine, Observer, OptionError, Outcome, Safeguards, TrainOptions, Trainer, check_field,
};

/// A net, its plan, the opened and tuned device that the plan was made for, and the weights that it
/// begins with.
pub struct Setup<'a> {
    /// The net.
    pub net: ResNet,
    /// How it is computed.
    pub plan: Plan,
    /// The device, with nothing allocated yet.
    pub device: Box<dyn Device>,
    /// Why it is this device, where that needs saying.
    pub note: Option<String>,
    /// The variants of shaders that the device uses.
    pub tuning: Tuning,
    /// Parameters and running statistics, in the order of the net's parameters.
    pub initial: Weights,
    recipe: SetupBuilder<'a>,
}

/// The parts of a [`Setup`] before a device is open.
#[derive(Clone)]
pub struct SetupBuilder<'a> {
    options: &'a TrainOptions,
    data: &'a DataSet,
    net: ResNet,
    survival: Vec<f64>,
    weights: Option<Weights>,
    inference_only: bool,
}

impl<'a> Setup<'a> {
    /// Begins with the net that `options` name, for the images and classes of `data`.
    pub fn builder(options: &'a TrainOptions, data: &'a DataSet) -> Result<SetupBuilder<'a>, JobError> {
        SetupBuilder::new(options, data)
    }

    /// Opens the device that `request` asks for and sets up the net of `options` there.
    pub fn new(options: &'a TrainOptions, data: &'a DataSet, request: &DeviceRequest) -> Result<Self, JobError> {
        SetupBuilder::new(options, data)?.open(request, &mut |_| {})
    }

    /// Has the device use the variants that it measures to be the fastest. Tells `say` where that
    /// takes a while.
    pub fn tune(&mut self, wish: Tune, say: &mut dyn FnMut(&str)) -> Result<(), JobError> {
        self.tuning = tune(wish, self.device.as_mut(), &self.plan, say)?;
        Ok(())
    }

    /// Has the device use the variants of `tuning`.
    pub fn set_tuning(&mut self, tuning: Tuning) {
        self.device.set_tuning(&tuning);
        self.tuning = tuning;
    }

    /// Allocates everything and puts data and initial weights on the device.
    ///
    /// Errors if the device has less memory than the plan needs, with what would fit where that is
    /// known.
    pub fn engine(self) -> Result<Engine, JobError> {
        let Self { plan, device, initial, recipe, .. } = self;
        let limits = device.limits();
        let mut engine = Engine::new(device, plan, recipe.data).map_err(|error| recipe.explain(error, limits))?;
        engine.load(&initial)?;
        Ok(engine)
    }

    /// Trains from the initial weights to the last step, and tests. Tells `observer` of every
    /// event.
    ///
    /// If the observer stops the run, this is the error
    /// [`TrainError::Interrupted`](crate::train::TrainError) with the number of steps done, inside
    /// [`JobError::Train`]. Nothing is written: keep the weights of
    /// [`Event::LastWeights`](crate::train::Event) that you need, or do a [`Job`](super::Job),
    /// which makes checkpoints in a folder and can go on.
    pub fn train(self, observer: &mut dyn Observer) -> Result<Outcome, JobError> {
        if self.recipe.inference_only {
            return Err(JobError::InferenceOnly);
        }
        let (options, data, initial) = (self.recipe.options, self.recipe.data, self.initial.clone());
        let mut trainer = Trainer::new(self.engine()?, options, data, Safeguards::default())?;
        Ok(trainer.run(Checkpoint::begin(initial), observer)?)
    }
}

impl<'a> SetupBuilder<'a> {
    fn new(options: &'a TrainOptions, data: &'a DataSet) -> Result<Self, JobError> {
        let net = options.net(data.train.channels, data.classes)?;
        let survival = options.survival_probabilities(net.blocks.len())?;
        Ok(Self { options, data, net, survival, weights: None, inference_only: false })
    }

    /// Takes `net` instead of the one that the options name; its blocks survive as the options say,
    /// and its weights are random until others are given.
    pub fn net(mut self, net: ResNet) -> Result<Self, JobError> {
        self.survival = self.options.survival_probabilities(net.blocks.len())?;
        (self.net, self.weights) = (net, None);
        Ok(self)
    }

    /// Takes the survival probability of each block, in (0, 1], instead of those of the options'
    /// rule.
    ///
    /// Errors if there is not one for each block, or if one is out of range.
    pub fn survival_probabilities(mut self, probabilities: Vec<f64>) -> Result<Self, JobError> {
        self.options.check_survival(&probabilities, self.net.blocks.len())?;
        self.survival = probabilities;
        Ok(self)
    }

    /// Takes `weights` instead of random ones. Errors if they do not fit the net, which must be
    /// settled.
    pub fn weights(mut self, weights: Weights) -> Result<Self, WeightsError> {
        self.weights = Some(weights.fit(&self.net)?);
        Ok(self)
    }

    /// Leaves everything out that only training needs: less memory, and no training images on the
    /// device. Errors if no such evaluation batch can be made of the test images.
    pub fn inference_only(mut self) -> Result<Self, OptionError> {
        let (eval_batch, test) = (self.options.eval_batch, self.data.test.len());
        let holds = (1..=test).contains(&(eval_batch as usize));
        check_field("eval_batch", eval_batch, holds, &format!("from 1 to the {test} test images"))?;
        self.inference_only = true;
        Ok(self)
    }

    /// Returns the net.
    pub fn as_net(&self) -> &ResNet {
        &self.net
    }

    /// Errors if an option is out of its range. Inference alone depends on the one that
    /// [`Self::inference_only`] checks.
    pub fn check(&self) -> Result<(), OptionError> {
        let (train, test) = (self.data.train.len(), self.data.test.len());
        if self.inference_only { Ok(()) } else { self.options.check(train, test) }
    }

    /// Lowers the net for a device of these `limits`. Errors if an option is out of its range.
    pub fn plan(&self, limits: Limits) -> Result<Plan, JobError> {
        self.check()?;
        let Self { options, data, .. } = self;
        let train = if self.inference_only { 0 } else { data.train.len() };
        let sizes = DataSizes { height: data.test.height, width: data.test.width, train, test: data.test.len() };
        let mut planned = options.plan_options(self.survival.clone(), sizes, limits);
        if self.inference_only {
            planned.training = None;
        }
        Ok(Plan::new(&self.net, &planned)?)
    }

    /// Sets the net up on the device that `request` asks for, tuned as it says. Tells `say` where
    /// that takes a while.
    pub fn open(self, request: &DeviceRequest, say: &mut dyn FnMut(&str)) -> Result<Setup<'a>, JobError> {
        self.check()?;
        let Chosen { device, note } = request.open()?;
        let mut setup = self.on(device)?;
        setup.note = note;
        setup.tune(request.tune, say)?;
        Ok(setup)
    }

    /// Sets the net up on `device`, which is open, as it is.
    pub fn on(mut self, device: Box<dyn Device>) -> Result<Setup<'a>, JobError> {
        let plan = self.plan(device.limits())?;
        let TrainOptions { initialisation, seed, .. } = *self.options;
        let initial = self.weights.take().unwrap_or_else(|| Weights::initial(&self.net, initialisation, seed));
        let tuning = Tuning::default();
        Ok(Setup { net: self.net.clone(), plan, device, note: None, tuning, initial, recipe: self })
    }

    /// Returns why a device of these `limits` can't hold the plan: where memory is lacking, planned
    /// again for what there was, which says what would fit.
    fn explain(&self, error: DeviceError, limits: Limits) -> JobError {
        match error {
            DeviceError::OutOfMemory { had_bytes, .. } => {
                self.plan(Limits { total_bytes: had_bytes, ..limits }).err().unwrap_or_else(|| error.into())
            }
            error => error.into(),
        }
    }
}
