//! The harness itself: a good kernel passes, and each kind of fault is seen and named.

use sdgpu::internals::dispatch::{Bindings, Cost, Family, Kernel, ParamField, Parameters, Scalar, Shader};
use sdgpu::internals::selftest::{Row, Sum, check};

use super::Bench;

/// y = 2 x, by a shader that may be wrong.
#[derive(Debug)]
struct Double {
    shader: &'static Shader,
    elements: u32,
}

impl Parameters for Double {
    fn shader(&self) -> &'static Shader {
        self.shader
    }
    fn params(&self) -> &[u8] {
        bytemuck::bytes_of(&self.elements)
    }
}

impl Kernel for Double {
    fn workgroups(&self) -> u32 {
        self.elements.div_ceil(64)
    }
    fn cost(&self) -> Cost {
        Cost::default()
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x], [y]) = bindings.f32();
        x.iter().zip(y).for_each(|(x, y)| *y = 2.0 * x);
    }
}

/// The body is given `i` once for each element, and nothing keeps it from others.
macro_rules! double {
    ($name:literal, $body:literal) => {
        Shader {
            name: $name,
            family: Family("seeded"),
            source: concat!(
                "//!import grid
                struct Params { elements: u32 }
                @group(0) @binding(0) var<uniform> p: Params;
                @group(0) @binding(1) var<storage, read> x: array<f32>;
                @group(0) @binding(2) var<storage, read_write> y: array<f32>;
                @compute @workgroup_size(64)
                fn main(
                    @builtin(workgroup_id) id: vec3<u32>,
                    @builtin(num_workgroups) count: vec3<u32>,
                    @builtin(local_invocation_index) lane: u32,
                ) {
                    for (var i = workgroup_index(id, count) * 64u + lane; i < p.elements;
                        i += workgroup_total(count) * 64u) {",
                $body,
                "}}"
            ),
            reads: 1,
            writes: 1,
            params: &[ParamField { name: "elements", offset: 0, scalar: Scalar::U32 }],
        }
    };
}

static GOOD: Shader = double!("good", "y[i] = 2.0 * x[i];");

/// Shaders, and how the harness must put what is wrong.
static FAULTY: [(Shader, &str); 8] = [
    (double!("wrong", "y[i] = 2.0 * x[i]; if i == 7u { y[i] += 0.0001; }"), "output 0[7] is"),
    (
        double!("nan", "y[i] = 2.0 * x[i]; if i == 7u { y[i] = bitcast<f32>(0x7fc00000u + p.elements); }"),
        "output 0[7] is",
    ),
    (double!("unwritten", "if i != 9u { y[i] = 2.0 * x[i]; }"), "output 0[9] is NaN (0x7fc0dead, left unwritten)"),
    (double!("read_behind", "y[i] = x[i] + x[i + u32(i == 999u)];"), "output 0[999] is NaN"),
    (
        double!("write_behind", "y[i + 1u] = 2.0 * x[i + 1u]; y[0] = 2.0 * x[0];"),
        "to word 1000 of binding 2, of 1000 words",
    ),
    (double!("folded", "y[i] = 2.0 * x[i] + select(0.0, 1.0, count.x == 7u);"), "at most 7 workgroups"),
    (
        double!("strided", "y[i] = 2.0 * x[i] + select(0.0, 1.0, i >= workgroup_total(count) * 64u);"),
        "at most 2 workgroups",
    ),
    (
        double!("unstable", "y[i] = 2.0 * x[i] * select(1.0, 1.0 + 1.0 / 8388608.0, count.x < 8u);"),
        "at most 7 workgroups",
    ),
];

fn row(shader: &'static Shader) -> Row {
    let x: Vec<f64> = (1..=1000).map(f64::from).collect();
    let y: Vec<Sum> = x.iter().map(|x| Sum::of([2.0 * x])).collect();
    Row::new("a seeded fault", Double { shader, elements: 1000 }).read(&x).write(y)
}

/// A row for each kind of fault.
pub fn faulty() -> impl Iterator<Item = Row> {
    FAULTY.iter().map(|(shader, _)| row(shader))
}

fn verdict(shader: &'static Shader) -> Result<f64, String> {
    let row = row(shader);
    let mut bench = Bench::lend();
    check(&mut bench.0[0], &row).expect("the twin is right");
    check(&mut bench.0[1], &row).map_err(|failure| failure.to_string())
}

#[test]
fn the_harness_passes_a_good_shader() {
    assert_eq!(verdict(&GOOD), Ok(0.0));
}

#[test]
fn the_harness_sees_and_names_every_kind_of_fault() {
    for (shader, expected) in &FAULTY {
        let seen = verdict(shader).expect_err(shader.name);
        assert!(seen.contains(expected), "{}: {seen}", shader.name);
    }
}
