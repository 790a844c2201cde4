//! A folder with the four files of a set.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::{DataError, FILES, File};

/// What every gzip file starts with (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens all four.
pub(super) fn open(folder: &Path) -> Result<[File; 4], DataError> {
    let [train_images, train_labels, test_images, test_labels] = FILES.map(|name| open_file(folder, name));
    Ok([train_images?, train_labels?, test_images?, test_labels?])
}

/// Opens the file that `folder` has under `name`, one of [`FILES`]: `train-images-idx3-ubyte` may also be
/// `train-images.idx3-ubyte`, as some archives have it, and either may end in `.gz`. An uncompressed file wins.
fn open_file(folder: &Path, name: &str) -> Result<File, DataError> {
    let dotted = name.replace("-idx", ".idx");
    let names = [name, &dotted, &format!("{name}.gz"), &format!("{dotted}.gz")];
    let path = names
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| DataError::MissingFile { folder: folder.into(), names: names.join(", ") })?;

    let unreadable = |reason| DataError::Unreadable { path: path.clone(), reason };
    let mut reader = BufReader::new(fs::File::open(&path).map_err(unreadable)?);
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(File { path, reader: Box::new(reader) });
    }
    if !reader.fill_buf().map_err(unreadable)?.starts_with(&GZIP_MAGIC) {
        return Err(DataError::NotGzip { path });
    }
    Ok(File { path, reader: Box::new(MultiGzDecoder::new(reader)) })
}
