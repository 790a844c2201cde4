//! Winograd's minimal filtering F(4x4, 3x3), for 3x3 kernels with a stride of one: 36 multiplications for what takes
//! 144 directly.
//!
//! After Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016. The output is cut into tiles of 4x4
//! pixels, which see overlapping 6x6 tiles of the input. Both the input's tiles and the kernel are transformed (*V* and
//! *U*), so that each of the 36 numbers that become of a tile, its *frequencies*, is a product by itself; sums over
//! input channels are taken there, as 36 matrix products `[tiles, in] x [in, out]`, before the result *M* is
//! transformed back.
//!
//! A NaN or an infinity makes NaN of its whole tile, of pixels too that direct convolution would leave alone.
//!
//! The gradient of the input is the same convolution with the kernel turned round. The gradient of the weights is the
//! transpose of the whole in U: the sum over tiles of V times the gradient of M, transformed back to 3x3 once.

use std::cell::RefCell;
use std::ops::Range;

use multiversion::multiversion;
use multiversion::target::match_target;
use rayon::prelude::*;

use self::transform::{both_ways, filter_frequencies, input_frequencies, outputs};
use super::epilogue::Epilogue;
use super::layout::{Frame, Line, Order, Panels, Scratch, Sizes};
use super::micro::{self, LANES, Lanes, unroll};

mod gradient;
mod transform;

pub(super) use self::gradient::weight_gradient;

/// Pixels of a tile of the output, each way.
const OUT: usize = 4;
/// Pixels of the input that it sees, each way.
const IN: usize = OUT + 2;
/// Numbers that become of a tile.
const FREQUENCIES: usize = IN * IN;
/// Taps of the kernel: 3x3.
const TAPS: usize = 9;
/// Most tiles in a block, whose V and M stay in the L2 cache for up to some 100 channels.
const BLOCK: usize = 28;

/// V, M or the gradient of M of a block of tiles, for [`LANES`] channels.
type Frequencies = [[Lanes; BLOCK]; FREQUENCIES];

/// Fewest pixels for a task, which reads all transformed weights: 14 tiles, as many as AVX-512's registers take.
pub(super) const LEAST_TASK_PIXELS: usize = 14 * OUT * OUT;

/// Fewest channels, in and out, for which Winograd's method [`pays`].
const LEAST_CHANNELS: usize = LANES;
/// Smallest image, both ways, for which it pays.
const LEAST_SIZE: usize = 7;
/// Fewest pixels of a batch for which it pays.
const LEAST_PIXELS: usize = 1024;

/// Whether this method is the faster for a convolution, forward and both gradients together, as measured.
///
/// The transforms work on whole lines of channels. Of small images, tiles are mostly padding, much of which direct
/// convolution skips. In a small batch, tasks have too few tiles for the time that it takes to transform the weights
/// and to read them, 36 words for 9.
///
/// Besides, a number's error follows the largest products in its tile, whether or not they belong to it. Where few do,
/// the error is beyond what these few explain: in corners that a single tap of the kernel reaches, as with a padding of
/// 0 or 2.
pub(super) fn pays(sizes: &Sizes) -> bool {
    (sizes.kernel_height, sizes.kernel_width, sizes.stride, sizes.padding) == (3, 3, 1, 1)
        && sizes.in_channels.min(sizes.out_channels) >= LEAST_CHANNELS
        && sizes.height.min(sizes.width) >= LEAST_SIZE
        && sizes.batch * sizes.out_pixels() >= LEAST_PIXELS
}

/// A convolution of a few images at a time.
pub(super) struct Convolution {
    pub frame: Frame,
    tiles: ImageTiles,
    filters: Filters,
}

impl Convolution {
    /// x to y, for at most that many images.
    pub fn forward(sizes: &Sizes, w: &[f32], images: usize) -> Self {
        let taps: Vec<usize> = (0..TAPS).collect();
        Self::new(sizes, &Panels::pack(w, &taps, sizes, Order::AsStored), images)
    }

    /// dy to dx, for at most that many images.
    pub fn input_gradient(sizes: &Sizes, w: &[f32], images: usize) -> Self {
        let taps: Vec<usize> = (0..TAPS).rev().collect();
        Self::new(&sizes.transposed(), &Panels::pack(w, &taps, sizes, Order::Transposed), images)
    }

    fn new(sizes: &Sizes, panels: &Panels, images: usize) -> Self {
        let frame = Frame::of_tiles(sizes, OUT);
        Self { tiles: ImageTiles::new(sizes, &frame, images), filters: Filters::transform(panels, sizes), frame }
    }

    /// Convolves the framed `images`.
    pub fn run(&self, images: &[f32], epilogue: Epilogue<'_>, out: &mut [f32]) {
        convolve(images, &self.tiles, &self.filters, epilogue, out);
    }
}

/// The tiles of a few framed images.
struct ImageTiles {
    tiles: Vec<ImageTile>,
    /// Tiles of one image.
    per_image: usize,
    /// Elements of one output image.
    out_elements: usize,
    out_width: usize,
    /// Words between rows of the framed images.
    pitch: usize,
    in_channels: usize,
    out_channels: usize,
}

struct ImageTile {
    /// The word of the framed images where its input begins.
    origin: usize,
    /// The first pixel of its output, counted through all images, and how many lie within the image.
    pixel: usize,
    rows: usize,
    columns: usize,
}

impl ImageTiles {
    fn new(sizes: &Sizes, frame: &Frame, images: usize) -> Self {
        let mut tiles = Vec::new();
        for image in 0..images {
            for y in (0..sizes.out_height).step_by(OUT) {
                for x in (0..sizes.out_width).step_by(OUT) {
                    tiles.push(ImageTile {
                        origin: frame.index(image, y, x),
                        pixel: (image * sizes.out_height + y) * sizes.out_width + x,
                        rows: OUT.min(sizes.out_height - y),
                        columns: OUT.min(sizes.out_width - x),
                    });
                }
            }
        }
        Self {
            tiles,
            per_image: sizes.out_height.div_ceil(OUT) * sizes.out_width.div_ceil(OUT),
            out_elements: sizes.out_elements(),
            out_width: sizes.out_width,
            pitch: frame.index(0, 1, 0),
            in_channels: sizes.in_channels,
            out_channels: sizes.out_channels,
        }
    }

    /// Those of as many images as have so many words of output, in blocks.
    fn blocks(&self, words: usize) -> impl Iterator<Item = &[ImageTile]> {
        self.tiles[..words / self.out_elements * self.per_image].chunks(BLOCK)
    }
}

/// The transformed weights, U: `[panels, FREQUENCIES, rows, LANES]`, with zeros beyond the last row and column.
struct Filters {
    weights: Vec<Line>,
    /// Input channels, rounded up to whole lines.
    rows: usize,
}

impl Filters {
    /// Of weights in panels of nine taps.
    fn transform(panels: &Panels, sizes: &Sizes) -> Self {
        let rows = sizes.in_channels.next_multiple_of(LANES);
        let mut weights = vec![Line::ZERO; sizes.out_channels.div_ceil(LANES) * FREQUENCIES * rows];
        let panels: Vec<&[Lanes]> = panels.iter().collect();
        weights.par_chunks_mut(FREQUENCIES * rows).zip(panels).for_each(|(weights, panel)| {
            transform_filters(panel, rows, Line::lanes_mut(weights));
        });
        Self { weights, rows }
    }

    /// A panel's matrices of [`LANES`] rows, one for each group of input channels.
    fn panel(&self, panel: usize, frequency: usize) -> &[[Lanes; LANES]] {
        Line::lanes(&self.weights[(panel * FREQUENCIES + frequency) * self.rows..][..self.rows]).as_chunks().0
    }
}

/// `[TAPS, input channels]` to `[FREQUENCIES, rows]`.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn transform_filters(taps: &[Lanes], rows: usize, filters: &mut [Lanes]) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma" => transform_filter::<true>(taps, rows, filters),
        "x86_64+avx2+fma" => transform_filter::<true>(taps, rows, filters),
        "aarch64+neon" => transform_filter::<true>(taps, rows, filters),
        _ => transform_filter::<false>(taps, rows, filters),
    }
}

#[inline(always)]
fn transform_filter<const FMA: bool>(taps: &[Lanes], rows: usize, filters: &mut [Lanes]) {
    let channels = taps.len() / TAPS;
    for row in 0..channels {
        let mut kernel = [[[0.0; LANES]; 3]; 3];
        unroll!(y < 3 => unroll!(x < 3 => kernel[y][x] = taps[(3 * y + x) * channels + row]));
        let frequencies = both_ways(kernel, filter_frequencies::<FMA>);
        unroll!(y < IN => unroll!(x < IN => filters[(IN * y + x) * rows + row] = frequencies[y][x]));
    }
}

/// Memory of a thread for V, for M or its gradient, and for the gradient of U.
struct Memory {
    inputs: Scratch,
    outputs: Scratch,
    filters: Scratch,
}

impl Memory {
    /// Calls `task` with the thread's memory.
    fn with<T>(task: impl FnOnce(&mut Self) -> T) -> T {
        thread_local!(static MEMORY: RefCell<Memory> = const {
            RefCell::new(Memory { inputs: Scratch::new(), outputs: Scratch::new(), filters: Scratch::new() })
        });
        MEMORY.with_borrow_mut(task)
    }
}

/// Convolves the framed `images`.
fn convolve(images: &[f32], tiles: &ImageTiles, filters: &Filters, epilogue: Epilogue<'_>, out: &mut [f32]) {
    Memory::with(|memory| {
        let v = memory.inputs.arrays(tiles.in_channels.div_ceil(LANES));
        let m = memory.outputs.arrays(tiles.out_channels.div_ceil(LANES));
        for block in tiles.blocks(out.len()) {
            convolve_block(images, tiles, block, filters, v, m, &epilogue, out);
        }
    });
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn convolve_block(
    images: &[f32],
    tiles: &ImageTiles,
    block: &[ImageTile],
    filters: &Filters,
    v: &mut [Frequencies],
    m: &mut [Frequencies],
    epilogue: &Epilogue<'_>,
    out: &mut [f32],
) {
    match_target! {
        "x86_64+avx512f+avx512vl+fma" => {
            convolve_tiles::<14, 2, true>(images, tiles, block, filters, v, m, epilogue, out)
        }
        "x86_64+avx2+fma" => convolve_tiles::<4, 1, true>(images, tiles, block, filters, v, m, epilogue, out),
        "aarch64+neon" => convolve_tiles::<4, 1, true>(images, tiles, block, filters, v, m, epilogue, out),
        _ => convolve_tiles::<2, 1, false>(images, tiles, block, filters, v, m, epilogue, out),
    }
}

/// In register tiles of `P` tiles times `Q` panels.
#[inline(always)]
fn convolve_tiles<const P: usize, const Q: usize, const FMA: bool>(
    images: &[f32],
    tiles: &ImageTiles,
    block: &[ImageTile],
    filters: &Filters,
    v: &mut [Frequencies],
    m: &mut [Frequencies],
    epilogue: &Epilogue<'_>,
    out: &mut [f32],
) {
    transform_inputs::<FMA>(images, tiles, block, 0..tiles.in_channels, v);
    multiply::<P, Q, FMA>(block.len(), v, filters, m);
    transform_outputs::<FMA>(tiles, block, m, epilogue, out);
}

/// V of those channels of the input, for each group of [`LANES`].
#[inline(always)]
fn transform_inputs<const FMA: bool>(
    images: &[f32],
    tiles: &ImageTiles,
    block: &[ImageTile],
    channels: Range<usize>,
    v: &mut [Frequencies],
) {
    for (v, first) in v.iter_mut().zip(channels.clone().step_by(LANES)) {
        match channels.end - first {
            LANES.. => transform_input::<true, FMA>(images, tiles, block, first, LANES, v),
            lanes => transform_input::<false, FMA>(images, tiles, block, first, lanes, v),
        }
    }
}

/// V of `lanes` channels from `first` on: of [`LANES`] if `WHOLE`.
#[inline(always)]
fn transform_input<const WHOLE: bool, const FMA: bool>(
    images: &[f32],
    tiles: &ImageTiles,
    block: &[ImageTile],
    first: usize,
    lanes: usize,
    v: &mut Frequencies,
) {
    for (index, tile) in block.iter().enumerate().take(BLOCK) {
        let mut d = [[[0.0; LANES]; IN]; IN];
        unroll!(y < IN => {
            let row = &images[tile.origin + y * tiles.pitch + first..][..(IN - 1) * tiles.in_channels + lanes];
            unroll!(x < IN => d[y][x] = micro::load::<WHOLE>(&row[x * tiles.in_channels..], lanes));
        });
        let frequencies = both_ways(d, input_frequencies::<FMA>);
        unroll!(y < IN => unroll!(x < IN => v[IN * y + x][index] = frequencies[y][x]));
    }
}

/// M of `count` tiles for each panel, in register tiles of `P` tiles times `Q` panels.
#[inline(always)]
fn multiply<const P: usize, const Q: usize, const FMA: bool>(
    count: usize,
    v: &[Frequencies],
    filters: &Filters,
    m: &mut [Frequencies],
) {
    const { assert!(BLOCK.is_multiple_of(P)) };
    for frequency in 0..FREQUENCIES {
        let mut panel = 0;
        for m in m.chunks_mut(Q) {
            if let Some(m) = m.first_chunk_mut::<Q>() {
                multiply_panels::<P, Q, FMA>(count, v, frequency, filters, panel, m);
            } else {
                for (q, m) in m.iter_mut().enumerate() {
                    multiply_panels::<P, 1, FMA>(count, v, frequency, filters, panel + q, std::array::from_mut(m));
                }
            }
            panel += Q;
        }
    }
}

#[inline(always)]
fn multiply_panels<const P: usize, const Q: usize, const FMA: bool>(
    count: usize,
    v: &[Frequencies],
    frequency: usize,
    filters: &Filters,
    panel: usize,
    m: &mut [Frequencies; Q],
) {
    let mut u: [&[[Lanes; LANES]]; Q] = [&[]; Q];
    unroll!(q < Q => u[q] = &filters.panel(panel + q, frequency)[..v.len()]);
    // The last register tile computes something for tiles that don't exist, which nobody reads.
    for tiles in 0..count.div_ceil(P) {
        let mut sums = [[[0.0; LANES]; P]; Q];
        for (group, v) in v.iter().enumerate() {
            let mut weights = [&[[0.0; LANES]; LANES]; Q];
            unroll!(q < Q => weights[q] = &u[q][group]);
            sums = micro::multiply::<P, Q, FMA>(&v[frequency].as_chunks::<P>().0[tiles], &weights, sums);
        }
        unroll!(q < Q => m[q][frequency].as_chunks_mut::<P>().0[tiles] = sums[q]);
    }
}

/// The block's pixels out of M.
#[inline(always)]
fn transform_outputs<const FMA: bool>(
    tiles: &ImageTiles,
    block: &[ImageTile],
    m: &[Frequencies],
    epilogue: &Epilogue<'_>,
    out: &mut [f32],
) {
    for (m, first) in m.iter().zip((0..tiles.out_channels).step_by(LANES)) {
        match tiles.out_channels - first {
            LANES.. => transform_output::<true, FMA>(tiles, block, m, first, LANES, epilogue, out),
            lanes => transform_output::<false, FMA>(tiles, block, m, first, lanes, epilogue, out),
        }
    }
}

/// `lanes` channels of the block's pixels from `first` on: [`LANES`] if `WHOLE`.
#[inline(always)]
fn transform_output<const WHOLE: bool, const FMA: bool>(
    tiles: &ImageTiles,
    block: &[ImageTile],
    m: &Frequencies,
    first: usize,
    lanes: usize,
    epilogue: &Epilogue<'_>,
    out: &mut [f32],
) {
    let columns = epilogue.columns::<WHOLE>(first, lanes);
    for (index, tile) in block.iter().enumerate().take(BLOCK) {
        let mut frequencies = [[[0.0; LANES]; IN]; IN];
        unroll!(y < IN => unroll!(x < IN => frequencies[y][x] = m[IN * y + x][index]));
        let sums = both_ways(frequencies, outputs::<FMA>);
        for (y, sums) in sums.into_iter().enumerate().take(tile.rows) {
            // Pixels beyond the edge stand for the last before it, and are not stored.
            let word = (tile.pixel + y * tiles.out_width) * tiles.out_channels + first;
            let mut words = [word; OUT];
            unroll!(x < OUT => words[x] += x.min(tile.columns - 1) * tiles.out_channels);
            let pixels = columns.finish::<WHOLE, OUT>(sums, words);
            unroll!(x < OUT => if x < tile.columns {
                micro::store::<WHOLE>(&pixels[x], lanes, &mut out[words[x]..]);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sizes, pays};

    #[test]
    fn pays_for_large_images_of_many_channels_in_large_batches() {
        let sizes = || Sizes {
            batch: 21,
            height: 7,
            width: 7,
            in_channels: 16,
            out_height: 7,
            out_width: 7,
            out_channels: 16,
            kernel_height: 3,
            kernel_width: 3,
            stride: 1,
            padding: 1,
        };
        assert!(pays(&sizes()));
        assert!(!pays(&Sizes { batch: 20, ..sizes() }));
        assert!(!pays(&Sizes { in_channels: 15, ..sizes() }));
        assert!(!pays(&Sizes { out_channels: 15, ..sizes() }));
        assert!(!pays(&Sizes { batch: 99, height: 6, out_height: 6, ..sizes() }));
        assert!(!pays(&Sizes { batch: 99, width: 6, out_width: 6, ..sizes() }));
        assert!(!pays(&Sizes { batch: 99, out_height: 4, out_width: 4, stride: 2, ..sizes() }));
        assert!(!pays(&Sizes { batch: 99, out_height: 9, out_width: 9, padding: 2, ..sizes() }));
        assert!(!pays(&Sizes { batch: 99, out_height: 5, out_width: 5, padding: 0, ..sizes() }));
        assert!(!pays(&Sizes { batch: 99, kernel_width: 1, ..sizes() }));
    }
}
