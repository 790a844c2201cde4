//! The values of a dispatch as its twin sees them, each by its type.

use super::Element;

/// A value that a twin reads.
#[derive(Clone, Copy, Debug, Default)]
pub enum Input<'a> {
    /// None: the kernel's mode reads nothing here.
    #[default]
    Unused,
    /// Numbers.
    F32(&'a [f32]),
    /// Integers, packed bytes, or a record's fields.
    U32(&'a [u32]),
}

impl<'a> Input<'a> {
    /// Returns a value of that type, which lies in `words`.
    pub fn new(element: Element, words: &'a [u32]) -> Self {
        match element {
            Element::F32 => Self::F32(bytemuck::cast_slice(words)),
            Element::U32 | Element::Record(_) => Self::U32(words),
        }
    }

    /// Returns the numbers; an unused value has none. Panics if the value has another type: a
    /// mistake in the plan, caught by its tests.
    pub fn f32(self) -> &'a [f32] {
        match self {
            Self::Unused => &[],
            Self::F32(numbers) => numbers,
            Self::U32(_) => panic!("f32 wanted of a value of u32"),
        }
    }

    /// Returns the integers, like [`Self::f32`].
    pub fn u32(self) -> &'a [u32] {
        match self {
            Self::Unused => &[],
            Self::U32(integers) => integers,
            Self::F32(_) => panic!("u32 wanted of a value of f32"),
        }
    }
}

/// A value that a twin writes; it holds what it held before.
#[derive(Debug, Default)]
pub enum Output<'a> {
    /// None: the kernel's mode writes nothing here.
    #[default]
    Unused,
    /// Numbers.
    F32(&'a mut [f32]),
    /// Integers, or a record's fields.
    U32(&'a mut [u32]),
}

impl<'a> Output<'a> {
    /// Returns a value of that type, which lies in `words`.
    pub fn new(element: Element, words: &'a mut [u32]) -> Self {
        match element {
            Element::F32 => Self::F32(bytemuck::cast_slice_mut(words)),
            Element::U32 | Element::Record(_) => Self::U32(words),
        }
    }

    /// Returns the numbers, like [`Input::f32`].
    pub fn f32(self) -> &'a mut [f32] {
        match self {
            Self::Unused => &mut [],
            Self::F32(numbers) => numbers,
            Self::U32(_) => panic!("f32 wanted of a value of u32"),
        }
    }

    /// Returns the integers, like [`Input::f32`].
    pub fn u32(self) -> &'a mut [u32] {
        match self {
            Self::Unused => &mut [],
            Self::U32(integers) => integers,
            Self::F32(_) => panic!("u32 wanted of a value of f32"),
        }
    }
}

/// The values that a twin works on, in the order of the shader's bindings.
#[derive(Debug)]
pub struct Bindings<'a, 'b> {
    /// Values read.
    pub reads: &'b [Input<'a>],
    /// Values written.
    pub writes: &'b mut [Output<'a>],
}

impl<'a> Bindings<'a, '_> {
    /// Returns the values, `R` read and `W` written.
    ///
    /// Panics if the kernel was given other numbers of values: a mistake in the plan, caught by its
    /// tests.
    pub fn values<const R: usize, const W: usize>(self) -> ([Input<'a>; R], [Output<'a>; W]) {
        assert_eq!((self.reads.len(), self.writes.len()), (R, W), "numbers of values read and written");
        let reads = std::array::from_fn(|i| self.reads[i]);
        let writes = std::array::from_fn(|i| std::mem::take(&mut self.writes[i]));
        (reads, writes)
    }

    /// Returns the values of a kernel that knows numbers alone, like [`Self::values`].
    pub fn f32<const R: usize, const W: usize>(self) -> ([&'a [f32]; R], [&'a mut [f32]; W]) {
        let (reads, writes) = self.values();
        (reads.map(Input::f32), writes.map(Output::f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_seen_as_its_own_type_only() {
        let (numbers, integers) = (Input::new(Element::F32, &[0x3f80_0000]), Input::new(Element::U32, &[7]));
        assert_eq!((numbers.f32(), integers.u32()), (&[1.0][..], &[7][..]));
        assert!(std::panic::catch_unwind(|| numbers.u32()).is_err());
        assert!(std::panic::catch_unwind(|| integers.f32()).is_err());
        assert!(Input::Unused.f32().is_empty() && Input::Unused.u32().is_empty());
        let mut word = [0];
        Output::new(Element::F32, &mut word).f32()[0] = 1.0;
        assert_eq!(word, [0x3f80_0000]);
        assert!(std::panic::catch_unwind(move || Output::new(Element::U32, &mut word).f32().len()).is_err());
    }
}
