//! When each dispatch of a list ran: by the GPU's own timestamps, or by the host's clock around each.

use std::time::{Duration, Instant};

use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, ComputePassDescriptor, ComputePassTimestampWrites, Features, QuerySet,
    QuerySetDescriptor, QueryType,
};

use super::GpuDevice;
use crate::device::{DeviceError, DispatchTimes};
use crate::dispatch::Dispatch;

/// Dispatches in one submission: each takes two timestamps, and a set holds at most 4,096.
const DISPATCHES: usize = 2048;

/// Room for the timestamps of one submission.
pub(super) struct Timestamps {
    set: QuerySet,
    /// What they are resolved to: a u64 each.
    resolved: Buffer,
    /// Nanoseconds in one tick.
    period: f64,
}

impl Timestamps {
    /// `None` if the device was opened without them.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Option<Self> {
        if !device.features().contains(Features::TIMESTAMP_QUERY) {
            return None;
        }
        let (label, count) = (Some("timestamps"), 2 * DISPATCHES as u32);
        let size = 8 * u64::from(count);
        Some(Self {
            set: device.create_query_set(&QuerySetDescriptor { label, ty: QueryType::Timestamp, count }),
            resolved: device.create_buffer(&BufferDescriptor {
                label,
                size,
                usage: BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
            period: queue.get_timestamp_period().into(),
        })
    }
}

impl GpuDevice {
    /// Runs `list` to its end, alone on the device, and tells when each dispatch ran.
    pub(super) fn time(&mut self, list: &[Dispatch]) -> Result<DispatchTimes, DeviceError> {
        let call = Instant::now();
        let list: Vec<_> = self.bind(list)?.into_iter().zip(list).collect();
        self.flush();
        self.wait(None)?;
        let mut timed = DispatchTimes::default();
        match self.timestamps.take() {
            Some(timestamps) => {
                let done = list.chunks(DISPATCHES).try_for_each(|part| self.stamp(part, &timestamps, call, &mut timed));
                self.timestamps = Some(timestamps);
                done?;
            }
            None => list.iter().try_for_each(|&(index, _)| self.surround(index, call, &mut timed))?,
        }
        Ok(timed)
    }

    /// Runs `part` with a pass and two timestamps for each dispatch. The device's clock is not the host's: the first
    /// dispatch counts as begun when it was submitted.
    fn stamp(
        &mut self,
        part: &[(usize, &Dispatch)],
        timestamps: &Timestamps,
        call: Instant,
        timed: &mut DispatchTimes,
    ) -> Result<(), DeviceError> {
        let begin = call.elapsed();
        let mut encoder = self.take_encoder();
        for (number, &(index, dispatch)) in part.iter().enumerate() {
            let query = 2 * number as u32;
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor {
                label: Some(&dispatch.label),
                timestamp_writes: Some(ComputePassTimestampWrites {
                    query_set: &timestamps.set,
                    beginning_of_pass_write_index: Some(query),
                    end_of_pass_write_index: Some(query + 1),
                }),
            });
            self.prepared.encode(&mut pass, index);
        }
        encoder.resolve_query_set(&timestamps.set, 0..2 * part.len() as u32, &timestamps.resolved, 0);
        let bytes = (2 * part.len() * size_of::<u64>()) as u64;
        let mut read_back = self.staging.copy(&self.device, &mut encoder, &timestamps.resolved, 0, bytes);
        read_back.map(self.queue.submit([encoder.finish()]));
        let submitted = call.elapsed();
        timed.encoding += submitted - begin;
        self.wait(None)?;
        let done = call.elapsed();
        let words = self.staging.take(read_back).ok_or_else(|| self.refused("it did not deliver timestamps"))?;
        let ticks: Vec<u64> = words.chunks(2).map(|half| u64::from(half[0]) | u64::from(half[1]) << 32).collect();
        let since_first = |tick: u64| {
            let nanoseconds = tick.saturating_sub(ticks[0]) as f64 * timestamps.period;
            Duration::from_nanos(nanoseconds as u64)
        };
        // The device may begin before the host is back from the submission; it has ended when the host hears of it.
        let extent = ticks.last().map_or(Duration::ZERO, |&tick| since_first(tick));
        let first = submitted.min(done.saturating_sub(extent));
        timed.spans.extend(ticks.chunks(2).map(|ends| first + since_first(ends[0])..first + since_first(ends[1])));
        Ok(())
    }

    /// Runs what is bound at `index` in a submission of its own, and waits for it.
    fn surround(&mut self, index: usize, call: Instant, timed: &mut DispatchTimes) -> Result<(), DeviceError> {
        let begin = call.elapsed();
        let mut encoder = self.take_encoder();
        self.prepared.encode(&mut encoder.begin_compute_pass(&ComputePassDescriptor::default()), index);
        self.encoder = Some(encoder);
        self.flush();
        timed.encoding += call.elapsed() - begin;
        self.wait(None)?;
        timed.spans.push(begin..call.elapsed());
        Ok(())
    }
}
