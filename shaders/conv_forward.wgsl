// conv_forward: y = convolution of x with w, as an implicit matrix product: rows are output pixels, the depth runs over
// the taps and, in each, the input channels, columns are output channels.
// x: [batch, height, width, in_channels]; w: [kernel_height, kernel_width, in_channels, out_channels];
// y: [batch, out_height, out_width, out_channels]
// With p.normalized, x is read through a norm, [4, in_channels] (mean, rstd, gamma, beta), and a ReLU.
// With p.statistics, partials: [chunks, 2, out_channels] are mean and squared deviations of each 64 output pixels.
// Grid: one workgroup per tile of the product. Twin: kernels/conv/cpu.rs
//!import grid
//!import gemm
//!import taps
//!import norm
//!import relu

// A 1x1 kernel with stride 1 and no padding: rows of x are rows of the matrix.
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
    statistics: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> partials: array<f32>;

// Of each row of the tile: y and x of its window's first tap, and the image. Rows beyond the last lie far outside.
var<workgroup> windows: array<vec3<i32>, TILE_ROWS>;

const OUTSIDE = -0x40000000;

fn window_of(row: u32, rows: u32, out_height: u32, out_width: u32) -> vec3<i32> {
    if row >= rows {
        return vec3(OUTSIDE, OUTSIDE, 0);
    }
    let out_y = row / out_width % out_height;
    let corner = vec2<i32>(vec2(out_y, row % out_width) * p.stride) - i32(p.padding);
    return vec3(corner, i32(row / (out_width * out_height)));
}

// x as the product takes it.
fn load(at: u32, channel: u32) -> f32 {
    if p.normalized == 0u {
        return x[at];
    }
    return relu(normalized(x[at], norm_of(channel, p.in_channels)));
}

// x under a tap of the window of a row of the tile; zero in the padding.
fn x_at(first_row: u32, row: u32, rows: u32, step: Step) -> f32 {
    if POINTWISE {
        if first_row + row >= rows {
            return 0.0;
        }
        return load((first_row + row) * p.in_channels + step.channel, step.channel);
    }
    let window = windows[row];
    let at = vec2<u32>(window.xy + vec2<i32>(step.tap));
    if at.x >= p.height || at.y >= p.width {
        return 0.0;
    }
    let pixel = (u32(window.z) * p.height + at.x) * p.width + at.y;
    return load(pixel * p.in_channels + step.channel, step.channel);
}

fn w_at(step: u32, channel: u32) -> f32 {
    if channel >= p.out_channels {
        return 0.0;
    }
    return w[step * p.out_channels + channel];
}

fn store(row: u32, column: u32, rows: u32, value: f32) {
    if row < rows && column < p.out_channels {
        y[row * p.out_channels + column] = value;
    }
}

fn store_row(row: u32, column: u32, rows: u32, values: vec4<f32>) {
    store(row, column, rows, values.x);
    store(row, column + COLUMNS, rows, values.y);
    store(row, column + 2u * COLUMNS, rows, values.z);
    store(row, column + 3u * COLUMNS, rows, values.w);
}

// Mean and squared deviations of each column of the tile, whose `sums` the threads have.
fn store_statistics(sums: array<vec4<f32>, 4>, first_row: u32, rows: u32, column: u32, local: vec3<u32>) {
    var values = sums;
    var sum = vec4(0.0);
    for (var i = 0u; i < 4u; i++) {
        if first_row + local.y + 16u * i < rows {
            sum += values[i];
        }
    }
    let mean = sum_rows(sum, local) / f32(min(TILE_ROWS, rows - first_row));
    var m2 = vec4(0.0);
    for (var i = 0u; i < 4u; i++) {
        if first_row + local.y + 16u * i < rows {
            let deviation = values[i] - mean;
            m2 = fma(deviation, deviation, m2);
        }
    }
    m2 = sum_rows(m2, local);
    for (var j = 0u; j < 4u; j++) {
        let channel = column + COLUMNS * j;
        if local.y == 0u && channel < p.out_channels {
            let chunk = first_row / TILE_ROWS;
            partials[2u * chunk * p.out_channels + channel] = mean[j];
            partials[(2u * chunk + 1u) * p.out_channels + channel] = m2[j];
        }
    }
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
    let rows = p.batch * out_height * out_width;
    let depth = p.kernel_height * p.kernel_width * p.in_channels;
    let row_tiles = (rows + TILE_ROWS - 1u) / TILE_ROWS;
    let column_tiles = (p.out_channels + 4u * COLUMNS - 1u) / (4u * COLUMNS);

    for (var tile = workgroup_index(id, count); tile < row_tiles * column_tiles; tile += workgroup_total(count)) {
        let first_row = tile / column_tiles * TILE_ROWS;
        let column = tile % column_tiles * 4u * COLUMNS + local.x;
        if !POINTWISE {
            for (var row = lane; row < TILE_ROWS; row += 16u * COLUMNS) {
                windows[row] = window_of(first_row + row, rows, out_height, out_width);
            }
            workgroupBarrier();
        }
        var step = step_at(lane % TILE_DEPTH, p.kernel_width, p.in_channels);
        var sums = array<vec4<f32>, 4>();
        for (var first_step = 0u; first_step < depth; first_step += TILE_DEPTH) {
            // Neighbouring threads load neighbouring channels: steps of the depth on the left, columns on the right.
            for (var row = lane / TILE_DEPTH; row < 16u; row += COLUMNS) {
                var values = vec4(0.0);
                if first_step + lane % TILE_DEPTH < depth {
                    values = vec4(
                        x_at(first_row, row, rows, step),
                        x_at(first_row, row + 16u, rows, step),
                        x_at(first_row, row + 32u, rows, step),
                        x_at(first_row, row + 48u, rows, step),
                    );
                }
                store_left(lane % TILE_DEPTH, row, values);
            }
            let right_step = first_step + local.y;
            var weights = vec4(0.0);
            if right_step < depth {
                weights = vec4(
                    w_at(right_step, column),
                    w_at(right_step, column + COLUMNS),
                    w_at(right_step, column + 2u * COLUMNS),
                    w_at(right_step, column + 3u * COLUMNS),
                );
            }
            store_right(local.y, local.x, weights);
            step = in_next_tile(step, p.kernel_width, p.in_channels);
            workgroupBarrier();
            sums = multiply_tiles(sums, local);
            workgroupBarrier();
        }
        let row = first_row + local.y;
        store_row(row, column, rows, sums[0]);
        store_row(row + 16u, column, rows, sums[1]);
        store_row(row + 32u, column, rows, sums[2]);
        store_row(row + 48u, column, rows, sums[3]);
        if p.statistics != 0u {
            store_statistics(sums, first_row, rows, column, local);
        }
    }
}
