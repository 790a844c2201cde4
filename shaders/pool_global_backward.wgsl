// pool_global_backward: each pixel's share of the mean's gradient, grad_x = dy / pixels
// dy: [batch, channels]; grad_x: [batch, pixels, channels]
// Grid: one thread per element of grad_x. Twin: kernels/pool.rs
//!import grid

struct Params {
    batch: u32,
    pixels: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_x: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let elements = p.batch * p.pixels * p.channels;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < elements; i += workgroup_total(count) * WORKGROUP) {
        let image = i / (p.pixels * p.channels);
        grad_x[i] = dy[image * p.channels + i % p.channels] / f32(p.pixels);
    }
}
