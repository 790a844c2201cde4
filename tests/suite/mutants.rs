//! Seeded faults: each must be caught by the table of its kernel, or the table is too small.

mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use sdgpu::internals::device::gpu::GpuRequest;
use sdgpu::internals::dispatch::Shader;
use sdgpu::internals::kernels::{ALL, compose};
use sdgpu::internals::selftest::tables;
use sdgpu::internals::selftest::{self, Implementation, Row, check};

use crate::adapter;
pub use table::MUTANTS;

/// A fault put into a shader.
pub struct Mutant {
    /// The shader.
    pub shader: &'static str,
    /// What is wrong then.
    pub fault: &'static str,
    /// Text that occurs once in the composed WGSL.
    find: &'static str,
    /// What stands in its place.
    replace: &'static str,
}

impl Mutant {
    /// The text of `shader` with these imports, with the fault if it is the one.
    pub fn wgsl(&self, shader: &Shader, imports: &[&str]) -> Result<String, String> {
        let text = compose(shader, imports)?;
        if shader.name != self.shader {
            return Ok(text);
        }
        match text.matches(self.find).count() {
            1 => Ok(text.replace(self.find, self.replace)),
            count => Err(format!("`{}` occurs {count} times in {}: renew the mutant", self.find, self.shader)),
        }
    }

    /// The adapter with the faulty shader, as `sdgpu selftest` opens it.
    fn implementation(&'static self, quick: bool) -> Implementation {
        let sources = Arc::new(|shader: &Shader, imports: &[&str]| self.wgsl(shader, imports));
        // Bounds are checked: a fault must not bring the tests down.
        let request = GpuRequest { trusted: false, sources: Some(sources), ..adapter::request() };
        selftest::shaders(&request, quick).expect("an adapter")
    }

    /// The first of its kernel's `rows` that fails.
    fn is_caught_by(&'static self, rows: &[&Row]) -> Option<usize> {
        // Most are caught in a kernel's first variant, and the others take a driver long to compile.
        [true, false].into_iter().find_map(|quick| {
            let mut implementation = self.implementation(quick);
            rows.iter().position(|row| check(&mut implementation, row).is_err())
        })
    }
}

#[test]
fn every_mutant_applies_and_compiles() {
    let error = |mutant: &Mutant| {
        let shader = ALL.iter().find(|shader| shader.name == mutant.shader).ok_or("no such shader".to_string());
        let text = shader.and_then(|shader| mutant.wgsl(shader, &[]));
        text.and_then(|text| naga::front::wgsl::parse_str(&text).map_err(|error| error.emit_to_string(&text))).err()
    };
    let errors: Vec<String> = MUTANTS
        .iter()
        .filter_map(|mutant| Some(format!("{}: {}: {}", mutant.shader, mutant.fault, error(mutant)?)))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn every_mutant_is_caught() {
    let rows = tables::rows();
    let survivors = Mutex::new(Vec::new());
    // Side by side: drivers compile on one thread. The kernels with the most rows first.
    let of_shader = |shader: &Shader| -> (&str, Vec<&Row>) {
        (shader.name, rows.iter().filter(|row| row.name() == shader.name).collect())
    };
    let mut kernels: Vec<_> = ALL.iter().map(|shader| of_shader(shader)).collect();
    kernels.sort_by_key(|(_, rows)| rows.len());
    let kernels = Mutex::new(kernels);
    let work = || {
        while let Some((name, mut rows)) = { kernels.lock().unwrap().pop() } {
            for mutant in MUTANTS.iter().filter(|mutant| mutant.shader == name) {
                match mutant.is_caught_by(&rows) {
                    // What catches one mutant soon catches the next.
                    Some(index) => rows[..=index].rotate_right(1),
                    None => survivors.lock().unwrap().push(format!("{}: {}", mutant.shader, mutant.fault)),
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let survivors = survivors.into_inner().unwrap();
    assert!(survivors.is_empty(), "no row fails for\n{}", survivors.join("\n"));
}

#[test]
fn every_shader_has_two_mutants() {
    let mut mutants: BTreeMap<&str, usize> = ALL.iter().map(|shader| (shader.name, 0)).collect();
    for mutant in MUTANTS {
        *mutants.get_mut(mutant.shader).unwrap_or_else(|| panic!("no shader is called {}", mutant.shader)) += 1;
    }
    mutants.retain(|_, count| *count < 2);
    assert!(mutants.is_empty(), "fewer than two: {mutants:?}");
}
