//! Training: batches in, steps out; schedules, evaluation, checkpoints, and what is told of it on the way.

mod all_gates_time;
mod checkpoint;
mod diagnose;
mod engine;
mod evaluate;
mod events;
mod learning_rate;
mod options;
mod predict;
mod recalibrate;
mod recovery;
mod safeguards;
mod told;
mod trainer;
mod update_rows;

pub use checkpoint::{Best, Checkpoint, Counters};
pub use engine::{Engine, IN_FLIGHT, Report, Step, StepTiming};
pub use events::{
    EvalRecord, EvalSplit, NotFiniteRecord, Observer, Outcome, ProfileRecord, StepRecord, TraceRecord, WhichWeights,
};
pub use learning_rate::learning_rate;
pub use options::{
    DroppedUpdate, EvaluateOn, LearningRateSchedule, MOST_STEPS, Model, OptimizerKind, OptionError, TrainOptions,
    check_flag,
};
pub use predict::{Prediction, Score};
pub use recalibrate::Statistics;
pub use safeguards::{Every, OnNan, Reopen, Safeguards};
pub use trainer::{TrainError, Trainer};
pub use update_rows::UpdateRows;
