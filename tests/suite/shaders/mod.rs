//! The shader harness: every kernel on a table of shapes, its shader and its CPU twin each held against plain f64
//! loops. `docs/shader-tests.md` says how to add a kernel, a row or a mutant.
//!
//! A family's file holds its references (the formula, as plain loops) and its `rows`. A [`Row`] is one dispatch with
//! its inputs and what must come out, word by word. [`check`] is the only function that touches a device.

mod inputs;
mod row;
mod seeded;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use sdgpu::device::cpu::CpuDevice;
use sdgpu::device::gpu::{GpuRequest, Sources};
use sdgpu::device::{Device, Tuning};
use sdgpu::dispatch::{Dispatch, Region, Storage, ValueId};

use crate::adapter;

pub use inputs::{Draw, assert_gradient, control, relu};
pub use row::{Row, Sum, Word, Words};

/// Declares the families: a module each, a test each, and the list of all their rows.
macro_rules! families {
    ($($family:ident,)*) => {
        $(mod $family;)*

        /// Every row of every family.
        pub fn rows() -> Vec<Row> {
            [$($family::rows(),)*].into_iter().flatten().collect()
        }

        mod agrees_with_the_formula {
            $(#[test]
            fn $family() {
                super::check_all(super::$family::rows());
            })*
        }
    };
}

families! {
    adam,
    batch_norm,
    conv,
    dropout,
    finite,
    gather,
    linear,
    pool,
    probe,
    relu,
    sgd,
    shortcut,
    softmax_cross_entropy,
}

/// What an output holds before the run: a NaN, so that a word left unwritten is seen.
pub const POISON: u32 = 0x7fc0_dead;
/// What lies around the value of each binding: another NaN, so that it also spoils what is computed from it, and one
/// for each binding, so that no copy of one passes for another.
const GUARD: u32 = 0x7fc0_be00;
/// Guard words before a value: 256 bytes, the coarsest alignment that WebGPU asks of a binding.
const BEFORE: usize = 64;
/// Guard words behind a value.
const BEHIND: usize = 1024;

/// One way to run kernels, in modes that must all give the same bits.
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
    /// The CPU twins; results must not depend on the number of threads.
    fn twin() -> Self {
        let threads = |name, count| {
            let device = Box::new(CpuDevice::with_threads(count).expect("threads"));
            Mode { name, every_variant: false, device }
        };
        Self { name: "twin", binds_guards: false, modes: vec![threads("1 thread", 1), threads("3 threads", 3)] }
    }

    /// The shaders; results must depend neither on bounds checks, nor on the number of workgroups, nor on the variant.
    fn shader() -> Self {
        let checked = GpuRequest { trusted: false, ..adapter::request() };
        let folded = GpuRequest { trusted: false, max_workgroups_per_dimension: Some(7), ..adapter::request() };
        let strided = GpuRequest { trusted: true, max_workgroups_per_dimension: Some(2), ..adapter::request() };
        let trusted = GpuRequest { trusted: true, ..adapter::request() };
        Self {
            name: "shader",
            binds_guards: true,
            modes: vec![
                open("bounds checked", false, &checked),
                open("bounds trusted", false, &trusted),
                open("at most 7 workgroups per dimension", false, &folded),
                // Where variants have the most chances to go wrong.
                open("bounds trusted, at most 2 workgroups per dimension", true, &strided),
            ],
        }
    }

    /// The shaders, their text as `sources` gives it, in the mode in which a fault has the fewest places to hide.
    pub fn patched(sources: Sources, every_variant: bool) -> Self {
        let max_workgroups_per_dimension = Some(2);
        let request =
            GpuRequest { trusted: false, max_workgroups_per_dimension, sources: Some(sources), ..adapter::request() };
        let modes = vec![open("at most 2 workgroups per dimension", every_variant, &request)];
        Self { name: "mutant", binds_guards: true, modes }
    }
}

fn open(name: &'static str, every_variant: bool, request: &GpuRequest) -> Mode {
    Mode { name, every_variant, device: Box::new(adapter::open_with(request)) }
}

/// The twins and the shaders, opened once and lent to one test at a time.
fn implementations() -> MutexGuard<'static, Vec<Implementation>> {
    static BENCH: OnceLock<Mutex<Vec<Implementation>>> = OnceLock::new();
    let bench = BENCH.get_or_init(|| Mutex::new(vec![Implementation::twin(), Implementation::shader()]));
    bench.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks `rows` on the twins and the shaders; panics with every row that fails.
fn check_all(rows: Vec<Row>) {
    let mut worst = BTreeMap::new();
    let mut failures = String::new();
    for row in &rows {
        for implementation in implementations().iter_mut() {
            match check(implementation, row) {
                Ok(share) => {
                    let entry = worst.entry((row.name(), implementation.name)).or_insert(0.0f64);
                    *entry = entry.max(share);
                }
                Err(failure) => failures += &format!("\n{row}: {failure}\n    {:?}", row.kernel),
            }
        }
    }
    for ((kernel, implementation), share) in worst {
        println!("{kernel:<28} {implementation:<7} worst error {share:.2} of what is allowed");
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Runs `row` in every mode of `implementation`, and in the kernel's variants: the first run must give what the
/// reference says, the others the same bits. The largest error, as a share of what is allowed; or what is wrong.
pub fn check(implementation: &mut Implementation, row: &Row) -> Result<f64, String> {
    let Implementation { name, binds_guards, ref mut modes } = *implementation;
    let key = Tuning::key(row.kernel.as_ref());
    let variants = row.kernel.variants();
    let mut first: Option<(String, Vec<Vec<u32>>, f64)> = None;
    for Mode { name: mode, every_variant, device } in modes {
        for variant in &variants[..if *every_variant { variants.len() } else { 1 }] {
            let mode = if variant.name.is_empty() { mode.to_string() } else { format!("{mode}, {}", variant.name) };
            let wrong = |what: String| format!("{name} ({mode}): {what}");
            device.set_tuning(&Tuning([(key.clone(), variant.name.to_string())].into()));
            let outputs = run(device.as_mut(), row, if binds_guards { BEHIND } else { 0 }).map_err(wrong)?;
            match &first {
                None => {
                    let share = row.judge(&outputs).map_err(wrong)?;
                    first = Some((mode, outputs, share));
                }
                Some((first_mode, expected, _)) => {
                    if let Some((output, i)) = first_difference(expected, &outputs) {
                        let [one, other] = [expected[output][i], outputs[output][i]];
                        let what = format!("output {output}[{i}] is {other:#010x}, but {one:#010x} ({first_mode})");
                        return Err(wrong(what));
                    }
                }
            }
        }
    }
    Ok(first.expect("an implementation has a mode").2)
}

fn first_difference(a: &[Vec<u32>], b: &[Vec<u32>]) -> Option<(usize, usize)> {
    (0..a.len()).find_map(|output| Some((output, (0..a[output].len()).find(|&i| a[output][i] != b[output][i])?)))
}

/// Runs `row` once, `guards` words behind each value bound with it, and hands back the values written if nothing but
/// them was touched.
///
/// Each value lies in a buffer of its own, as no buffer can be bound for reading and for writing in one dispatch.
fn run(device: &mut dyn Device, row: &Row, guards: usize) -> Result<Vec<Vec<u32>>, String> {
    let mut storage = Storage::default();
    let mut buffers: Vec<Vec<u32>> = Vec::new();
    let value = |buffer: usize| ValueId(2 * buffer as u32);
    let whole = |buffer: usize| ValueId(2 * buffer as u32 + 1);
    for (buffer, words) in row.values().enumerate() {
        let mut guarded = vec![GUARD + buffer as u32; BEFORE + words.len() + BEHIND];
        guarded[BEFORE..][..words.len()].copy_from_slice(words);
        storage.buffers.push(guarded.len());
        storage.regions.push(Region { buffer, offset: BEFORE, words: words.len() + guards });
        storage.regions.push(Region { buffer, offset: 0, words: guarded.len() });
        buffers.push(guarded);
    }
    let reads = row.reads().len();
    let dispatch = Dispatch {
        label: row.to_string().into(),
        kernel: row.kernel.clone(),
        reads: (0..reads).map(value).collect(),
        writes: (reads..buffers.len()).map(value).collect(),
    };
    let refused = |error| panic!("{row}: {error}");
    device.prepare(&storage, &[&dispatch]).unwrap_or_else(refused);
    for (buffer, words) in buffers.iter().enumerate() {
        device.write(whole(buffer), words).unwrap_or_else(refused);
    }
    match catch_unwind(AssertUnwindSafe(|| device.run(&[dispatch]))) {
        Ok(ran) => ran.unwrap_or_else(refused),
        Err(_) => return Err("panicked, see above".into()),
    }
    let mut outputs = Vec::new();
    for (buffer, before) in buffers.iter().enumerate() {
        let after = device.read(whole(buffer)).unwrap_or_else(|error| panic!("{row}: {error}"));
        let inside = BEFORE..before.len() - BEHIND;
        let untouchable = |i: &usize| buffer < reads || !inside.contains(i);
        if let Some(i) = (0..after.len()).filter(untouchable).find(|&i| after[i] != before[i]) {
            let (place, words) = (i as i64 - BEFORE as i64, inside.len());
            return Err(format!("wrote {:#x} to word {place} of binding {}, of {words} words", after[i], buffer + 1));
        }
        if buffer >= reads {
            outputs.push(after[inside].to_vec());
        }
    }
    Ok(outputs)
}
