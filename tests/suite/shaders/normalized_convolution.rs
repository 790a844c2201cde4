//! What convolutions do for batch norms, against the batch norms' own kernels.

use sdgpu::internals::kernels::batch_norm::{Apply, Residual};
use sdgpu::internals::kernels::conv::{
    ConvShape, Forward, ForwardEpilogue, InputGradient, InputGradientEpilogue, Load, WeightGradient,
};
use sdgpu::internals::selftest::tables::Draw;
use sdgpu::internals::selftest::{Row, Word, Words, run};

use super::Bench;

const fn shape(batch: u32, image: [u32; 2], channels: [u32; 2], kernel: u32, stride: u32, padding: u32) -> ConvShape {
    let ([height, width], [in_channels, out_channels]) = (image, channels);
    let [kernel_height, kernel_width] = [kernel; 2];
    ConvShape { batch, height, width, in_channels, out_channels, kernel_height, kernel_width, stride, padding }
}

/// Returns what a kernel wrote as numbers for another one to read, with the same bits.
fn numbers(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&bits| f32::from_bits(bits)).collect()
}

/// What convolutions do for batch norms is what the batch norms' own kernels would: to the bit, on
/// each device.
#[test]
fn fused_and_unfused_give_the_same_bits() {
    let mut draw = Draw::new(3);
    for (shape, why) in [
        (shape(2, [8, 8], [16, 16], 3, 1, 1), "full tiles"),
        (shape(30, [7, 7], [20, 36], 3, 1, 1), "Winograd's method on the CPU"),
        (shape(2, [6, 5], [33, 17], 3, 2, 1), "stride 2"),
        (shape(5, [5, 5], [20, 65], 1, 1, 0), "pointwise"),
    ] {
        let (inputs, outputs) = (shape.in_pixels() * shape.in_channels, shape.out_pixels() * shape.out_channels);
        let (x, dy) = (draw.signed(inputs as usize), draw.signed(outputs as usize));
        let w = draw.signed(shape.weight_elements());
        let [norm, out_norm] = [shape.in_channels, shape.out_channels].map(|channels| draw.norm(channels as usize));
        let any = |words: usize| vec![Word::Any; words];
        for implementation in &mut Bench::lend().0 {
            let device = implementation.first_device().expect("a mode");
            let mut result = |row: Row| run(device, &row, 0).expect("a result").swap_remove(0);

            let apply = Apply::new(shape.in_pixels(), shape.in_channels, true);
            let rectified = result(Row::new(why, apply).read(&x).read(&norm).write(any(x.len())));
            // Operands that a mode does not use are left out, so that shaders find NaNs there.
            let mut forward = |load: Load, x: &dyn Words| {
                let row = Row::new(why, Forward::training(&shape, load)).read(x).read(&w);
                let row = row.read_if_used(load.reads_norm().then_some(&norm)).unused_read();
                let statistics = 2 * (shape.output_chunks() * shape.out_channels) as usize;
                result(row.write(any(dy.len())).write(any(statistics)))
            };
            assert!(forward(Load::Plain, &numbers(&rectified)) == forward(Load::Normalized, &x), "forward, {why}");

            let y = numbers(&forward(Load::Plain, &x));
            let (pixels, channels) = (shape.out_pixels(), shape.out_channels);
            let residual = ForwardEpilogue::Residual { scale: 0.7 };
            for epilogue in [ForwardEpilogue::Normalize, ForwardEpilogue::NormalizeRectify, residual] {
                let unfused = match epilogue {
                    ForwardEpilogue::Residual { scale } => {
                        Row::new(why, Residual { pixels, channels, scale }).read(&y).read(&out_norm).read(&dy)
                    }
                    _ => {
                        let apply = Apply::new(pixels, channels, epilogue.is_non_negative());
                        Row::new(why, apply).read(&y).read(&out_norm)
                    }
                };
                let fused = Row::new(why, Forward::inference(&shape, epilogue)).read(&x).read(&w).read(&out_norm);
                let fused = fused.read_if_used(epilogue.reads_shortcut().then_some(&dy));
                let fused = fused.write(any(dy.len())).unused_write();
                assert!(result(fused) == result(unfused.write(any(dy.len()))), "{epilogue:?}, {why}");
            }

            let mut weights = |load: Load, x: &dyn Words| {
                let row = Row::new(why, WeightGradient::new(&shape, load)).read(x).read(&dy);
                let row = row.read_if_used(load.reads_norm().then_some(&norm));
                result(row.write(any(shape.partial_elements())))
            };
            assert!(
                weights(Load::Plain, &numbers(&rectified)) == weights(Load::Normalized, &x),
                "weight gradient, {why}"
            );

            let mut input = |epilogue: InputGradientEpilogue| {
                let row = Row::new(why, InputGradient::new(&shape, epilogue)).read(&dy).read(&w).unused_read();
                let partials = 2 * (shape.input_chunks() * shape.in_channels) as usize;
                let used = epilogue.reads_norm();
                let row = row.unused_read().read_if_used(used.then_some(&x)).read_if_used(used.then_some(&norm));
                let row = row.write(any(x.len()));
                result(if epilogue.writes_sums() { row.write(any(partials)) } else { row.unused_write() })
            };
            let (mut plain, fused) = (input(InputGradientEpilogue::Plain), input(InputGradientEpilogue::Rectify));
            for (dx, y) in plain.iter_mut().zip(rectified) {
                *dx = if f32::from_bits(y) > 0.0 { *dx } else { 0 };
            }
            assert!(plain == fused, "input gradient, {why}");
        }
    }
}
