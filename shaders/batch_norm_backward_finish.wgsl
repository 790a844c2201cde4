// batch_norm_backward_finish: sums the chunks of batch_norm_backward_reduce, or of conv_input_gradient.
// partials: [chunks, 2, channels]; dgamma, dbeta: [channels]
// Grid: one workgroup per channel. Twin: kernels/batch_norm/backward.rs
//!import grid

struct Params {
    chunks: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(3) var<storage, read_write> dbeta: array<f32>;

const LANES = 64u;

var<workgroup> lanes: array<vec2<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var channel = workgroup_index(id, count); channel < p.channels; channel += workgroup_total(count)) {
        var sum = vec2<f32>(0.0, 0.0);
        for (var chunk = lane; chunk < p.chunks; chunk += LANES) {
            let first = 2u * chunk * p.channels + channel;
            sum += vec2<f32>(partials[first], partials[first + p.channels]);
        }
        lanes[lane] = sum;
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if lane < half {
                lanes[lane] += lanes[lane + half];
            }
            workgroupBarrier();
        }
        if lane == 0u {
            dbeta[channel] = lanes[0].x;
            dgamma[channel] = lanes[0].y;
        }
        workgroupBarrier();
    }
}
