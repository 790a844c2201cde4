// gemm: one tile of an implicit matrix product, [rows, depth] x [depth, columns].
//
// A workgroup of COLUMNS x CONV_ROW_THREADS x SPLIT_K threads makes a tile of (CONV_CHUNK_PIXELS * ROW_GROUPS) rows and (4 * COLUMNS *
// COLUMN_GROUPS) columns. Rows and columns come in groups of four, whose members the shader's `row_of` and `column_of`
// below name. Thread (x, y, z) has the row groups y and, if there are two, CONV_ROW_THREADS + y, and the column groups x and COLUMNS
// + x: its sums are one, two or four blocks of 4 x 4, in registers. TILE_DEPTH steps of the depth lie in workgroup
// memory at a time; a vec4 there is a group at one step. The next steps' words are on their way from global memory
// while the sums are made. With two BUFFERS, one barrier a turn is enough. Where tiles are few, SPLIT_K parts of
// the workgroup, threads z, share the depth: four steps each in turn. Their accumulators are added at the end.
//
// All variants of a product, which have one SPLIT_K, give the same bits: a part's sum is one chain of fma, in
// ascending order of the depth, and the parts are added in their order.
//
// The shader that imports this brings
//   Tile: what the threads of a workgroup share; `depth` is the number of steps
//   Cursor: an index in the depth, with cursor_at(tile, step) and cursor_after(tile, cursor, steps)
//   left_quad(tile, group, cursor), right_quad(tile, group, cursor): a group at four steps; zeros beyond the end of the
//     depth, of the rows, and of the columns
//   row_of(group, member): row of the tile
//   store(tile, row, column, word): takes a sum to where it belongs; beyond the last row or column, nowhere

// Threads along the columns.
override COLUMNS: u32 = 16u;
// Groups of rows that a thread has, 1 or 2.
override ROW_GROUPS: u32 = 1u;
// Groups of columns that a thread has, 1 or 2.
override COLUMN_GROUPS: u32 = 1u;
// Steps of the depth in workgroup memory, 8, 16 or 32.
override TILE_DEPTH: u32 = 16u;
// Copies of the tiles in workgroup memory, 1 or 2.
override BUFFERS: u32 = 1u;
// Split-K: parts of the workgroup that share the depth, 1 or 4.
override SPLIT_K: u32 = 1u;

// Threads along the rows.
const CONV_ROW_THREADS = 16u;
// Rows of the smallest tile: four for each thread. Sums over chunks of so many rows are the same in all tiles.
const CONV_CHUNK_PIXELS = 64u;

override THREADS: u32 = CONV_ROW_THREADS * COLUMNS * SPLIT_K;
override TILE_ROWS: u32 = CONV_CHUNK_PIXELS * ROW_GROUPS;
override TILE_COLUMNS: u32 = 4u * COLUMNS * COLUMN_GROUPS;
// Quads of a tile's depth, and those of its sides: a thread loads up to two on the left and one on the right.
override QUADS: u32 = TILE_DEPTH / 4u;
override LEFT_QUADS: u32 = CONV_ROW_THREADS * ROW_GROUPS * QUADS;
override RIGHT_QUADS: u32 = COLUMNS * COLUMN_GROUPS * QUADS;
// One longer than needed, so that threads that store neighbouring steps meet different banks.
override LEFT_STRIDE: u32 = CONV_ROW_THREADS * ROW_GROUPS + 1u;
override RIGHT_STRIDE: u32 = COLUMNS * COLUMN_GROUPS + 1u;
// Have names because naga 30 panics where an expression of overrides is an array's length.
override LEFT_LENGTH: u32 = BUFFERS * TILE_DEPTH * LEFT_STRIDE;
override RIGHT_LENGTH: u32 = BUFFERS * TILE_DEPTH * RIGHT_STRIDE;

var<workgroup> left: array<vec4<f32>, LEFT_LENGTH>;
var<workgroup> right: array<vec4<f32>, RIGHT_LENGTH>;

// Four steps of a group. Only whole vec4 go to workgroup memory: a store to one component may touch the others.
alias Quad = mat4x4<f32>;

// What a thread has loaded of the next steps.
struct Loaded {
    left: Quad,
    more_left: Quad,
    right: Quad,
}

// Sums of four rows, a vec4 of columns each.
alias Block = mat4x4<f32>;

// A thread's sums; without a second group of rows or columns, part of them is not used.
struct Sums {
    top_left: Block,
    top_right: Block,
    bottom_left: Block,
    bottom_right: Block,
}

// First column of a group. A word holds a whole group; single words of neighbouring threads are neighbours.
fn column_of(group: u32) -> u32 {
    return group / COLUMNS * 4u * COLUMNS + group % COLUMNS * WORD;
}

// From one column of a group to the next.
fn column_step() -> u32 {
    return select(1u, COLUMNS, WORD == 1u);
}

fn load_quads(tile: Tile, lane: u32, left_cursor: Cursor, right_cursor: Cursor) -> Loaded {
    var loaded = Loaded();
    if lane < LEFT_QUADS {
        loaded.left = left_quad(tile, lane / QUADS, left_cursor);
    }
    if lane + THREADS < LEFT_QUADS {
        loaded.more_left = left_quad(tile, (lane + THREADS) / QUADS, left_cursor);
    }
    // Threads that have nothing to load on the left come first.
    let right_lane = THREADS - 1u - lane;
    if right_lane < RIGHT_QUADS {
        loaded.right = right_quad(tile, right_lane / QUADS, right_cursor);
    }
    return loaded;
}

fn store_quads(loaded: Loaded, lane: u32, buffer: u32) {
    if lane < LEFT_QUADS {
        store_left(loaded.left, lane, buffer);
    }
    if lane + THREADS < LEFT_QUADS {
        store_left(loaded.more_left, lane + THREADS, buffer);
    }
    let right_lane = THREADS - 1u - lane;
    if right_lane < RIGHT_QUADS {
        let at = (buffer * TILE_DEPTH + right_lane % QUADS * 4u) * RIGHT_STRIDE + right_lane / QUADS;
        right[at] = loaded.right[0];
        right[at + RIGHT_STRIDE] = loaded.right[1];
        right[at + 2u * RIGHT_STRIDE] = loaded.right[2];
        right[at + 3u * RIGHT_STRIDE] = loaded.right[3];
    }
}

fn store_left(quad: Quad, index: u32, buffer: u32) {
    let at = (buffer * TILE_DEPTH + index % QUADS * 4u) * LEFT_STRIDE + index / QUADS;
    left[at] = quad[0];
    left[at + LEFT_STRIDE] = quad[1];
    left[at + 2u * LEFT_STRIDE] = quad[2];
    left[at + 3u * LEFT_STRIDE] = quad[3];
}

fn add_product(sums: Block, rows: vec4<f32>, columns: vec4<f32>) -> Block {
    return Block(
        fma(vec4(rows.x), columns, sums[0]),
        fma(vec4(rows.y), columns, sums[1]),
        fma(vec4(rows.z), columns, sums[2]),
        fma(vec4(rows.w), columns, sums[3]),
    );
}

// The sums with the products of the part's steps in workgroup memory added, in ascending order of the depth.
fn multiply_tiles(sums: Sums, buffer: u32, local: vec3<u32>) -> Sums {
    var result = sums;
    for (var turn = 0u; turn < TILE_DEPTH / SPLIT_K; turn++) {
        let step = turn / 4u * 4u * SPLIT_K + 4u * local.z + turn % 4u;
        let row_at = (buffer * TILE_DEPTH + step) * LEFT_STRIDE + local.y;
        let column_at = (buffer * TILE_DEPTH + step) * RIGHT_STRIDE + local.x;
        let top = left[row_at];
        let near = right[column_at];
        result.top_left = add_product(result.top_left, top, near);
        if COLUMN_GROUPS == 2u {
            result.top_right = add_product(result.top_right, top, right[column_at + COLUMNS]);
        }
        if ROW_GROUPS == 2u {
            let bottom = left[row_at + CONV_ROW_THREADS];
            result.bottom_left = add_product(result.bottom_left, bottom, near);
            if COLUMN_GROUPS == 2u {
                result.bottom_right = add_product(result.bottom_right, bottom, right[column_at + COLUMNS]);
            }
        }
    }
    return result;
}

// The thread's sums over the whole depth.
fn sum_tile(tile: Tile, lane: u32, local: vec3<u32>) -> Sums {
    // Whatever TILE_DEPTH is, the same zeros are added at the end: they decide whether a sum of -0 stays one.
    let whole = max(16u, 8u * SPLIT_K);
    let depth = (tile.depth + whole - 1u) / whole * whole;
    var left_cursor = cursor_at(tile, lane % QUADS * 4u);
    var right_cursor = cursor_at(tile, (THREADS - 1u - lane) % QUADS * 4u);
    var loaded = Loaded();
    var sums = Sums();
    // The last turn only multiplies what the one before has stored.
    var buffer = 0u;
    for (var step = 0u; step < depth + TILE_DEPTH; step += TILE_DEPTH) {
        if step < depth {
            loaded = load_quads(tile, lane, left_cursor, right_cursor);
            left_cursor = cursor_after(tile, left_cursor, TILE_DEPTH);
            right_cursor = cursor_after(tile, right_cursor, TILE_DEPTH);
        }
        if step > 0u {
            sums = multiply_tiles(sums, buffer, local);
            if BUFFERS == 1u {
                workgroupBarrier();
            } else {
                buffer = 1u - buffer;
            }
        }
        if step < depth {
            store_quads(loaded, lane, buffer);
            workgroupBarrier();
        }
    }
    if BUFFERS == 2u {
        // Whatever follows may use the memory.
        workgroupBarrier();
    }
    return merged(sums, local);
}

// The sums of all parts, in threads of the first; those of the others are of no use any more.
fn merged(sums: Sums, local: vec3<u32>) -> Sums {
    if SPLIT_K == 1u {
        return sums;
    }
    var result = sums;
    result.top_left = merged_block(sums.top_left, local);
    if COLUMN_GROUPS == 2u {
        result.top_right = merged_block(sums.top_right, local);
    }
    if ROW_GROUPS == 2u {
        result.bottom_left = merged_block(sums.bottom_left, local);
        if COLUMN_GROUPS == 2u {
            result.bottom_right = merged_block(sums.bottom_right, local);
        }
    }
    return result;
}

fn merged_block(block: Block, local: vec3<u32>) -> Block {
    return Block(
        merged_row(block[0], local),
        merged_row(block[1], local),
        merged_row(block[2], local),
        merged_row(block[3], local),
    );
}

fn merged_row(mine: vec4<f32>, local: vec3<u32>) -> vec4<f32> {
    let at = local.y * COLUMNS + local.x;
    if local.z > 0u {
        left[CONV_ROW_THREADS * COLUMNS * (local.z - 1u) + at] = mine;
    }
    workgroupBarrier();
    var total = mine;
    if local.z == 0u {
        for (var part = 1u; part < SPLIT_K; part++) {
            total += left[CONV_ROW_THREADS * COLUMNS * (part - 1u) + at];
        }
    }
    workgroupBarrier();
    return total;
}

// Sums over CONV_CHUNK_PIXELS rows of the tile, of a group of columns: of the thread's rows `mine` has the sums, in the first part. In
// fixed order: the thread's rows first, then threads ascending. All threads of a workgroup must call it, and all have
// the result.
fn sum_rows(mine: vec4<f32>, local: vec3<u32>) -> vec4<f32> {
    if local.z == 0u {
        left[local.y * COLUMNS + local.x] = mine;
    }
    workgroupBarrier();
    var sum = vec4(0.0);
    for (var y = 0u; y < CONV_ROW_THREADS; y++) {
        sum += left[y * COLUMNS + local.x];
    }
    workgroupBarrier();
    return sum;
}

fn store_sums(tile: Tile, sums: Sums, local: vec3<u32>) {
    if local.z > 0u {
        return;
    }
    store_block(tile, local.y, local.x, sums.top_left);
    if COLUMN_GROUPS == 2u {
        store_block(tile, local.y, local.x + COLUMNS, sums.top_right);
    }
    if ROW_GROUPS == 2u {
        store_block(tile, local.y + CONV_ROW_THREADS, local.x, sums.bottom_left);
        if COLUMN_GROUPS == 2u {
            store_block(tile, local.y + CONV_ROW_THREADS, local.x + COLUMNS, sums.bottom_right);
        }
    }
}

fn store_block(tile: Tile, row_group: u32, column_group: u32, block: Block) {
    let column = column_of(column_group);
    store_columns(tile, row_of(row_group, 0u), column, block[0]);
    store_columns(tile, row_of(row_group, 1u), column, block[1]);
    store_columns(tile, row_of(row_group, 2u), column, block[2]);
    store_columns(tile, row_of(row_group, 3u), column, block[3]);
}

fn store_columns(tile: Tile, row: u32, column: u32, sums: vec4<f32>) {
    store(tile, row, column, word_of(sums));
    if WORD == 1u {
        store(tile, row, column + COLUMNS, word_of(sums.yyyy));
        store(tile, row, column + 2u * COLUMNS, word_of(sums.zzzz));
        store(tile, row, column + 3u * COLUMNS, word_of(sums.wwww));
    }
}
