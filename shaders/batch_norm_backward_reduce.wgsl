// batch_norm_backward_reduce: sums over each chunk of pixels of g and of g * xhat, the gradients of beta and gamma,
// where g = scale * dy where the ReLU behind let its input through (mask > 0), and xhat = (x - mean) * rstd.
// dy, mask, x: [pixels, channels]; norm: [4, channels] (mean, rstd, gamma, beta); partials: [chunks, 2, channels]
// Grid: one workgroup per chunk and 16 channels: 16 threads along channels, 16 along pixels.
// Twin: kernels/batch_norm/backward.rs
//!import words_single
//!import grid
//!import norm

struct Params {
    pixels: u32,
    channels: u32,
    chunk_pixels: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> mask: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> norm: array<f32>;
@group(0) @binding(5) var<storage, read_write> partials: array<f32>;

const REDUCE_CHANNELS = 16u;

var<workgroup> rows: array<vec2<f32>, REDUCE_CHANNELS * REDUCE_CHANNELS>;

@compute @workgroup_size(REDUCE_CHANNELS, REDUCE_CHANNELS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let chunks = (p.pixels + p.chunk_pixels - 1u) / p.chunk_pixels;
    let channel_tiles = (p.channels + REDUCE_CHANNELS - 1u) / REDUCE_CHANNELS;
    let lane = local.y * REDUCE_CHANNELS + local.x;
    for (var tile = workgroup_index(id, count); tile < chunks * channel_tiles; tile += workgroup_total(count)) {
        let chunk = tile / channel_tiles;
        let channel = (tile % channel_tiles) * REDUCE_CHANNELS + local.x;
        let end = min((chunk + 1u) * p.chunk_pixels, p.pixels);
        var sum = vec2<f32>(0.0, 0.0);
        if channel < p.channels {
            let norm = norm_of(channel, p.channels);
            for (var pixel = chunk * p.chunk_pixels + local.y; pixel < end; pixel += REDUCE_CHANNELS) {
                let i = pixel * p.channels + channel;
                let g = select(0.0, p.scale * dy[i], mask[i] > 0.0);
                sum += vec2<f32>(g, g * standardized(x[i], norm));
            }
        }
        rows[lane] = sum;
        workgroupBarrier();
        for (var half = REDUCE_CHANNELS / 2u; half > 0u; half /= 2u) {
            if local.y < half {
                rows[lane] += rows[lane + half * REDUCE_CHANNELS];
            }
            workgroupBarrier();
        }
        if local.y == 0u && channel < p.channels {
            partials[2u * chunk * p.channels + channel] = rows[lane].x;
            partials[(2u * chunk + 1u) * p.channels + channel] = rows[lane].y;
        }
        workgroupBarrier();
    }
}
