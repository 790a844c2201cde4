// finite: sets report[REPORT_NOT_FINITE] to 1 if any value is NaN or infinite, and leaves it otherwise
// values: [elements]; report: [5]
// Grid: one thread per element. Twin: kernels/finite.rs
//!import grid
//!import finite
//!import report

struct Params {
    elements: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> report: array<atomic<u32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < p.elements; i += workgroup_total(count) * WORKGROUP) {
        if !is_finite(values[i]) {
            atomicStore(&report[REPORT_NOT_FINITE], 1u);
        }
    }
}
