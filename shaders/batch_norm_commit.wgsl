// batch_norm_commit: running += momentum * (batch - running), for every batch norm of the net at once.
// batch, running: [elements], means and variances alike; group_of: [elements / 64], parameter group of each granule
// control: header and one row per group (shared/update); report: [5], word 3 nonzero once a value was not finite
// A dropped block's statistics stay as they are; so do all after a value that is not finite.
// Grid: one thread per element. Twin: kernels/batch_norm/commit.rs
//!import grid
//!import control
//!import update
//!import report

struct Params {
    elements: u32,
    momentum: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> batch: array<f32>;
@group(0) @binding(2) var<storage, read> group_of: array<u32>;
@group(0) @binding(3) var<storage, read> control: array<u32>;
@group(0) @binding(4) var<storage, read> report: array<u32>;
@group(0) @binding(5) var<storage, read_write> running: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < p.elements; i += workgroup_total(count) * WORKGROUP) {
        let mode = control[control_row(group_of[i / GRANULE]) + ROW_MODE];
        if mode == UPDATE_GRADIENT && report[REPORT_NOT_FINITE] == 0u {
            running[i] = fma(p.momentum, batch[i] - running[i], running[i]);
        }
    }
}
