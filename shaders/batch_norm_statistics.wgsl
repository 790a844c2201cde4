// batch_norm_statistics: mean and sum of squared deviations of each channel over each chunk of pixels.
// x: [pixels, channels]; partials: [chunks, 2, channels] (mean, m2)
// Grid: one workgroup per chunk and 16 channels: 16 threads along channels, 16 along pixels.
// Twin: kernels/batch_norm.rs
//!import grid
//!import moments

struct Params {
    pixels: u32,
    channels: u32,
    chunk_pixels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;

const LANES = 16u;

var<workgroup> rows: array<Moments, 256>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let chunks = (p.pixels + p.chunk_pixels - 1u) / p.chunk_pixels;
    let channel_tiles = (p.channels + LANES - 1u) / LANES;
    let lane = local.y * LANES + local.x;
    for (var tile = workgroup_index(id, count); tile < chunks * channel_tiles; tile += workgroup_total(count)) {
        let chunk = tile / channel_tiles;
        let channel = (tile % channel_tiles) * LANES + local.x;
        let end = min((chunk + 1u) * p.chunk_pixels, p.pixels);
        var sum = Moments(0.0, 0.0, 0.0);
        if channel < p.channels {
            for (var pixel = chunk * p.chunk_pixels + local.y; pixel < end; pixel += LANES) {
                let value = x[pixel * p.channels + channel];
                let delta = value - sum.mean;
                sum.count += 1.0;
                sum.mean += delta / sum.count;
                sum.m2 = fma(delta, value - sum.mean, sum.m2);
            }
        }
        rows[lane] = sum;
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if local.y < half {
                rows[lane] = merge_moments(rows[lane], rows[lane + half * LANES]);
            }
            workgroupBarrier();
        }
        if local.y == 0u && channel < p.channels {
            partials[2u * chunk * p.channels + channel] = rows[lane].mean;
            partials[(2u * chunk + 1u) * p.channels + channel] = rows[lane].m2;
        }
        workgroupBarrier();
    }
}
