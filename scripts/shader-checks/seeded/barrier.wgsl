// What Tint must refuse, and naga lets pass: a barrier that not all invocations of a workgroup reach.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane < 32u {
        workgroupBarrier();
    }
    x[lane] = 0.0;
}
