// batch_norm_residual: the end of a residual block, y = ReLU(scale * (gamma * (x - mean) * rstd + beta) + shortcut)
// x, shortcut, y: [pixels, channels]; norm: [4, channels] (mean, rstd, gamma, beta)
// scale: 1, or the survival probability p in inference, or 1 / p in training, by the rule in use.
// Grid: one thread per element. Twin: kernels/batch_norm/forward.rs
//!import words_single
//!import grid
//!import norm
//!import relu

struct Params {
    pixels: u32,
    channels: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> norm: array<f32>;
@group(0) @binding(3) var<storage, read> shortcut: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let elements = p.pixels * p.channels;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < elements; i += workgroup_total(count) * WORKGROUP) {
        y[i] = relu(fma(p.scale, normalized(x[i], norm_of(i % p.channels, p.channels)), shortcut[i]));
    }
}
