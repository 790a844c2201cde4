// first_gradient: report[REPORT_FIRST_GRADIENT] = the mean of |gradient|, f32 bits
// gradient: [elements], of the first convolution's weights; report: [5]
// Lane i sums the words i, i + WORKGROUP, ..., in ascending order, then a tree sums the lanes.
// Grid: one workgroup. Twin: kernels/first_gradient.rs
//!import grid
//!import report

struct Params {
    elements: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> report: array<u32>;

var<workgroup> lanes: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if workgroup_index(id, count) > 0u {
        return;
    }
    var sum = 0.0;
    for (var i = lane; i < p.elements; i += WORKGROUP) {
        sum += abs(gradient[i]);
    }
    lanes[lane] = sum;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if lane < half {
            lanes[lane] += lanes[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        report[REPORT_FIRST_GRADIENT] = bitcast<u32>(lanes[0] / f32(p.elements));
    }
}
