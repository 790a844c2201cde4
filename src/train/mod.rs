//! Training: batches in, steps out; schedules, evaluation, and what is told of it on the way.

mod diagnose;
mod engine;
mod optimizer;
mod options;
mod record;
mod schedule;
mod skipping;
mod trainer;

pub use engine::{Engine, IN_FLIGHT, Report, Score, Step, StepTiming};
pub use optimizer::UpdateRows;
pub use options::{
    DroppedUpdate, EvaluateOn, LearningRateSchedule, MOST_STEPS, Model, OptimizerKind, OptionError, TrainOptions,
    check_flag,
};
pub use record::{EvalRecord, Observer, Outcome, ProfileRecord, StepRecord, TraceRecord, WhichWeights};
pub use schedule::learning_rate;
pub use trainer::{TrainError, Trainer};
