//! Keeps two runs out of one folder.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// A lock that the system holds for as long as the process lives: one that was killed leaves none behind.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks the folder; `None` if another process has.
    pub fn take(folder: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).append(true).open(folder.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
