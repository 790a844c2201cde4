//! The IDX format of MNIST: a magic number, the sizes of an array, its elements; all numbers big-endian.
//!
//! ```text
//! 00 00 | 08: the elements are bytes | number of dimensions | a u32 for each size, slowest first | the elements
//! ```
//!
//! Source: <http://yann.lecun.com/exdb/mnist/>, "The IDX file format".

use std::cmp::Ordering;
use std::io::Read;
use std::path::Path;

use super::DataError;

/// An array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array<const DIMENSIONS: usize> {
    /// Its sizes, slowest first; none is zero.
    pub sizes: [u32; DIMENSIONS],
    /// Its elements; as many as the sizes say.
    pub bytes: Vec<u8>,
}

/// Reads an IDX file of bytes from `reader`, which must end where its array ends. `path` is for messages.
///
/// Nothing the header says is trusted: memory grows with the bytes that really come, and reading stops one byte
/// behind those that the header promises.
pub fn read<const DIMENSIONS: usize>(path: &Path, mut reader: impl Read) -> Result<Array<DIMENSIONS>, DataError> {
    let header_length = 4 + 4 * DIMENSIONS as u64;
    let header = read_up_to(header_length, path, &mut reader)?;
    let numbers: Vec<u32> = header.as_chunks().0.iter().map(|&number| u32::from_be_bytes(number)).collect();
    let magic = 0x0800 | DIMENSIONS as u32;
    match numbers.first() {
        Some(&found) if found != magic => {
            return Err(DataError::WrongMagic { path: path.into(), found, expected: magic, dimensions: DIMENSIONS });
        }
        _ => require_length(header_length, header.len() as u64, path)?,
    }

    let sizes: [u32; DIMENSIONS] = std::array::from_fn(|dimension| numbers[1 + dimension]);
    let length = match sizes.iter().map(|&size| u128::from(size)).product() {
        0 => return Err(DataError::Empty { path: path.into(), sizes: sizes.into() }),
        bytes => {
            u32::try_from(bytes).map_err(|_| DataError::TooLarge { path: path.into(), sizes: sizes.into(), bytes })?
        }
    };

    let length = u64::from(length);
    let bytes = read_up_to(length + 1, path, &mut reader)?;
    require_length(header_length + length, header_length + bytes.len() as u64, path)?;
    Ok(Array { sizes, bytes })
}

/// At most `limit` bytes; fewer if the reader ends.
fn read_up_to(limit: u64, path: &Path, reader: impl Read) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    match reader.take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(reason) => Err(DataError::Unreadable { path: path.into(), reason }),
    }
}

fn require_length(expected: u64, found: u64, path: &Path) -> Result<(), DataError> {
    match found.cmp(&expected) {
        Ordering::Less => Err(DataError::Truncated { path: path.into(), found, expected }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(DataError::TrailingBytes { path: path.into(), expected }),
    }
}
