// pool_max_backward: each pixel's gradient is the sum of dy over the windows that it won
// dy, argmax: [batch, out_height, out_width, channels], as in pool_max_forward;
// grad_x: [batch, height, width, channels]
// Grid: one thread per element of grad_x. Twin: kernels/pool.rs
//!import grid

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
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> argmax: array<u32>;
@group(0) @binding(3) var<storage, read_write> grad_x: array<f32>;

// Windows that hold the pixel at `position` (counted in the padded image), of `windows` that way.
fn first_window(position: u32) -> u32 {
    return (max(position + 1u, p.kernel) - p.kernel + p.stride - 1u) / p.stride;
}

fn end_window(position: u32, windows: u32) -> u32 {
    return min(position / p.stride + 1u, windows);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let elements = p.batch * p.height * p.width * p.channels;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < elements; i += workgroup_total(count) * WORKGROUP) {
        let c = i % p.channels;
        let pixel = i / p.channels;
        let left = pixel % p.width + p.padding;
        let top = pixel / p.width % p.height + p.padding;
        let image = pixel / p.width / p.height;
        var sum = 0.0;
        for (var oy = first_window(top); oy < end_window(top, p.out_height); oy += 1u) {
            for (var ox = first_window(left); ox < end_window(left, p.out_width); ox += 1u) {
                let o = ((image * p.out_height + oy) * p.out_width + ox) * p.channels + c;
                let tap = (top - oy * p.stride) * p.kernel + left - ox * p.stride;
                sum += select(0.0, dy[o], argmax[o] == tap);
            }
        }
        grad_x[i] = sum;
    }
}
