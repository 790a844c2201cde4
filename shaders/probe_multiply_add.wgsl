// probe_multiply_add: y = sum over j < 8 of f(f(...f(x + j))), with f(t) = p.factor * t + p.addend, 8 p.rounds times
// x, y: [elements]
// Grid: one thread per element. Twin: kernels/probe.rs
//!import grid

struct Params {
    elements: u32,
    rounds: u32,
    factor: f32,
    addend: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// Four chains, one step further.
fn step(t: vec4<f32>) -> vec4<f32> {
    return fma(vec4(p.factor), t, vec4(p.addend));
}

// A round, written out, so that little else is counted with it.
fn round(t: vec4<f32>) -> vec4<f32> {
    return step(step(step(step(step(step(step(step(t))))))));
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < p.elements; i += workgroup_total(count) * WORKGROUP) {
        var low = x[i] + vec4(0.0, 1.0, 2.0, 3.0);
        var high = x[i] + vec4(4.0, 5.0, 6.0, 7.0);
        for (var done = 0u; done < p.rounds; done++) {
            low = round(low);
            high = round(high);
        }
        let sums = low + high;
        y[i] = (sums.x + sums.y) + (sums.z + sums.w);
    }
}
