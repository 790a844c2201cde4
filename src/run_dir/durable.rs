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

/// Removes the file at `path`, for good when this returns; it may be missing.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Has the names in `folder` on the disk. Windows opens no folders, and keeps its names in a journal.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Returns `path` as it is found from any folder.
pub fn absolute(path: &Path) -> String {
    std::path::absolute(path).as_deref().unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        write(&path, b"old").unwrap();
        let names = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!((fs::read(&path).unwrap().as_slice(), names()), (&b"old"[..], 1));

        // The new file can't be created.
        fs::create_dir(folder.path().join("file.partial")).unwrap();
        assert!(write(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        fs::remove_dir(folder.path().join("file.partial")).unwrap();

        // It can't be renamed.
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(write(&taken, b"new").is_err());
        assert!(taken.join("full").exists() && names() == 2, "nothing is left behind");

        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
