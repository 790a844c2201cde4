//! What wgpu and the driver report outside of any call's result.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wgpu::PollType;

use super::{DeviceError, GpuDevice};

/// How long a device that has a fault may take to come to rest.
const SETTLING: Duration = Duration::from_secs(5);

/// Faults of a device, as they come in.
pub(super) struct Faults {
    device: wgpu::Device,
    name: String,
    reported: Arc<Mutex<Reported>>,
    /// Number of the buffer whose allocation is to fail.
    failing_allocation: Option<usize>,
}

#[derive(Default)]
struct Reported {
    /// Why the device was lost. It stays so.
    lost: Option<String>,
    /// The first other fault since the last look.
    first: Option<wgpu::Error>,
}

impl Faults {
    /// Listens to `device`, which is called `name`. Nobody else may, as wgpu would panic for want of a listener.
    pub fn listen(device: &wgpu::Device, name: &str) -> Self {
        let reported = Arc::new(Mutex::new(Reported::default()));
        let slot = Arc::clone(&reported);
        device.on_uncaptured_error(Arc::new(move |error| {
            if let Ok(mut reported) = slot.lock() {
                reported.first.get_or_insert(error);
            }
        }));
        let slot = Arc::clone(&reported);
        device.set_device_lost_callback(move |reason, message| {
            if let Ok(mut reported) = slot.lock() {
                let message = message.trim();
                let message = if message.is_empty() { format!("{reason:?}") } else { message.to_string() };
                reported.lost.get_or_insert(message);
            }
        });
        Self { device: device.clone(), name: name.to_string(), reported, failing_allocation: None }
    }

    /// Tells whether the allocation of the buffer `number` is to fail, once.
    pub fn fails_allocation(&mut self, number: usize) -> bool {
        self.failing_allocation.take_if(|failing| *failing == number).is_some()
    }

    /// Errors with what was reported since the last look. A lost device does nothing, and says so only here: whatever
    /// is asked of it seems to succeed.
    pub fn check(&self) -> Result<(), DeviceError> {
        let first = self.reported.lock().ok().and_then(|mut reported| reported.first.take());
        if first.is_some() {
            // It may come of a loss, which wgpu tells only when nothing is under way any more.
            let _ = self.device.poll(PollType::Wait { submission_index: None, timeout: Some(SETTLING) });
        }
        if let Some(reason) = self.reported.lock().ok().and_then(|reported| reported.lost.clone()) {
            return Err(DeviceError::Lost { device: self.name.clone(), reason });
        }
        let device = self.name.clone();
        match first {
            None => Ok(()),
            Some(wgpu::Error::OutOfMemory { .. }) => {
                Err(DeviceError::OutOfMemory { device, needed_bytes: 0, had_bytes: 0 })
            }
            Some(error) => Err(DeviceError::Refused { device, message: error.to_string() }),
        }
    }
}

/// Faults at will, for tests of what happens then.
impl GpuDevice {
    /// Has the allocation of the buffer `number` fail in the next
    /// [`prepare`](crate::device::Device::prepare), as the driver would refuse it.
    pub fn fail_allocation(&mut self, number: usize) {
        self.faults.failing_allocation = Some(number);
    }

    /// Takes the device away, as a driver does that resets it.
    pub fn destroy(&self) {
        self.device.destroy();
    }
}
