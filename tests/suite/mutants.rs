//! Seeded faults: each must be caught by the table of its kernel, or the table is too small.

mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use sdgpu::device::gpu::GpuRequest;
use sdgpu::dispatch::Shader;
use sdgpu::kernels::ALL;
use sdgpu::selftest::tables;
use sdgpu::selftest::{self, Implementation, Row, check};

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
        let text = shader.wgsl(imports)?;
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

    /// Whether some row of its kernel fails.
    fn is_caught(&'static self, rows: &[Row]) -> bool {
        // Most are caught in a kernel's first variant, and the others take a driver long to compile.
        [true, false].into_iter().any(|quick| {
            let mut implementation = self.implementation(quick);
            let mut rows = rows.iter().filter(|row| row.name() == self.shader);
            rows.any(|row| check(&mut implementation, row).is_err())
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
    let survivors: Vec<String> = MUTANTS
        .iter()
        .filter(|mutant| !mutant.is_caught(&rows))
        .map(|mutant| format!("{}: {}", mutant.shader, mutant.fault))
        .collect();
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
