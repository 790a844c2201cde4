// shortcut_forward: option A of He et al. 2016, a shortcut without parameters that halves an image
// The mean of each 2 x 2 window with stride 2; windows cut by the border average the pixels that they have.
// x: [batch, height, width, in_channels]; y: [batch, ceil(height / 2), ceil(width / 2), out_channels], zero in the
// channels that x lacks. Grid: one thread per element of y. Twin: kernels/shortcut.rs
//!import grid

struct Params {
    batch: u32,
    height: u32,
    width: u32,
    in_channels: u32,
    out_channels: u32,
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
    let out_height = (p.height + 1u) / 2u;
    let out_width = (p.width + 1u) / 2u;
    let elements = p.batch * out_height * out_width * p.out_channels;
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < elements; i += workgroup_total(count) * WORKGROUP) {
        let c = i % p.out_channels;
        let pixel = i / p.out_channels;
        let column = pixel % out_width * 2u;
        let row = pixel / out_width % out_height * 2u;
        let image = pixel / out_width / out_height;
        let row_end = min(row + 2u, p.height);
        let column_end = min(column + 2u, p.width);
        var sum = 0.0;
        if c < p.in_channels {
            for (var r = row; r < row_end; r += 1u) {
                for (var s = column; s < column_end; s += 1u) {
                    sum += x[((image * p.height + r) * p.width + s) * p.in_channels + c];
                }
            }
        }
        y[i] = sum / f32((row_end - row) * (column_end - column));
    }
}
