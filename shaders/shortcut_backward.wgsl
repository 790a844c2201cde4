// shortcut_backward: gradient of shortcut_forward, through the ReLU behind (dy counts where mask > 0)
// dy, mask: [batch, ceil(height / 2), ceil(width / 2), out_channels]; grad_x: [batch, height, width, in_channels]
// Grid: one thread per element of grad_x. Twin: kernels/shortcut.rs
//!import grid

struct Params {
    batch: u32,
    height: u32,
    width: u32,
    in_channels: u32,
    out_channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> mask: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_x: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let out_height = (p.height + 1u) / 2u;
    let out_width = (p.width + 1u) / 2u;
    let elements = p.batch * p.height * p.width * p.in_channels;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < elements; i += workgroup_total(count) * WORKGROUP) {
        let c = i % p.in_channels;
        let pixel = i / p.in_channels;
        let column = pixel % p.width / 2u;
        let row = pixel / p.width % p.height / 2u;
        let image = pixel / p.width / p.height;
        let window = min(2u, p.height - 2u * row) * min(2u, p.width - 2u * column);
        let o = ((image * out_height + row) * out_width + column) * p.out_channels + c;
        grad_x[i] = select(0.0, dy[o], mask[o] > 0.0) / f32(window);
    }
}
