//! What a run leaves behind: its directory, with settings, metrics, timings, weights and checkpoints; and a profile,
//! where it is asked for.

mod checkpoint_file;
mod checkpoint_writer;
mod config;
mod directory;
mod durable;
mod error;
mod facts;
mod line_file;
mod lock;
mod metrics;
mod metrics_file;
mod new_folder;
mod older;
mod outcome;
mod profile;
mod series;
mod tensorboard;
mod weights_file;

pub use checkpoint_file::{decode as decode_checkpoint, encode as encode_checkpoint};
pub use config::{DeviceEntry, RunConfig};
pub use directory::{Resumed, RunDir, StoppedRun, save_weights};
pub use durable::{absolute, write as write_durably};
pub use error::{ConfigError, FileError, RunError};
pub use facts::RunFacts;
pub use metrics::JsonLines;
pub use metrics_file::{parse_metrics, read_metrics, read_timing, read_trace, stream_metrics, write_metrics_csv};
pub use outcome::{PREDICTIONS, Summary, Test, read_predictions};
pub use profile::ChromeTrace;
pub use series::{Planned, RunProgress, SeriesDir};
pub use tensorboard::write_tensorboard;
pub use weights_file::{Lengths, decode_weights, read_weights};

// The types in the files, for readers that have nothing to do with training or plans.
pub use crate::plan::{Gates, StepFlop};
pub use crate::train::{
    EvalRecord, EvalSplit, EvaluateOn, Event, Model, OptionError, Prediction, StepRecord, TrainOptions, WhichWeights,
};
