// conv_input_gradient: grad_x = transposed convolution of dy with w, as implicit matrix products, then an epilogue.
// With stride s, the input pixels (y, x) of one phase (y % s, x % s) meet the same taps, every s-th of the kernel's, so
// each phase is a product of its own: rows are its input pixels, the depth runs over its taps and, in each, the output
// channels, columns are input channels. Without taps the product is empty and zero.
// dy: [batch, out_height, out_width, out_channels]; w: [kernel_height, kernel_width, in_channels, out_channels];
// addend, mask, x, grad_x: [batch, height, width, in_channels]
// p.epilogue: INPUT_GRADIENT_PLAIN none; _ADD the addend is added; _ADD_MASKED where mask > 0; _RECTIFY grad_x
// passes back through the ReLU behind a norm of x, norm: [4, in_channels] (mean, rstd, gamma, beta), and
// partials: [chunks, 2, in_channels] are the sums of grad_x and of grad_x times the normalised x over each
// CONV_CHUNK_PIXELS rows of a phase.
// Grid: one workgroup per phase and tile of its product. Twin: kernels/conv/cpu/mod.rs
//!import grid
//!import words_single | words_vector
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
    split_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<Word>;
@group(0) @binding(2) var<storage, read> w: array<Word>;
@group(0) @binding(3) var<storage, read> addend: array<Word>;
@group(0) @binding(4) var<storage, read> mask: array<Word>;
@group(0) @binding(5) var<storage, read> x: array<Word>;
@group(0) @binding(6) var<storage, read> norm: array<Word>;
@group(0) @binding(7) var<storage, read_write> grad_x: array<Word>;
@group(0) @binding(8) var<storage, read_write> partials: array<f32>;

// Work on grad_x before it is stored.
const INPUT_GRADIENT_PLAIN = 0u;
const INPUT_GRADIENT_ADD = 1u;
const INPUT_GRADIENT_ADD_MASKED = 2u;
const INPUT_GRADIENT_RECTIFY = 3u;

struct Tile {
    first_row: u32,
    rows: u32,
    first_column: u32,
    depth: u32,
    first_tap: vec2<u32>,
    taps: vec2<u32>,
    out_size: vec2<u32>,
    first_chunk: u32,
}

// Of each row of the tile: y and x of the output pixel that meets it in the phase's first tap, the image, and its own
// pixel in grad_x. Rows without a pixel lie far outside, with pixel -1.
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

fn cursor_at(tile: Tile, step: u32) -> Cursor {
    return tap_at(step, max(tile.taps.y, 1u), p.out_channels);
}

fn cursor_next(tile: Tile, cursor: Cursor) -> Cursor {
    return tap_next(cursor, max(tile.taps.y, 1u), p.out_channels);
}

fn cursor_after(tile: Tile, cursor: Cursor, steps: u32) -> Cursor {
    return tap_after(cursor, steps, max(tile.taps.y, 1u), p.out_channels);
}

// dy that meets a row of the tile in one of the phase's taps; zero outside of dy, and beyond the last tap. Without
// branches: loads behind them would wait for each other.
fn dy_at(tile: Tile, row: u32, cursor: Cursor) -> Word {
    var pixel = tile.first_row + row;
    var inside = (pixel < tile.rows) & (cursor.tap.x == 0u);
    if !POINTWISE {
        let source = sources[row];
        let at = vec2<u32>(source.xy - vec2<i32>(cursor.tap));
        pixel = (u32(source.z) * tile.out_size.x + at.x) * tile.out_size.y + at.y;
        inside = (at.x < tile.out_size.x) & (at.y < tile.out_size.y) & (cursor.tap.x < tile.taps.x);
    }
    return select(Word(), dy[select(0u, pixel * p.out_channels + cursor.channel, inside) / WORD], inside);
}

// A thread's rows lie CONV_ROW_THREADS apart.
fn row_of(group: u32, member: u32) -> u32 {
    return group / CONV_ROW_THREADS * CONV_CHUNK_PIXELS + group % CONV_ROW_THREADS + CONV_ROW_THREADS * member;
}

// A group of rows at the steps of a word; steps that single words do not reach are 0.
fn dy_rows(tile: Tile, group: u32, cursor: Cursor) -> Quad {
    return transpose(Quad(
        widened(dy_at(tile, row_of(group, 0u), cursor)),
        widened(dy_at(tile, row_of(group, 1u), cursor)),
        widened(dy_at(tile, row_of(group, 2u), cursor)),
        widened(dy_at(tile, row_of(group, 3u), cursor)),
    ));
}

fn left_quad(tile: Tile, group: u32, cursor: Cursor) -> Quad {
    var quad = dy_rows(tile, group, cursor);
    if WORD == 1u {
        let second = cursor_next(tile, cursor);
        let third = cursor_next(tile, second);
        let fourth = cursor_next(tile, third);
        quad[1] = dy_rows(tile, group, second)[0];
        quad[2] = dy_rows(tile, group, third)[0];
        quad[3] = dy_rows(tile, group, fourth)[0];
    }
    return quad;
}

fn w_at(tile: Tile, column: u32, cursor: Cursor) -> Word {
    let inside = (column < p.in_channels) & (cursor.tap.x < tile.taps.x);
    let tap = tile.first_tap + cursor.tap * p.stride;
    let at = ((tap.x * p.kernel_width + tap.y) * p.in_channels + column) * p.out_channels + cursor.channel;
    return select(Word(), w[select(0u, at, inside) / WORD], inside);
}

// A group of columns at the steps of a word, likewise.
fn w_columns(tile: Tile, group: u32, cursor: Cursor) -> Quad {
    let column = tile.first_column + column_of(group);
    let apart = column_step();
    return transpose(Quad(
        widened(w_at(tile, column, cursor)),
        widened(w_at(tile, column + apart, cursor)),
        widened(w_at(tile, column + 2u * apart, cursor)),
        widened(w_at(tile, column + 3u * apart, cursor)),
    ));
}

fn right_quad(tile: Tile, group: u32, cursor: Cursor) -> Quad {
    var quad = w_columns(tile, group, cursor);
    if WORD == 1u {
        let second = cursor_next(tile, cursor);
        let third = cursor_next(tile, second);
        let fourth = cursor_next(tile, third);
        quad[1] = w_columns(tile, group, second)[0];
        quad[2] = w_columns(tile, group, third)[0];
        quad[3] = w_columns(tile, group, fourth)[0];
    }
    return quad;
}

fn store(tile: Tile, row: u32, column: u32, word: Word) {
    let pixel = sources[row].w;
    if pixel >= 0 && tile.first_column + column < p.in_channels {
        let at = (u32(pixel) * p.in_channels + tile.first_column + column) / WORD;
        var value = word;
        if p.epilogue == INPUT_GRADIENT_ADD {
            value += addend[at];
        } else if p.epilogue == INPUT_GRADIENT_ADD_MASKED {
            value = select(word, word + addend[at], mask[at] > Word());
        }
        grad_x[at] = value;
    }
}

// Gradients back through the ReLU, and their products with the normalised x.
struct Rectified {
    dy: vec4<f32>,
    products: vec4<f32>,
}

// Stores a word of gradients back through the ReLU; zeros outside.
fn rectify(tile: Tile, row: u32, column: u32, sum: Word) -> Rectified {
    let pixel = sources[row].w;
    let channel = tile.first_column + column;
    if pixel < 0 || channel >= p.in_channels {
        return Rectified();
    }
    let at = (u32(pixel) * p.in_channels + channel) / WORD;
    let norm = norm_of(channel, p.in_channels);
    let dy = select(Word(), sum, normalized(x[at], norm) > Word());
    grad_x[at] = dy;
    return Rectified(widened(dy), widened(dy * standardized(x[at], norm)));
}

fn rectify_columns(tile: Tile, row: u32, column: u32, sums: vec4<f32>) -> Rectified {
    var all = rectify(tile, row, column, word_of(sums));
    if WORD == 1u {
        let second = rectify(tile, row, column + COLUMNS, word_of(sums.yyyy));
        let third = rectify(tile, row, column + 2u * COLUMNS, word_of(sums.zzzz));
        let fourth = rectify(tile, row, column + 3u * COLUMNS, word_of(sums.wwww));
        all.dy = vec4(all.dy.x, second.dy.x, third.dy.x, fourth.dy.x);
        all.products = vec4(all.products.x, second.products.x, third.products.x, fourth.products.x);
    }
    return all;
}

// Stores a chunk of rows of the tile, the first or the second, back through the ReLU, and the sums of its columns as a chunk's.
fn store_rectified(tile: Tile, second: u32, column_group: u32, sums: Block, local: vec3<u32>) {
    if tile.first_row + CONV_CHUNK_PIXELS * second >= tile.rows {
        return;
    }
    let row_group = CONV_ROW_THREADS * second + local.y;
    let column = column_of(column_group);
    var all = Rectified();
    if local.z == 0u {
        let a = rectify_columns(tile, row_of(row_group, 0u), column, sums[0]);
        let b = rectify_columns(tile, row_of(row_group, 1u), column, sums[1]);
        let c = rectify_columns(tile, row_of(row_group, 2u), column, sums[2]);
        let d = rectify_columns(tile, row_of(row_group, 3u), column, sums[3]);
        all = Rectified(a.dy + b.dy + c.dy + d.dy, a.products + b.products + c.products + d.products);
    }
    let dy_sum = sum_rows(all.dy, local);
    let product_sum = sum_rows(all.products, local);
    for (var j = 0u; j < 4u; j++) {
        let channel = tile.first_column + column + column_step() * j;
        if local.y == 0u && local.z == 0u && channel < p.in_channels {
            let chunk = tile.first_chunk + second;
            partials[2u * chunk * p.in_channels + channel] = dy_sum[j];
            partials[(2u * chunk + 1u) * p.in_channels + channel] = product_sum[j];
        }
    }
}

@compute @workgroup_size(COLUMNS, CONV_ROW_THREADS, SPLIT_K)
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
    let column_tiles = (p.in_channels + TILE_COLUMNS - 1u) / TILE_COLUMNS;
    let tiles = p.stride * p.stride * row_tiles * column_tiles;

    for (var index = workgroup_index(id, count); index < tiles; index += workgroup_total(count)) {
        let phase_index = index / (row_tiles * column_tiles);
        let phase = vec2(phase_index / p.stride, phase_index % p.stride);
        let first_row = index / column_tiles % row_tiles * TILE_ROWS;
        let first_column = index % column_tiles * TILE_COLUMNS;
        let first_tap = (phase + p.padding) % p.stride;
        let met = (max(kernel, first_tap) - first_tap + p.stride - 1u) / p.stride;
        let taps = select(vec2(0u), met, all(met > vec2(0u)));
        let depth = taps.x * taps.y * p.out_channels;
        let first_chunk = phase_index * ((rows + CONV_CHUNK_PIXELS - 1u) / CONV_CHUNK_PIXELS) + first_row / CONV_CHUNK_PIXELS;
        let tile = Tile(first_row, rows, first_column, depth, first_tap, taps, out_size, first_chunk);
        for (var row = lane; row < TILE_ROWS; row += THREADS) {
            sources[row] = source_of(first_row + row, rows, phase, first_tap);
        }
        workgroupBarrier();
        let sums = sum_tile(tile, lane, local);
        if p.epilogue == INPUT_GRADIENT_RECTIFY {
            store_rectified(tile, 0u, local.x, sums.top_left, local);
            if COLUMN_GROUPS == 2u {
                store_rectified(tile, 0u, local.x + COLUMNS, sums.top_right, local);
            }
            if ROW_GROUPS == 2u {
                store_rectified(tile, 1u, local.x, sums.bottom_left, local);
                if COLUMN_GROUPS == 2u {
                    store_rectified(tile, 1u, local.x + COLUMNS, sums.bottom_right, local);
                }
            }
        } else {
            store_sums(tile, sums, local);
        }
        workgroupBarrier();
    }
}
