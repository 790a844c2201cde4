//! Makes a run in a folder of its own, stops it on its way, and goes on with it from its last
//! checkpoint: the metrics are those of a run that was never stopped.
//!
//!     cargo run --release --example run_folder

use std::ops::ControlFlow;
use std::path::Path;

use sdgpu::runs::{CheckpointEvery, Context, Job, Recording, StoppedRun, read_metrics};
use sdgpu::{DataSet, DeviceRequest, Error, Event, TrainOptions};

fn main() -> Result<(), Error> {
    let data = DataSet::load("mnist")?;
    let mut options = TrainOptions::quick();
    options.arch = "resnet8".into();
    (options.batch_size, options.steps, options.eval_every, options.warmup_steps) = (16, 60, 30, 6);

    let context = Context::new(&data, DeviceRequest::from("cpu"));
    let mut recording = Recording::default();
    recording.checkpoint_every = Some(CheckpointEvery::Steps(20));
    let folder = Path::new("run");
    let job = Job::new(options, Some(folder.into()), recording.clone());
    let stopped = job.run(&context, &mut |event: &Event<'_>| {
        let done = matches!(event, Event::Step(step) if step.step == 40);
        Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    match stopped {
        Err(error) if error.stopped_at().is_some() => println!("{error}"),
        Err(error) => return Err(error),
        Ok(_) => unreachable!("the listener stops it"),
    }

    // Settings, initial weights and what is recorded are those in the folder.
    let job = Job::resume(StoppedRun::open(folder)?, recording);
    let finished = job.run(&context, &mut |event: &Event<'_>| {
        if let Event::Eval(eval) = event {
            println!("step {}: {:.2} % of the {} images", eval.step, 100.0 * eval.accuracy, eval.split.name());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let steps = read_metrics(&finished.run)?.iter().filter(|event| matches!(event, Event::Step(_))).count();
    println!("{steps} steps in {}", finished.run.display());
    Ok(())
}
