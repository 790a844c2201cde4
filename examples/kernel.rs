//! Writes a kernel, leaky ReLU: its shader, the same in Rust (its *twin*), and a row that holds
//! both against the formula in f64, on the CPU and on the adapter of this machine.
//!
//!     cargo run --release --example kernel

use std::error::Error;
use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};
use sdgpu::kernel::{
    Bindings, Cost, CpuDevice, Family, GpuDevice, GpuRequest, Implementation, Kernel, ParamField, Parameters, Row,
    Scalar, Shader, Sum, WORKGROUP, check,
};

/// `x -> y`: x where it is positive, else `slope * x`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct LeakyRelu {
    /// Elements of `x`.
    elements: u32,
    /// Factor of what is negative.
    slope: f32,
}

static SHADER: Shader = Shader {
    name: "leaky_relu",
    family: Family("leaky_relu"),
    // `grid` has the size of a workgroup, and what folds any number of workgroups into three
    // dimensions.
    source: "\
//!import grid

struct Params {
    elements: u32,
    slope: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let total = workgroup_total(count) * WORKGROUP;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < p.elements; i += total) {
        y[i] = select(p.slope * x[i], x[i], x[i] > 0.0);
    }
}
",
    reads: 1,
    writes: 1,
    params: &[
        ParamField { name: "elements", offset: offset_of!(LeakyRelu, elements), scalar: Scalar::U32 },
        ParamField { name: "slope", offset: offset_of!(LeakyRelu, slope), scalar: Scalar::F32 },
    ],
};

impl Parameters for LeakyRelu {
    fn shader(&self) -> &'static Shader {
        &SHADER
    }
    fn params(&self) -> &[u8] {
        bytemuck::bytes_of(self)
    }
}

impl Kernel for LeakyRelu {
    fn workgroups(&self) -> u32 {
        self.elements.div_ceil(WORKGROUP)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.elements);
        Cost { flop: elements, terms: 1.0, loads: elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x], [y]) = bindings.f32();
        for (x, y) in x.iter().zip(y) {
            *y = if *x > 0.0 { *x } else { self.slope * *x };
        }
    }
}

/// Returns a row of the kernel's table: inputs, and what the formula makes of them in f64, with the
/// size of the terms that bounds the rounding errors.
fn row(elements: usize, why: &'static str) -> Row {
    let slope = 0.1f32;
    let x: Vec<f64> = (0..elements).map(|i| f64::from((i as f32 * 0.37).sin())).collect();
    let y = x.iter().map(|&x| Sum::of([if x > 0.0 { x } else { f64::from(slope) * x }])).collect();
    Row::new(why, LeakyRelu { elements: elements as u32, slope }).read(&x).write::<Sum>(y)
}

fn main() -> Result<(), Box<dyn Error>> {
    let rows = [row(1, "one element"), row(259, "three elements in the second workgroup")];
    let adapter = GpuDevice::open(&GpuRequest::default())?;
    let mut implementations = [
        Implementation::of_twins().with_mode("CPU device", true, CpuDevice::new()?),
        Implementation::of_shaders().with_mode("adapter", true, adapter),
    ];
    for implementation in &mut implementations {
        for row in &rows {
            let share = check(implementation, row)?;
            println!("{}: right, with {:.0} % of the error that is allowed", implementation.name(), 100.0 * share);
        }
    }
    Ok(())
}
