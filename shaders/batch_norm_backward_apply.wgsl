// batch_norm_backward_apply: grad_x = gamma * rstd * (g - (dbeta + xhat * dgamma) / pixels), with g and xhat as in
// batch_norm_backward_reduce (Ioffe and Szegedy 2015, section 3, simplified).
// dy, mask, x, grad_x: [pixels, channels]; norm: [4, channels] (mean, rstd, gamma, beta); dgamma, dbeta: [channels]
// p.masked: 1, or 0 where dy came through the ReLU already; then the mask is not read.
// Grid: one thread per element. Twin: kernels/batch_norm/backward.rs
//!import words_single
//!import grid
//!import norm

struct Params {
    pixels: u32,
    channels: u32,
    scale: f32,
    masked: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> mask: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> norm: array<f32>;
@group(0) @binding(5) var<storage, read> dgamma: array<f32>;
@group(0) @binding(6) var<storage, read> dbeta: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_x: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let elements = p.pixels * p.channels;
    let share = 1.0 / f32(p.pixels);
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < elements; i += workgroup_total(count) * WORKGROUP) {
        let c = i % p.channels;
        let norm = norm_of(c, p.channels);
        var g = p.scale * dy[i];
        if p.masked != 0u && !(mask[i] > 0.0) {
            g = 0.0;
        }
        grad_x[i] = norm.gamma * norm.rstd * (g - share * fma(standardized(x[i], norm), dgamma[c], dbeta[c]));
    }
}
