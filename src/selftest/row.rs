//! A row of a kernel's table, and how what came out is judged.

use std::fmt;

use crate::dispatch::{Element, Kernel, SharedKernel};

/// What an output holds before the run: a NaN, so that a word left unwritten is seen.
pub const POISON: u32 = 0x7fc0_dead;

/// Rounding errors that a sum may have, in units of `2^-24 * sqrt(terms) * magnitude`: one constant for every output
/// of every kernel.
///
/// A chain of K roundings, each at most 2^-24 of a partial sum and of either sign, ends about sqrt(K) of them away
/// from the exact sum; K of them away at worst.
const C: f64 = 4.0;

/// max(x, 0), but NaN stays NaN.
pub fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

/// What one word of an output must be.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    /// This number, up to rounding.
    Near(Sum),
    /// These bits.
    Bits(u32),
    /// A NaN.
    Nan,
    /// Anything, but written.
    Any,
}

/// A sum in f64, with what bounds the rounding errors of the same sum in f32.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// The sum.
    pub value: f64,
    /// The sum of the terms' absolute values.
    pub magnitude: f64,
    /// The number of terms.
    pub terms: f64,
}

impl Sum {
    /// The sum of `terms`.
    pub fn of(terms: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = Self::default();
        terms.into_iter().for_each(|term| sum.add(term));
        sum
    }

    /// The sum of `numbers`, each of which has rounding errors of its own.
    pub fn of_sums(numbers: impl IntoIterator<Item = Self>) -> Self {
        let (mut sum, mut largest) = (Self::default(), 0.0f64);
        for number in numbers {
            largest = largest.max(number.terms);
            sum = sum.plus(Self { terms: 1.0, ..number });
        }
        Self { terms: sum.terms + largest, ..sum }
    }

    /// A number without rounding errors.
    pub fn exact(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    /// The values of `sums`.
    pub fn values(sums: &[Self]) -> Vec<f64> {
        sums.iter().map(|sum| sum.value).collect()
    }

    /// Adds a term.
    pub fn add(&mut self, term: f64) {
        *self = self.plus(Self { value: term, magnitude: term.abs(), terms: 1.0 });
    }

    /// The sum of the terms of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            magnitude: self.magnitude + other.magnitude,
            terms: self.terms + other.terms,
        }
    }

    /// Each term times `factor`.
    pub fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, magnitude: self.magnitude * factor.abs(), terms: self.terms }
    }

    /// `value`, a function of the sum, with `slope` its derivative there: the sum's error carried over, and one
    /// rounding of the value itself.
    pub fn then(self, value: f64, slope: f64) -> Self {
        Self { value, magnitude: value.abs() + (slope * self.magnitude).abs(), terms: self.terms + 1.0 }
    }

    /// The square root.
    pub fn sqrt(self) -> Self {
        let root = self.value.sqrt();
        self.then(root, if root > 0.0 { 0.5 / root } else { 0.0 })
    }

    /// The quotient.
    pub fn over(self, divisor: Self) -> Self {
        let quotient = self.value / divisor.value;
        let carried = divisor.then(quotient, quotient / divisor.value);
        let magnitude = carried.magnitude + self.magnitude / divisor.value.abs();
        Self { magnitude, terms: self.terms + carried.terms, ..carried }
    }

    /// max(sum, 0), but NaN stays NaN.
    pub fn relu(self) -> Self {
        Self { value: relu(self.value), ..self }
    }

    /// How far from the value a number may be: 0 if nothing is rounded; otherwise devices may also take each term that
    /// is below the smallest normal number for 0.
    pub fn tolerance(self) -> f64 {
        if self.magnitude == 0.0 {
            return 0.0;
        }
        let rounding = C * f64::from(f32::EPSILON) / 2.0 * self.terms.sqrt() * self.magnitude;
        rounding + self.terms.max(1.0) * f64::from(f32::MIN_POSITIVE)
    }
}

/// Where the formula gives NaN, so must the kernel.
impl From<Sum> for Word {
    fn from(sum: Sum) -> Self {
        if sum.value.is_nan() { Self::Nan } else { Self::Near(sum) }
    }
}

impl From<u32> for Word {
    fn from(bits: u32) -> Self {
        Self::Bits(bits)
    }
}

impl Word {
    /// The error of `bits` as a share of what is allowed; `None` if it is wrong.
    fn share(self, bits: u32) -> Option<f64> {
        let float = f64::from(f32::from_bits(bits));
        let right = match self {
            _ if bits == POISON => false,
            Self::Near(sum) if float == sum.value => true,
            Self::Near(sum) => {
                let share = (float - sum.value).abs() / sum.tolerance();
                // A NaN is not at most 1.
                return (share <= 1.0).then_some(share);
            }
            Self::Bits(expected) => bits == expected,
            Self::Nan => float.is_nan(),
            Self::Any => true,
        };
        right.then_some(0.0)
    }
}

/// One dispatch: its values before, what must be in those written after, and why it is worth running.
#[derive(Debug)]
pub struct Row {
    /// Why the row is there.
    why: &'static str,
    /// What is computed.
    pub kernel: SharedKernel,
    reads: Vec<(Element, Vec<u32>)>,
    writes: Vec<(Element, Vec<u32>, Vec<Word>)>,
}

impl Row {
    /// Of `kernel`, because `why`.
    pub fn new(why: &'static str, kernel: impl Kernel + 'static) -> Self {
        Self { why, kernel: SharedKernel::new(kernel), reads: vec![], writes: vec![] }
    }

    /// The next value read.
    pub fn read(mut self, value: &(impl Words + ?Sized)) -> Self {
        self.reads.push((value.element(), value.words()));
        self
    }

    /// Leaves the next value read unused: a shader is given NaNs in its place, a twin nothing.
    pub fn unused_read(self) -> Self {
        self.read(&[0u32; 0][..])
    }

    /// Adds the next value read, or leaves it unused.
    pub fn read_if_used(self, value: Option<&[f64]>) -> Self {
        match value {
            Some(value) => self.read(value),
            None => self.unused_read(),
        }
    }

    /// Leaves the next value written unused: what a shader is given in its place must stay as it
    /// is.
    pub fn unused_write(self) -> Self {
        self.write(Vec::<Word>::new())
    }

    /// The next value written, poisoned before.
    pub fn write<W: Expected>(mut self, expected: Vec<W>) -> Self {
        let before = vec![POISON; expected.len()];
        self.writes.push((W::ELEMENT, before, expected.into_iter().map(Into::into).collect()));
        self
    }

    /// The next value written, which holds `before`, of which the kernel makes `expected`.
    pub fn update(mut self, before: &(impl Words + ?Sized), expected: Vec<impl Into<Word>>) -> Self {
        self.writes.push((before.element(), before.words(), expected.into_iter().map(Into::into).collect()));
        self
    }

    /// The shader's name.
    pub fn name(&self) -> &'static str {
        self.kernel.shader().name
    }

    /// The values read; an unused one is empty.
    pub fn reads(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.reads.iter().map(|(_, words)| words.as_slice())
    }

    /// The types of the values read, then of those written.
    pub fn elements(&self) -> impl Iterator<Item = Element> {
        self.reads.iter().map(|(element, _)| *element).chain(self.writes.iter().map(|(element, ..)| *element))
    }

    /// The values read, then those written, before the run; an unused one is empty.
    pub fn values(&self) -> impl Iterator<Item = &[u32]> {
        self.reads().chain(self.writes.iter().map(|(_, before, _)| before.as_slice()))
    }

    /// What must be in the values written after the run.
    pub fn expected(&self) -> impl Iterator<Item = &[Word]> {
        self.writes.iter().map(|(.., expected)| expected.as_slice())
    }

    /// The largest error in `outputs` as a share of what is allowed; or the first that is wrong.
    pub fn judge(&self, outputs: &[Vec<u32>]) -> Result<f64, String> {
        let mut worst = 0.0f64;
        for (output, ((.., expected), words)) in self.writes.iter().zip(outputs).enumerate() {
            assert_eq!(expected.len(), words.len(), "{self}: words of output {output}");
            for (i, (&expected, &bits)) in expected.iter().zip(words).enumerate() {
                let Some(share) = expected.share(bits) else {
                    let float = f32::from_bits(bits);
                    let left = if bits == POISON { ", left unwritten" } else { "" };
                    let allowed = match expected {
                        Word::Near(sum) => format!("{:e} within {:e}", sum.value, sum.tolerance()),
                        other => format!("{other:x?}"),
                    };
                    return Err(format!("output {output}[{i}] is {float:e} ({bits:#010x}{left}), not {allowed}"));
                };
                worst = worst.max(share);
            }
        }
        Ok(worst)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.why)
    }
}

/// Expected words of a value written, by the type of its elements.
pub trait Expected: Into<Word> {
    /// Type of the elements.
    const ELEMENT: Element;
}

impl Expected for Word {
    const ELEMENT: Element = Element::F32;
}

impl Expected for Sum {
    const ELEMENT: Element = Element::F32;
}

impl Expected for u32 {
    const ELEMENT: Element = Element::U32;
}

/// What a value holds, as words.
pub trait Words {
    /// The type of its elements.
    fn element(&self) -> Element;

    /// The words.
    fn words(&self) -> Vec<u32>;
}

/// Numbers of which f32 represents each exactly.
impl Words for [f64] {
    fn element(&self) -> Element {
        Element::F32
    }
    fn words(&self) -> Vec<u32> {
        self.iter().map(|&number| (number as f32).to_bits()).collect()
    }
}

/// Numbers with their very bits, as those of NaNs.
impl Words for [f32] {
    fn element(&self) -> Element {
        Element::F32
    }
    fn words(&self) -> Vec<u32> {
        self.iter().map(|number| number.to_bits()).collect()
    }
}

impl Words for [u32] {
    fn element(&self) -> Element {
        Element::U32
    }
    fn words(&self) -> Vec<u32> {
        self.to_vec()
    }
}

impl<T> Words for Vec<T>
where
    [T]: Words,
{
    fn element(&self) -> Element {
        self.as_slice().element()
    }
    fn words(&self) -> Vec<u32> {
        self.as_slice().words()
    }
}
