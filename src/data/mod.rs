//! Sets of labelled images, and the order in which training and evaluation take them.
//!
//! A set is either MNIST, which the binary holds (`mnist.rs`), or a folder with the same four files (`folder.rs`) in
//! the same format ([`idx`]). Images stay bytes here; the device turns them into normalised numbers, batch by batch.
//! Nothing in this layer knows of devices or nets.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

mod error;
mod folder;
pub mod idx;
mod mnist;
mod sampler;

pub use error::DataError;
pub use sampler::{EvaluationBatch, Sampler, Split, evaluation_batches, random_batch, split};

/// The four files of a set, by their usual names: training images and labels, test images and labels.
pub const FILES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// Images of one size, each with its label. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Rows of an image.
    pub height: u32,
    /// Columns of an image.
    pub width: u32,
    /// Bytes of a pixel.
    pub channels: u32,
    /// `[images, height, width, channels]`
    pub pixels: Vec<u8>,
    /// `[images]`
    pub labels: Vec<u8>,
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// `[height, width, channels]`
    pub fn shape(&self) -> [u32; 3] {
        [self.height, self.width, self.channels]
    }

    /// Bytes of one image.
    pub fn image_bytes(&self) -> usize {
        self.shape().iter().map(|&size| size as usize).product()
    }

    /// The pixels of image `index`, `[height, width, channels]`.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.image_bytes()..][..self.image_bytes()]
    }

    /// The images `indices`, in this order.
    pub fn pick(&self, indices: &[u32]) -> Self {
        let pixels = indices.iter().flat_map(|&index| self.image(index as usize)).copied().collect();
        Self { pixels, labels: indices.iter().map(|&index| self.labels[index as usize]).collect(), ..*self }
    }

    /// All pixels as words for a device: byte `i` is byte `i % 4`, from the lowest, of word `i / 4`; zeros fill the
    /// last word.
    pub fn packed_words(&self) -> Vec<u32> {
        let mut words = vec![0u32; self.pixels.len().div_ceil(4)];
        bytemuck::cast_slice_mut(&mut words)[..self.pixels.len()].copy_from_slice(&self.pixels);
        words.iter_mut().for_each(|word| *word = u32::from_le(*word));
        words
    }

    /// All labels, a word each.
    pub fn label_words(&self) -> Vec<u32> {
        self.labels.iter().map(|&label| u32::from(label)).collect()
    }

    fn read(images: &mut File, labels: &mut File) -> Result<Self, DataError> {
        let idx::Array { sizes: [count, height, width], bytes: pixels } = images.read()?;
        let idx::Array { sizes: [label_count], bytes: labels_read } = labels.read()?;
        if label_count != count {
            return Err(DataError::CountMismatch { path: labels.path.clone(), images: count, labels: label_count });
        }
        Ok(Self { height, width, channels: 1, pixels, labels: labels_read })
    }
}

/// Training and test images of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSet {
    /// What it was loaded from: `mnist` or a folder.
    pub name: String,
    /// What the net learns from.
    pub train: Images,
    /// What it is judged by.
    pub test: Images,
    /// Number of classes, at least 2: every label is below it.
    pub classes: u32,
}

impl DataSet {
    /// Name of the set inside the binary.
    pub const EMBEDDED: &str = "mnist";

    /// Loads [`Self::EMBEDDED`], the set inside the binary, or a folder with the four [`FILES`], each of them plain
    /// or with `.gz`. A folder that is called `mnist` itself can be given as `./mnist`.
    pub fn load(source: &str) -> Result<Self, DataError> {
        let folder = Path::new(source);
        let files = match source {
            Self::EMBEDDED => mnist::open(),
            _ if folder.is_dir() => folder::open(folder)?,
            _ => return Err(DataError::NoFolder { folder: folder.into() }),
        };
        Self::read(source, files)
    }

    /// SHA-256, in hexadecimal, of all images and labels: two sets are the same if it is.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for images in [&self.train, &self.test] {
            images.shape().iter().for_each(|size| hash.update(size.to_le_bytes()));
            hash.update((images.len() as u64).to_le_bytes());
            hash.update(&images.pixels);
            hash.update(&images.labels);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn read(name: &str, mut files: [File; 4]) -> Result<Self, DataError> {
        let [train_images, train_labels, test_images, test_labels] = &mut files;
        let train = Images::read(train_images, train_labels)?;
        let test = Images::read(test_images, test_labels)?;
        if test.shape() != train.shape() {
            return Err(DataError::ShapeMismatch {
                path: test_images.path.clone(),
                test: [test.height, test.width],
                train: [train.height, train.width],
            });
        }
        let largest = train.labels.iter().copied().max().unwrap_or(0);
        let classes = u32::from(largest.max(1)) + 1;
        if let Some(index) = test.labels.iter().position(|&label| u32::from(label) >= classes) {
            let label = test.labels[index];
            return Err(DataError::UnknownLabel { path: test_labels.path.clone(), index, label, largest });
        }
        Ok(Self { name: name.to_owned(), train, test, classes })
    }

    /// Per channel the mean of all training pixels, then per channel 1 / their standard deviation (the biased one),
    /// both of byte / 255. A constant channel gets 1 for the latter.
    ///
    /// The sums are exact, so every machine gets the same numbers.
    pub fn normalization(&self) -> Vec<f32> {
        let channels = self.train.channels as usize;
        let moments: Vec<(f64, f64)> =
            (0..channels).map(|channel| moments(&self.train.pixels, channel, channels)).collect();
        let means = moments.iter().map(|&(mean, _)| mean as f32);
        let inverse_deviations = moments.iter().map(|&(_, inverse_deviation)| inverse_deviation as f32);
        means.chain(inverse_deviations).collect()
    }
}

/// Mean and 1 / standard deviation, of byte / 255, in one of the `channels` of `pixels`.
fn moments(pixels: &[u8], channel: usize, channels: usize) -> (f64, f64) {
    let (mut count, mut sum, mut squares) = (0u64, 0u64, 0u64);
    for &byte in pixels[channel..].iter().step_by(channels) {
        count += 1;
        sum += u64::from(byte);
        squares += u64::from(byte).pow(2);
    }
    // count² times the variance of the bytes, without cancellation
    let spread = u128::from(count) * u128::from(squares) - u128::from(sum).pow(2);
    let scale = 255.0 * count as f64;
    let inverse_deviation = if spread == 0 { 1.0 } else { scale / (spread as f64).sqrt() };
    (sum as f64 / scale, inverse_deviation)
}

/// One of the four files, open.
struct File {
    /// For messages.
    path: PathBuf,
    /// The bytes, uncompressed.
    reader: Box<dyn Read + Send>,
}

impl File {
    fn read<const DIMENSIONS: usize>(&mut self) -> Result<idx::Array<DIMENSIONS>, DataError> {
        idx::read(&self.path, &mut self.reader)
    }
}
