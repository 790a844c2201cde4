//! Trains ResNet-8 with stochastic depth on MNIST, reads the events of the run, and keeps the
//! weights.
//!
//!     cargo run --release --example train_mnist [STEPS]

use std::ops::ControlFlow;
use std::path::Path;

use sdgpu::{DataSet, DeviceRequest, Error, Event, Setup, TrainOptions, Weights, save_weights};

fn main() -> Result<(), Error> {
    let steps = std::env::args().nth(1).map_or(300, |steps| steps.parse().expect("a number of steps"));
    let data = DataSet::load("mnist")?;
    let mut options = TrainOptions::quick();
    options.arch = "resnet8".into();
    (options.steps, options.eval_every, options.warmup_steps) = (steps, 100, steps / 10);

    let setup = Setup::new(&options, &data, &DeviceRequest::from("auto"))?;
    println!("{} on {}", options.arch, setup.device.info().name);
    let (mut last, mut blocks_run) = (Weights::default(), 0);
    let outcome = setup.train(&mut |event: &Event<'_>| {
        match event {
            Event::Step(step) => blocks_run += step.gates.survivors(),
            Event::Eval(eval) => {
                let accuracy = 100.0 * eval.accuracy;
                println!("step {:4}: {accuracy:.2} % of the {} images", eval.step, eval.split.name());
            }
            Event::LastWeights { weights, .. } => last = Weights::clone(weights),
            _ => {}
        }
        // `ControlFlow::Break(())` would stop the run, and `train` would say so by an error.
        Ok(ControlFlow::Continue(()))
    })?;
    let seconds = outcome.time.as_secs_f64();
    println!("test accuracy {:.2} % after {seconds:.1} s", 100.0 * outcome.test.accuracy);
    println!("{:.2} blocks ran in a step, on average", blocks_run as f64 / steps as f64);

    let path = Path::new("mnist.safetensors");
    save_weights(path, &last, &options)?;
    println!("weights: {}, for `cargo run --release --example predict {0}`", path.display());
    Ok(())
}
