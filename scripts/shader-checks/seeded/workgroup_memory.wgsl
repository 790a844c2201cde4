// What Tint must refuse: more workgroup memory than 16 KiB, which shows only once the constant has its value.
@group(0) @binding(0) var<storage, read_write> x: array<f32>;

override LENGTH = 64u;
var<workgroup> shared_x: array<f32, LENGTH>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    shared_x[lane] = x[lane];
    workgroupBarrier();
    x[lane] = shared_x[63u - lane];
}
