//! Keeps two runs out of one folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::error::{RunError, write_error};

/// A lock that the system holds for as long as the process lives: one that was killed leaves none
/// behind.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks the folder. Errors if another process has.
    pub fn take(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join("lock");
        let file = File::options().create(true).append(true).open(path).map_err(write_error(folder))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(RunError::InUse(folder.to_path_buf())),
            Err(TryLockError::Error(error)) => Err(write_error(folder)(error)),
        }
    }
}
