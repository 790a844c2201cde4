//! The vocabulary of a step: values, kernels, and dispatches of one on the other.
//!
//! A training step is a list of [`Dispatch`]es. A dispatch names a [`Kernel`], with its parameters, and
//! the values that it reads and writes. Nothing here knows what a net or a GPU is: the plan makes such
//! lists, a device runs them, and neither knows the other.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A named piece of device memory: an array of 4-byte words (f32 or u32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// The value's place in [`Storage::regions`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value lies: a range of 4-byte words in one of the device's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// Index into [`Storage::buffers`].
    pub buffer: usize,
    /// First word.
    pub offset: usize,
    /// Number of words.
    pub words: usize,
}

/// All memory that a plan needs; a device allocates it once, before the first step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Size of each buffer, in words.
    pub buffers: Vec<usize>,
    /// Where each value lies, by [`ValueId`].
    pub regions: Vec<Region>,
}

impl Storage {
    /// Where `value` lies.
    pub fn region(&self, value: ValueId) -> Region {
        self.regions[value.index()]
    }

    /// Bytes in all buffers together.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(|&words| 4 * words as u64).sum()
    }
}

/// What a device can hold; a plan has to respect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest value that a kernel can be given, in words.
    pub binding_words: usize,
    /// Largest buffer, in words.
    pub buffer_words: usize,
    /// Memory for all buffers together, in words; `usize::MAX` where the device does not say.
    pub total_words: usize,
}

/// Type of a shader parameter: both take four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `u32` on both sides.
    U32,
    /// `f32` on both sides.
    F32,
}

/// One member of a kernel's parameter struct, as Rust lays it out; a test compares it with the shader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Member name.
    pub name: &'static str,
    /// Byte offset.
    pub offset: usize,
    /// Member type.
    pub scalar: Scalar,
}

/// A family of kernels: those of one file or folder of `kernels`, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Family(pub &'static str);

/// A WGSL compute shader and what it declares.
///
/// Binding 0 is the uniform `Params`; the values read follow (`read`), then the values written
/// (`read_write`). The entry point is `main`.
#[derive(Debug)]
pub struct Shader {
    /// Stem of the file in `shaders/`.
    pub name: &'static str,
    /// The family of its kernel.
    pub family: Family,
    /// The file's text, with its imports still unresolved.
    pub source: &'static str,
    /// Number of values read.
    pub reads: usize,
    /// Number of values written.
    pub writes: usize,
    /// Members of `Params`.
    pub params: &'static [Field],
}

/// One way to run a kernel's shader.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name among the kernel's variants.
    pub name: &'static str,
    /// Values of the shader's `override` constants that differ from their defaults.
    pub constants: Vec<(&'static str, f64)>,
    /// Imports to take where the shader offers alternatives to the first.
    pub imports: &'static [&'static str],
    /// Number of workgroups that cover the work once. A device may launch fewer, as every shader strides
    /// over its work by whole workgroups, or a few more, as it folds them into three dimensions.
    pub workgroups: u32,
}

/// What a dispatch costs, for reports; exact up to border effects.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations, a multiply-add counting as two.
    pub flop: f64,
    /// Number of products or terms summed into one output: rounding errors grow with its root.
    pub terms: f64,
    /// Words that the shader loads from global memory into registers or workgroup memory.
    pub loads: f64,
}

/// What ties a kernel to its shader; declared along with the shader.
pub trait Parameters {
    /// The shader.
    fn shader(&self) -> &'static Shader;
    /// The bytes of the shader's `Params`.
    fn params(&self) -> &[u8];
}

/// One computation: a shader with its parameters, and the same computation on the CPU (its *twin*).
pub trait Kernel: Parameters + Send + Sync + fmt::Debug {
    /// Number of workgroups of the first variant.
    fn workgroups(&self) -> u32;
    /// The ways to run the shader, the one first that does best without measuring. All give the same bits; which is the
    /// fastest depends on the device.
    fn variants(&self) -> Vec<Variant> {
        vec![Variant { name: "", constants: vec![], imports: &[], workgroups: self.workgroups() }]
    }
    /// What it costs; loads as the first variant does them.
    fn cost(&self) -> Cost;
    /// Which words of the value that it writes as number `write` are integers: two devices must agree on them exactly.
    fn integers(&self, write: usize) -> Range<usize> {
        let _ = write;
        0..0
    }
    /// Bytes that it must move, where those are fewer than the values bound have: a gather reads a few images of many.
    fn bytes(&self) -> Option<u64> {
        None
    }
    /// Does the same work on the CPU, on the current rayon pool; the result does not depend on its size.
    fn twin(&self, bindings: Bindings<'_, '_>);
}

/// The values that a twin works on, in the order of the shader's bindings.
#[derive(Debug)]
pub struct Bindings<'a, 'b> {
    /// Values read; an unused one is empty.
    pub reads: &'b [&'a [u32]],
    /// Values written; they hold what they held before. An unused one is empty.
    pub writes: &'b mut [&'a mut [u32]],
}

impl<'a> Bindings<'a, '_> {
    /// The values as f32 slices, `R` read and `W` written.
    ///
    /// Panics if the kernel was given other numbers of values: a mistake in the plan, caught by its tests.
    pub fn f32<const R: usize, const W: usize>(&mut self) -> ([&'a [f32]; R], [&mut [f32]; W]) {
        assert_eq!((self.reads.len(), self.writes.len()), (R, W), "numbers of values read and written");
        let reads = std::array::from_fn(|i| bytemuck::cast_slice(self.reads[i]));
        let mut writes = self.writes.iter_mut();
        let writes = std::array::from_fn(|_| bytemuck::cast_slice_mut(writes.next().expect("counted above")));
        (reads, writes)
    }
}

/// Name of a dispatch, e.g. `layer2.0.conv1 backward`: it follows it into listings, captures and errors.
pub type Label = Arc<str>;

/// One kernel at work on some values.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Its name.
    pub label: Label,
    /// What is computed.
    pub kernel: Arc<dyn Kernel>,
    /// Values read, in the order of the shader's bindings; `None` where the kernel's mode uses none.
    pub reads: Vec<Option<ValueId>>,
    /// Values written, likewise.
    pub writes: Vec<Option<ValueId>>,
}

impl Dispatch {
    /// Values read and values written, without unused bindings.
    pub fn values(&self) -> impl Iterator<Item = ValueId> {
        self.reads.iter().chain(&self.writes).copied().flatten()
    }
}

/// Folds `workgroups` into three dimensions of at most `limit` each.
///
/// The product may be less than `workgroups` where even `limit`³ is: shaders stride over the rest.
pub fn fold(workgroups: u32, limit: u32) -> [u32; 3] {
    let x = workgroups.clamp(1, limit);
    let y = workgroups.div_ceil(x).clamp(1, limit);
    let z = workgroups.div_ceil(x.saturating_mul(y)).clamp(1, limit);
    [x, y, z]
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn fold_covers_the_work_or_uses_the_whole_limit() {
        for limit in [1, 7, 65_535] {
            for workgroups in [1, 6, 7, 8, 49, 50, 343, 344, 65_535, 65_536, 70_001, 10_000_000] {
                let [x, y, z] = fold(workgroups, limit);
                assert!(x.max(y).max(z) <= limit);
                let launched = u64::from(x) * u64::from(y) * u64::from(z);
                assert!(launched >= u64::from(workgroups).min(u64::from(limit).pow(3)), "{workgroups} at {limit}");
                assert!(launched < 2 * u64::from(workgroups) + 1, "{workgroups} at {limit}: {launched}");
            }
        }
    }
}
