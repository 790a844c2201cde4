// gemm: the tiles of an implicit matrix product, [rows, depth] x [depth, columns].
// A workgroup of COLUMNS x 16 threads makes a tile of 64 rows x (4 * COLUMNS) columns, each thread 4 x 4 of it: the
// rows `local.y + 16 i` and the columns `local.x + COLUMNS j`. 16 steps of the depth lie in workgroup memory at a
// time; a vec4 there holds what one thread needs of one step. Rows of vec4 are one longer than needed, so that
// threads that store a column of them meet different banks.

override COLUMNS: u32 = 16u;

const TILE_ROWS = 64u;
const TILE_DEPTH = 16u;
const LEFT_STRIDE = 17u;
// Has a name because naga 30 panics where an expression of overrides is an array's length.
override RIGHT_LENGTH: u32 = TILE_DEPTH * (COLUMNS + 1u);

var<workgroup> left: array<vec4<f32>, 272>;
var<workgroup> right: array<vec4<f32>, RIGHT_LENGTH>;

fn store_left(step: u32, row: u32, values: vec4<f32>) {
    left[step * LEFT_STRIDE + row] = values;
}

fn store_right(step: u32, column: u32, values: vec4<f32>) {
    right[step * (COLUMNS + 1u) + column] = values;
}

// Sums over the tile's rows, of each of the thread's columns: of its own rows `mine` has the sums. In fixed order: the
// thread's rows first, then threads ascending. All threads of a workgroup must call it, and all have the result.
fn sum_rows(mine: vec4<f32>, local: vec3<u32>) -> vec4<f32> {
    left[local.y * COLUMNS + local.x] = mine;
    workgroupBarrier();
    var sum = vec4(0.0);
    for (var y = 0u; y < 16u; y++) {
        sum += left[y * COLUMNS + local.x];
    }
    workgroupBarrier();
    return sum;
}

// The sums with the products of the tiles added, in ascending order of the depth.
fn multiply_tiles(sums: array<vec4<f32>, 4>, local: vec3<u32>) -> array<vec4<f32>, 4> {
    var result = sums;
    for (var step = 0u; step < TILE_DEPTH; step++) {
        let a = left[step * LEFT_STRIDE + local.y];
        let b = right[step * (COLUMNS + 1u) + local.x];
        result[0] = fma(vec4(a.x), b, result[0]);
        result[1] = fma(vec4(a.y), b, result[1]);
        result[2] = fma(vec4(a.z), b, result[2]);
        result[3] = fma(vec4(a.w), b, result[3]);
    }
    return result;
}
