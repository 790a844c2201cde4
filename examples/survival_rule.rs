//! Trains with a survival rule of one's own: the blocks that change the number of channels always
//! run, the others survive the less, the deeper they lie.
//!
//!     cargo run --release --example survival_rule

use std::ops::ControlFlow;

use sdgpu::net::Shortcut;
use sdgpu::{DataSet, DeviceRequest, Error, Event, ResNet, Setup, TrainOptions};

/// Returns the survival probability of each block of `net`.
fn rule(net: &ResNet) -> Vec<f64> {
    let blocks = net.blocks.len() as f64;
    let probability = |(index, shortcut): (usize, &Shortcut)| match shortcut {
        Shortcut::Identity => 1.0 - 0.6 * (index as f64 / blocks).powi(2),
        _ => 1.0,
    };
    net.blocks.iter().map(|block| &block.shortcut).enumerate().map(probability).collect()
}

fn main() -> Result<(), Error> {
    let data = DataSet::load("mnist")?;
    let mut options = TrainOptions::quick();
    options.arch = "resnet20".into();
    (options.batch_size, options.steps, options.eval_every, options.warmup_steps) = (32, 60, 60, 6);

    let builder = Setup::builder(&options, &data)?;
    let probabilities = rule(builder.as_net());
    let shown: Vec<String> = probabilities.iter().map(|probability| format!("{probability:.2}")).collect();
    println!("survival probabilities: {}", shown.join(" "));
    let setup = builder.survival_probabilities(probabilities)?.open(&DeviceRequest::from("auto"), &mut |_| {})?;
    println!("{:.2} blocks expected in a step", setup.plan.expected_depth());

    let mut ran = vec![0; setup.net.blocks.len()];
    let outcome = setup.train(&mut |event: &Event<'_>| {
        if let Event::Step(step) = event {
            ran.iter_mut().zip(&step.gates.0).for_each(|(ran, &gate)| *ran += u32::from(gate));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    println!("steps in which each block ran, of {}: {ran:?}", options.steps);
    println!("test accuracy {:.2} %", 100.0 * outcome.test.accuracy);
    Ok(())
}
