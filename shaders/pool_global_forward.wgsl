// pool_global_forward: mean of each channel over the image
// x: [batch, pixels, channels]; y: [batch, channels]
// Grid: one thread per element of y. Twin: kernels/pool.rs
//!import grid

struct Params {
    batch: u32,
    pixels: u32,
    channels: u32,
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
    let elements = p.batch * p.channels;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < elements; i += workgroup_total(count) * WORKGROUP) {
        let first = i / p.channels * p.pixels * p.channels + i % p.channels;
        var sum = 0.0;
        for (var pixel = 0u; pixel < p.pixels; pixel += 1u) {
            sum += x[first + pixel * p.channels];
        }
        y[i] = sum / f32(p.pixels);
    }
}
