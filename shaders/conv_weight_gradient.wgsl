// conv_weight_gradient: partial sums over groups of images (splits) of dw = sum over output pixels of x times dy, as
// implicit matrix products: rows are taps and, in each, input channels, the depth runs over the split's output pixels,
// columns are output channels.
// x: [batch, height, width, in_channels]; dy: [batch, out_height, out_width, out_channels];
// p.load: LOAD_NORMALIZED x is read through a norm, [4, in_channels] (mean, rstd, gamma, beta), and a ReLU.
// partials: [splits, kernel_height * kernel_width * in_channels, out_channels]
// Grid: one workgroup per split and tile of its product. Twin: kernels/conv/cpu/mod.rs
//!import grid
//!import words_single | words_vector
//!import gemm
//!import norm
//!import relu
//!import input

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
    load: u32,
    images_per_split: u32,
    split_k: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Word>;
@group(0) @binding(2) var<storage, read> dy: array<Word>;
@group(0) @binding(3) var<storage, read> norm: array<Word>;
@group(0) @binding(4) var<storage, read_write> partials: array<Word>;

struct Tile {
    split: u32,
    first_row: u32,
    rows: u32,
    first_column: u32,
    first_pixel: u32,
    depth: u32,
    out_size: vec2<u32>,
}

// An output pixel.
struct Cursor {
    step: u32,
    image: u32,
    at: vec2<u32>,  // row, column
}

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

fn cursor_at(tile: Tile, step: u32) -> Cursor {
    let pixel = tile.first_pixel + step;
    let row = pixel / tile.out_size.y;
    let image = row / tile.out_size.x;
    return Cursor(step, image, vec2(row - image * tile.out_size.x, pixel - row * tile.out_size.y));
}

fn cursor_after(tile: Tile, cursor: Cursor, steps: u32) -> Cursor {
    return cursor_at(tile, cursor.step + steps);
}

// One pixel further on, without dividing.
fn cursor_next(tile: Tile, cursor: Cursor) -> Cursor {
    let wraps = cursor.at.y + 1u == tile.out_size.y;
    let y = select(cursor.at.x, cursor.at.x + 1u, wraps);
    let ends = y == tile.out_size.x;
    let image = select(cursor.image, cursor.image + 1u, ends);
    return Cursor(cursor.step + 1u, image, vec2(select(y, 0u, ends), select(cursor.at.y + 1u, 0u, wraps)));
}

// Four output pixels in a row.
struct Pixels {
    first: Cursor,
    second: Cursor,
    third: Cursor,
    fourth: Cursor,
}

// Where x has what lies under the tap of a row of the tile, for an output pixel; nowhere in the padding, beyond the
// last row, and beyond the split.
fn input_word_of(tile: Tile, row: u32, cursor: Cursor) -> InputWord {
    var pixel = tile.first_pixel + cursor.step;
    var channel = tile.first_row + row;
    var inside = (cursor.step < tile.depth) & (channel < p.in_channels);
    if !POINTWISE {
        let tap = taps[row];
        let at = vec2<u32>(vec2<i32>(cursor.at * p.stride) + tap.xy);
        pixel = (cursor.image * p.height + at.x) * p.width + at.y;
        channel = u32(tap.z);
        inside = (cursor.step < tile.depth) & (at.x < p.height) & (at.y < p.width);
    }
    return input_word(pixel * p.in_channels + channel, inside);
}

// The word that begins with a row, for each pixel.
fn x_row(tile: Tile, row: u32, pixels: Pixels) -> Quad {
    var channel = tile.first_row + row;
    if POINTWISE {
        channel = select(0u, channel, channel < p.in_channels);
    } else {
        channel = u32(taps[row].z);
    }
    return x_words(
        input_word_of(tile, row, pixels.first),
        input_word_of(tile, row, pixels.second),
        input_word_of(tile, row, pixels.third),
        input_word_of(tile, row, pixels.fourth),
        channel,
        p.load,
    );
}

// A group's rows are neighbours: with words of four channels, one load.
fn row_of(group: u32, member: u32) -> u32 {
    return 4u * group + member;
}

fn left_quad(tile: Tile, group: u32, cursor: Cursor) -> Quad {
    let row = row_of(group, 0u);
    let second = cursor_next(tile, cursor);
    let third = cursor_next(tile, second);
    let pixels = Pixels(cursor, second, third, cursor_next(tile, third));
    let quad = x_row(tile, row, pixels);
    if WORD == 1u {
        let rows = transpose(quad);
        let more = transpose(x_row(tile, row + 1u, pixels));
        let others = transpose(x_row(tile, row + 2u, pixels));
        let last = transpose(x_row(tile, row + 3u, pixels));
        return transpose(Quad(rows[0], more[0], others[0], last[0]));
    }
    return quad;
}

fn dy_at(tile: Tile, step: u32, column: u32) -> Word {
    let inside = (step < tile.depth) & (column < p.out_channels);
    let at = (tile.first_pixel + step) * p.out_channels + column;
    return select(Word(), dy[select(0u, at, inside) / WORD], inside);
}

// A group of columns for an output pixel.
fn dy_columns(tile: Tile, step: u32, column: u32) -> vec4<f32> {
    var columns = widened(dy_at(tile, step, column));
    if WORD == 1u {
        columns.y = narrowed(dy_at(tile, step, column + COLUMNS));
        columns.z = narrowed(dy_at(tile, step, column + 2u * COLUMNS));
        columns.w = narrowed(dy_at(tile, step, column + 3u * COLUMNS));
    }
    return columns;
}

fn right_quad(tile: Tile, group: u32, cursor: Cursor) -> Quad {
    let column = tile.first_column + column_of(group);
    return Quad(
        dy_columns(tile, cursor.step, column),
        dy_columns(tile, cursor.step + 1u, column),
        dy_columns(tile, cursor.step + 2u, column),
        dy_columns(tile, cursor.step + 3u, column),
    );
}

fn store(tile: Tile, row: u32, column: u32, word: Word) {
    if tile.first_row + row < tile.rows && tile.first_column + column < p.out_channels {
        let at = (tile.split * tile.rows + tile.first_row + row) * p.out_channels + tile.first_column + column;
        partials[at / WORD] = word;
    }
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
    let rows = p.kernel_height * p.kernel_width * p.in_channels;
    let splits = (p.batch + p.images_per_split - 1u) / p.images_per_split;
    let row_tiles = (rows + TILE_ROWS - 1u) / TILE_ROWS;
    let column_tiles = (p.out_channels + TILE_COLUMNS - 1u) / TILE_COLUMNS;
    let tiles = splits * row_tiles * column_tiles;

    for (var index = workgroup_index(id, count); index < tiles; index += workgroup_total(count)) {
        let split = index / (row_tiles * column_tiles);
        let first_row = index / column_tiles % row_tiles * TILE_ROWS;
        let first_column = index % column_tiles * TILE_COLUMNS;
        let first_image = split * p.images_per_split;
        let images = min(first_image + p.images_per_split, p.batch) - first_image;
        let first_pixel = first_image * out_height * out_width;
        let depth = images * out_height * out_width;
        let tile = Tile(split, first_row, rows, first_column, first_pixel, depth, vec2(out_height, out_width));
        if !POINTWISE {
            for (var row = lane; row < TILE_ROWS; row += THREADS) {
                taps[row] = tap_of(first_row + row, rows);
            }
        }
        workgroupBarrier();
        let sums = sum_tile(tile, lane, local);
        store_sums(tile, sums, local);
    }
}
