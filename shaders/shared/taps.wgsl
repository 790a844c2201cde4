// taps: steps of the depth of a convolution's matrix product: a tap of the kernel and a channel under it.
// Needs gemm, whose tiles are TILE_DEPTH steps deep.

struct Step {
    tap: vec2<u32>,  // row, column
    channel: u32,
}

fn step_at(index: u32, kernel_width: u32, channels: u32) -> Step {
    let tap = index / channels;
    return Step(vec2(tap / kernel_width, tap % kernel_width), index % channels);
}

// The step TILE_DEPTH further on, without dividing: a tile's loads would spend as long on divisions as on loading.
fn in_next_tile(step: Step, kernel_width: u32, channels: u32) -> Step {
    var next = step;
    next.channel += TILE_DEPTH;
    while next.channel >= channels {
        next.channel -= channels;
        next.tap.y += 1u;
        if next.tap.y == kernel_width {
            next.tap = vec2(next.tap.x + 1u, 0u);
        }
    }
    return next;
}
