//! How a row is run: between guard words, over poison, in every mode that must give the same bits.

use std::panic::{AssertUnwindSafe, catch_unwind};

use thiserror::Error;

use super::row::Row;
use crate::device::{Device, DeviceError, Tuning};
use crate::dispatch::{Dispatch, Element, Region, Storage, ValueId, bytes_of};

/// What lies around the value of each binding: a NaN that also spoils what is computed from it, and one for each
/// binding, so that no copy of one passes for another.
const GUARD: u32 = 0x7fc0_be00;
/// Guard words before a value: 256 bytes, the coarsest alignment that WebGPU asks of a binding.
pub const GUARDS_BEFORE: usize = 64;
/// Guard words behind a value.
pub const GUARDS_BEHIND: usize = 1024;

/// Why a row fails.
#[derive(Debug, Error)]
pub enum Failure {
    /// What the kernel did is wrong.
    #[error("{0}")]
    Wrong(String),
    /// The device could not run it.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// One way to compute the kernels, on devices opened in modes that must all give the same bits.
pub struct Implementation {
    name: &'static str,
    /// Whether the guard words behind a value are bound with it. A shader must be able to reach them: what it does
    /// beyond its binding is dropped by the driver, and never seen.
    binds_guards: bool,
    modes: Vec<Mode>,
}

/// A device, opened in one way.
struct Mode {
    name: &'static str,
    /// Whether kernels run in all their variants, or in the first only.
    every_variant: bool,
    device: Box<dyn Device + Send>,
}

impl Implementation {
    /// The twins, in no mode yet.
    pub fn of_twins() -> Self {
        Self { name: "twin", binds_guards: false, modes: vec![] }
    }

    /// The shaders, in no mode yet.
    pub fn of_shaders() -> Self {
        Self { name: "shader", binds_guards: true, modes: vec![] }
    }

    /// With one more mode: on `device`, in every variant of each kernel or in the first only.
    pub fn with_mode(mut self, name: &'static str, every_variant: bool, device: impl Device + Send + 'static) -> Self {
        self.modes.push(Mode { name, every_variant, device: Box::new(device) });
        self
    }

    /// `twin` or `shader`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether some mode runs kernels in all their variants.
    pub fn runs_every_variant(&self) -> bool {
        self.modes.iter().any(|mode| mode.every_variant)
    }

    /// The device of the first mode, its kernels in their first variants.
    pub fn first_device(&mut self) -> Option<&mut dyn Device> {
        let mode = self.modes.first_mut()?;
        mode.device.set_tuning(&Tuning::default());
        Some(mode.device.as_mut())
    }
}

/// Runs `row` in every mode of `implementation`, and in the kernel's variants: the first run must give what the
/// reference says, the others the same bits. The largest error, as a share of what is allowed.
pub fn check(implementation: &mut Implementation, row: &Row) -> Result<f64, Failure> {
    let Implementation { name, binds_guards, ref mut modes } = *implementation;
    let key = Tuning::key(row.kernel.as_ref());
    let variants = row.kernel.variants();
    let mut first: Option<(String, Vec<Vec<u32>>)> = None;
    let mut share = 0.0;
    for Mode { name: mode, every_variant, device } in modes {
        for variant in &variants[..if *every_variant { variants.len() } else { 1 }] {
            let mode = if variant.name.is_empty() { mode.to_string() } else { format!("{mode}, {}", variant.name) };
            let wrong = |what: String| Failure::Wrong(format!("{name} ({mode}): {what}"));
            device.set_tuning(&Tuning([(key.clone(), variant.name.to_string())].into()));
            let outputs = run(device.as_mut(), row, if binds_guards { GUARDS_BEHIND } else { 0 });
            let outputs = outputs.map_err(|failure| match failure {
                Failure::Wrong(what) => wrong(what),
                failure => failure,
            })?;
            match &first {
                None => {
                    share = row.judge(&outputs).map_err(wrong)?;
                    first = Some((mode, outputs));
                }
                Some((first_mode, expected)) => {
                    if let Some((output, i)) = first_difference(expected, &outputs) {
                        let [one, other] = [expected[output][i], outputs[output][i]];
                        let what = format!("output {output}[{i}] is {other:#010x}, but {one:#010x} ({first_mode})");
                        return Err(wrong(what));
                    }
                }
            }
        }
    }
    Ok(share)
}

fn first_difference(a: &[Vec<u32>], b: &[Vec<u32>]) -> Option<(usize, usize)> {
    (0..a.len()).find_map(|output| Some((output, (0..a[output].len()).find(|&i| a[output][i] != b[output][i])?)))
}

/// What the buffers of `row` hold before it is run, in the order of the shader's bindings: guard words, a value, guard
/// words.
///
/// Each value has a buffer of its own, as no buffer can be bound for reading and for writing in one dispatch.
pub fn guarded(row: &Row) -> Vec<Vec<u32>> {
    let guarded = |(buffer, value): (usize, &[u32])| {
        let mut words = vec![GUARD + buffer as u32; GUARDS_BEFORE + value.len() + GUARDS_BEHIND];
        words[GUARDS_BEFORE..][..value.len()].copy_from_slice(value);
        words
    };
    row.values().enumerate().map(guarded).collect()
}

/// Runs `row` once, `guards` words behind each value bound with it, and hands back the values written if nothing but
/// them was touched.
pub fn run(device: &mut dyn Device, row: &Row, guards: usize) -> Result<Vec<Vec<u32>>, Failure> {
    if let Some(binding) =
        row.values().enumerate().position(|(index, value)| row.kernel.uses(index) == value.is_empty())
    {
        let what = format!("binding {} has a value that the kernel does not use, or none", binding + 1);
        return Err(Failure::Wrong(what));
    }
    let buffers = guarded(row);
    let mut storage = Storage::default();
    let values: Vec<&[u32]> = row.values().collect();
    // An unused operand is bound only with its guard words, which no kernel may read or change.
    let bound = |buffer: usize| values[buffer].len() + guards > 0;
    let value = |buffer: usize| bound(buffer).then_some(ValueId(2 * buffer as u32));
    let whole = |buffer: usize| ValueId(2 * buffer as u32 + 1);
    for (buffer, (value, element)) in values.iter().zip(row.elements()).enumerate() {
        let all = Region { buffer, offset: 0, element: Element::U32, count: buffers[buffer].len() };
        let offset = bytes_of(Element::U32, GUARDS_BEFORE);
        storage.buffers.push(all.bytes());
        storage.regions.push(Region { buffer, offset, element, count: value.len() + guards });
        storage.regions.push(all);
    }
    let reads = row.reads().len();
    let dispatch = Dispatch {
        label: row.to_string().into(),
        kernel: row.kernel.clone(),
        reads: (0..reads).map(value).collect(),
        writes: (reads..buffers.len()).map(value).collect(),
    };
    device.prepare(&storage, &[&dispatch])?;
    for (buffer, words) in buffers.iter().enumerate() {
        device.write(whole(buffer), words)?;
    }
    // A twin that leaves its slices panics: that is for the row to report, too.
    match catch_unwind(AssertUnwindSafe(|| device.run(&[dispatch]))) {
        Ok(ran) => ran?,
        Err(_) => return Err(Failure::Wrong("panicked, see above".into())),
    }
    let mut outputs = Vec::new();
    for (buffer, before) in buffers.iter().enumerate() {
        let after = device.read(whole(buffer))?;
        let inside = GUARDS_BEFORE..before.len() - GUARDS_BEHIND;
        let untouchable = |i: &usize| buffer < reads || !inside.contains(i);
        if let Some(i) = (0..after.len()).filter(untouchable).find(|&i| after[i] != before[i]) {
            let (place, words) = (i as i64 - GUARDS_BEFORE as i64, inside.len());
            let what = format!("wrote {:#x} to word {place} of binding {}, of {words} words", after[i], buffer + 1);
            return Err(Failure::Wrong(what));
        }
        if buffer >= reads {
            outputs.push(after[inside].to_vec());
        }
    }
    Ok(outputs)
}
