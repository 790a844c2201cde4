// batch_norm_finish: merges the statistics of the chunks of a convolution's output into the batch's, and the norm.
// partials: [chunks, 2, channels] (mean, m2); gamma, beta: [channels]
// norm: [4, channels] (mean, 1 / sqrt(biased variance + epsilon), gamma, beta)
// batch_mean, batch_var: [channels], the variance unbiased, for batch_norm_commit
// Grid: one workgroup per channel. Twin: kernels/batch_norm/norm.rs
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
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> norm: array<f32>;
@group(0) @binding(5) var<storage, read_write> batch_mean: array<f32>;
@group(0) @binding(6) var<storage, read_write> batch_var: array<f32>;

const LANES = 64u;

var<workgroup> lanes: array<Moments, LANES>;

@compute @workgroup_size(LANES)
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
            norm[channel] = total.mean;
            norm[p.channels + channel] = 1.0 / sqrt(total.m2 / total.count + p.epsilon);
            norm[2u * p.channels + channel] = gamma[channel];
            norm[3u * p.channels + channel] = beta[channel];
            batch_mean[channel] = total.mean;
            batch_var[channel] = total.m2 / (total.count - 1.0);
        }
        workgroupBarrier();
    }
}
