//! The tiles in which the shaders make their matrix products, and the variants that they make.

use super::Shape;
use crate::dispatch::Variant;

/// A tile of a matrix product that a workgroup of a shader makes: constants of `shaders/shared/gemm.wgsl`.
struct Tile {
    /// Rows and columns of the tile, and of each thread's part of it.
    name: &'static str,
    /// Threads along the columns; there are 16 along the rows.
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
/// Those parts.
const DEPTH_PARTS: u32 = 4;

const fn tile(name: &'static str, threads: u32, groups: [u32; 2], depth: u32, buffers: u32) -> Tile {
    Tile { name, threads, row_groups: groups[0], column_groups: groups[1], depth, buffers }
}

/// Tiles for up to 16 columns. Large parts of a thread load less from workgroup memory, small ones leave more threads
/// to hide latencies; the depths and the copies are the most that 16 KiB hold.
static NARROW_TILES: [Tile; 3] = [
    tile("64x16 by 4x4", 4, [1, 1], 16, 2),
    tile("128x16 by 8x4", 4, [2, 1], 16, 1),
    tile("128x16 by 8x8", 2, [2, 2], 8, 2),
];
/// Tiles for up to 32 columns.
static MIDDLE_TILES: [Tile; 3] = [
    tile("64x32 by 4x4", 8, [1, 1], 16, 2),
    tile("128x32 by 8x4", 8, [2, 1], 16, 1),
    tile("128x32 by 8x8", 4, [2, 2], 16, 1),
];
/// Tiles for more columns; the last for more than 64.
static WIDE_TILES: [Tile; 5] = [
    tile("64x64 by 4x4", 16, [1, 1], 16, 1),
    tile("64x64 by 4x8", 8, [1, 2], 16, 1),
    tile("128x64 by 8x8", 8, [2, 2], 16, 1),
    tile("64x32 by 4x4", 8, [1, 1], 16, 2),
    tile("128x128 by 8x8", 16, [2, 2], 8, 1),
];

/// Tiles of few threads, as many as there may be in a workgroup where [`DEPTH_PARTS`] share the depth.
static SHARED_TILES: [Tile; 3] = [
    tile("64x16 by 4x4, shared", 4, [1, 1], 32, 1),
    tile("128x16 by 8x4, shared", 4, [2, 1], 16, 1),
    tile("128x32 by 8x8, shared", 4, [2, 2], 16, 1),
];

impl Tile {
    /// Those that make sense for so many columns, the default first.
    fn candidates(columns: u32, depth_parts: u32) -> &'static [Self] {
        if depth_parts > 1 {
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
        64 * self.row_groups
    }

    fn columns(&self) -> u32 {
        4 * self.threads * self.column_groups
    }
}

/// Matrix products `[rows, depth] x [depth, columns]` that a shader works on in tiles.
pub(super) struct Product {
    /// How many there are.
    pub copies: u32,
    pub rows: u32,
    pub depth: u32,
    pub columns: u32,
}

impl Product {
    /// The tile that is used unless another was measured to be faster, if each thread works on the whole depth.
    fn unshared_tile(&self) -> &'static Tile {
        &Tile::candidates(self.columns, 1)[0]
    }

    /// Workgroups of that tile.
    pub fn unshared_workgroups(&self) -> u32 {
        self.tiles(self.unshared_tile())
    }

    fn tiles(&self, tile: &Tile) -> u32 {
        self.copies * self.rows.div_ceil(tile.rows()) * self.columns.div_ceil(tile.columns())
    }
}

/// All products of a dispatch, which have equal columns.
pub(super) struct Products(pub Vec<Product>);

impl Products {
    fn columns(&self) -> u32 {
        self.0[0].columns
    }

    fn tiles(&self, tile: &Tile) -> u32 {
        self.0.iter().map(|product| product.tiles(tile)).sum()
    }

    /// Parts of a workgroup that share the depth of its tile. They depend on the products alone, never on the tile, as
    /// the sums' bits depend on them.
    pub fn depth_parts(&self) -> u32 {
        let tile = self.0[0].unshared_tile();
        if self.tiles(tile) * 16 * tile.threads < BUSY_THREADS { DEPTH_PARTS } else { 1 }
    }

    /// Workgroups of the default tile.
    pub fn workgroups(&self, depth_parts: u32) -> u32 {
        self.tiles(&Tile::candidates(self.columns(), depth_parts)[0])
    }

    /// Terms of the longest sum.
    pub fn terms(&self) -> f64 {
        f64::from(self.0.iter().map(|product| product.depth).max().unwrap_or(0))
    }

    /// Words loaded in the default tiles, as if those on the border were whole.
    pub fn loads(&self, depth_parts: u32) -> f64 {
        let tile = &Tile::candidates(self.columns(), depth_parts)[0];
        let steps = self.0.iter().map(|product| f64::from(product.tiles(tile)) * f64::from(product.depth));
        steps.sum::<f64>() * f64::from(tile.rows() + tile.columns())
    }
}

impl Shape {
    /// A variant for each candidate tile of `products`.
    pub(super) fn variants(&self, products: &Products, depth_parts: u32) -> Vec<Variant> {
        // Words of four channels need multiples of them. The few layers that have none, stems mostly, are not worth
        // a choice.
        let vector = self.in_channels.is_multiple_of(4) && self.out_channels.is_multiple_of(4);
        let imports: &[&str] = if vector { &["words_vector"] } else { &[] };
        let candidates = Tile::candidates(products.columns(), depth_parts);
        let variant = |tile: &Tile| Variant {
            name: tile.name,
            constants: vec![
                ("COLUMNS", f64::from(tile.threads)),
                ("ROW_GROUPS", f64::from(tile.row_groups)),
                ("COLUMN_GROUPS", f64::from(tile.column_groups)),
                ("TILE_DEPTH", f64::from(tile.depth)),
                ("BUFFERS", f64::from(tile.buffers)),
                ("DEPTH_PARTS", f64::from(depth_parts)),
                ("POINTWISE", f64::from(u8::from(self.is_pointwise()))),
            ],
            imports,
            workgroups: products.tiles(tile),
        };
        candidates[..if vector { candidates.len() } else { 1 }].iter().map(variant).collect()
    }
}
