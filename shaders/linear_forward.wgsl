// linear_forward: y = x w + b
// x: [batch, in_features]; w: [in_features, out_features]; b: [out_features]; y: [batch, out_features]
// Grid: one thread per output. Twin: kernels/linear.rs
//!import grid

struct Params {
    batch: u32,
    in_features: u32,
    out_features: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let outputs = p.batch * p.out_features;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < outputs; i += workgroup_total(count) * WORKGROUP) {
        let row = i / p.out_features;
        let column = i % p.out_features;
        var sum = b[column];
        for (var k = 0u; k < p.in_features; k++) {
            sum = fma(x[row * p.in_features + k], w[k * p.out_features + column], sum);
        }
        y[i] = sum;
    }
}
