//! What can be wrong with a data set: each message is one line that says where, what, and what would be right.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a data set cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// The source is no folder.
    #[error("{folder}: no such folder; give `mnist` or a folder with the four IDX files of a set")]
    NoFolder {
        /// The source.
        folder: PathBuf,
    },
    /// A file is not there, whatever its spelling.
    #[error("{folder}: a file is missing; one of these is needed: {names}")]
    MissingFile {
        /// Where it was looked for.
        folder: PathBuf,
        /// The names it may have.
        names: String,
    },
    /// The operating system or the decompressor gave up.
    #[error("{path}: cannot be read ({reason}); {}", advice(reason))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Their words.
        reason: io::Error,
    },
    /// The name promises gzip.
    #[error("{path}: not gzip data; drop `.gz` from the name of an uncompressed file")]
    NotGzip {
        /// The file.
        path: PathBuf,
    },
    /// The first four bytes are not those of such an IDX file.
    #[error(
        "{path}: starts with {found:08x}; an IDX file of bytes in {dimensions} dimension(s) starts with {expected:08x}"
    )]
    WrongMagic {
        /// The file.
        path: PathBuf,
        /// Its first four bytes.
        found: u32,
        /// What they should be.
        expected: u32,
        /// Number of sizes in the header.
        dimensions: usize,
    },
    /// The header promises nothing.
    #[error("{path}: holds nothing, its sizes are {sizes:?}; every size must be at least 1")]
    Empty {
        /// The file.
        path: PathBuf,
        /// Its sizes.
        sizes: Vec<u32>,
    },
    /// The header promises more than any device could hold.
    #[error("{path}: its sizes are {sizes:?}, {bytes} bytes; at most {} are possible", u32::MAX)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its sizes.
        sizes: Vec<u32>,
        /// Their product.
        bytes: u128,
    },
    /// The file ends early.
    #[error("{path}: ends after {found} of {expected} bytes; it is cut off, copy it again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that are there, once uncompressed.
        found: u64,
        /// Bytes that its header promises, itself included.
        expected: u64,
    },
    /// The file goes on after its end.
    #[error("{path}: goes on after the {expected} bytes that its header promises; copy it again")]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Bytes that its header promises, itself included.
        expected: u64,
    },
    /// Images and labels do not belong together.
    #[error("{path}: {labels} labels for {images} images; both files must come from the same split")]
    CountMismatch {
        /// The file of labels.
        path: PathBuf,
        /// Number of images.
        images: u32,
        /// Number of labels.
        labels: u32,
    },
    /// Training and test images do not belong together.
    #[error(
        "{path}: test images of {}x{} pixels, training images of {}x{}; both must have the same size",
        test[0], test[1], train[0], train[1]
    )]
    ShapeMismatch {
        /// The file of test images.
        path: PathBuf,
        /// Height and width of the test images.
        test: [u32; 2],
        /// Height and width of the training images.
        train: [u32; 2],
    },
    /// The test set has a class that no training image shows.
    #[error("{path}: test image {index} has label {label}; the largest label in training is {largest}")]
    UnknownLabel {
        /// The file of test labels.
        path: PathBuf,
        /// The first such image, from 0.
        index: usize,
        /// Its label.
        label: u8,
        /// Largest label of the training set.
        largest: u8,
    },
    /// Validation would take every training image.
    #[error("{validation} validation images of {count} training images; at least one must be left to train on")]
    NothingToTrainOn {
        /// Images asked for.
        validation: usize,
        /// Images there are.
        count: usize,
    },
    /// Not one whole batch.
    #[error("a batch of {batch} from {count} training images; it must be from 1 to {count}")]
    BatchSize {
        /// Images asked for.
        batch: usize,
        /// Images there are.
        count: usize,
    },
}

/// What to do where a file can't be read.
fn advice(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::OutOfMemory => "end other programs, or raise `ulimit -v`",
        _ => "check its permissions, or copy it again",
    }
}
