//! Data sets, their refusals, and samplers. The `mnist` crate and the published checksums judge the embedded set.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use lzma_rust2::XzReader;
use proptest::prelude::*;
use sdgpu::internals::data::{
    DataError, DataSet, EvaluationBatch, FILES, Images, Sampler, evaluation_batches, idx, random_batch, split,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

static MNIST: LazyLock<DataSet> = LazyLock::new(|| DataSet::load("mnist").unwrap());

/// The four original files of MNIST, uncompressed, in a folder.
static ORIGINALS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    for name in FILES {
        let asset = fs::File::open(format!("assets/mnist/{name}.xz")).unwrap();
        let mut original = fs::File::create(folder.path().join(name)).unwrap();
        io::copy(&mut XzReader::new(io::BufReader::new(asset), false), &mut original).unwrap();
    }
    folder
});

fn load(folder: &TempDir) -> Result<DataSet, DataError> {
    DataSet::load(folder.path().to_str().unwrap())
}

/// An IDX file of bytes.
pub fn idx_file(sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    file.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    file.extend(bytes);
    file
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A sound set, in the order of `FILES`: three training and two test images of 1x2 pixels, in classes 0, 1 and 2.
fn small_files() -> [Vec<u8>; 4] {
    [
        idx_file(&[3, 1, 2], &[10, 11, 20, 21, 30, 31]),
        idx_file(&[3], &[0, 2, 1]),
        idx_file(&[2, 1, 2], &[40, 41, 50, 51]),
        idx_file(&[2], &[2, 0]),
    ]
}

/// The small set in a folder, under names made by `rename`.
fn small_folder(rename: impl Fn(&str) -> String, encode: impl Fn(&[u8]) -> Vec<u8>) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in FILES.iter().zip(small_files()) {
        fs::write(folder.path().join(rename(name)), encode(&bytes)).unwrap();
    }
    folder
}

/// What is said of the small set when its file `name` holds `bytes`, or is missing; without the folder's path.
fn refusal(name: &str, bytes: Option<Vec<u8>>) -> String {
    let folder = small_folder(str::to_owned, <[u8]>::to_vec);
    fs::remove_file(folder.path().join(name.trim_end_matches(".gz"))).unwrap();
    if let Some(bytes) = bytes {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let message = load(&folder).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message.replace(folder.path().to_str().unwrap(), "FOLDER")
}

const TRAIN_IMAGES: &str = FILES[0];
const TRAIN_LABELS: &str = FILES[1];
const TEST_IMAGES: &str = FILES[2];
const TEST_LABELS: &str = FILES[3];

// The embedded set.

#[test]
fn embedded_files_have_the_published_checksums() {
    let published = [
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ];
    for (name, published) in FILES.iter().zip(published) {
        let bytes = fs::read(ORIGINALS.path().join(name)).unwrap();
        let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, published, "{name}");
    }
}

#[test]
fn embedded_set_is_what_the_mnist_crate_reads() {
    let judge = mnist::MnistBuilder::new()
        .base_path(ORIGINALS.path().to_str().unwrap())
        .label_format_digit()
        .training_set_length(60_000)
        .test_set_length(10_000)
        .finalize();
    assert_eq!((MNIST.train.shape(), MNIST.test.shape()), ([28, 28, 1], [28, 28, 1]));
    assert_eq!((MNIST.train.len(), MNIST.test.len(), MNIST.classes), (60_000, 10_000, 10));
    // Not assert_eq: it would print millions of pixels.
    assert!(MNIST.train.pixels == judge.trn_img, "training images");
    assert!(MNIST.train.labels == judge.trn_lbl, "training labels");
    assert!(MNIST.test.pixels == judge.tst_img, "test images");
    assert!(MNIST.test.labels == judge.tst_lbl, "test labels");
}

#[test]
fn embedded_set_equals_the_originals_in_a_folder() {
    let set = load(&ORIGINALS).unwrap();
    assert!(set.train == MNIST.train && set.test == MNIST.test);
}

#[test]
fn normalization_of_mnist_is_the_customary_one() {
    // 0.1307 and 0.3081 in PyTorch's examples
    let [mean, inverse_deviation] = MNIST.normalization()[..] else { panic!("one channel") };
    assert!((mean - 0.1307).abs() < 5e-5, "{mean}");
    assert!((1.0 / inverse_deviation - 0.3081).abs() < 5e-5, "{inverse_deviation}");
}

// Images.

fn two_channels() -> Images {
    Images { height: 1, width: 3, channels: 2, pixels: vec![0, 7, 51, 7, 255, 7], labels: vec![1] }
}

#[test]
fn normalization_is_per_channel_and_spares_a_constant_one() {
    let set = DataSet { name: "two channels".into(), train: two_channels(), test: two_channels(), classes: 2 };
    let mean = (0.0 + 0.2 + 1.0) / 3.0f64;
    let variance = ((0.0 - mean).powi(2) + (0.2 - mean).powi(2) + (1.0 - mean).powi(2)) / 3.0;
    let expected = [mean as f32, 7.0 / 255.0, (1.0 / variance.sqrt()) as f32, 1.0];
    assert_eq!(set.normalization(), expected);
}

#[test]
fn pixels_are_packed_from_the_lowest_byte_on() {
    let images = two_channels();
    assert_eq!(images.packed_words(), [0x0733_0700, 0x0000_07ff]);
    assert_eq!(images.label_words(), [1]);
    assert_eq!(images.image(0), [0, 7, 51, 7, 255, 7]);
    assert_eq!(MNIST.test.image(9_999), &MNIST.test.pixels[7_840_000 - 784..]);
}

// Folders.

#[test]
fn folders_may_spell_and_compress_their_files_in_four_ways() {
    type Rename = fn(&str) -> String;
    type Encode = fn(&[u8]) -> Vec<u8>;
    let ways: [(Rename, Encode); 4] = [
        (|name| name.into(), |bytes| bytes.into()),
        (|name| format!("{name}.gz"), gzip),
        (|name| name.replace("-idx", ".idx"), |bytes| bytes.into()),
        (|name| format!("{}.gz", name.replace("-idx", ".idx")), gzip),
    ];
    for (rename, encode) in ways {
        let set = load(&small_folder(rename, encode)).unwrap();
        assert_eq!((set.train.shape(), set.test.shape(), set.classes), ([1, 2, 1], [1, 2, 1], 3));
        assert_eq!(set.train.pixels, [10, 11, 20, 21, 30, 31]);
        assert_eq!(set.train.labels, [0, 2, 1]);
        assert_eq!(set.test.pixels, [40, 41, 50, 51]);
        assert_eq!(set.test.labels, [2, 0]);
    }
}

#[test]
fn gzip_files_may_have_several_members() {
    let [images, ..] = small_files();
    let (head, tail) = images.split_at(18);
    let folder = small_folder(|name| format!("{name}.gz"), gzip);
    fs::write(folder.path().join(format!("{TRAIN_IMAGES}.gz")), [gzip(head), gzip(tail)].concat()).unwrap();
    assert_eq!(load(&folder).unwrap().train.pixels, [10, 11, 20, 21, 30, 31]);
}

#[test]
fn one_class_counts_as_two() {
    let folder = small_folder(str::to_owned, <[u8]>::to_vec);
    fs::write(folder.path().join(TRAIN_LABELS), idx_file(&[3], &[0, 0, 0])).unwrap();
    fs::write(folder.path().join(TEST_LABELS), idx_file(&[2], &[0, 0])).unwrap();
    assert_eq!(load(&folder).unwrap().classes, 2);
}

#[test]
fn missing_things_are_named() {
    let message = DataSet::load("no/such/folder").unwrap_err().to_string();
    let expected = "no/such/folder: no such folder; give `mnist` or a folder with the four IDX files of a set";
    assert_eq!(message, expected);
    for name in FILES {
        let dotted = name.replace("-idx", ".idx");
        let names = format!("{name}, {dotted}, {name}.gz, {dotted}.gz");
        assert_eq!(refusal(name, None), format!("FOLDER: a file is missing; one of these is needed: {names}"));
    }
}

#[test]
fn damaged_files_are_refused() {
    let [images, labels, ..] = small_files();
    let gz = format!("{TRAIN_IMAGES}.gz");
    let zipped = gzip(&images);
    let with = |extra: &[u8]| [&images, extra].concat();
    let cases: [(&str, Vec<u8>, &str); 15] = [
        (TRAIN_IMAGES, images[..21].into(), "ends after 21 of 22 bytes; it is cut off, copy it again"),
        (TRAIN_IMAGES, images[..15].into(), "ends after 15 of 16 bytes; it is cut off, copy it again"),
        (TRAIN_IMAGES, Vec::new(), "ends after 0 of 16 bytes; it is cut off, copy it again"),
        (TRAIN_LABELS, labels[..7].into(), "ends after 7 of 8 bytes; it is cut off, copy it again"),
        (TRAIN_IMAGES, with(&[0]), "goes on after the 22 bytes that its header promises; copy it again"),
        (&gz, gzip(&with(&[0])), "goes on after the 22 bytes that its header promises; copy it again"),
        (&gz, gzip(&images[..21]), "ends after 21 of 22 bytes; it is cut off, copy it again"),
        (&gz, images.clone(), "not gzip data; drop `.gz` from the name of an uncompressed file"),
        (
            &gz,
            zipped[..zipped.len() - 9].into(),
            "cannot be read (incomplete deflate stream); check its permissions, or copy it again",
        ),
        (
            &gz,
            // the checksum
            [&zipped[..zipped.len() - 8], &[0; 8]].concat(),
            "cannot be read (corrupt gzip stream does not have a matching checksum); \
             check its permissions, or copy it again",
        ),
        (
            TRAIN_IMAGES,
            labels.clone(),
            "starts with 00000801; an IDX file of bytes in 3 dimension(s) starts with 00000803",
        ),
        (
            TEST_LABELS,
            images.clone(),
            "starts with 00000803; an IDX file of bytes in 1 dimension(s) starts with 00000801",
        ),
        (
            TRAIN_IMAGES,
            zipped.clone(),
            "starts with 1f8b0800; an IDX file of bytes in 3 dimension(s) starts with 00000803",
        ),
        (
            TRAIN_IMAGES,
            idx_file(&[0, 1, 2], &[]),
            "holds nothing, its sizes are [0, 1, 2]; every size must be at least 1",
        ),
        (
            TRAIN_IMAGES,
            idx_file(&[3, 1, 0], &[]),
            "holds nothing, its sizes are [3, 1, 0]; every size must be at least 1",
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(refusal(name, Some(bytes)), format!("FOLDER/{name}: {expected}"));
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let cases = [
        (TRAIN_LABELS, idx_file(&[2], &[0, 1]), "2 labels for 3 images; both files must come from the same split"),
        (TEST_LABELS, idx_file(&[2], &[0, 3]), "test image 1 has label 3; the largest label in training is 2"),
        (
            TEST_IMAGES,
            idx_file(&[2, 2, 1], &[40, 41, 50, 51]),
            "test images of 2x1 pixels, training images of 1x2; both must have the same size",
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(refusal(name, Some(bytes)), format!("FOLDER/{name}: {expected}"));
    }
}

#[test]
fn absurd_sizes_are_refused_at_once() {
    let most = u32::MAX;
    let cases = [
        (
            idx_file(&[most, 28, 28], &[1]),
            "its sizes are [4294967295, 28, 28], 3367254359280 bytes; at most 4294967295 are possible",
        ),
        (
            idx_file(&[most, most, most], &[1]),
            "its sizes are [4294967295, 4294967295, 4294967295], 79228162458924105385300197375 bytes; \
             at most 4294967295 are possible",
        ),
        (idx_file(&[most, 1, 1], &[1]), "ends after 17 of 4294967311 bytes; it is cut off, copy it again"),
    ];
    for (bytes, expected) in cases {
        for (name, bytes) in [(TRAIN_IMAGES.into(), bytes.clone()), (format!("{TRAIN_IMAGES}.gz"), gzip(&bytes))] {
            let start = Instant::now();
            assert_eq!(refusal(&name, Some(bytes)), format!("FOLDER/{name}: {expected}"));
            assert!(start.elapsed() < Duration::from_secs(1));
        }
    }
}

#[test]
fn reading_stops_behind_the_promised_bytes() {
    let endless = idx_file(&[1, 1, 2], &[]);
    let error = idx::read::<3>(Path::new("endless"), endless.chain(io::repeat(0))).unwrap_err();
    assert!(matches!(error, DataError::TrailingBytes { expected: 18, .. }), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = idx::read::<3>(Path::new("fuzz"), &bytes[..]);
        let _ = idx::read::<1>(Path::new("fuzz"), &bytes[..]);
    }

    #[test]
    fn only_as_many_bytes_as_promised_are_accepted(
        sizes in [0..4u32, 0..4u32, 0..4u32],
        bytes in prop::collection::vec(any::<u8>(), 0..28),
    ) {
        let promised = sizes.iter().product::<u32>() as usize;
        match idx::read(Path::new("fuzz"), &idx_file(&sizes, &bytes)[..]) {
            Ok(array) => {
                prop_assert!(promised > 0);
                prop_assert_eq!(array, idx::Array { sizes, bytes });
            }
            Err(DataError::Empty { .. }) => prop_assert_eq!(promised, 0),
            Err(DataError::Truncated { .. }) => prop_assert!(bytes.len() < promised),
            Err(DataError::TrailingBytes { .. }) => prop_assert!(bytes.len() > promised),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

// Samplers.

fn sorted(mut indices: Vec<u32>) -> Vec<u32> {
    indices.sort_unstable();
    indices
}

fn epoch(sampler: &mut Sampler, number: u64) -> Vec<u32> {
    let batches = sampler.batches_per_epoch();
    (number * batches..(number + 1) * batches).flat_map(|step| sampler.batch(step).to_vec()).collect()
}

#[test]
fn split_takes_every_image_once() {
    let chosen = split(1000, 100, 7).unwrap();
    assert!(chosen.train.is_sorted() && chosen.validation.is_sorted());
    assert_eq!((chosen.train.len(), chosen.validation.len()), (900, 100));
    assert_eq!(sorted([chosen.train.clone(), chosen.validation.clone()].concat()), Vec::from_iter(0..1000));
    // drawn at random, not cut off an end
    assert!(chosen.validation.windows(2).any(|pair| pair[1] > pair[0] + 1));

    assert_eq!(split(1000, 100, 7).unwrap(), chosen);
    assert_ne!(split(1000, 100, 8).unwrap(), chosen);
    let larger = split(1000, 200, 7).unwrap();
    assert!(chosen.validation.iter().all(|index| larger.validation.contains(index)));
    assert_eq!(split(5, 0, 7).unwrap().train, [0, 1, 2, 3, 4]);
}

#[test]
fn split_leaves_something_to_train_on() {
    assert_eq!(split(5, 4, 7).unwrap().train.len(), 1);
    let expected = "5 validation images of 5 training images; at least one must be left to train on";
    assert_eq!(split(5, 5, 7).unwrap_err().to_string(), expected);
}

#[test]
fn every_epoch_is_a_shuffle_of_its_own() {
    let indices = Vec::from_iter((100..200).map(|index| 3 * index));
    let mut sampler = Sampler::new(indices.clone(), 10, true, 7).unwrap();
    let epochs: Vec<_> = (0..4).map(|number| epoch(&mut sampler, number)).collect();
    for (number, order) in epochs.iter().enumerate() {
        assert_eq!(sorted(order.clone()), indices, "epoch {number}");
        assert!(!epochs[..number].contains(order), "epoch {number} repeats an earlier one");
    }
    let mut other_seed = Sampler::new(indices, 10, true, 8).unwrap();
    assert_ne!(epoch(&mut other_seed, 0), epochs[0]);
}

#[test]
fn batches_depend_on_the_step_alone() {
    let sampler = || Sampler::new(Vec::from_iter(0..100), 7, true, 7).unwrap();
    let mut forward = sampler();
    let batches: Vec<_> = (0..50).map(|step| forward.batch(step).to_vec()).collect();
    let mut backward = sampler();
    for step in (0..50).rev() {
        assert_eq!(backward.batch(step), batches[step as usize], "step {step}");
        assert_eq!(sampler().batch(step), batches[step as usize], "step {step}, resumed");
    }
}

#[test]
fn partial_batches_are_left_out() {
    let mut sampler = Sampler::new(Vec::from_iter(0..100), 7, true, 7).unwrap();
    assert_eq!(sampler.batches_per_epoch(), 14);
    assert_eq!([0, 13, 14, 27, 28].map(|step| sampler.epoch(step)), [0, 0, 1, 1, 2]);
    let mut taken = sorted(epoch(&mut sampler, 1));
    taken.dedup();
    assert_eq!(taken.len(), 98);
}

#[test]
fn without_shuffle_the_order_stays() {
    let mut sampler = Sampler::new(vec![5, 3, 9, 1, 7], 2, false, 7).unwrap();
    let batches: Vec<_> = (0..4).map(|step| sampler.batch(step).to_vec()).collect();
    assert_eq!(batches, [[5, 3], [9, 1], [5, 3], [9, 1]]);
}

#[test]
fn batch_size_must_fit() {
    for batch in [0, 4] {
        let message = Sampler::new(vec![0, 1, 2], batch, true, 7).unwrap_err().to_string();
        assert_eq!(message, format!("a batch of {batch} from 3 training images; it must be from 1 to 3"));
    }
    assert_eq!(Sampler::new(vec![0, 1, 2], 3, true, 7).unwrap().batches_per_epoch(), 1);
}

#[test]
fn random_batches_take_every_image_equally_often() {
    let mut counts = [0; 10];
    for step in 0..10_000 {
        let batch = random_batch(10, 3, 7, step);
        for &index in &batch {
            counts[index as usize] += 1;
        }
        let mut distinct = sorted(batch);
        distinct.dedup();
        assert_eq!(distinct.len(), 3, "step {step}");
    }
    // 3000 each, with a standard deviation of 46
    assert!(counts.iter().all(|count| (2770..3230).contains(count)), "{counts:?}");
    assert_eq!(random_batch(10, 3, 7, 5), random_batch(10, 3, 7, 5));
    assert_eq!(sorted(random_batch(4, 9, 7, 0)), [0, 1, 2, 3]);
}

#[test]
fn evaluation_takes_every_image_once() {
    let batches = Vec::from_iter(evaluation_batches(&[8, 6, 4, 2, 0], 2));
    let batch = |indices: [u32; 2], valid| EvaluationBatch { indices: indices.into(), valid };
    assert_eq!(batches, [batch([8, 6], 2), batch([4, 2], 2), batch([0, 8], 1)]);
    assert_eq!(evaluation_batches(&[8, 6], 2).len(), 1);
    assert_eq!(evaluation_batches(&[], 2).len(), 0);
}
