//! What a step should take on a GPU, estimated from its FLOP, bytes and dispatches: a roofline for each dispatch.

use super::DispatchRow;

/// A kind of GPU, by its peaks.
#[derive(Clone, Copy, Debug)]
pub struct DeviceClass {
    /// Its name.
    pub name: &'static str,
    /// f32 operations in a second at most, a multiply-add counting as two, in 10^12.
    pub teraflops: f64,
    /// Bytes in a second at most, in 10^9.
    pub gigabytes: f64,
}

/// The classes that estimates are made for.
pub const DEVICE_CLASSES: [DeviceClass; 3] = [
    DeviceClass { name: "integrated", teraflops: 2.0, gigabytes: 60.0 },
    DeviceClass { name: "desktop", teraflops: 20.0, gigabytes: 500.0 },
    DeviceClass { name: "data-centre", teraflops: 60.0, gigabytes: 3000.0 },
];

/// Share of the peak that good WGSL matrix products reach; `docs/performance.md` says whose.
const SHARE_OF_FLOP: f64 = 0.4;
/// Share of the peak that plain streaming reaches.
const SHARE_OF_BYTES: f64 = 0.8;
/// Seconds from the end of a dispatch to the begin of the next that waits for it.
const BETWEEN_DISPATCHES: f64 = 2e-6;

/// Where the estimated time of a step goes, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// In dispatches that arithmetic bounds.
    pub compute: f64,
    /// In dispatches that memory bounds.
    pub memory: f64,
    /// Between dispatches.
    pub between: f64,
}

impl Estimate {
    /// Of dispatches that run one after the other on a device of that class.
    pub fn new(rows: &[DispatchRow], class: &DeviceClass) -> Self {
        let mut estimate = Self { between: BETWEEN_DISPATCHES * rows.len() as f64, ..Self::default() };
        for row in rows {
            let compute = row.cost.flop / (SHARE_OF_FLOP * 1e12 * class.teraflops);
            let memory = row.bytes as f64 / (SHARE_OF_BYTES * 1e9 * class.gigabytes);
            if compute > memory {
                estimate.compute += compute;
            } else {
                estimate.memory += memory;
            }
        }
        estimate
    }

    /// The whole.
    pub fn total(&self) -> f64 {
        self.compute + self.memory + self.between
    }
}
