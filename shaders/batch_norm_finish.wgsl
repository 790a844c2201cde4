// batch_norm_finish: merges the chunks of batch_norm_statistics into the batch's statistics.
// partials: [chunks, 2, channels] (mean, m2)
// statistics: [2, channels] (mean, 1 / sqrt(biased variance + epsilon)), for apply and backward
// batch_mean, batch_var: [channels], the variance unbiased, for batch_norm_commit
// Grid: one workgroup per channel. Twin: kernels/batch_norm.rs
//!import grid
//!import moments

struct Params {
    pixels: u32,
    channels: u32,
    chunk_pixels: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(3) var<storage, read_write> batch_mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> batch_var: array<f32>;

const LANES = 64u;

var<workgroup> lanes: array<Moments, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let chunks = (p.pixels + p.chunk_pixels - 1u) / p.chunk_pixels;
    for (var channel = workgroup_index(id, count); channel < p.channels; channel += workgroup_total(count)) {
        var sum = Moments(0.0, 0.0, 0.0);
        for (var chunk = lane; chunk < chunks; chunk += LANES) {
            let pixels = min(p.chunk_pixels, p.pixels - chunk * p.chunk_pixels);
            let mean = partials[2u * chunk * p.channels + channel];
            let m2 = partials[(2u * chunk + 1u) * p.channels + channel];
            sum = merge_moments(sum, Moments(f32(pixels), mean, m2));
        }
        lanes[lane] = sum;
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if lane < half {
                lanes[lane] = merge_moments(lanes[lane], lanes[lane + half]);
            }
            workgroupBarrier();
        }
        if lane == 0u {
            let total = lanes[0];
            statistics[channel] = total.mean;
            statistics[p.channels + channel] = 1.0 / sqrt(total.m2 / total.count + p.epsilon);
            batch_mean[channel] = total.mean;
            batch_var[channel] = total.m2 / (total.count - 1.0);
        }
        workgroupBarrier();
    }
}
