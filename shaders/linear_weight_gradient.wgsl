// linear_weight_gradient: dw = x^T dy, db = the sum of dy over the batch
// x: [batch, in_features]; dy: [batch, out_features]; dw: [in_features, out_features]; db: [out_features]
// Grid: one thread per weight, then one per bias. Twin: kernels/linear.rs
//!import grid

struct Params {
    batch: u32,
    in_features: u32,
    out_features: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;
@group(0) @binding(4) var<storage, read_write> db: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let weights = p.in_features * p.out_features;
    let outputs = weights + p.out_features;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < outputs; i += workgroup_total(count) * WORKGROUP) {
        let k = i / p.out_features;
        let column = i % p.out_features;
        var sum = 0.0;
        for (var row = 0u; row < p.batch; row++) {
            let gradient = dy[row * p.out_features + column];
            if i < weights {
                sum = fma(x[row * p.in_features + k], gradient, sum);
            } else {
                sum += gradient;
            }
        }
        if i < weights {
            dw[i] = sum;
        } else {
            db[column] = sum;
        }
    }
}
