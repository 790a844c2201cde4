// pool_max_forward: the largest value of each window, and which tap it came from
// x: [batch, height, width, channels]; y, argmax: [batch, out_height, out_width, channels]
// argmax = ky * kernel + kx of the first largest value; a NaN counts as largest. Padding never wins.
// Grid: one thread per element of y. Twin: kernels/pool.rs
//!import grid
//!import finite

struct Params {
    batch: u32,
    height: u32,
    width: u32,
    channels: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
    out_height: u32,
    out_width: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> argmax: array<u32>;

// Taps of the window at `start` (counted in the padded image) that lie on the image, of `size` pixels that way.
fn first_tap(start: u32) -> u32 {
    return max(p.padding, start) - start;
}

fn end_tap(start: u32, size: u32) -> u32 {
    return min(p.kernel, p.padding + size - start);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let elements = p.batch * p.out_height * p.out_width * p.channels;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < elements; i += workgroup_total(count) * WORKGROUP) {
        let c = i % p.channels;
        let pixel = i / p.channels;
        let left = pixel % p.out_width * p.stride;
        let top = pixel / p.out_width % p.out_height * p.stride;
        let image = pixel / p.out_width / p.out_height;
        var best = 0.0;
        var tap = p.kernel * p.kernel;
        for (var ky = first_tap(top); ky < end_tap(top, p.height); ky += 1u) {
            let row = (image * p.height + top + ky - p.padding) * p.width;
            for (var kx = first_tap(left); kx < end_tap(left, p.width); kx += 1u) {
                let value = x[(row + left + kx - p.padding) * p.channels + c];
                if tap == p.kernel * p.kernel || value > best || is_nan(value) {
                    best = value;
                    tap = ky * p.kernel + kx;
                }
            }
        }
        y[i] = best;
        argmax[i] = tap;
    }
}
