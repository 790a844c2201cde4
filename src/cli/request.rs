//! From flags to what jobs are asked for.

use super::args::{ModelArgs, Record, RunArgs, TrainingArgs, TuneArgs};
use crate::job::{DeviceRequest, KEEP_CHECKPOINTS, Recording, Request, Tune};
use crate::train::OptionError;

/// Returns what `args` ask for. Flags are called as the fields that they set.
pub fn request(args: &ModelArgs) -> Result<Request, OptionError> {
    let ModelArgs { model, net, training } = args;
    let mut request = Request::new(training.preset)
        .set("model", model)?
        .set("seed", training.seed)?
        .set_all(net)?
        .set_all(training)?
        .epochs(training.epochs)
        .drop_path(training.drop_path);
    if training.no_shuffle {
        request = request.set("shuffle", false)?;
    }
    Ok(request)
}

/// Returns what `args` ask for of a run that `run` says how to guard.
pub fn run_request(args: &ModelArgs, run: &RunArgs) -> Result<Request, OptionError> {
    let records_gradients = run.records(Record::Gradients);
    request(args)?.set("on_nan", run.on_nan)?.set("record_gradients", records_gradients)
}

/// Returns which device the flags ask for.
pub fn device(training: &TrainingArgs, tune: TuneArgs) -> DeviceRequest {
    device_of(&training.device, training.backend, tune)
}

/// Returns which device `--device` and `--backend` ask for.
pub fn device_of(device: &str, backend: Option<crate::device::gpu::Backend>, tune: TuneArgs) -> DeviceRequest {
    DeviceRequest { backend, tune: tune_wish(tune), ..DeviceRequest::from(device) }
}

fn tune_wish(args: TuneArgs) -> Tune {
    match args {
        TuneArgs { no_tune: true, .. } => Tune::Never,
        TuneArgs { tune: true, .. } => Tune::Always,
        _ => Tune::Auto,
    }
}

/// Returns what a run leaves.
pub fn recording(args: &RunArgs) -> Recording {
    Recording {
        init: args.init.clone(),
        trace: args.records(Record::Trace),
        checkpoint_every: args.checkpoint_every,
        keep_checkpoints: args.keep_checkpoints.map_or(KEEP_CHECKPOINTS, |count| count as usize),
        csv: args.csv,
        tensorboard: args.tensorboard,
    }
}

/// Returns the command that this process was started with, as a shell takes it.
pub fn command() -> String {
    let quoted = |argument: String| {
        let is_plain = |letter: char| letter.is_alphanumeric() || "-_./,:=+@%".contains(letter);
        if !argument.is_empty() && argument.chars().all(is_plain) {
            argument
        } else {
            format!("'{}'", argument.replace('\'', r"'\''"))
        }
    };
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once("sdgpu".into()).chain(arguments.map(quoted)).collect::<Vec<_>>().join(" ")
}
