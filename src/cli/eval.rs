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
use crate::plan::{BranchScale, DataSizes, Plan, PlanOptions, Split};
use crate::train::Engine;

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
    let (files, config) = find(&args.target)?;
    let data_source = args.data.as_deref().or(config.as_ref().map(|config| config.settings.data.as_str()));
    let data = DataSet::load(data_source.unwrap_or("mnist"))?;
    for (name, path) in files {
        let (weights, note) = read_weights(&path)?;
        let settings = config.as_ref().or(note.as_ref()).map(|config| &config.settings);
        let net = match (&args.arch, settings) {
            (None, Some(settings)) => settings.net(data.train.channels, data.classes)?,
            (Some(arch), _) => ResNet::named(arch, data.train.channels, data.classes)
                .map_err(crate::train::OptionError::UnknownArchitecture)?,
            (None, None) => {
                let path = path.display();
                return Err(BadInput(format!("{path} does not say which net it is for; give --arch")).into());
            }
        };
        let weights = weights.fit(&net).map_err(|error| RunError::Weights { path: path.clone(), error })?;
        let survival = match settings {
            Some(settings) if args.arch.is_none() => settings.survival_probabilities(net.blocks.len())?,
            _ => vec![1.0; net.blocks.len()],
        };
        let branch_scale = settings.map_or(BranchScale::Eval, |settings| settings.branch_scale);
        let eval_batch = args.eval_batch.unwrap_or(500.min(data.test.len() as u32));
        if eval_batch == 0 || eval_batch as usize > data.test.len() {
            let images = data.test.len();
            return Err(BadInput(format!(
                "--eval-batch is {eval_batch}; it must be from 1 to the {images} test images"
            ))
            .into());
        }
        let score = score(args, &net, &weights, &data, survival, branch_scale, eval_batch)?;
        let mut stdout = io::stdout();
        let (loss, accuracy, images) = (score.loss, score.accuracy, score.images);
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
) -> anyhow::Result<crate::train::Score> {
    let device = choose::open(&DeviceChoice::from(args.device.as_str()), args.backend)?.device;
    let sizes = DataSizes { height: data.test.height, width: data.test.width, train: 0, test: data.test.len() };
    let limits = device.limits();
    let options = PlanOptions { data: sizes, training: None, eval_batch, survival, branch_scale, limits };
    let mut engine = Engine::new(device, Plan::new(net, &options)?, eval_batch, data)?;
    engine.load(weights)?;
    let indices: Vec<u32> = (0..data.test.len() as u32).collect();
    Ok(engine.evaluate(Split::Test, &indices)?)
}

/// Named files of weights, with the settings of their run.
type Found = (Vec<(String, PathBuf)>, Option<RunConfig>);

/// The weights of a run, last and best, or the one file.
fn find(target: &Path) -> anyhow::Result<Found> {
    if !target.is_dir() {
        return Ok((vec![(target.display().to_string(), target.to_path_buf())], None));
    }
    let config = RunConfig::read(target)?;
    let file = |name: &str| (format!("{name} weights"), target.join(format!("weights/{name}.safetensors")));
    let files: Vec<_> = ["last", "best"].map(file).into_iter().filter(|(_, path)| path.exists()).collect();
    if files.is_empty() {
        return Err(BadInput(format!("{} holds no weights; did its run finish?", target.display())).into());
    }
    Ok((files, Some(config)))
}
