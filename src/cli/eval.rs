//! `sdgpu eval`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::BadInput;
use super::args::EvalArgs;
use crate::data::DataSet;
use crate::device::choose::{self, DeviceChoice};
use crate::experiment::{JsonLines, RunConfig, RunError, read_weights};
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::plan::{BranchScale, DataSizes, ImageFile, Plan, PlanOptions};
use crate::train::{Engine, OptionError, Score, TrainOptions, check_flag};

/// A result as a line of JSON.
#[derive(Serialize)]
struct EvalLine {
    kind: &'static str,
    split: &'static str,
    weights: String,
    loss: f64,
    accuracy: f64,
    images: usize,
}

/// Tests weights on the test images.
pub fn run(args: &EvalArgs) -> anyhow::Result<()> {
    let (files, settings) = find(&args.target)?;
    let data_source = args.data.as_deref().or(settings.as_ref().map(|settings| settings.data.as_str()));
    let data = DataSet::load(data_source.unwrap_or(DataSet::EMBEDDED))?;
    let net = match (&args.arch, &settings) {
        (None, Some(settings)) => settings.net(data.train.channels, data.classes)?,
        (Some(arch), _) => ResNet::named(arch, data.train.channels, data.classes).map_err(OptionError::from)?,
        (None, None) => {
            let file = args.target.display();
            return Err(BadInput(format!("{file} does not say which net it is for; give --arch")).into());
        }
    };
    let survival = match &settings {
        Some(settings) if args.arch.is_none() => settings.survival_probabilities(net.blocks.len())?,
        _ => vec![1.0; net.blocks.len()],
    };
    let branch_scale = settings.as_ref().map_or(BranchScale::Eval, |settings| settings.branch_scale);
    let test_images = data.test.len();
    let eval_batch = args.eval_batch.unwrap_or(500.min(test_images as u32));
    let range = format!("from 1 to the {test_images} test images");
    check_flag("eval-batch", eval_batch, (1..=test_images).contains(&(eval_batch as usize)), &range)?;
    for Candidate { name, path, weights } in files {
        let weights = weights.fit(&net).map_err(|error| RunError::Weights { path: path.clone(), error })?;
        let score = score(args, &net, &weights, &data, survival.clone(), branch_scale, eval_batch)?;
        let mut stdout = io::stdout();
        let Score { loss, accuracy, images } = score;
        if args.json {
            let weights = path.display().to_string();
            JsonLines::new(stdout).write(&EvalLine { kind: "eval", split: "test", weights, loss, accuracy, images })?;
        } else {
            writeln!(stdout, "{name}: test accuracy {:.2} %, loss {loss:.4} ({images} images)", 100.0 * accuracy)?;
        }
    }
    Ok(())
}

fn score(
    args: &EvalArgs,
    net: &ResNet,
    weights: &Weights,
    data: &DataSet,
    survival: Vec<f64>,
    branch_scale: BranchScale,
    eval_batch: u32,
) -> anyhow::Result<Score> {
    let device = choose::open(&DeviceChoice::from(args.device.as_str()), args.backend)?.device;
    let sizes = DataSizes { height: data.test.height, width: data.test.width, train: 0, test: data.test.len() };
    let limits = device.limits();
    let options = PlanOptions { data: sizes, training: None, eval_batch, survival, branch_scale, limits };
    let mut engine = Engine::new(device, Plan::new(net, &options)?, eval_batch, data)?;
    engine.load(weights)?;
    let indices: Vec<u32> = (0..data.test.len() as u32).collect();
    Ok(engine.evaluate(ImageFile::Test, &indices)?)
}

/// Weights to be tested.
struct Candidate {
    /// What the user calls them.
    name: String,
    path: PathBuf,
    weights: Weights,
}

impl Candidate {
    /// Reads them, with the settings that their file notes.
    fn read(name: String, path: PathBuf) -> Result<(Self, Option<TrainOptions>), RunError> {
        let (weights, settings) = read_weights(&path)?;
        Ok((Self { name, path, weights }, settings))
    }
}

/// The weights of a run, last and best, or of one file, and the settings that they were trained with.
fn find(target: &Path) -> anyhow::Result<(Vec<Candidate>, Option<TrainOptions>)> {
    if !target.is_dir() {
        let (file, settings) = Candidate::read(target.display().to_string(), target.to_path_buf())?;
        return Ok((vec![file], settings));
    }
    let config = RunConfig::read(target)?;
    let mut files = Vec::new();
    for name in ["last", "best"] {
        let path = target.join(format!("weights/{name}.safetensors"));
        if path.exists() {
            files.push(Candidate::read(format!("{name} weights"), path)?.0);
        }
    }
    if files.is_empty() {
        return Err(BadInput(format!("{} holds no weights; did its run finish?", target.display())).into());
    }
    Ok((files, Some(config.settings)))
}
