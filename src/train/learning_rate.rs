//! The course of the learning rate.

use super::options::LearningRateSchedule;

/// The learning rate of step `step` (from 0) of `steps`, at most `lr`.
///
/// Over the first `warmup` steps it rises in equal parts, `lr / warmup` at the first. A cosine runs over the rest; the
/// steps of `Step` are at 1/2 and 3/4 of the whole.
pub fn learning_rate(schedule: LearningRateSchedule, lr: f64, warmup: u64, step: u64, steps: u64) -> f64 {
    if step < warmup {
        return lr * (step + 1) as f64 / warmup as f64;
    }
    match schedule {
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

#[cfg(test)]
mod tests {
    use super::{LearningRateSchedule::*, learning_rate};

    #[test]
    fn schedules_follow_their_course() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(learning_rate(Constant, 0.1, 0, 999, 1000), 0.1));
        let step = |step| learning_rate(Step, 0.1, 0, step, 1000);
        assert!(close(step(499), 0.1) && close(step(500), 0.01) && close(step(749), 0.01) && close(step(750), 0.001));
        let cosine = |step| learning_rate(Cosine, 1.0, 10, step, 110);
        assert!(close(cosine(0), 0.1) && close(cosine(9), 1.0) && close(cosine(10), 1.0) && close(cosine(60), 0.5));
        assert!(cosine(109) > 0.0 && cosine(109) < 0.001);
    }
}
