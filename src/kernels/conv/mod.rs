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
use crate::dispatch::{Bindings, Cost, Family, Kernel, Shader, Variant};
use crate::protocol::CONV_CHUNK_PIXELS;
use gemm::{Gemm, GemmBatch};

mod cpu;
mod epilogue;
mod gemm;

pub use epilogue::{ForwardEpilogue, InputGradientEpilogue, Load};

/// The family of these kernels.
pub const FAMILY: Family = FORWARD.family;

shader! { FORWARD: "conv_forward", family: conv, reads: 4, writes: 2, params: Forward }
shader! {
    INPUT_GRADIENT: "conv_input_gradient", family: conv,
    reads: 6, writes: 2, params: InputGradient
}
shader! {
    WEIGHT_GRADIENT: "conv_weight_gradient", family: conv,
    reads: 3, writes: 1, params: WeightGradient
}
shader! {
    WEIGHT_GRADIENT_SUM: "conv_weight_gradient_sum", family: conv,
    reads: 1, writes: 1, params: WeightGradientSum
}

/// Returns whether `shader` makes a convolution, forward or backward: all of the family do but the
/// sum of the weight gradient's splits.
pub fn is_convolution(shader: &Shader) -> bool {
    shader.family == FAMILY && shader.name != WEIGHT_GRADIENT_SUM.name
}

/// A convolution: sizes of its input and its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
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

/// Workgroups of the weight gradient that keep a large GPU busy: there are so many splits, within the next two limits.
const SPLIT_WORKGROUPS: u32 = 256;
/// Fewest and most output pixels of a split, up to a whole image: few make many partial sums, many a long sum.
const SPLIT_PIXELS: (u32, u32) = (128, 1024);
/// Elements that the splits' partial sums have together at most, if there is more than one split.
const PARTIAL_ELEMENTS: usize = 4 << 20;

impl ConvShape {
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
        self.out_pixels().div_ceil(CONV_CHUNK_PIXELS)
    }

    /// Chunks of the sums over the input's pixels, phase by phase of the stride; phases have the size of the largest.
    pub fn input_chunks(&self) -> u32 {
        self.stride * self.stride * self.phase_pixels().div_ceil(CONV_CHUNK_PIXELS)
    }

    /// Input pixels in the largest phase of the stride.
    fn phase_pixels(&self) -> u32 {
        self.batch * self.height.div_ceil(self.stride) * self.width.div_ceil(self.stride)
    }

    /// Elements of the weights.
    pub fn weight_elements(&self) -> usize {
        self.window() as usize * self.out_channels as usize
    }

    /// Groups of whole images over which the weight gradient is summed separately.
    pub fn splits(&self) -> u32 {
        self.batch.div_ceil(self.images_per_split())
    }

    /// Elements of the splits' partial sums.
    pub fn partial_elements(&self) -> usize {
        self.splits() as usize * self.weight_elements()
    }

    /// Images in each split but for the last, which may have fewer.
    pub fn images_per_split(&self) -> u32 {
        let gemm = Gemm { copies: 1, rows: self.window(), depth: 0, columns: self.out_channels };
        let (fewest, most) = SPLIT_PIXELS;
        let workgroups = gemm.unshared_workgroups();
        let pixels = (self.out_pixels() / SPLIT_WORKGROUPS.div_ceil(workgroups)).clamp(fewest, most);
        let images = pixels.div_ceil(self.out_height() * self.out_width());
        let splits = (PARTIAL_ELEMENTS / self.weight_elements()).max(1) as u32;
        images.max(self.batch.div_ceil(splits)).min(self.batch)
    }

    /// Products summed in one output.
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

/// Declares the parameters of a kernel: those of [`ConvShape`], then its own.
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
            fn with(shape: &ConvShape, $($field: $scalar),*) -> Self {
                let &ConvShape { batch, height, width, in_channels, out_channels, .. } = shape;
                let &ConvShape { kernel_height, kernel_width, stride, padding, .. } = shape;
                Self {
                    batch, height, width, in_channels, out_channels, kernel_height, kernel_width, stride, padding,
                    $($field),*
                }
            }

            /// Overrides the split-K factor, 1 or 4; for tests.
            pub fn with_split_k(self, split_k: u32) -> Self {
                Self { split_k, ..self }
            }

            fn shape(&self) -> ConvShape {
                let &Self { batch, height, width, in_channels, out_channels, .. } = self;
                let &Self { kernel_height, kernel_width, stride, padding, .. } = self;
                ConvShape {
                    batch, height, width, in_channels, out_channels,
                    kernel_height, kernel_width, stride, padding,
                }
            }
        }
    };
}

shape_params! {
    /// `x, w, norm, shortcut -> y, partials`: the convolution.
    ///
    /// In training `norm`, `[4, in_channels]`, is the norm before a convolution, and the statistics
    /// of its output are made: mean and squared deviations of each chunk of pixels, `partials`,
    /// `[chunks, 2, out_channels]`. In inference `norm`, `[4, out_channels]`, is the one behind it.
    /// Bindings that [`Load`] and [`ForwardEpilogue`] do not call for are neither read nor written.
    pub struct Forward {
        /// Number of the [`Load`].
        load: u32,
        /// Number of the [`ForwardEpilogue`].
        epilogue: u32,
        /// Factor of the branch at the end of a residual block.
        scale: f32,
        /// The split-K factor: parts of a workgroup that share the depth of a tile, 1 or 4.
        split_k: u32,
    }
}

impl Forward {
    /// Returns a convolution that makes the statistics of its output.
    pub fn training(shape: &ConvShape, load: Load) -> Self {
        Self::new(shape, load, ForwardEpilogue::Statistics)
    }

    /// Returns a convolution that reads its input as it is.
    pub fn inference(shape: &ConvShape, epilogue: ForwardEpilogue) -> Self {
        Self::new(shape, Load::Plain, epilogue)
    }

    fn new(shape: &ConvShape, load: Load, epilogue: ForwardEpilogue) -> Self {
        let kernel = Self::with(shape, load.number(), epilogue.number(), epilogue.scale(), 1);
        Self { split_k: kernel.gemms().split_k(), ..kernel }
    }

    fn load(&self) -> Load {
        Load::decode(self.load)
    }

    fn epilogue(&self) -> ForwardEpilogue {
        ForwardEpilogue::decode(self.epilogue, self.scale)
    }

    fn gemms(&self) -> GemmBatch {
        let shape = self.shape();
        let (rows, depth, columns) = (shape.out_pixels(), shape.window(), shape.out_channels);
        GemmBatch(vec![Gemm { copies: 1, rows, depth, columns }])
    }
}

impl Kernel for Forward {
    fn workgroups(&self) -> u32 {
        self.gemms().workgroups(self.split_k)
    }
    fn variants(&self) -> Vec<Variant> {
        self.shape().variants(&self.gemms(), self.split_k)
    }
    fn cost(&self) -> Cost {
        let (shape, gemms) = (self.shape(), self.gemms());
        let outputs = f64::from(shape.out_pixels()) * f64::from(shape.out_channels);
        let loads = gemms.loads(self.split_k) + self.epilogue().loads() * outputs;
        Cost { flop: shape.flop(), terms: gemms.terms(), loads }
    }
    fn uses(&self, binding: usize) -> bool {
        let (load, epilogue) = (self.load(), self.epilogue());
        match binding {
            2 => load.reads_norm() || epilogue.reads_norm(),
            3 => epilogue.reads_shortcut(),
            5 => epilogue.writes_statistics(),
            _ => true,
        }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x, w, norm, shortcut], [y, partials]) = bindings.f32();
        let (load, epilogue) = (self.load(), self.epilogue());
        let norm = (load.reads_norm() || epilogue.reads_norm()).then(|| Norm::new(norm));
        let input_norm = norm.as_ref().filter(|_| load.reads_norm());
        let statistics = epilogue.writes_statistics().then_some(partials);
        let epilogue = epilogue.with_operands(norm.as_ref(), shortcut);
        cpu::forward(&self.shape(), x, w, input_norm, epilogue, y, statistics);
    }
}

shape_params! {
    /// `dy, w, addend, mask, x, norm -> dx, partials`: the gradient of the input. What
    /// [`InputGradientEpilogue`] does not call for is neither read nor written.
    pub struct InputGradient {
        /// Number of the [`InputGradientEpilogue`].
        epilogue: u32,
        /// The split-K factor: parts of a workgroup that share the depth of a tile, 1 or 4.
        split_k: u32,
    }
}

impl InputGradient {
    /// Returns the input gradient of a convolution.
    pub fn new(shape: &ConvShape, epilogue: InputGradientEpilogue) -> Self {
        let kernel = Self::with(shape, epilogue.number(), 1);
        Self { split_k: kernel.gemms().split_k(), ..kernel }
    }

    fn epilogue(&self) -> InputGradientEpilogue {
        InputGradientEpilogue::decode(self.epilogue)
    }

    /// The matrix products of the phases, of which there are stride²; [`ConvShape::flop`] counts no
    /// more multiplications than they have. Phases are padded to the size of the largest.
    fn gemms(&self) -> GemmBatch {
        let Self { stride, padding, in_channels, .. } = *self;
        let rows = self.shape().phase_pixels();
        let taps = move |kernel: u32, phase: u32| kernel.saturating_sub((phase + padding) % stride).div_ceil(stride);
        let (height, width, out_channels) = (self.kernel_height, self.kernel_width, self.out_channels);
        let gemm = |phase| {
            let depth = taps(height, phase / stride) * taps(width, phase % stride) * out_channels;
            Gemm { copies: 1, rows, depth, columns: in_channels }
        };
        GemmBatch((0..stride * stride).map(gemm).collect())
    }
}

impl Kernel for InputGradient {
    fn workgroups(&self) -> u32 {
        self.gemms().workgroups(self.split_k)
    }
    fn variants(&self) -> Vec<Variant> {
        self.shape().variants(&self.gemms(), self.split_k)
    }
    fn cost(&self) -> Cost {
        let inputs = f64::from(self.shape().in_pixels()) * f64::from(self.in_channels);
        let gemms = self.gemms();
        let loads = gemms.loads(self.split_k) + self.epilogue().loads() * inputs;
        Cost { flop: self.shape().flop(), terms: gemms.terms(), loads }
    }
    fn uses(&self, binding: usize) -> bool {
        let epilogue = self.epilogue();
        match binding {
            2 => epilogue.reads_addend(),
            3 => epilogue.reads_mask(),
            4 | 5 => epilogue.reads_norm(),
            7 => epilogue.writes_sums(),
            _ => true,
        }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([dy, w, addend, mask, x, norm], [dx, partials]) = bindings.f32();
        let norm = self.epilogue().reads_norm().then(|| Norm::new(norm));
        let epilogue = self.epilogue().with_operands(addend, mask, x, norm.as_ref());
        cpu::input_gradient(&self.shape(), dy, w, epilogue, dx, partials);
    }
}

shape_params! {
    /// `x, dy, norm -> partials`: the gradient of the weights, one partial sum per split, `[splits, weights]`. A plain
    /// input does not read the norm.
    pub struct WeightGradient {
        /// Number of the [`Load`].
        load: u32,
        /// Images in a split; the last may have fewer.
        images_per_split: u32,
        /// The split-K factor: parts of a workgroup that share the depth of a tile, 1 or 4.
        split_k: u32,
    }
}

impl WeightGradient {
    /// Returns the weight gradient of a convolution.
    pub fn new(shape: &ConvShape, load: Load) -> Self {
        let kernel = Self::with(shape, load.number(), shape.images_per_split(), 1);
        Self { split_k: kernel.gemms().split_k(), ..kernel }
    }

    fn gemms(&self) -> GemmBatch {
        let shape = self.shape();
        let depth = self.images_per_split * shape.out_height() * shape.out_width();
        GemmBatch(vec![Gemm { copies: shape.splits(), rows: shape.window(), depth, columns: shape.out_channels }])
    }
}

impl Kernel for WeightGradient {
    fn workgroups(&self) -> u32 {
        self.gemms().workgroups(self.split_k)
    }
    fn variants(&self) -> Vec<Variant> {
        self.shape().variants(&self.gemms(), self.split_k)
    }
    fn cost(&self) -> Cost {
        let gemms = self.gemms();
        Cost { flop: self.shape().flop(), terms: gemms.terms(), loads: gemms.loads(self.split_k) }
    }
    fn uses(&self, binding: usize) -> bool {
        binding != 2 || Load::decode(self.load).reads_norm()
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x, dy, norm], [partials]) = bindings.f32();
        let norm = Load::decode(self.load).reads_norm().then(|| Norm::new(norm));
        cpu::weight_gradient(&self.shape(), self.images_per_split as usize, x, norm.as_ref(), dy, partials);
    }
}

params! {
    /// `partials -> dw`: the sum over the splits.
    pub struct WeightGradientSum {
        /// Elements of the weights.
        elements: u32,
        /// Number of splits.
        splits: u32,
    }
}

impl WeightGradientSum {
    /// Returns the sum over the splits of a convolution's weight gradient.
    pub fn new(shape: &ConvShape) -> Self {
        Self { elements: shape.weight_elements() as u32, splits: shape.splits() }
    }
}

impl Kernel for WeightGradientSum {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.elements)
    }
    fn cost(&self) -> Cost {
        let partials = f64::from(self.elements) * f64::from(self.splits);
        Cost { flop: partials, terms: f64::from(self.splits), loads: partials }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([partials], [dw]) = bindings.f32();
        cpu::weight_gradient_sum(partials, dw);
    }
}
