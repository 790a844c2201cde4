//! MNIST, inside the binary: the original four files, xz-compressed; see `assets/mnist/README.md`.

use lzma_rust2::XzReader;

use super::{FILES, File};

/// The compressed [`FILES`], in their order.
const COMPRESSED: [&[u8]; 4] = [
    include_bytes!("../../assets/mnist/train-images-idx3-ubyte.xz"),
    include_bytes!("../../assets/mnist/train-labels-idx1-ubyte.xz"),
    include_bytes!("../../assets/mnist/t10k-images-idx3-ubyte.xz"),
    include_bytes!("../../assets/mnist/t10k-labels-idx1-ubyte.xz"),
];

/// The four files; their paths name the embedded assets.
pub(super) fn open() -> [File; 4] {
    std::array::from_fn(|file| File {
        path: format!("assets/mnist/{}.xz", FILES[file]).into(),
        reader: Box::new(XzReader::new(COMPRESSED[file], false)),
    })
}
