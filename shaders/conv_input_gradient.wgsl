// conv_input_gradient: dx = transposed convolution of dy with w, as implicit matrix products, then an epilogue.
// With stride s, the input pixels (y, x) of one phase (y % s, x % s) meet the same taps, every s-th of the kernel's, so
// each phase is a product of its own: rows are its input pixels, the depth runs over its taps and, in each, the output
// channels, columns are input channels. Without taps the product is empty and zero.
// dy: [batch, out_height, out_width, out_channels]; w: [kernel_height, kernel_width, in_channels, out_channels];
// addend, mask, x, dx: [batch, height, width, in_channels]
// p.epilogue: 0 none; 1 the addend is added; 2 where mask > 0; 3 dx passes back through the ReLU behind a norm of x,
// norm: [4, in_channels] (mean, rstd, gamma, beta), and partials: [chunks, 2, in_channels] are the sums of dx and of dx
// times the normalised x over each 64 rows of a phase.
// Grid: one workgroup per phase and tile of its product. Twin: kernels/conv/cpu.rs
//!import grid
//!import gemm
//!import taps
//!import norm

// A 1x1 kernel with stride 1 and no padding: rows of dy are rows of the matrix.
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
    epilogue: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> addend: array<f32>;
@group(0) @binding(4) var<storage, read> mask: array<f32>;
@group(0) @binding(5) var<storage, read> x: array<f32>;
@group(0) @binding(6) var<storage, read> norm: array<f32>;
@group(0) @binding(7) var<storage, read_write> dx: array<f32>;
@group(0) @binding(8) var<storage, read_write> partials: array<f32>;

const ADD = 1u;
const ADD_MASKED = 2u;
const RECTIFY = 3u;

// Of each row of the tile: y and x of the output pixel that meets it in the phase's first tap, the image, and its own
// pixel in dx. Rows without a pixel lie far outside, with pixel -1.
var<workgroup> sources: array<vec4<i32>, TILE_ROWS>;

const OUTSIDE = vec4(-0x40000000, -0x40000000, 0, -1);

fn source_of(row: u32, rows: u32, phase: vec2<u32>, first_tap: vec2<u32>) -> vec4<i32> {
    let grid_width = (p.width + p.stride - 1u) / p.stride;
    let grid_height = (p.height + p.stride - 1u) / p.stride;
    let image = row / (grid_height * grid_width);
    let at = vec2(row / grid_width % grid_height, row % grid_width) * p.stride + phase;
    if row >= rows || at.x >= p.height || at.y >= p.width {
        return OUTSIDE;
    }
    let source = (at + p.padding - first_tap) / p.stride;
    return vec4(vec2<i32>(source), i32(image), i32((image * p.height + at.x) * p.width + at.y));
}

// dy that meets a row of the tile in one of the phase's taps; zero outside of dy.
fn dy_at(first_row: u32, row: u32, rows: u32, out_size: vec2<u32>, step: Step) -> f32 {
    if POINTWISE {
        if first_row + row >= rows {
            return 0.0;
        }
        return dy[(first_row + row) * p.out_channels + step.channel];
    }
    let source = sources[row];
    let at = vec2<u32>(source.xy - vec2<i32>(step.tap));
    if at.x >= out_size.x || at.y >= out_size.y {
        return 0.0;
    }
    return dy[((u32(source.z) * out_size.x + at.x) * out_size.y + at.y) * p.out_channels + step.channel];
}

fn w_at(tap: vec2<u32>, in_channel: u32, out_channel: u32) -> f32 {
    if in_channel >= p.in_channels {
        return 0.0;
    }
    return w[((tap.x * p.kernel_width + tap.y) * p.in_channels + in_channel) * p.out_channels + out_channel];
}

fn store(pixel: i32, column: u32, sum: f32) {
    if pixel >= 0 && column < p.in_channels {
        let at = u32(pixel) * p.in_channels + column;
        var value = sum;
        if p.epilogue == ADD || (p.epilogue == ADD_MASKED && mask[at] > 0.0) {
            value += addend[at];
        }
        dx[at] = value;
    }
}

fn store_row(row: u32, column: u32, sums: vec4<f32>) {
    let pixel = sources[row].w;
    store(pixel, column, sums.x);
    store(pixel, column + COLUMNS, sums.y);
    store(pixel, column + 2u * COLUMNS, sums.z);
    store(pixel, column + 3u * COLUMNS, sums.w);
}

// The gradient of one word, back through the ReLU, and its product with the normalised x; both are zero outside.
fn rectify(pixel: i32, column: u32, sum: f32) -> vec2<f32> {
    if pixel < 0 || column >= p.in_channels {
        return vec2(0.0);
    }
    let at = u32(pixel) * p.in_channels + column;
    let norm = norm_of(column, p.in_channels);
    let dy = select(0.0, sum, normalized(x[at], norm) > 0.0);
    dx[at] = dy;
    return vec2(dy, dy * standardized(x[at], norm));
}

// Stores the tile, whose `sums` the threads have, back through the ReLU, and the sums of its columns as a chunk's.
fn store_rectified(sums: array<vec4<f32>, 4>, chunk: u32, first_column: u32, local: vec3<u32>) {
    var values = sums;
    var dy_sum = vec4(0.0);
    var product_sum = vec4(0.0);
    for (var i = 0u; i < 4u; i++) {
        let pixel = sources[local.y + 16u * i].w;
        for (var j = 0u; j < 4u; j++) {
            let rectified = rectify(pixel, first_column + local.x + COLUMNS * j, values[i][j]);
            dy_sum[j] += rectified.x;
            product_sum[j] += rectified.y;
        }
    }
    dy_sum = sum_rows(dy_sum, local);
    product_sum = sum_rows(product_sum, local);
    for (var j = 0u; j < 4u; j++) {
        let column = first_column + local.x + COLUMNS * j;
        if local.y == 0u && column < p.in_channels {
            partials[2u * chunk * p.in_channels + column] = dy_sum[j];
            partials[(2u * chunk + 1u) * p.in_channels + column] = product_sum[j];
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
    let kernel = vec2(p.kernel_height, p.kernel_width);
    let out_size = (vec2(p.height, p.width) + 2u * p.padding - kernel) / p.stride + 1u;
    let rows = p.batch * ((p.height + p.stride - 1u) / p.stride) * ((p.width + p.stride - 1u) / p.stride);
    let row_tiles = (rows + TILE_ROWS - 1u) / TILE_ROWS;
    let column_tiles = (p.in_channels + 4u * COLUMNS - 1u) / (4u * COLUMNS);
    let tiles = p.stride * p.stride * row_tiles * column_tiles;

    for (var tile = workgroup_index(id, count); tile < tiles; tile += workgroup_total(count)) {
        let phase_index = tile / (row_tiles * column_tiles);
        let phase = vec2(phase_index / p.stride, phase_index % p.stride);
        let first_row = tile / column_tiles % row_tiles * TILE_ROWS;
        let first_column = tile % column_tiles * 4u * COLUMNS;
        let first_tap = (phase + p.padding) % p.stride;
        let taps = (max(kernel, first_tap) - first_tap + p.stride - 1u) / p.stride;
        let depth = taps.x * taps.y * p.out_channels;
        for (var row = lane; row < TILE_ROWS; row += 16u * COLUMNS) {
            sources[row] = source_of(first_row + row, rows, phase, first_tap);
        }
        workgroupBarrier();
        var step = step_at(lane % TILE_DEPTH, max(taps.y, 1u), p.out_channels);
        var sums = array<vec4<f32>, 4>();
        for (var first_step = 0u; first_step < depth; first_step += TILE_DEPTH) {
            // Neighbouring threads load neighbouring output channels, which are steps of the depth on both sides.
            let in_depth = first_step + lane % TILE_DEPTH < depth;
            for (var row = lane / TILE_DEPTH; row < 16u; row += COLUMNS) {
                var values = vec4(0.0);
                if in_depth {
                    values = vec4(
                        dy_at(first_row, row, rows, out_size, step),
                        dy_at(first_row, row + 16u, rows, out_size, step),
                        dy_at(first_row, row + 32u, rows, out_size, step),
                        dy_at(first_row, row + 48u, rows, out_size, step),
                    );
                }
                store_left(lane % TILE_DEPTH, row, values);
            }
            let right_column = lane / TILE_DEPTH;
            var weights = vec4(0.0);
            if in_depth {
                let kernel_tap = first_tap + step.tap * p.stride;
                weights = vec4(
                    w_at(kernel_tap, first_column + right_column, step.channel),
                    w_at(kernel_tap, first_column + right_column + COLUMNS, step.channel),
                    w_at(kernel_tap, first_column + right_column + 2u * COLUMNS, step.channel),
                    w_at(kernel_tap, first_column + right_column + 3u * COLUMNS, step.channel),
                );
            }
            store_right(lane % TILE_DEPTH, right_column, weights);
            step = in_next_tile(step, taps.y, p.out_channels);
            workgroupBarrier();
            sums = multiply_tiles(sums, local);
            workgroupBarrier();
        }
        let column = first_column + local.x;
        if p.epilogue == RECTIFY {
            store_rectified(sums, tile / column_tiles, first_column, local);
        } else {
            store_row(local.y, column, sums[0]);
            store_row(local.y + 16u, column, sums[1]);
            store_row(local.y + 32u, column, sums[2]);
            store_row(local.y + 48u, column, sums[3]);
        }
        workgroupBarrier();
    }
}
