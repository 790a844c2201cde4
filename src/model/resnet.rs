//! Residual networks, as a description: what blocks there are, of which convolutions.
//!
//! He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016. Two families: the CIFAR nets of
//! depth 6n + 2 (section 4.2, shortcut option A), and torchvision's ImageNet nets (v1.5: a bottleneck's stride sits
//! on its 3x3 convolution).

use thiserror::Error;

/// A convolution without bias, followed by a batch norm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Name within its block, e.g. `conv1`.
    pub name: String,
    /// Name of the batch norm behind it, e.g. `bn1`.
    pub norm: String,
    /// Channels in.
    pub in_channels: u32,
    /// Channels out.
    pub out_channels: u32,
    /// Height and width of the filter.
    pub kernel: u32,
    /// Step between output pixels, in input pixels.
    pub stride: u32,
    /// Zeros around the input.
    pub padding: u32,
}

impl Conv {
    /// A convolution with padding (kernel - 1) / 2.
    fn new(names: (&str, &str), in_channels: u32, out_channels: u32, kernel: u32, stride: u32) -> Self {
        let (name, norm) = (names.0.to_string(), names.1.to_string());
        Self { name, norm, in_channels, out_channels, kernel, stride, padding: (kernel - 1) / 2 }
    }

    /// Output size for an input of `size` pixels in one dimension.
    pub fn output(&self, size: u32) -> u32 {
        (size + 2 * self.padding - self.kernel) / self.stride + 1
    }
}

/// How a block's input reaches its sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// As it is.
    Identity,
    /// Option A: 2x2 average pool with stride 2, and channels of zeros.
    PoolAndPad,
    /// A 1x1 convolution and a batch norm.
    Projection(Conv),
}

/// A residual block: `y = ReLU(branch(x) + shortcut(x))`, with a ReLU after every norm of the branch but the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Torchvision's name, e.g. `layer2.0`.
    pub name: String,
    /// Which stage it belongs to, from 0: the blocks between two halvings of the image.
    pub stage: usize,
    /// The branch: two convolutions (basic) or three (bottleneck).
    pub branch: Vec<Conv>,
    /// The way around it.
    pub shortcut: Shortcut,
}

impl Block {
    /// Channels out.
    pub fn out_channels(&self) -> u32 {
        self.branch[self.branch.len() - 1].out_channels
    }
}

/// Settings of every batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormSettings {
    /// Added to the variance.
    pub epsilon: f32,
    /// Weight of the new batch in the running statistics, in PyTorch's sense.
    pub momentum: f32,
}

impl NormSettings {
    /// PyTorch's defaults.
    pub const PYTORCH: Self = Self { epsilon: 1e-5, momentum: 0.1 };
    /// The notebook's TensorFlow defaults, in PyTorch's sense.
    pub const NOTEBOOK: Self = Self { epsilon: 1e-3, momentum: 0.01 };
}

/// A residual network.
#[derive(Clone, Debug, PartialEq)]
pub struct ResNet {
    /// Its name, e.g. `resnet20`.
    pub name: String,
    /// Channels of the images.
    pub in_channels: u32,
    /// Number of classes.
    pub classes: u32,
    /// First convolution.
    pub stem: Conv,
    /// Whether a 3x3 max pool with stride 2 follows the stem.
    pub stem_pool: bool,
    /// The residual blocks in order.
    pub blocks: Vec<Block>,
    /// Share of the features that dropout zeroes before the last layer, in training; 0 for none.
    pub dropout: f32,
    /// Settings of every batch norm.
    pub norm: NormSettings,
}

/// An architecture's name that is none.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "unknown architecture `{name}`; did you mean `{nearest}`? There are resnet18, 34, 50, 101 and 152 (torchvision's), \
     and resnetN or cifar-resnetN with N = 6n + 2 (8, 14, 20, ... 110, ... 1202)"
)]
pub struct UnknownArchitecture {
    /// The name.
    pub name: String,
    /// The valid name nearest to it.
    pub nearest: String,
}

/// Depth of torchvision's nets, their blocks per stage, and whether the blocks are bottlenecks.
const TORCHVISION: [(u32, [usize; 4], bool); 5] = [
    (18, [2, 2, 2, 2], false),
    (34, [3, 4, 6, 3], false),
    (50, [3, 4, 6, 3], true),
    (101, [3, 4, 23, 3], true),
    (152, [3, 8, 36, 3], true),
];

/// Deepest CIFAR-style net that has a name: n = 200.
const DEEPEST: u32 = 1202;

impl ResNet {
    /// The net called `name`, for images of `in_channels` channels and `classes` classes.
    ///
    /// Errors with the nearest name if there is none of that name.
    pub fn named(name: &str, in_channels: u32, classes: u32) -> Result<Self, UnknownArchitecture> {
        let cifar = |depth: &str| {
            let depth: u32 = depth.parse().ok()?;
            ((8..=DEEPEST).contains(&depth) && depth % 6 == 2).then(|| (depth as usize - 2) / 6)
        };
        let torchvision = |depth: &str| TORCHVISION.iter().find(|(known, ..)| depth.parse() == Ok(*known));
        let net = if let Some(depth) = name.strip_prefix("cifar-resnet") {
            cifar(depth).map(|n| Self::cifar(name, [n; 3], [16, 32, 64], in_channels, classes))
        } else if let Some(depth) = name.strip_prefix("resnet") {
            let known = torchvision(depth).map(|&(_, blocks, bottleneck)| {
                Self::torchvision(name, blocks, [64, 128, 256, 512], bottleneck, in_channels, classes)
            });
            known.or_else(|| cifar(depth).map(|n| Self::cifar(name, [n; 3], [16, 32, 64], in_channels, classes)))
        } else {
            None
        };
        net.ok_or_else(|| UnknownArchitecture { name: name.to_string(), nearest: nearest(name) })
    }

    /// A CIFAR-style net: `blocks` basic blocks of `widths` channels per stage, 3x3 stem, shortcut option A.
    pub fn cifar(name: &str, blocks: [usize; 3], widths: [u32; 3], in_channels: u32, classes: u32) -> Self {
        let stem = Conv::new(("conv1", "bn1"), in_channels, widths[0], 3, 1);
        let mut net = Self::with_stem(name, stem, false, in_channels, classes);
        net.add_stages(&blocks, &widths, basic_branch, |_, _, _| Shortcut::PoolAndPad);
        net
    }

    /// A torchvision net: 7x7 stem with stride 2 and max pool, four stages of basic blocks or bottlenecks, projection
    /// shortcuts where the shape changes. `widths` are the channels of the 3x3 convolutions.
    pub fn torchvision(
        name: &str,
        blocks: [usize; 4],
        widths: [u32; 4],
        bottleneck: bool,
        in_channels: u32,
        classes: u32,
    ) -> Self {
        let stem = Conv::new(("conv1", "bn1"), in_channels, widths[0], 7, 2);
        let mut net = Self::with_stem(name, stem, true, in_channels, classes);
        let branch = if bottleneck { bottleneck_branch } else { basic_branch };
        net.add_stages(&blocks, &widths, branch, |in_channels, out_channels, stride| {
            let names = ("downsample.0", "downsample.1");
            Shortcut::Projection(Conv::new(names, in_channels, out_channels, 1, stride))
        });
        net
    }

    fn with_stem(name: &str, stem: Conv, stem_pool: bool, in_channels: u32, classes: u32) -> Self {
        let name = name.to_string();
        let norm = NormSettings::PYTORCH;
        Self { name, in_channels, classes, stem, stem_pool, blocks: Vec::new(), dropout: 0.0, norm }
    }

    /// Appends the stages; the first block of each but the first halves the image, and takes `shortcut` wherever it
    /// changes the shape.
    fn add_stages(
        &mut self,
        blocks: &[usize],
        widths: &[u32],
        branch: fn(u32, u32, u32) -> Vec<Conv>,
        shortcut: impl Fn(u32, u32, u32) -> Shortcut,
    ) {
        let mut channels = self.stem.out_channels;
        for (stage, (&blocks, &width)) in blocks.iter().zip(widths).enumerate() {
            for index in 0..blocks {
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                let branch = branch(channels, width, stride);
                let out_channels = branch[branch.len() - 1].out_channels;
                let shortcut = if stride == 1 && channels == out_channels {
                    Shortcut::Identity
                } else {
                    shortcut(channels, out_channels, stride)
                };
                self.blocks.push(Block { name: format!("layer{}.{index}", stage + 1), stage, branch, shortcut });
                channels = out_channels;
            }
        }
    }

    /// Channels of the features that the last layer sees.
    pub fn features(&self) -> u32 {
        self.blocks.last().map_or(self.stem.out_channels, Block::out_channels)
    }
}

/// Two 3x3 convolutions.
fn basic_branch(in_channels: u32, width: u32, stride: u32) -> Vec<Conv> {
    vec![Conv::new(("conv1", "bn1"), in_channels, width, 3, stride), Conv::new(("conv2", "bn2"), width, width, 3, 1)]
}

/// 1x1 to `width` channels, 3x3, 1x1 to four times as many.
fn bottleneck_branch(in_channels: u32, width: u32, stride: u32) -> Vec<Conv> {
    vec![
        Conv::new(("conv1", "bn1"), in_channels, width, 1, 1),
        Conv::new(("conv2", "bn2"), width, width, 3, stride),
        Conv::new(("conv3", "bn3"), width, 4 * width, 1, 1),
    ]
}

/// The valid name nearest to `name`: by depth where it has one, else by spelling.
fn nearest(name: &str) -> String {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let depths = TORCHVISION.iter().map(|(depth, ..)| *depth).chain((8..=DEEPEST).step_by(6));
    match digits.parse::<u32>() {
        Ok(depth) => {
            let nearest = depths.min_by_key(|known| known.abs_diff(depth)).unwrap_or(20);
            let prefix = if name.contains("cifar") && nearest % 6 == 2 { "cifar-resnet" } else { "resnet" };
            format!("{prefix}{nearest}")
        }
        Err(_) => {
            let names = depths.map(|depth| format!("resnet{depth}"));
            names.min_by_key(|known| strsim::levenshtein(known, name)).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_the_published_ones() {
        // CIFAR nets on RGB (He et al. 2016, table 6, in millions), torchvision's nets on ImageNet.
        let count = |name, classes| ResNet::named(name, 3, classes).map(|net| net.parameter_count());
        assert_eq!(count("resnet20", 10), Ok(269_722));
        assert_eq!(count("resnet110", 10), Ok(1_727_962));
        assert_eq!(count("resnet18", 1000), Ok(11_689_512));
        assert_eq!(count("resnet34", 1000), Ok(21_797_672));
        assert_eq!(count("resnet50", 1000), Ok(25_557_032));
        assert_eq!(count("resnet101", 1000), Ok(44_549_160));
        assert_eq!(count("resnet152", 1000), Ok(60_192_808));
    }

    #[test]
    fn names_lead_to_their_family() {
        let blocks = |name| ResNet::named(name, 1, 10).map(|net| (net.blocks.len(), net.stem_pool));
        assert_eq!(blocks("resnet50"), Ok((16, true)));
        assert_eq!(blocks("cifar-resnet50"), Ok((24, false)));
        assert_eq!(blocks("resnet8"), Ok((3, false)));
        assert_eq!(blocks("resnet1202"), Ok((600, false)));
    }

    #[test]
    fn unknown_names_get_the_nearest_one() {
        let nearest = |name| ResNet::named(name, 1, 10).map_err(|error| error.nearest);
        for (name, expected) in [
            ("resnet21", "resnet20"),
            ("resnet52", "resnet50"),
            ("ResNet-50", "resnet50"),
            ("cifar-resnet51", "cifar-resnet50"),
            ("resnet5000", "resnet1202"),
            ("resnet2", "resnet8"),
            ("resnet1", "resnet8"),
            ("resnet0", "resnet8"),
        ] {
            assert_eq!(nearest(name), Err(expected.to_string()), "{name}");
        }
        assert!(nearest("vgg").is_err());
    }
}
