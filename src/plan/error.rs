//! Why a plan can be refused, and what would be right.

use thiserror::Error;

/// Why a plan is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A convolution's or pool's window is larger than the padded image.
    #[error("images of {height}x{width} are too small for {arch}: nothing is left at {layer}")]
    ImageTooSmall {
        /// The net.
        arch: String,
        /// Image height.
        height: u32,
        /// Image width.
        width: u32,
        /// Where.
        layer: String,
    },
    /// Batch norm over a single value.
    #[error(
        "batch size {batch} is too small for {arch}: {layer} normalises one value a channel, and batch norm needs at \
         least two; use `batch_size` 2 or more"
    )]
    SingleValue {
        /// The net.
        arch: String,
        /// The batch size.
        batch: u32,
        /// Where.
        layer: String,
    },
    /// A value exceeds the device's largest binding.
    #[error(
        "{what} needs {}, and this device binds at most {} at once{}",
        size(*needed_bytes), size(*limit_bytes), advice(mend.as_ref())
    )]
    TooLarge {
        /// The value.
        what: String,
        /// Bytes that it needs.
        needed_bytes: u64,
        /// Bytes that the device can bind.
        limit_bytes: u64,
        /// What would fit, if anything does.
        mend: Option<Mend>,
    },
    /// All values together exceed the device's memory.
    #[error(
        "{arch} needs {} with these batch sizes, and this device has {} free{}",
        size(*needed_bytes), size(*total_bytes), advice(mend.as_ref())
    )]
    OutOfMemory {
        /// The net.
        arch: String,
        /// Bytes that all buffers need.
        needed_bytes: u64,
        /// Bytes that the device has free.
        total_bytes: u64,
        /// What would fit, if anything does.
        mend: Option<Mend>,
    },
}

/// The largest batch sizes that fit; `None` where what was asked for does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mend {
    /// For training.
    pub batch_size: Option<u32>,
    /// For evaluations.
    pub eval_batch: Option<u32>,
}

/// Writes a number of bytes in MiB, or in KiB if there is less than one.
fn size(bytes: u64) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

fn advice(mend: Option<&Mend>) -> String {
    let Some(mend) = mend else { return "; no batch size fits".into() };
    let field = |name: &str, batch: Option<u32>| batch.map(|batch| format!("`{name}` {batch}"));
    let fields = [field("batch_size", mend.batch_size), field("eval_batch", mend.eval_batch)];
    let fields: Vec<String> = fields.into_iter().flatten().collect();
    format!("; the largest that fits is {}", fields.join(" "))
}
