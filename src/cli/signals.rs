//! Ctrl-C and its like: the first one asks the run to end, the second one ends it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::job::StopRequest;

/// Knows which signal has come.
pub struct Signals {
    came: Arc<AtomicUsize>,
}

impl Signals {
    /// Catches SIGINT and SIGTERM from now on, and lets writes fail that would make a file too large.
    pub fn catch() -> io::Result<Self> {
        let (came, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset.
            flag::register_conditional_shutdown(signal, exit_code(signal).into(), Arc::clone(&again))?;
            flag::register(signal, Arc::clone(&again))?;
            flag::register_usize(signal, Arc::clone(&came), signal as usize)?;
        }
        // Unless it is caught, a file that may not grow ends the program before the write can fail.
        #[cfg(unix)]
        flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        Ok(Self { came })
    }

    /// Returns the signal that has come, as the reason to stop.
    pub fn stop(&self) -> Option<StopRequest> {
        let number = Some(self.came.load(Ordering::Relaxed) as i32).filter(|&number| number != 0)?;
        Some(StopRequest::Signal { number, name: low_level::signal_name(number).unwrap_or("a signal") })
    }
}

/// Returns the exit code of a program that `signal` has ended, as shells have it.
fn exit_code(signal: i32) -> u8 {
    128 + signal as u8
}
