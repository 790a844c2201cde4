//! The vocabulary of a step: values, kernels, and dispatches of one on the other.
//!
//! A training step is a list of [`Dispatch`]es. A dispatch names a [`Kernel`], with its parameters, and
//! the values that it reads and writes. Nothing here knows what a net or a GPU is: the plan makes such
//! lists, a device runs them, and neither knows the other.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod bindings;

pub use bindings::{Bindings, Input, Output};

/// A named piece of device memory: a number of elements of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// Returns the value's index in [`Storage::regions`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Type of a value's elements, as they lie in a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// A number.
    F32,
    /// An integer, or four bytes of an image.
    U32,
    /// A field of a record, f32 bits or an integer by its position. Twins see integers.
    Record(&'static Record),
}

impl Element {
    /// Returns the bytes that an element takes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F32 | Self::U32 | Self::Record(_) => 4,
        }
    }

    /// Returns the type of the element at `index`.
    pub fn scalar(self, index: usize) -> Scalar {
        match self {
            Self::F32 => Scalar::F32,
            Self::U32 => Scalar::U32,
            Self::Record(record) => record.scalar(index),
        }
    }
}

/// Types of the fields of a record: those of a header, then those of a row over and over.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Fields at the beginning.
    pub header: &'static [Scalar],
    /// Fields of each of the rows that follow; empty where none follow.
    pub row: &'static [Scalar],
}

impl Record {
    fn scalar(&self, index: usize) -> Scalar {
        match index.checked_sub(self.header.len()) {
            None => self.header[index],
            Some(index) => self.row[index % self.row.len()],
        }
    }
}

/// Where a value lies in one of the device's buffers, and what its elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// Index into [`Storage::buffers`].
    pub buffer: usize,
    /// First byte; a multiple of 4.
    pub offset: u64,
    /// Type of its elements.
    pub element: Element,
    /// Number of its elements.
    pub count: usize,
}

impl Region {
    /// Returns the region's size in bytes, a multiple of 4.
    pub fn bytes(&self) -> u64 {
        bytes_of(self.element, self.count)
    }
}

/// Returns the bytes that `count` elements take: devices move whole words of 4 bytes.
pub fn bytes_of(element: Element, count: usize) -> u64 {
    (element.bytes() * count as u64).next_multiple_of(4)
}

/// All memory that a plan needs; a device allocates it once, before the first step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Size of each buffer, in bytes; a multiple of 4.
    pub buffers: Vec<u64>,
    /// Where each value lies, by [`ValueId`].
    pub regions: Vec<Region>,
}

impl Storage {
    /// Returns the storage of `values`, given by element type and count, each in a buffer of its
    /// own.
    pub fn separate(values: impl IntoIterator<Item = (Element, usize)>) -> Self {
        let regions = values.into_iter().enumerate();
        let regions: Vec<Region> =
            regions.map(|(buffer, (element, count))| Region { buffer, offset: 0, element, count }).collect();
        Self { buffers: regions.iter().map(Region::bytes).collect(), regions }
    }

    /// Returns where `value` lies.
    pub fn region(&self, value: ValueId) -> Region {
        self.regions[value.index()]
    }

    /// Returns the bytes of all buffers together.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().sum()
    }
}

/// What a device can hold; a plan has to respect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest value that a kernel can be given, in bytes.
    pub binding_bytes: u64,
    /// Largest buffer, in bytes.
    pub buffer_bytes: u64,
    /// Memory for all buffers together, in bytes; `u64::MAX` where the device does not say.
    pub total_bytes: u64,
}

impl Limits {
    /// WebGPU's default limits, which every device has that it runs on.
    pub const WEBGPU: Self = Self { binding_bytes: 128 << 20, buffer_bytes: 256 << 20, total_bytes: u64::MAX };
}

/// Type of a shader parameter, or of a record's field: both take four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// `u32` on both sides.
    U32,
    /// `f32` on both sides.
    F32,
}

/// One member of a kernel's parameter struct, as Rust lays it out; a test compares it with the shader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamField {
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
    pub params: &'static [ParamField],
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
    /// Elements that the shader loads from global memory into registers or workgroup memory.
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
    /// Bytes that it must move, where those are fewer than the values bound have: a gather reads a few images of many.
    fn bytes(&self) -> Option<u64> {
        None
    }
    /// Returns whether its mode uses the value at `binding`, counted through those read, then those
    /// written. A [`Dispatch`] has `None` for the others.
    fn uses(&self, binding: usize) -> bool {
        let _ = binding;
        true
    }
    /// Does the same work on the CPU, on the current rayon pool; the result does not depend on its size.
    fn twin(&self, bindings: Bindings<'_, '_>);
}

/// Name of a dispatch, e.g. `layer2.0.conv1 backward`: it follows it into listings, captures and
/// errors.
pub type Label = Arc<str>;

/// A kernel that many lists share.
#[derive(Clone, Debug)]
pub struct SharedKernel {
    id: KernelId,
    kernel: Arc<dyn Kernel>,
}

/// Identity of a [`SharedKernel`] among all of the process; its clones have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelId(u64);

impl SharedKernel {
    /// Shares `kernel`, under an identity of its own: devices find by it what they made for the
    /// kernel.
    pub fn new(kernel: impl Kernel + 'static) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: KernelId(NEXT.fetch_add(1, Ordering::Relaxed)), kernel: Arc::new(kernel) }
    }

    /// Returns its identity.
    pub fn id(&self) -> KernelId {
        self.id
    }
}

impl Deref for SharedKernel {
    type Target = dyn Kernel;

    fn deref(&self) -> &Self::Target {
        self.kernel.as_ref()
    }
}

impl AsRef<dyn Kernel> for SharedKernel {
    fn as_ref(&self) -> &(dyn Kernel + 'static) {
        self.kernel.as_ref()
    }
}

/// One kernel at work on some values.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Its name.
    pub label: Label,
    /// What is computed.
    pub kernel: SharedKernel,
    /// Values read, in the order of the shader's bindings; `None` where the kernel's mode uses
    /// none.
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
    use super::*;

    #[test]
    fn a_record_knows_the_type_of_each_field() {
        const RECORD: Record = Record { header: &[Scalar::U32, Scalar::F32], row: &[Scalar::F32, Scalar::U32] };
        let scalars = |element: Element| (0..6).map(|index| element.scalar(index)).collect::<Vec<_>>();
        let (f32, u32) = (Scalar::F32, Scalar::U32);
        assert_eq!(scalars(Element::Record(&RECORD)), [u32, f32, f32, u32, f32, u32]);
        assert_eq!([scalars(Element::F32), scalars(Element::U32)], [[f32; 6], [u32; 6]]);
    }

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
