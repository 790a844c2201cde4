//! Reading values back without making the device wait.

use std::sync::{Arc, Mutex};

use wgpu::{Buffer, BufferAsyncError, BufferDescriptor, BufferUsages, CommandEncoder, MapMode, SubmissionIndex};

/// How a mapping went, once it is known.
type Outcome = Arc<Mutex<Option<Result<(), BufferAsyncError>>>>;

/// A copy of a value on its way to the host.
pub(super) struct ReadBack {
    staging: Buffer,
    outcome: Outcome,
    /// The submission that makes the copy, once it is known.
    pub submission: Option<SubmissionIndex>,
}

impl ReadBack {
    /// Whether the words have arrived (or will never).
    pub fn is_done(&self) -> bool {
        self.outcome.lock().is_ok_and(|outcome| outcome.is_some())
    }

    /// Starts the mapping; the copy must have been submitted.
    pub fn map(&mut self, submission: SubmissionIndex) {
        self.submission = Some(submission);
        let outcome = Arc::clone(&self.outcome);
        self.staging.slice(..).map_async(MapMode::Read, move |result| {
            if let Ok(mut outcome) = outcome.lock() {
                *outcome = Some(result);
            }
        });
    }
}

/// Staging buffers, reused by size.
#[derive(Default)]
pub(super) struct StagingPool {
    free: Vec<Buffer>,
}

impl StagingPool {
    /// Encodes the copy of `bytes` bytes of `source` from byte `offset`.
    pub fn copy(
        &mut self,
        device: &wgpu::Device,
        encoder: &mut CommandEncoder,
        source: &Buffer,
        offset: u64,
        bytes: u64,
    ) -> ReadBack {
        let free = self.free.iter().position(|buffer| buffer.size() == bytes);
        let staging = free.map(|index| self.free.swap_remove(index)).unwrap_or_else(|| {
            device.create_buffer(&BufferDescriptor {
                label: Some("read-back"),
                size: bytes,
                usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        encoder.copy_buffer_to_buffer(source, offset, &staging, 0, bytes);
        ReadBack { staging, outcome: Outcome::default(), submission: None }
    }

    /// The words of a read-back that is done; `None` if the device could not deliver them.
    pub fn take(&mut self, read_back: ReadBack) -> Option<Vec<u32>> {
        let mapped = matches!(read_back.outcome.lock().as_deref(), Ok(Some(Ok(()))));
        if !mapped {
            return None;
        }
        let mut words = vec![0u32; read_back.staging.size() as usize / size_of::<u32>()];
        let view = read_back.staging.slice(..).get_mapped_range().ok()?;
        bytemuck::cast_slice_mut::<u32, u8>(&mut words).copy_from_slice(&view);
        drop(view);
        read_back.staging.unmap();
        self.free.push(read_back.staging);
        Some(words)
    }
}
