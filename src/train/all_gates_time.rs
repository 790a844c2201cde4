//! What a run would have taken with all gates on: the measure of what skipping saves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Prices every step of a run at the time of an all-gates step measured soon after it, so that a machine whose speed
/// drifts prices both alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllGatesTime {
    /// What the steps priced so far would have taken.
    total: Duration,
    priced: u32,
    /// Steps since the last measurement.
    waiting: u32,
    measurements: usize,
}

impl AllGatesTime {
    /// What the steps priced so far would have taken.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// A training step is done.
    pub fn step_done(&mut self) {
        self.waiting = self.waiting.saturating_add(1);
    }

    /// A step with all gates on takes `time` now.
    pub fn measured(&mut self, time: Duration) {
        self.total += time.saturating_mul(self.waiting);
        self.priced = self.priced.saturating_add(self.waiting);
        self.waiting = 0;
        self.measurements += 1;
    }

    /// What all steps would have taken, and the number of measurements behind it; `None` without any.
    pub fn estimate(&self) -> Option<(Duration, usize)> {
        let steps = f64::from(self.priced) + f64::from(self.waiting);
        (self.priced > 0).then(|| (self.total.mul_f64(steps / f64::from(self.priced)), self.measurements))
    }
}

#[cfg(test)]
mod tests {
    use super::AllGatesTime;
    use std::time::Duration;

    #[test]
    fn each_step_has_the_price_of_its_time() {
        let mut time = AllGatesTime::default();
        assert_eq!(time.estimate(), None);
        (0..10).for_each(|_| time.step_done());
        time.measured(Duration::from_millis(100));
        (0..20).for_each(|_| time.step_done());
        time.measured(Duration::from_millis(50));
        assert_eq!(time.estimate(), Some((Duration::from_secs(2), 2)));
        // Steps after the last measurement are priced at the mean.
        (0..30).for_each(|_| time.step_done());
        assert_eq!(time.estimate(), Some((Duration::from_secs(4), 2)));
    }
}
