//! Training: the loop, the learning rate, evaluations, checkpoints, and the events of a run.

mod all_gates_time;
mod checkpoint;
mod clocks;
mod decision;
mod dedup;
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
mod state;
mod trainer;
mod update_rows;

pub use checkpoint::{Best, Checkpoint, Counters};
pub use engine::{Engine, IN_FLIGHT, Step, StepReport, StepTiming};
pub use events::{
    EvalRecord, EvalSplit, Event, NotFiniteRecord, Observer, Outcome, ProfileRecord, StepRecord, TimingRecord,
    TraceRecord, WhichWeights,
};
pub(crate) use options::toml_lines;
pub use options::{
    DroppedUpdate, EvaluateOn, LearningRateSchedule, MOST_STEPS, Model, OptimizerKind, OptionError, TrainOptions,
    check_field,
};
pub use predict::{Prediction, Score};
pub use recalibrate::Statistics;
pub use safeguards::{CheckpointEvery, OnNan, Reopen, Safeguards};
pub use trainer::{TrainError, Trainer};
pub use update_rows::UpdateRows;
