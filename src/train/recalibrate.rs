//! Batch norm's running statistics, re-estimated for an evaluation from training batches.
//!
//! Running statistics are an average over the steps behind, and so over weights that have moved on since, and over
//! nets without the blocks that were dropped. An estimate under the weights at hand, of the whole net, lags behind
//! nothing. Training must not see it: what it has made of the statistics is put back.

use std::collections::{BTreeSet, VecDeque};

use super::engine::{Engine, IN_FLIGHT};
use super::trainer::{TrainError, Trainer};
use crate::device::{DeviceError, Ticket};
use crate::dispatch::ValueId;
use crate::plan::ImageFile;

/// What training has made of the statistics of all norms: flat buffers, and what they hold.
#[derive(Debug)]
pub struct Statistics(Vec<(ValueId, Vec<u32>)>);

impl Engine {
    /// Re-estimates the running statistics of all norms under the weights on the device, from `batches` of training
    /// images, at least one: for each channel, the mean of the batches' means, and that of their unbiased variances, as
    /// running statistics average them. All blocks run, scaled as in inference; no dropout stands before a norm.
    ///
    /// Returns what was there, for [`Self::put_back`]. The plan must have been made with a recalibration.
    pub fn recalibrate(&mut self, batches: impl IntoIterator<Item = Vec<u32>>) -> Result<Statistics, DeviceError> {
        let flat = self.flat_statistics();
        let all = flat.iter().flat_map(|&(running, of_batch)| [running, of_batch]);
        let trained = all.map(|value| Ok((value, self.device.read(value)?))).collect::<Result<_, DeviceError>>()?;

        let list = self.plan.schedule_recalibration();
        let mut sums: Vec<Vec<f64>> = flat.iter().map(|&(running, _)| vec![0.0; self.count(running)]).collect();
        let mut count = 0.0;
        let mut add = |engine: &mut Self, tickets: Vec<Ticket>| {
            count += 1.0;
            for (sums, ticket) in sums.iter_mut().zip(tickets) {
                let words = engine.device.collect(ticket)?;
                sums.iter_mut().zip(words).for_each(|(sum, word)| *sum += f64::from(f32::from_bits(word)));
            }
            Ok::<(), DeviceError>(())
        };
        let mut submitted: VecDeque<Vec<Ticket>> = VecDeque::new();
        for batch in batches {
            self.write_batch(ImageFile::Train, self.plan.interface.indices, &batch)?;
            self.device.run(&list)?;
            let tickets = flat.iter().map(|&(_, of_batch)| self.device.request(of_batch));
            submitted.push_back(tickets.collect::<Result<_, _>>()?);
            if submitted.len() > IN_FLIGHT
                && let Some(first) = submitted.pop_front()
            {
                add(self, first)?;
            }
        }
        for tickets in submitted {
            add(self, tickets)?;
        }
        for (&(running, _), sums) in flat.iter().zip(&sums) {
            let means: Vec<u32> = sums.iter().map(|sum| ((sum / count) as f32).to_bits()).collect();
            self.device.write(running, &means)?;
        }
        Ok(Statistics(trained))
    }

    /// Puts back what training has made of the statistics.
    pub fn put_back(&mut self, trained: &Statistics) -> Result<(), DeviceError> {
        trained.0.iter().try_for_each(|(value, words)| self.device.write(*value, words))
    }

    /// The flat buffers of running statistics, each with that of the batch's statistics, which has the same layout.
    fn flat_statistics(&self) -> BTreeSet<(ValueId, ValueId)> {
        let statistics = self.plan.parameters.iter().filter(|planned| !planned.parameter.kind.is_trained());
        statistics
            .filter_map(|planned| Some((self.flat_buffer(planned.value).0, self.flat_buffer(planned.gradient?).0)))
            .collect()
    }
}

impl Trainer<'_> {
    /// What `evaluate` makes of the weights on the device, by running statistics as the settings want them: as training
    /// has them, or re-estimated for the purpose.
    pub(super) fn recalibrated<T>(
        &mut self,
        evaluate: impl FnOnce(&mut Engine) -> Result<T, DeviceError>,
    ) -> Result<T, TrainError> {
        let batches = self.options.bn_recalibrate;
        if batches == 0 {
            return Ok(evaluate(&mut self.engine)?);
        }
        let sampler = &mut self.recalibration;
        let trained = self.engine.recalibrate((0..batches).map(|step| sampler.batch(step).to_vec()))?;
        let evaluated = evaluate(&mut self.engine)?;
        self.engine.put_back(&trained)?;
        Ok(evaluated)
    }
}
