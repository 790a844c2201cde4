//! The library as another program calls it: mistakes are errors, and a run keeps what it was given.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use sdgpu::options::Model;
use sdgpu::runs::{CheckpointEvery, Context, Job, Recording, RunConfig, StoppedRun};
use sdgpu::{DataSet, DeviceRequest, Error, Event, Setup, TrainOptions, Weights};

use crate::devices::patches;
use crate::support::with;

fn data() -> DataSet {
    DataSet { name: "patches".into(), train: patches(24, 9, 6), test: patches(8, 9, 6), classes: 6 }
}

fn options() -> TrainOptions {
    with(TrainOptions::quick(), |options| {
        options.arch = "resnet8".into();
        (options.validation, options.batch_size, options.eval_batch) = (0, 4, 8);
        (options.steps, options.eval_every, options.warmup_steps) = (6, 6, 0);
    })
}

fn cpu() -> DeviceRequest {
    DeviceRequest::from("cpu")
}

fn nothing(_: &Event<'_>) -> io::Result<ControlFlow<()>> {
    Ok(ControlFlow::Continue(()))
}

fn says<T>(result: Result<T, Error>, expected: &str) {
    let error = result.err().expect("an error").to_string();
    assert!(error.contains(expected), "expected: {expected}\n{error}");
}

#[test]
fn options_out_of_range_are_errors_before_anything_is_opened() {
    let data = data();
    type Change = fn(&mut TrainOptions);
    let cases: [(Change, &str); 5] = [
        (|options| options.eval_batch = 0, "`eval_batch` is 0; it must be from 1 to"),
        (|options| options.batch_size = 25, "`batch_size` is 25; it must be from 1 to"),
        (|options| options.lr = -1.0, "`lr` is -1; it must be above 0"),
        (|options| options.steps = 0, "`steps` is 0; it must be from 1 to"),
        (|options| options.dropout = 1.5, "`dropout` is 1.5; it must be in [0, 1)"),
    ];
    for (change, expected) in cases {
        let options = with(options(), change);
        let nowhere = DeviceRequest::from("no such adapter");
        says(Setup::new(&options, &data, &nowhere), expected);
        let out = tempfile::tempdir().expect("a folder").path().join("run");
        let job = Job::new(options, Some(out.clone()), Recording::default());
        says(job.run(&Context::new(&data, cpu()), &mut nothing), expected);
        assert!(!out.exists(), "{expected}");
    }
    let options = with(options(), |options| options.eval_batch = 0);
    let builder = Setup::builder(&options, &data).expect("a net");
    says(builder.inference_only().map_err(Error::from), "`eval_batch` is 0; it must be from 1 to the 8 test images");
}

#[test]
fn what_does_not_fit_the_net_is_refused() {
    let (data, options) = (data(), options());
    let builder = || Setup::builder(&options, &data).expect("a net");
    let foreign = Weights::initial(
        &with(options.clone(), |options| options.arch = "resnet14".into()).net(1, 6).expect("a net"),
        options.initialisation,
        0,
    );
    says(builder().weights(foreign).map_err(Error::from), "the weights do not fit resnet8: ");
    says(builder().survival_probabilities(vec![0.5; 2]), "one number in (0, 1] for each of the 3 blocks");
    says(builder().survival_probabilities(vec![0.5, 0.0, 1.0]), "one number in (0, 1] for each of the 3 blocks");
    let inference = builder().inference_only().expect("a batch").open(&cpu(), &mut |_| {}).expect("a plan");
    says(inference.train(&mut nothing), "for inference alone");
}

/// Weights in another order are those of the net all the same.
#[test]
fn weights_are_put_in_order() {
    let (data, options) = (data(), options());
    let builder = Setup::builder(&options, &data).expect("a net");
    let weights = Weights::initial(builder.as_net(), options.initialisation, 7);
    let mut reversed = weights.clone();
    reversed.0.reverse();
    let setup = builder.weights(reversed).expect("weights").open(&cpu(), &mut |_| {}).expect("a setup");
    assert!(setup.initial == weights);
}

/// Blocks are dropped by the probabilities of the plan, whatever the options call the net.
#[test]
fn blocks_of_any_net_survive_as_it_was_set_up() {
    let data = data();
    let options = with(options(), |options| options.model = Model::Resnet);
    let builder = Setup::builder(&options, &data).expect("a net");
    let setup = builder.survival_probabilities(vec![1.0, 1e-9, 1.0]).expect("probabilities");
    let mut gates = Vec::new();
    let setup = setup.open(&cpu(), &mut |_| {}).expect("a setup");
    let outcome = setup.train(&mut |event: &Event<'_>| {
        if let Event::Step(step) = event {
            gates.push(step.gates.to_string());
        }
        Ok(ControlFlow::Continue(()))
    });
    outcome.expect("a training");
    assert_eq!(gates, ["101"; 6]);
}

#[test]
fn a_folder_says_which_data_and_intervals_a_run_has() {
    let data = data();
    let folder = tempfile::tempdir().expect("a folder");
    let recording = |every| {
        let mut recording = Recording::default();
        recording.checkpoint_every = Some(every);
        recording
    };
    let context = Context::new(&data, cpu());
    let wrong = [CheckpointEvery::Steps(0), CheckpointEvery::Time(Duration::from_millis(500))];
    for (index, every) in wrong.into_iter().enumerate() {
        let job = Job::new(options(), Some(folder.path().join(index.to_string())), recording(every));
        says(job.run(&context, &mut nothing), "`checkpoint_every` is ");
    }
    let out = folder.path().join("run");
    let job = Job::new(options(), Some(out.clone()), recording(CheckpointEvery::Steps(2)));
    let stopped = job.run(&context, &mut |event: &Event<'_>| {
        let done = matches!(event, Event::Step(step) if step.step == 3);
        Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    assert_eq!(stopped.err().expect("an error").stopped_at(), Some(3));
    // `quick` names the embedded set; the run saw another one.
    let config = RunConfig::read(&out).expect("settings");
    assert!(config.settings.data.ends_with("/patches"), "{}", config.settings.data);
    let job = Job::resume(StoppedRun::open(&out).expect("a run"), Recording::default());
    assert_eq!(job.run(&context, &mut nothing).expect("a run").outcome.test.step, 6);
}
