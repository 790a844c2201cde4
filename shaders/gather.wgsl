// gather: the batch's images, picked from the data set and normalised, x = (byte / 255 - mean) / deviation
// images: bytes, four to a word, the first lowest; image i begins at byte i * pixels * channels, wherever in a word
// indices: [batch]; normalization: [2, channels] (mean, 1 / deviation); x: [batch, pixels, channels]
// Byte numbers are u32: a data set of up to 4 GiB. Grid: one thread per element. Twin: kernels/gather.rs
//!import grid

struct Params {
    batch: u32,
    pixels: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> images: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read> normalization: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let image_bytes = p.pixels * p.channels;
    let elements = p.batch * image_bytes;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < elements; i += workgroup_total(count) * WORKGROUP) {
        let at = indices[i / image_bytes] * image_bytes + i % image_bytes;
        let byte = (images[at / 4u] >> (8u * (at % 4u))) & 0xffu;
        let c = i % p.channels;
        x[i] = (f32(byte) / 255.0 - normalization[c]) * normalization[p.channels + c];
    }
}
