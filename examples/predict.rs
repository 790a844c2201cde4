//! Predicts test images of MNIST from a file of weights; without one, from those of a training of
//! some seconds.
//!
//!     cargo run --release --example predict [WEIGHTS.safetensors]

use std::ops::ControlFlow;
use std::path::Path;

use sdgpu::{DataSet, DeviceRequest, Error, Event, ImageFile, Setup, TrainOptions, Weights, read_weights};

/// Images that are predicted.
const IMAGES: u32 = 10;

fn main() -> Result<(), Error> {
    let data = DataSet::load("mnist")?;
    let (weights, options) = match std::env::args().nth(1) {
        Some(path) => match read_weights(Path::new(&path))? {
            // What sdgpu wrote says which net it is for.
            (weights, Some(options)) => (weights, options),
            (_, None) => panic!("{path} does not say which net it is for"),
        },
        None => trained(&data)?,
    };
    let builder = Setup::builder(&options, &data)?.inference_only()?;
    // Errors if a tensor is missing or has another shape.
    let mut engine = builder.weights(weights)?.open(&DeviceRequest::from("auto"), &mut |_| {})?.engine()?;

    let images: Vec<u32> = (0..IMAGES).collect();
    let (score, predictions) = engine.predict(ImageFile::Test, &images)?;
    for prediction in predictions {
        let sure = 100.0 * prediction.probability;
        println!("image {}: a {} ({sure:.0} %), labelled {}", prediction.image, prediction.predicted, prediction.label);
    }
    println!("{:.0} % of {} images are right", 100.0 * score.accuracy, score.images);
    Ok(())
}

/// Trains for some seconds.
fn trained(data: &DataSet) -> Result<(Weights, TrainOptions), Error> {
    let mut options = TrainOptions::quick();
    options.arch = "resnet8".into();
    (options.steps, options.eval_every, options.warmup_steps) = (150, 150, 15);
    let mut last = Weights::default();
    Setup::new(&options, data, &DeviceRequest::from("auto"))?.train(&mut |event: &Event<'_>| {
        if let Event::LastWeights { weights, .. } = event {
            last = Weights::clone(weights);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((last, options))
}
