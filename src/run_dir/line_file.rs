//! Files that grow by whole lines.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::{RunError, write_error};

/// A file to which every write is added as a whole or not at all, unless the process is killed meanwhile.
pub struct LineFile {
    file: File,
    path: PathBuf,
    length: u64,
}

impl LineFile {
    /// Opens `path` and cuts it to `length` bytes. It may be missing if that is 0, and must not be shorter.
    pub fn open(path: &Path, length: u64) -> Result<Self, RunError> {
        let mut options = File::options();
        let mut file = options.write(true).create(length == 0).truncate(false).open(path).map_err(write_error(path))?;
        let has = file.metadata().map_err(write_error(path))?.len();
        if has < length {
            return Err(RunError::Shortened { path: path.to_path_buf(), has, had: length });
        }
        let cut = file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length)));
        cut.map_err(write_error(path))?;
        Ok(Self { file, path: path.to_path_buf(), length })
    }

    /// Bytes written.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// A second handle of the file.
    pub fn handle(&self) -> Result<File, RunError> {
        self.file.try_clone().map_err(write_error(&self.path))
    }
}

impl Write for LineFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write_all(line) {
            // Half a line would spoil the file for who reads it; where this fails too, resuming cuts it off.
            let _ = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            return Err(io::Error::new(error.kind(), format!("can't write {}: {error}", self.path.display())));
        }
        self.length += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
