//! The tables of `sdgpu::internals::selftest`, in every mode that the tests have: each kernel's
//! shader and its CPU twin against plain f64 loops. `docs/shader-tests.md` says how to add a
//! kernel, a row or a mutant.

mod export;
#[cfg(target_arch = "x86_64")]
mod flushed;
mod normalized_convolution;
mod seeded;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::{mem, thread};

use sdgpu::internals::device::cpu::CpuDevice;
use sdgpu::internals::device::gpu::{GpuRequest, LoweredLimits};
use sdgpu::internals::selftest::tables::{self, FAMILIES};
use sdgpu::internals::selftest::{Implementation, Row, check};

use crate::adapter;

/// Declares a test for each family.
macro_rules! tests {
    ($($family:ident: [$($shader:ident),*],)*) => {
        mod agrees_with_the_formula {
            $(#[test]
            fn $family() {
                super::check_all(stringify!($family));
            })*
        }
    };
}

sdgpu::families!(tests);

/// Rows leave unused, so that a shader is given NaNs there, exactly the bindings that their
/// kernel's mode does not use.
#[test]
fn rows_leave_unused_what_their_kernels_do_not_use() {
    for row in tables::rows() {
        for (binding, value) in row.values().enumerate() {
            assert_eq!(!value.is_empty(), row.kernel.uses(binding), "{row}: binding {binding}");
        }
    }
}

/// The CPU twins; results must not depend on the number of threads.
fn twin() -> Implementation {
    let threads = |count| CpuDevice::with_threads(count).expect("threads");
    Implementation::of_twins().with_mode("1 thread", false, threads(1)).with_mode("3 threads", false, threads(3))
}

/// The shaders; results must depend neither on bounds checks, nor on the number of workgroups, nor on the variant.
fn shader() -> Implementation {
    let open = |trusted, groups| {
        let limits = LoweredLimits { groups, ..Default::default() };
        adapter::open_with(&GpuRequest { trusted, limits, ..adapter::request() })
    };
    Implementation::of_shaders()
        .with_mode("bounds checked", false, open(false, None))
        .with_mode("bounds trusted", false, open(true, None))
        .with_mode("at most 7 workgroups per dimension", false, open(false, Some(7)))
        // Where variants have the most chances to go wrong.
        .with_mode("bounds trusted, at most 2 workgroups per dimension", true, open(true, Some(2)))
}

/// The twins and the shaders, lent: they are opened when no others are free, and kept.
struct Bench(Vec<Implementation>);

static FREE: Mutex<Vec<Vec<Implementation>>> = Mutex::new(Vec::new());

impl Bench {
    fn lend() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self(free.unwrap_or_else(|| vec![twin(), shader()]))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(mem::take(&mut self.0));
    }
}

/// The worst errors of each implementation, by its name, and what is wrong with the rows that fail.
fn check_rows(rows: &[&Row]) -> (BTreeMap<&'static str, f64>, String) {
    let mut bench = Bench::lend();
    let mut worst = BTreeMap::new();
    let mut failures = String::new();
    for row in rows {
        for implementation in &mut bench.0 {
            match check(implementation, row) {
                Ok(share) => {
                    let entry = worst.entry(implementation.name()).or_insert(0.0f64);
                    *entry = entry.max(share);
                }
                Err(failure) => failures += &format!("\n{row}: {failure}\n    {:?}", row.kernel),
            }
        }
    }
    (worst, failures)
}

/// Checks the rows of `family` on the twins and the shaders, its kernels side by side, as drivers take long to compile
/// some; panics with every row that fails.
fn check_all(family: &str) {
    let rows = FAMILIES.iter().find(|(name, _)| *name == family).map(|(_, rows)| rows());
    let rows: Vec<Row> = rows.expect("a family");
    let mut kernels: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in &rows {
        kernels.entry(row.name()).or_default().push(row);
    }
    let checked: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = kernels.values().map(|rows| scope.spawn(|| check_rows(rows))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut failures = String::new();
    for (kernel, (worst, its_failures)) in kernels.keys().zip(checked) {
        for (implementation, share) in worst {
            println!("{kernel:<28} {implementation:<7} worst error {share:.2} of what is allowed");
        }
        failures += &its_failures;
    }
    assert!(failures.is_empty(), "{failures}");
}
