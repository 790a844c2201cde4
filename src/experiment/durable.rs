//! Files that survive: each one is there as a whole or not at all, whatever happens, a loss of power included.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What a file is called while it is being written.
pub const PARTIAL: &str = "partial";

/// Writes `bytes` to `path`, which holds what it held before until all of them are on the disk.
///
/// They go to a file beside it first; its contents are on the disk before it is renamed, and the new name is before
/// this returns. On an error, nothing new is left behind.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension(PARTIAL);
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&partial, path));
    if renamed.is_err() {
        // It would take the place that a full disk lacks.
        let _ = fs::remove_file(&partial);
    }
    renamed?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Has the names in `folder` on the disk. Windows opens no folders, and keeps its names in a journal.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
