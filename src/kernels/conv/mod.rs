//! Two-dimensional convolution over NHWC activations: forward and both gradients, for any kernel, stride and padding.
//!
//! Convolutions do what batch norms need of the same memory. In training the input may be read through the norm and the
//! ReLU that stand before it, the forward pass leaves the statistics of its output, and the input gradient passes back
//! through that ReLU and leaves the sums that the norm's own gradient needs. So an activation between two convolutions
//! of a block is never written. In inference a norm is known before the convolution that it stands behind, which stores
//! what has passed through it: so nothing but such activations is written.
//!
//! The shaders are implicit matrix products: tiles of the matrix of windows are gathered into workgroup memory, and the
//! matrix itself never exists. The twins, in `cpu/`, convolve directly or by Winograd's method.

use super::batch_norm::Norm;
use super::{element_workgroups, params, shader};
use crate::dispatch::{Bindings, Cost, Kernel, Variant};
use tiles::{Product, Products};

mod cpu;
mod tiles;

shader! { FORWARD: "conv_forward", reads: 4, writes: 2, params: Forward }
shader! { INPUT_GRADIENT: "conv_input_gradient", reads: 6, writes: 2, params: InputGradient }
shader! { WEIGHT_GRADIENT: "conv_weight_gradient", reads: 3, writes: 1, params: WeightGradient }
shader! { WEIGHT_GRADIENT_SUM: "conv_weight_gradient_sum", reads: 1, writes: 1, params: WeightGradientSum }

/// A convolution: sizes of its input and its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Number of images.
    pub batch: u32,
    /// Height of the input.
    pub height: u32,
    /// Width of the input.
    pub width: u32,
    /// Channels of the input.
    pub in_channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// Height of the kernel, at most `height + 2 padding`.
    pub kernel_height: u32,
    /// Width of the kernel, at most `width + 2 padding`.
    pub kernel_width: u32,
    /// Input pixels between neighbouring windows, both ways.
    pub stride: u32,
    /// Rows and columns of zeros on each side of the input.
    pub padding: u32,
}

/// Pixels in a chunk of the sums that the shaders make for batch norms: rows of their smallest tile.
pub const CHUNK_PIXELS: u32 = 64;

/// Workgroups of the weight gradient that keep a large GPU busy: there are so many splits, within the next two limits.
const SPLIT_WORKGROUPS: u32 = 256;
/// Fewest and most output pixels of a split, up to a whole image: few make many partial sums, many a long sum.
const SPLIT_PIXELS: (u32, u32) = (128, 1024);
/// Words that the splits' partial sums have together at most, if there is more than one split.
const PARTIAL_WORDS: usize = 4 << 20;

impl Shape {
    /// Height of the output.
    pub fn out_height(&self) -> u32 {
        (self.height + 2 * self.padding - self.kernel_height) / self.stride + 1
    }

    /// Width of the output.
    pub fn out_width(&self) -> u32 {
        (self.width + 2 * self.padding - self.kernel_width) / self.stride + 1
    }

    /// Pixels of the output, of all images.
    pub fn out_pixels(&self) -> u32 {
        self.batch * self.out_height() * self.out_width()
    }

    /// Pixels of the input, of all images.
    pub fn in_pixels(&self) -> u32 {
        self.batch * self.height * self.width
    }

    /// Chunks of the statistics of the output.
    pub fn output_chunks(&self) -> u32 {
        self.out_pixels().div_ceil(CHUNK_PIXELS)
    }

    /// Chunks of the sums over the input's pixels, phase by phase of the stride; phases have the size of the largest.
    pub fn input_chunks(&self) -> u32 {
        self.stride * self.stride * self.phase_pixels().div_ceil(CHUNK_PIXELS)
    }

    /// Input pixels in the largest phase of the stride.
    fn phase_pixels(&self) -> u32 {
        self.batch * self.height.div_ceil(self.stride) * self.width.div_ceil(self.stride)
    }

    /// Words of the weights.
    pub fn weight_words(&self) -> usize {
        self.window() as usize * self.out_channels as usize
    }

    /// Groups of whole images over which the weight gradient is summed separately.
    pub fn splits(&self) -> u32 {
        self.batch.div_ceil(self.images_per_split())
    }

    /// Words of the splits' partial sums.
    pub fn partial_words(&self) -> usize {
        self.splits() as usize * self.weight_words()
    }

    /// Images in each split but for the last, which may have fewer.
    pub fn images_per_split(&self) -> u32 {
        let product = Product { copies: 1, rows: self.window(), depth: 0, columns: self.out_channels };
        let (fewest, most) = SPLIT_PIXELS;
        let workgroups = product.unshared_workgroups();
        let pixels = (self.out_pixels() / SPLIT_WORKGROUPS.div_ceil(workgroups)).clamp(fewest, most);
        let images = pixels.div_ceil(self.out_height() * self.out_width());
        let splits = (PARTIAL_WORDS / self.weight_words()).max(1) as u32;
        images.max(self.batch.div_ceil(splits)).min(self.batch)
    }

    /// Products in one output.
    fn window(&self) -> u32 {
        self.kernel_height * self.kernel_width * self.in_channels
    }

    fn is_pointwise(&self) -> bool {
        (self.kernel_height, self.kernel_width, self.stride, self.padding) == (1, 1, 1, 0)
    }

    /// Operations of the convolution, and of each of its gradients. As is usual, products with the padding count,
    /// though the twins skip taps that meet nothing else, and those that Winograd's method spares.
    fn flop(&self) -> f64 {
        2.0 * f64::from(self.out_pixels()) * f64::from(self.window()) * f64::from(self.out_channels)
    }
}

/// Declares the parameters of a kernel: those of [`Shape`], then its own.
macro_rules! shape_params {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $scalar:ident,)* }) => {
        params! {
            $(#[$meta])*
            pub struct $name {
                /// Number of images.
                batch: u32,
                /// Height of the input.
                height: u32,
                /// Width of the input.
                width: u32,
                /// Channels of the input.
                in_channels: u32,
                /// Channels of the output.
                out_channels: u32,
                /// Height of the kernel.
                kernel_height: u32,
                /// Width of the kernel.
                kernel_width: u32,
                /// Input pixels between windows.
                stride: u32,
                /// Zeros on each side of the input.
                padding: u32,
                $($(#[$field_meta])* $field: $scalar,)*
            }
        }
        impl $name {
            fn with(shape: &Shape, $($field: $scalar),*) -> Self {
                let &Shape { batch, height, width, in_channels, out_channels, .. } = shape;
                let &Shape { kernel_height, kernel_width, stride, padding, .. } = shape;
                Self {
                    batch, height, width, in_channels, out_channels, kernel_height, kernel_width, stride, padding,
                    $($field),*
                }
            }

            /// The same with so many parts of a workgroup, 1 or 4, as a product of another size has them.
            pub fn with_depth_parts(self, depth_parts: u32) -> Self {
                Self { depth_parts, ..self }
            }

            fn shape(&self) -> Shape {
                let &Self { batch, height, width, in_channels, out_channels, .. } = self;
                let &Self { kernel_height, kernel_width, stride, padding, .. } = self;
                Shape { batch, height, width, in_channels, out_channels, kernel_height, kernel_width, stride, padding }
            }
        }
    };
}

/// How a convolution reads its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// As it is.
    Plain,
    /// Through the norm that is read as `norm`, and a ReLU; zero in the padding.
    Normalized,
}

/// How a convolution writes its output in inference, through the norm that is read as `norm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Store {
    /// Normalised.
    Normalized,
    /// Normalised, then a ReLU.
    Rectified,
    /// The end of a residual block: `ReLU(scale * normalised + shortcut)`, with this `scale`.
    Residual(f32),
}

shape_params! {
    /// `x, w, norm, shortcut -> y, partials`: the convolution.
    ///
    /// In training `norm`, `[4, in_channels]`, is the norm before a convolution, and the statistics of its output are
    /// made: mean and squared deviations of each chunk of pixels, `partials`, `[chunks, 2, out_channels]`. In inference
    /// `norm`, `[4, out_channels]`, is the one behind it. What [`Load`] or [`Store`] does not call for is neither read
    /// nor written.
    pub struct Forward {
        /// 1: `x` is read through the norm and a ReLU; 0: plain.
        load: u32,
        /// 0: as it is, with statistics; 1: through the norm; 2: and a ReLU; 3: as the end of a residual block.
        store: u32,
        /// Factor of the branch at the end of a residual block.
        scale: f32,
        /// Parts of a workgroup that share the depth of a tile, 1 or 4: the shader's `DEPTH_PARTS`.
        depth_parts: u32,
    }
}

impl Forward {
    /// Of that shape, with the statistics of its output.
    pub fn training(shape: &Shape, load: Load) -> Self {
        Self::of(shape, load, 0, 0.0)
    }

    /// Of that shape, its output behind its norm.
    pub fn inference(shape: &Shape, store: Store) -> Self {
        let (store, scale) = match store {
            Store::Normalized => (1, 0.0),
            Store::Rectified => (2, 0.0),
            Store::Residual(scale) => (3, scale),
        };
        Self::of(shape, Load::Plain, store, scale)
    }

    fn of(shape: &Shape, load: Load, store: u32, scale: f32) -> Self {
        let kernel = Self::with(shape, load as u32, store, scale, 1);
        Self { depth_parts: kernel.products().depth_parts(), ..kernel }
    }

    fn products(&self) -> Products {
        let shape = self.shape();
        let (rows, depth, columns) = (shape.out_pixels(), shape.window(), shape.out_channels);
        Products(vec![Product { copies: 1, rows, depth, columns }])
    }
}

impl Kernel for Forward {
    fn workgroups(&self) -> u32 {
        self.products().workgroups(self.depth_parts)
    }
    fn variants(&self) -> Vec<Variant> {
        self.shape().variants(&self.products(), self.depth_parts)
    }
    fn cost(&self) -> Cost {
        let (shape, products) = (self.shape(), self.products());
        let outputs = f64::from(shape.out_pixels()) * f64::from(shape.out_channels);
        let shortcut = if self.store == 3 { outputs } else { 0.0 };
        Cost { flop: shape.flop(), terms: products.terms(), loads: products.loads(self.depth_parts) + shortcut }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([x, w, norm, shortcut], [y, partials]) = bindings.f32();
        let norm = ((self.load, self.store) != (0, 0)).then(|| Norm::new(norm));
        let (load, epilogue) = match (&norm, self.store) {
            (Some(norm), 1) => (None, cpu::Epilogue::Normalize(norm)),
            (Some(norm), 2) => (None, cpu::Epilogue::NormalizeRectify(norm)),
            (Some(norm), 3) => (None, cpu::Epilogue::Residual { norm, scale: self.scale, shortcut }),
            (norm, _) => (norm.as_ref(), cpu::Epilogue::Store),
        };
        let statistics = (self.store == 0).then_some(partials);
        cpu::forward(&self.shape(), x, w, load, epilogue, y, statistics);
    }
}

/// What becomes of the gradient of a convolution's input before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// Nothing.
    Store,
    /// `addend` is added.
    Add,
    /// `addend` is added where `mask` is positive: the gradient through a ReLU whose output is `mask`.
    AddMasked,
    /// It passes back through the ReLU behind the norm `norm` of `x`, by which the input was read; its sums, and those
    /// of its products with the normalised `x`, over each chunk of pixels are the partials `[chunks, 2, in_channels]`.
    Rectify,
}

shape_params! {
    /// `dy, w, addend, mask, x, norm -> dx, partials`: the gradient of the input. What [`Epilogue`] does not call for
    /// is neither read nor written.
    pub struct InputGradient {
        /// 0: store; 1: add; 2: add where the mask is positive; 3: rectify.
        epilogue: u32,
        /// Parts of a workgroup that share the depth of a tile, 1 or 4: the shader's `DEPTH_PARTS`.
        depth_parts: u32,
    }
}

impl InputGradient {
    /// Of that shape.
    pub fn new(shape: &Shape, epilogue: Epilogue) -> Self {
        let kernel = Self::with(shape, epilogue as u32, 1);
        Self { depth_parts: kernel.products().depth_parts(), ..kernel }
    }

    /// The products of the phases, of which there are stride²; [`Shape::flop`] counts no more multiplications than
    /// they have. Phases are padded to the size of the largest.
    fn products(&self) -> Products {
        let Self { stride, padding, in_channels, .. } = *self;
        let rows = self.shape().phase_pixels();
        let taps = move |kernel: u32, phase: u32| kernel.saturating_sub((phase + padding) % stride).div_ceil(stride);
        let (height, width, out_channels) = (self.kernel_height, self.kernel_width, self.out_channels);
        let product = |phase| {
            let depth = taps(height, phase / stride) * taps(width, phase % stride) * out_channels;
            Product { copies: 1, rows, depth, columns: in_channels }
        };
        Products((0..stride * stride).map(product).collect())
    }
}

impl Kernel for InputGradient {
    fn workgroups(&self) -> u32 {
        self.products().workgroups(self.depth_parts)
    }
    fn variants(&self) -> Vec<Variant> {
        self.shape().variants(&self.products(), self.depth_parts)
    }
    fn cost(&self) -> Cost {
        let inputs = f64::from(self.shape().in_pixels()) * f64::from(self.in_channels);
        let products = self.products();
        let others = if self.epilogue == Epilogue::Rectify as u32 { 1 } else { self.epilogue };
        let loads = products.loads(self.depth_parts) + f64::from(others) * inputs;
        Cost { flop: self.shape().flop(), terms: products.terms(), loads }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([dy, w, addend, mask, x, norm], [dx, partials]) = bindings.f32();
        let norm = (self.epilogue == Epilogue::Rectify as u32).then(|| Norm::new(norm));
        let epilogue = match (&norm, self.epilogue) {
            (Some(norm), _) => cpu::Epilogue::Rectify { x, norm },
            (None, 1) => cpu::Epilogue::Add(addend),
            (None, 2) => cpu::Epilogue::AddMasked { addend, mask },
            _ => cpu::Epilogue::Store,
        };
        cpu::input_gradient(&self.shape(), dy, w, epilogue, dx, partials);
    }
}

shape_params! {
    /// `x, dy, norm -> partials`: the gradient of the weights, one partial sum per split, `[splits, weights]`. A plain
    /// input does not read the norm.
    pub struct WeightGradient {
        /// 1: `x` is read through the norm and a ReLU; 0: plain.
        normalized: u32,
        /// Images in a split; the last may have fewer.
        images_per_split: u32,
        /// Parts of a workgroup that share the depth of a tile, 1 or 4: the shader's `DEPTH_PARTS`.
        depth_parts: u32,
    }
}

impl WeightGradient {
    /// Of that shape.
    pub fn new(shape: &Shape, load: Load) -> Self {
        let kernel = Self::with(shape, load as u32, shape.images_per_split(), 1);
        Self { depth_parts: kernel.products().depth_parts(), ..kernel }
    }

    fn products(&self) -> Products {
        let shape = self.shape();
        let depth = self.images_per_split * shape.out_height() * shape.out_width();
        Products(vec![Product { copies: shape.splits(), rows: shape.window(), depth, columns: shape.out_channels }])
    }
}

impl Kernel for WeightGradient {
    fn workgroups(&self) -> u32 {
        self.products().workgroups(self.depth_parts)
    }
    fn variants(&self) -> Vec<Variant> {
        self.shape().variants(&self.products(), self.depth_parts)
    }
    fn cost(&self) -> Cost {
        let products = self.products();
        Cost { flop: self.shape().flop(), terms: products.terms(), loads: products.loads(self.depth_parts) }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([x, dy, norm], [partials]) = bindings.f32();
        let norm = (self.normalized != 0).then(|| Norm::new(norm));
        cpu::weight_gradient(&self.shape(), self.images_per_split as usize, x, norm.as_ref(), dy, partials);
    }
}

params! {
    /// `partials -> dw`: the sum over the splits.
    pub struct WeightGradientSum {
        /// Words of the weights.
        words: u32,
        /// Number of splits.
        splits: u32,
    }
}

impl WeightGradientSum {
    /// Of that shape.
    pub fn new(shape: &Shape) -> Self {
        Self { words: shape.weight_words() as u32, splits: shape.splits() }
    }
}

impl Kernel for WeightGradientSum {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.words)
    }
    fn cost(&self) -> Cost {
        let partials = f64::from(self.words) * f64::from(self.splits);
        Cost { flop: partials, terms: f64::from(self.splits), loads: partials }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([partials], [dw]) = bindings.f32();
        cpu::weight_gradient_sum(partials, dw);
    }
}
