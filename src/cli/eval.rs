//! `sdgpu eval`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::args::EvalArgs;
use super::console::Console;
use super::{BadInput, request, show_device};
use crate::data::DataSet;
use crate::job::Setup;
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::plan::ImageFile;
use crate::run_dir::{JsonLines, RunConfig, RunError, read_weights};
use crate::train::{Model, Score, TrainOptions};

/// Tests weights on the test images.
pub fn run(args: &EvalArgs) -> anyhow::Result<()> {
    let (candidates, settings) = find(&args.target)?;
    if let (Some(arch), Some(settings)) = (&args.arch, &settings)
        && *arch != settings.arch
    {
        let (target, trained) = (args.target.display(), &settings.arch);
        return Err(BadInput(format!("{target} is of {trained}, not of {arch}; leave --arch out")).into());
    }
    let data_source = args.data.as_deref().or(settings.as_ref().map(|settings| settings.data.as_str()));
    let data = DataSet::load(data_source.unwrap_or(DataSet::EMBEDDED))?;
    // Without settings, the net is taken for a plain one: every branch counts in full.
    let mut options = match (settings, &args.arch) {
        (Some(settings), _) => settings,
        (None, Some(arch)) => {
            let mut options = TrainOptions::default();
            (options.model, options.arch) = (Model::Resnet, arch.clone());
            options
        }
        (None, None) => {
            let file = args.target.display();
            return Err(BadInput(format!("{file} does not say which net it is for; give --arch")).into());
        }
    };
    let test_images = data.test.len();
    let usual = TrainOptions::default().eval_batch;
    options.eval_batch = args.eval_batch.unwrap_or(usual.min(test_images as u32));
    let builder = Setup::builder(&options, &data)?.inference_only()?;
    let candidates: Vec<Candidate> =
        candidates.into_iter().map(|file| file.fit(builder.as_net())).collect::<Result<_, _>>()?;

    let console = Console::new(false, args.json);
    let request = request::device_of(&args.device, args.backend, args.tune);
    let setup = builder.open(&request, &mut |text| console.line(text))?;
    show_device(console, setup.device.as_ref(), setup.note.as_deref());
    let mut engine = setup.engine()?;
    let indices: Vec<u32> = (0..test_images as u32).collect();
    for Candidate { name, path, weights } in candidates {
        engine.load(&weights)?;
        let start = Instant::now();
        let Score { loss, accuracy, images } = engine.evaluate(ImageFile::Test, &indices)?;
        let seconds = start.elapsed().as_secs_f64();
        let mut stdout = io::stdout();
        if args.json {
            let weights = path.display().to_string();
            JsonLines::new(stdout).write(&TestLine { split: "test", weights, loss, accuracy, images, seconds })?;
        } else {
            let percent = 100.0 * accuracy;
            writeln!(
                stdout,
                "{name}: test accuracy {percent:.2} %, loss {loss:.4} ({images} images in {seconds:.3} s)"
            )?;
        }
    }
    Ok(())
}

/// The test of a file of weights, as a line of JSON.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "eval")]
struct TestLine {
    /// `test`.
    split: &'static str,
    /// The file.
    weights: String,
    /// Mean loss.
    loss: f64,
    /// Share of correct predictions.
    accuracy: f64,
    /// Number of images.
    images: usize,
    /// Wall time of the evaluation, with the data and the weights on the device before it.
    seconds: f64,
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

    /// Orders its weights as `net` has them.
    fn fit(self, net: &ResNet) -> Result<Self, RunError> {
        let Self { name, path, weights } = self;
        match weights.fit(net) {
            Ok(weights) => Ok(Self { name, path, weights }),
            Err(error) => Err(RunError::File { path, error: error.into() }),
        }
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
