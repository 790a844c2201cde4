//! The learning rate of each step.

use super::options::{LearningRateSchedule, TrainOptions};

impl TrainOptions {
    /// Returns the learning rate of `step` (from 0).
    ///
    /// Over the first `warmup_steps` it rises in equal parts to `lr`, `lr / warmup_steps` at the
    /// first. A cosine runs over the rest; the steps of [`Step`](LearningRateSchedule::Step) are at
    /// 1/2 and 3/4 of the whole run.
    pub fn learning_rate(&self, step: u64) -> f64 {
        let &Self { lr, warmup_steps: warmup, steps, .. } = self;
        if step < warmup {
            return lr * (step + 1) as f64 / warmup as f64;
        }
        match self.lr_schedule {
            LearningRateSchedule::Constant => lr,
            LearningRateSchedule::Step if 4 * step >= 3 * steps => lr / 100.0,
            LearningRateSchedule::Step if 2 * step >= steps => lr / 10.0,
            LearningRateSchedule::Step => lr,
            LearningRateSchedule::Cosine => {
                let share = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
                lr * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LearningRateSchedule::*, TrainOptions};

    #[test]
    fn schedules_follow_their_course() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        let options = TrainOptions { steps: 1000, lr: 0.1, warmup_steps: 0, ..TrainOptions::default() };
        let constant = TrainOptions { lr_schedule: Constant, ..options.clone() };
        assert!(close(constant.learning_rate(999), 0.1));
        let step = |step| TrainOptions { lr_schedule: Step, ..options.clone() }.learning_rate(step);
        assert!(close(step(499), 0.1) && close(step(500), 0.01) && close(step(749), 0.01) && close(step(750), 0.001));
        let warmed = TrainOptions { lr_schedule: Cosine, lr: 1.0, warmup_steps: 10, steps: 110, ..options.clone() };
        let cosine = |step| warmed.learning_rate(step);
        assert!(close(cosine(0), 0.1) && close(cosine(9), 1.0) && close(cosine(10), 1.0) && close(cosine(60), 0.5));
        assert!(cosine(109) > 0.0 && cosine(109) < 0.001);
    }
}
