// conv_forward: y = convolution of x with w, as an implicit matrix product: rows are output pixels, the depth runs over
// the taps and, in each, the input channels, columns are output channels.
// x: [batch, height, width, in_channels]; w: [kernel_height, kernel_width, in_channels, out_channels];
// y, shortcut: [batch, out_height, out_width, out_channels]
// p.load: LOAD_NORMALIZED x is read through the norm before it, norm: [4, in_channels] (mean, rstd, gamma,
// beta), and a ReLU
// p.epilogue: FORWARD_STATISTICS partials: [chunks, 2, out_channels] are mean and squared deviations of each
// CONV_CHUNK_PIXELS output pixels; FORWARD_NORMALIZE y passes through the norm behind it, norm: [4, out_channels];
// FORWARD_NORMALIZE_RECTIFY and a ReLU; FORWARD_RESIDUAL y = ReLU(scale * norm + shortcut)
// Grid: one workgroup per tile of the product. Twin: kernels/conv/cpu/mod.rs
//!import grid
//!import words_single | words_vector
//!import gemm
//!import taps
//!import norm
//!import relu
//!import input

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
    load: u32,
    epilogue: u32,
    scale: f32,
    split_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Word>;
@group(0) @binding(2) var<storage, read> w: array<Word>;
@group(0) @binding(3) var<storage, read> norm: array<Word>;
@group(0) @binding(4) var<storage, read> shortcut: array<Word>;
@group(0) @binding(5) var<storage, read_write> y: array<Word>;
@group(0) @binding(6) var<storage, read_write> partials: array<f32>;

// Work on y before it is stored.
const FORWARD_STATISTICS = 0u;
const FORWARD_NORMALIZE = 1u;
const FORWARD_NORMALIZE_RECTIFY = 2u;
const FORWARD_RESIDUAL = 3u;

// Of each row of the tile: y and x of its window's first tap, and the image. Rows beyond the last lie far outside.
var<workgroup> windows: array<vec3<i32>, TILE_ROWS>;

const OUTSIDE = -0x40000000;

struct Tile {
    first_row: u32,
    rows: u32,
    first_column: u32,
    depth: u32,
}

fn window_of(row: u32, rows: u32, out_height: u32, out_width: u32) -> vec3<i32> {
    if row >= rows {
        return vec3(OUTSIDE, OUTSIDE, 0);
    }
    let out_y = row / out_width % out_height;
    let corner = vec2<i32>(vec2(out_y, row % out_width) * p.stride) - i32(p.padding);
    return vec3(corner, i32(row / (out_width * out_height)));
}

fn cursor_at(tile: Tile, step: u32) -> Cursor {
    return tap_at(step, p.kernel_width, p.in_channels);
}

fn cursor_next(tile: Tile, cursor: Cursor) -> Cursor {
    return tap_next(cursor, p.kernel_width, p.in_channels);
}

fn cursor_after(tile: Tile, cursor: Cursor, steps: u32) -> Cursor {
    return tap_after(cursor, steps, p.kernel_width, p.in_channels);
}

// Where x has what lies under a tap of the window of a row of the tile; nowhere in the padding, or beyond the last tap.
fn input_word_of(tile: Tile, row: u32, cursor: Cursor) -> InputWord {
    var pixel = tile.first_row + row;
    var inside = (pixel < tile.rows) & (cursor.tap.x == 0u);
    if !POINTWISE {
        let window = windows[row];
        let at = vec2<u32>(window.xy + vec2<i32>(cursor.tap));
        pixel = (u32(window.z) * p.height + at.x) * p.width + at.y;
        inside = (at.x < p.height) & (at.y < p.width) & (cursor.tap.x < p.kernel_height);
    }
    return input_word(pixel * p.in_channels + cursor.channel, inside);
}

// A thread's rows lie CONV_ROW_THREADS apart.
fn row_of(group: u32, member: u32) -> u32 {
    return group / CONV_ROW_THREADS * CONV_CHUNK_PIXELS + group % CONV_ROW_THREADS + CONV_ROW_THREADS * member;
}

// A group of rows at the steps of a word; steps that single words do not reach are 0.
fn x_rows(tile: Tile, group: u32, cursor: Cursor) -> Quad {
    let rows = x_words(
        input_word_of(tile, row_of(group, 0u), cursor),
        input_word_of(tile, row_of(group, 1u), cursor),
        input_word_of(tile, row_of(group, 2u), cursor),
        input_word_of(tile, row_of(group, 3u), cursor),
        cursor.channel,
        p.load,
    );
    return transpose(rows);
}

fn left_quad(tile: Tile, group: u32, cursor: Cursor) -> Quad {
    var quad = x_rows(tile, group, cursor);
    if WORD == 1u {
        let second = cursor_next(tile, cursor);
        let third = cursor_next(tile, second);
        let fourth = cursor_next(tile, third);
        quad[1] = x_rows(tile, group, second)[0];
        quad[2] = x_rows(tile, group, third)[0];
        quad[3] = x_rows(tile, group, fourth)[0];
    }
    return quad;
}

fn w_at(tile: Tile, step: u32, column: u32) -> Word {
    let inside = (step < tile.depth) & (column < p.out_channels);
    return select(Word(), w[select(0u, step * p.out_channels + column, inside) / WORD], inside);
}

// A group of columns at a step.
fn w_columns(tile: Tile, step: u32, column: u32) -> vec4<f32> {
    var columns = widened(w_at(tile, step, column));
    if WORD == 1u {
        columns.y = narrowed(w_at(tile, step, column + COLUMNS));
        columns.z = narrowed(w_at(tile, step, column + 2u * COLUMNS));
        columns.w = narrowed(w_at(tile, step, column + 3u * COLUMNS));
    }
    return columns;
}

fn right_quad(tile: Tile, group: u32, cursor: Cursor) -> Quad {
    let step = (cursor.tap.x * p.kernel_width + cursor.tap.y) * p.in_channels + cursor.channel;
    let column = tile.first_column + column_of(group);
    return Quad(
        w_columns(tile, step, column),
        w_columns(tile, step + 1u, column),
        w_columns(tile, step + 2u, column),
        w_columns(tile, step + 3u, column),
    );
}

// A word of y, the first channel of which is `channel`, as it is stored there.
fn finished(word: Word, channel: u32, at: u32) -> Word {
    if p.epilogue == FORWARD_STATISTICS {
        return word;
    }
    var value = normalized(word, norm_of(channel, p.out_channels));
    if p.epilogue == FORWARD_RESIDUAL {
        value = fma(Word(p.scale), value, shortcut[at]);
    }
    return select(value, relu(value), p.epilogue != FORWARD_NORMALIZE);
}

fn store(tile: Tile, row: u32, column: u32, word: Word) {
    let channel = tile.first_column + column;
    if tile.first_row + row < tile.rows && channel < p.out_channels {
        let at = ((tile.first_row + row) * p.out_channels + channel) / WORD;
        y[at] = finished(word, channel, at);
    }
}

// Mean and squared deviations of each column of the tile over a chunk of rows, the first or the second.
fn store_statistics(tile: Tile, second: u32, column_group: u32, sums: Block, local: vec3<u32>) {
    let first_row = tile.first_row + CONV_CHUNK_PIXELS * second;
    if first_row >= tile.rows {
        return;
    }
    let row = first_row + local.y;
    var sum = inside(tile, row, sums[0]);
    sum += inside(tile, row + CONV_ROW_THREADS, sums[1]);
    sum += inside(tile, row + 2u * CONV_ROW_THREADS, sums[2]);
    sum += inside(tile, row + 3u * CONV_ROW_THREADS, sums[3]);
    let mean = sum_rows(sum, local) / f32(min(CONV_CHUNK_PIXELS, tile.rows - first_row));
    let deviations = Block(
        inside(tile, row, sums[0] - mean),
        inside(tile, row + CONV_ROW_THREADS, sums[1] - mean),
        inside(tile, row + 2u * CONV_ROW_THREADS, sums[2] - mean),
        inside(tile, row + 3u * CONV_ROW_THREADS, sums[3] - mean),
    );
    var m2 = deviations[0] * deviations[0];
    m2 = fma(deviations[1], deviations[1], m2);
    m2 = fma(deviations[2], deviations[2], m2);
    m2 = fma(deviations[3], deviations[3], m2);
    m2 = sum_rows(m2, local);
    for (var j = 0u; j < 4u; j++) {
        let channel = tile.first_column + column_of(column_group) + column_step() * j;
        if local.y == 0u && local.z == 0u && channel < p.out_channels {
            let chunk = first_row / CONV_CHUNK_PIXELS;
            partials[2u * chunk * p.out_channels + channel] = mean[j];
            partials[(2u * chunk + 1u) * p.out_channels + channel] = m2[j];
        }
    }
}

fn inside(tile: Tile, row: u32, values: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), values, row < tile.rows);
}

@compute @workgroup_size(COLUMNS, CONV_ROW_THREADS, SPLIT_K)
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
    let column_tiles = (p.out_channels + TILE_COLUMNS - 1u) / TILE_COLUMNS;

    for (var index = workgroup_index(id, count); index < row_tiles * column_tiles; index += workgroup_total(count)) {
        let first_row = index / column_tiles * TILE_ROWS;
        let tile = Tile(first_row, rows, index % column_tiles * TILE_COLUMNS, depth);
        if !POINTWISE {
            for (var row = lane; row < TILE_ROWS; row += THREADS) {
                windows[row] = window_of(first_row + row, rows, out_height, out_width);
            }
        }
        workgroupBarrier();
        let sums = sum_tile(tile, lane, local);
        store_sums(tile, sums, local);
        if p.epilogue == FORWARD_STATISTICS {
            store_statistics(tile, 0u, local.x, sums.top_left, local);
            if COLUMN_GROUPS == 2u {
                store_statistics(tile, 0u, local.x + COLUMNS, sums.top_right, local);
            }
            if ROW_GROUPS == 2u {
                store_statistics(tile, 1u, local.x, sums.bottom_left, local);
                if COLUMN_GROUPS == 2u {
                    store_statistics(tile, 1u, local.x + COLUMNS, sums.bottom_right, local);
                }
            }
        }
    }
}
