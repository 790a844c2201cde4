// relu: y = max(x, 0), letting NaN through
// x, y: [elements]
// Grid: one thread per element. Twin: kernels/relu.rs
//!import words_single
//!import grid
//!import relu

struct Params {
    elements: u32,
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
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < p.elements; i += workgroup_total(count) * WORKGROUP) {
        y[i] = relu(x[i]);
    }
}
