// batch_norm_backward_apply: dx = gamma * rstd * (g - (dbeta + xhat * dgamma) / pixels), with g and xhat as in
// batch_norm_backward_reduce (Ioffe and Szegedy 2015, section 3, simplified).
// dy, mask, x, dx: [pixels, channels]; statistics: [2, channels] (mean, rstd); gamma, dgamma, dbeta: [channels]
// Grid: one thread per element. Twin: kernels/batch_norm.rs
//!import grid

struct Params {
    pixels: u32,
    channels: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> mask: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> statistics: array<f32>;
@group(0) @binding(5) var<storage, read> gamma: array<f32>;
@group(0) @binding(6) var<storage, read> dgamma: array<f32>;
@group(0) @binding(7) var<storage, read> dbeta: array<f32>;
@group(0) @binding(8) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let elements = p.pixels * p.channels;
    let share = 1.0 / f32(p.pixels);
    for (var i = workgroup_index(id, count) * 256u + lane; i < elements; i += workgroup_total(count) * 256u) {
        let c = i % p.channels;
        let rstd = statistics[p.channels + c];
        let normalised = (x[i] - statistics[c]) * rstd;
        let g = select(0.0, p.scale * dy[i], mask[i] > 0.0);
        dx[i] = gamma[c] * rstd * (g - share * fma(normalised, dgamma[c], dbeta[c]));
    }
}
