// conv_weight_gradient: partial sums over groups of images (splits) of dw = sum over output pixels of x times dy, as
// implicit matrix products: rows are taps and, in each, input channels, the depth runs over the split's output pixels,
// columns are output channels.
// x: [batch, height, width, in_channels]; dy: [batch, out_height, out_width, out_channels];
// With p.normalized, x is read through a norm, [4, in_channels] (mean, rstd, gamma, beta), and a ReLU.
// partials: [splits, kernel_height * kernel_width * in_channels, out_channels]
// Grid: one workgroup per split and tile of its product. Twin: kernels/conv/cpu.rs
//!import grid
//!import gemm
//!import norm
//!import relu

// A 1x1 kernel with stride 1 and no padding: rows of x are columns of the left matrix.
override POINTWISE: bool = false;

struct Params {
    batch: u32,
    height: u32,
    width: u32,
    in_channels: u32,
    out_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding: u32,
    normalized: u32,
    images_per_split: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read_write> partials: array<f32>;

// Of each row of the tile: y and x of its tap from the window's first input pixel, which may lie in the padding, and
// the input channel. Rows beyond the last lie far outside.
var<workgroup> taps: array<vec3<i32>, TILE_ROWS>;

const OUTSIDE = vec3(-0x40000000, -0x40000000, 0);

fn tap_of(row: u32, rows: u32) -> vec3<i32> {
    if row >= rows {
        return OUTSIDE;
    }
    let tap = row / p.in_channels;
    let at = vec2<i32>(vec2(tap / p.kernel_width, tap % p.kernel_width)) - i32(p.padding);
    return vec3(at, i32(row % p.in_channels));
}

// x as the product takes it.
fn load(at: u32, channel: u32) -> f32 {
    if p.normalized == 0u {
        return x[at];
    }
    return relu(normalized(x[at], norm_of(channel, p.in_channels)));
}

// x under the tap of a row of the tile, for an output pixel; zero in the padding.
fn x_at(first_row: u32, row: u32, pixel: u32, out_height: u32, out_width: u32) -> f32 {
    if POINTWISE {
        if first_row + row >= p.in_channels {
            return 0.0;
        }
        return load(pixel * p.in_channels + first_row + row, first_row + row);
    }
    let image = pixel / (out_height * out_width);
    let window = vec2(pixel / out_width % out_height, pixel % out_width) * p.stride;
    let tap = taps[row];
    let at = vec2<u32>(vec2<i32>(window) + tap.xy);
    if at.x >= p.height || at.y >= p.width {
        return 0.0;
    }
    let channel = u32(tap.z);
    return load(((image * p.height + at.x) * p.width + at.y) * p.in_channels + channel, channel);
}

fn dy_at(pixel: u32, channel: u32) -> f32 {
    if channel >= p.out_channels {
        return 0.0;
    }
    return dy[pixel * p.out_channels + channel];
}

fn store(split: u32, row: u32, rows: u32, column: u32, value: f32) {
    if row < rows && column < p.out_channels {
        partials[(split * rows + row) * p.out_channels + column] = value;
    }
}

fn store_row(split: u32, row: u32, rows: u32, column: u32, values: vec4<f32>) {
    store(split, row, rows, column, values.x);
    store(split, row, rows, column + COLUMNS, values.y);
    store(split, row, rows, column + 2u * COLUMNS, values.z);
    store(split, row, rows, column + 3u * COLUMNS, values.w);
}

@compute @workgroup_size(COLUMNS, 16)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let out_height = (p.height + 2u * p.padding - p.kernel_height) / p.stride + 1u;
    let out_width = (p.width + 2u * p.padding - p.kernel_width) / p.stride + 1u;
    let rows = p.kernel_height * p.kernel_width * p.in_channels;
    let splits = (p.batch + p.images_per_split - 1u) / p.images_per_split;
    let row_tiles = (rows + TILE_ROWS - 1u) / TILE_ROWS;
    let column_tiles = (p.out_channels + 4u * COLUMNS - 1u) / (4u * COLUMNS);
    let tiles = splits * row_tiles * column_tiles;

    for (var tile = workgroup_index(id, count); tile < tiles; tile += workgroup_total(count)) {
        let split = tile / (row_tiles * column_tiles);
        let first_row = tile / column_tiles % row_tiles * TILE_ROWS;
        let column = tile % column_tiles * 4u * COLUMNS + local.x;
        let first_image = split * p.images_per_split;
        let end = min(first_image + p.images_per_split, p.batch) * out_height * out_width;
        if !POINTWISE {
            for (var row = lane; row < TILE_ROWS; row += 16u * COLUMNS) {
                taps[row] = tap_of(first_row + row, rows);
            }
            workgroupBarrier();
        }
        var sums = array<vec4<f32>, 4>();
        for (var first_pixel = first_image * out_height * out_width; first_pixel < end; first_pixel += TILE_DEPTH) {
            // Neighbouring threads load neighbouring channels: rows on the left, columns on the right.
            let left_row = lane % 16u;
            for (var step = lane / 16u; step < TILE_DEPTH; step += COLUMNS) {
                let pixel = first_pixel + step;
                var values = vec4(0.0);
                if pixel < end {
                    values = vec4(
                        x_at(first_row, left_row, pixel, out_height, out_width),
                        x_at(first_row, left_row + 16u, pixel, out_height, out_width),
                        x_at(first_row, left_row + 32u, pixel, out_height, out_width),
                        x_at(first_row, left_row + 48u, pixel, out_height, out_width),
                    );
                }
                store_left(step, left_row, values);
            }
            let pixel = first_pixel + local.y;
            var gradients = vec4(0.0);
            if pixel < end {
                gradients = vec4(
                    dy_at(pixel, column),
                    dy_at(pixel, column + COLUMNS),
                    dy_at(pixel, column + 2u * COLUMNS),
                    dy_at(pixel, column + 3u * COLUMNS),
                );
            }
            store_right(local.y, local.x, gradients);
            workgroupBarrier();
            sums = multiply_tiles(sums, local);
            workgroupBarrier();
        }
        let row = first_row + local.y;
        store_row(split, row, rows, column, sums[0]);
        store_row(split, row + 16u, rows, column, sums[1]);
        store_row(split, row + 32u, rows, column, sums[2]);
        store_row(split, row + 48u, rows, column, sums[3]);
    }
}
