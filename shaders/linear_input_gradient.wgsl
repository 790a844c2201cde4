// linear_input_gradient: grad_x = dy w^T
// dy: [batch, out_features]; w: [in_features, out_features]; grad_x: [batch, in_features]
// Grid: one thread per input. Twin: kernels/linear.rs
//!import grid

struct Params {
    batch: u32,
    in_features: u32,
    out_features: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_x: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let inputs = p.batch * p.in_features;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < inputs; i += workgroup_total(count) * WORKGROUP) {
        let row = i / p.in_features;
        let k = i % p.in_features;
        var sum = 0.0;
        for (var column = 0u; column < p.out_features; column++) {
            sum = fma(dy[row * p.out_features + column], w[k * p.out_features + column], sum);
        }
        grad_x[i] = sum;
    }
}
