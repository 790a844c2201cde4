//! Training: batches in, steps out; schedules, evaluation, checkpoints, and what is told of it on the way.

mod checkpoint;
mod diagnose;
mod engine;
mod evaluate;
mod optimizer;
mod options;
mod predict;
mod recalibrate;
mod record;
mod recovery;
mod safeguards;
mod schedule;
mod skipping;
mod told;
mod trainer;

pub use checkpoint::{Best, Checkpoint, Counters};
pub use engine::{Engine, IN_FLIGHT, Report, Step, StepTiming};
pub use optimizer::UpdateRows;
pub use options::{
    DroppedUpdate, EvaluateOn, LearningRateSchedule, MOST_STEPS, Model, OptimizerKind, OptionError, TrainOptions,
    check_flag,
};
pub use predict::{Prediction, Score};
pub use recalibrate::Statistics;
pub use record::{
    EvalRecord, EvalSplit, NotFiniteRecord, Observer, Outcome, ProfileRecord, StepRecord, TraceRecord, WhichWeights,
};
pub use safeguards::{Every, OnNan, Reopen, Safeguards};
pub use schedule::learning_rate;
pub use trainer::{TrainError, Trainer};
