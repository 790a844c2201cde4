//! The tiles in which the shaders compute their implicit matrix products, and the variants that
//! follow.

use super::ConvShape;
use crate::dispatch::Variant;
use crate::protocol::{CONV_CHUNK_PIXELS, CONV_ROW_THREADS};

/// A tile of a matrix product that a workgroup of a shader makes: constants of `shaders/shared/gemm.wgsl`.
struct GemmTile {
    /// Rows and columns of the tile, and of each thread's part of it.
    name: &'static str,
    /// Threads along the columns; there are [`CONV_ROW_THREADS`] along the rows.
    threads: u32,
    /// Groups of four rows that a thread has.
    row_groups: u32,
    /// Groups of four columns that a thread has.
    column_groups: u32,
    /// Steps of the depth that lie in workgroup memory at a time.
    depth: u32,
    /// Copies of them, to store one while another is read.
    buffers: u32,
}

/// Threads that keep a large GPU busy: with fewer, parts of a workgroup share the depth of its tile.
const BUSY_THREADS: u32 = 48 << 10;
/// The split-K factor then.
const SPLIT_K: u32 = 4;

const fn tile(name: &'static str, threads: u32, groups: [u32; 2], depth: u32, buffers: u32) -> GemmTile {
    GemmTile { name, threads, row_groups: groups[0], column_groups: groups[1], depth, buffers }
}

/// Tiles for up to 16 columns. Large parts of a thread load less from workgroup memory, small ones leave more threads
/// to hide latencies; the depths and the copies are the most that 16 KiB hold.
static NARROW_TILES: [GemmTile; 3] = [
    tile("64x16 by 4x4", 4, [1, 1], 16, 2),
    tile("128x16 by 8x4", 4, [2, 1], 16, 1),
    tile("128x16 by 8x8", 2, [2, 2], 8, 2),
];
/// Tiles for up to 32 columns.
static MIDDLE_TILES: [GemmTile; 3] = [
    tile("64x32 by 4x4", 8, [1, 1], 16, 2),
    tile("128x32 by 8x4", 8, [2, 1], 16, 1),
    tile("128x32 by 8x8", 4, [2, 2], 16, 1),
];
/// Tiles for more columns; the last for more than 64.
static WIDE_TILES: [GemmTile; 5] = [
    tile("64x64 by 4x4", 16, [1, 1], 16, 1),
    tile("64x64 by 4x8", 8, [1, 2], 16, 1),
    tile("128x64 by 8x8", 8, [2, 2], 16, 1),
    tile("64x32 by 4x4", 8, [1, 1], 16, 2),
    tile("128x128 by 8x8", 16, [2, 2], 8, 1),
];

/// Tiles of few threads, as many as there may be in a workgroup where [`SPLIT_K`] share the depth.
static SHARED_TILES: [GemmTile; 3] = [
    tile("64x16 by 4x4, shared", 4, [1, 1], 32, 1),
    tile("128x16 by 8x4, shared", 4, [2, 1], 16, 1),
    tile("128x32 by 8x8, shared", 4, [2, 2], 16, 1),
];

impl GemmTile {
    /// Those that make sense for so many columns, the default first.
    fn candidates(columns: u32, split_k: u32) -> &'static [Self] {
        if split_k > 1 {
            return &SHARED_TILES[..if columns > 16 { 3 } else { 2 }];
        }
        match columns {
            0..=16 => &NARROW_TILES,
            17..=32 => &MIDDLE_TILES,
            33..=64 => &WIDE_TILES[..4],
            _ => &WIDE_TILES,
        }
    }

    fn rows(&self) -> u32 {
        CONV_CHUNK_PIXELS * self.row_groups
    }

    fn columns(&self) -> u32 {
        4 * self.threads * self.column_groups
    }
}

/// Matrix products `[rows, depth] x [depth, columns]` that a shader computes in tiles.
pub(super) struct Gemm {
    /// How many there are.
    pub copies: u32,
    pub rows: u32,
    pub depth: u32,
    pub columns: u32,
}

impl Gemm {
    /// The tile that is used unless another was measured to be faster, if each thread works on the whole depth.
    fn unshared_tile(&self) -> &'static GemmTile {
        &GemmTile::candidates(self.columns, 1)[0]
    }

    /// Workgroups of that tile.
    pub fn unshared_workgroups(&self) -> u32 {
        self.tiles(self.unshared_tile())
    }

    fn tiles(&self, tile: &GemmTile) -> u32 {
        self.copies * self.rows.div_ceil(tile.rows()) * self.columns.div_ceil(tile.columns())
    }
}

/// All matrix products of a dispatch, which have equal columns.
pub(super) struct GemmBatch(pub Vec<Gemm>);

impl GemmBatch {
    fn columns(&self) -> u32 {
        self.0[0].columns
    }

    fn tiles(&self, tile: &GemmTile) -> u32 {
        self.0.iter().map(|gemm| gemm.tiles(tile)).sum()
    }

    /// Returns the split-K factor: the parts of a workgroup that share the depth of its tile. It
    /// depends on the products alone, never on the tile, as the sums' bits depend on it.
    pub fn split_k(&self) -> u32 {
        let tile = self.0[0].unshared_tile();
        if self.tiles(tile) * CONV_ROW_THREADS * tile.threads < BUSY_THREADS { SPLIT_K } else { 1 }
    }

    /// Workgroups of the default tile.
    pub fn workgroups(&self, split_k: u32) -> u32 {
        self.tiles(&GemmTile::candidates(self.columns(), split_k)[0])
    }

    /// Terms of the longest sum.
    pub fn terms(&self) -> f64 {
        f64::from(self.0.iter().map(|gemm| gemm.depth).max().unwrap_or(0))
    }

    /// Words loaded in the default tiles, as if those on the border were whole.
    pub fn loads(&self, split_k: u32) -> f64 {
        let tile = &GemmTile::candidates(self.columns(), split_k)[0];
        let steps = self.0.iter().map(|gemm| f64::from(gemm.tiles(tile)) * f64::from(gemm.depth));
        steps.sum::<f64>() * f64::from(tile.rows() + tile.columns())
    }
}

impl ConvShape {
    /// Returns a variant for each candidate tile of `gemms`.
    pub(super) fn variants(&self, gemms: &GemmBatch, split_k: u32) -> Vec<Variant> {
        // Words of four channels need multiples of them. The few layers that have none, stems mostly, are not worth
        // a choice.
        let vector = self.in_channels.is_multiple_of(4) && self.out_channels.is_multiple_of(4);
        let imports: &[&str] = if vector { &["words_vector"] } else { &[] };
        let candidates = GemmTile::candidates(gemms.columns(), split_k);
        let variant = |tile: &GemmTile| Variant {
            name: tile.name,
            constants: vec![
                ("COLUMNS", f64::from(tile.threads)),
                ("ROW_GROUPS", f64::from(tile.row_groups)),
                ("COLUMN_GROUPS", f64::from(tile.column_groups)),
                ("TILE_DEPTH", f64::from(tile.depth)),
                ("BUFFERS", f64::from(tile.buffers)),
                ("SPLIT_K", f64::from(split_k)),
                ("POINTWISE", f64::from(u8::from(self.is_pointwise()))),
            ],
            imports,
            workgroups: gemms.tiles(tile),
        };
        candidates[..if vector { candidates.len() } else { 1 }].iter().map(variant).collect()
    }
}
