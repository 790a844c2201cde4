// grid: a folded three-dimensional dispatch, read as one line of workgroups.
// Every shader strides over its work by whole workgroups, so that any limit on their number serves.

// Invocations in a workgroup of an element-wise shader.
const WORKGROUP = 256u;

fn workgroup_index(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.x + count.x * (id.y + count.y * id.z);
}

fn workgroup_total(count: vec3<u32>) -> u32 {
    return count.x * count.y * count.z;
}
