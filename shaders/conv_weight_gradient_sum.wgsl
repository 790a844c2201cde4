// conv_weight_gradient_sum: dw = the sum of the splits' partial sums, in ascending order
// partials: [splits, elements]; dw: [elements]
// Grid: one thread per element. Twin: kernels/conv/cpu/mod.rs
//!import grid

struct Params {
    elements: u32,
    splits: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> dw: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < p.elements; i += workgroup_total(count) * WORKGROUP) {
        var sum = 0.0;
        for (var split = 0u; split < p.splits; split++) {
            sum += partials[split * p.elements + i];
        }
        dw[i] = sum;
    }
}
