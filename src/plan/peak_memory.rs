//! How much is live at once in a training step, by how the gates are drawn.

use super::{Allocation, GateSampling, Operand, Plan, Runs};
use crate::dispatch::ValueId;

impl Plan {
    /// The most bytes of pooled values that live at one moment of a training step, from their first write to their last
    /// read, under any gates that `sampling` can draw.
    ///
    /// A bound on what a step's values need, not what is allocated: the plan's buffers serve any gates, and a buffer
    /// that no value of its size fills is not cut up. Under independent gates every block may survive; under systematic
    /// ones only so many of each group, here those that need the most.
    pub fn most_live_bytes(&self, sampling: GateSampling) -> u64 {
        let (shared, owned) = self.live_bytes();
        let most = (0..shared.len()).map(|time| {
            let of = |block: usize| owned[block][time];
            let blocks = match sampling {
                GateSampling::Independent => (0..owned.len()).map(of).sum::<u64>(),
                GateSampling::Systematic => {
                    let groups: Vec<Vec<u64>> = self
                        .systematic
                        .groups()
                        .map(|group| {
                            let mut bytes: Vec<u64> = group.map(of).collect();
                            bytes.sort_unstable_by(|a, b| b.cmp(a));
                            bytes
                        })
                        .collect();
                    let counts = self.systematic.counts();
                    let sums = counts.iter().map(|counts| {
                        let largest = groups.iter().zip(counts).flat_map(|(bytes, &count)| &bytes[..count]);
                        largest.sum::<u64>()
                    });
                    let certain: u64 = self.systematic.certain().iter().copied().map(of).sum();
                    certain + sums.max().unwrap_or(0)
                }
            };
            shared[time] + blocks
        });
        most.max().unwrap_or(0)
    }

    /// Returns the bytes that are live at each time of a training step with all gates on: of values
    /// that any step may write, and of those that only a block writes, if it survives.
    fn live_bytes(&self) -> (Vec<u64>, Vec<Vec<u64>>) {
        let segments = self.segments.iter();
        let times = segments.map(|segment| segment.forward.len() + segment.backward.len()).sum::<usize>();
        let mut shared = vec![0; times];
        let mut owned = vec![vec![0; times]; self.blocks.len()];
        for (index, owner) in self.owners().into_iter().enumerate() {
            let value = &self.values[index];
            let (Allocation::Pooled, Some((first, last))) = (value.allocation, self.lifetimes[index]) else { continue };
            if first >= times {
                // Of an evaluation.
                continue;
            }
            let line = owner.map_or(&mut shared, |block| &mut owned[block]);
            line[first..=last.min(times - 1)].iter_mut().for_each(|bytes| *bytes += value.bytes());
        }
        (shared, owned)
    }

    /// For each value, the block that must survive for it to be written, if there is one.
    fn owners(&self) -> Vec<Option<usize>> {
        let mut writers: Vec<Option<Runs>> = vec![None; self.values.len()];
        for segment in &self.segments {
            for operand in segment.forward.iter().chain(&segment.backward).flat_map(|template| &template.writes) {
                let candidates = self.candidates(*operand);
                // One of several values, by the gates: whichever block survives.
                let runs = if matches!(operand, Operand::Value(_)) { segment.runs } else { Runs::Always };
                for index in candidates.into_iter().map(ValueId::index) {
                    let same = writers[index].is_none_or(|before| before == runs);
                    writers[index] = Some(if same { runs } else { Runs::Always });
                }
            }
        }
        let owner = |runs: Option<Runs>| match runs {
            Some(Runs::Kept(block)) => Some(block),
            _ => None,
        };
        writers.into_iter().map(owner).collect()
    }
}
