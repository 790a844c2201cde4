// batch_norm_running: the norm of inference, from the running statistics.
// running_mean, running_var, gamma, beta: [channels]
// norm: [4, channels] (mean, 1 / sqrt(variance + epsilon), gamma, beta)
// Grid: one thread per channel. Twin: kernels/batch_norm/norm.rs
//!import grid

struct Params {
    channels: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> running_mean: array<f32>;
@group(0) @binding(2) var<storage, read> running_var: array<f32>;
@group(0) @binding(3) var<storage, read> gamma: array<f32>;
@group(0) @binding(4) var<storage, read> beta: array<f32>;
@group(0) @binding(5) var<storage, read_write> norm: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < p.channels; i += workgroup_total(count) * WORKGROUP) {
        norm[i] = running_mean[i];
        norm[p.channels + i] = 1.0 / sqrt(running_var[i] + p.epsilon);
        norm[2u * p.channels + i] = gamma[i];
        norm[3u * p.channels + i] = beta[i];
    }
}
