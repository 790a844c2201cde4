// dropout: y = x / (1 - probability) where uniform(seed, dropout, step, i) >= probability, else 0
// The gradient obeys the same formula with the same numbers, so this is the backward pass too.
// x, y: [elements]; control: step in word 1, seed in words 2 and 3 (src/protocol.rs); p.scale = 1 / (1 - probability)
// Grid: one thread per four elements, which share a block of random words. Twin: kernels/dropout.rs
//!import grid
//!import philox
//!import control

struct Params {
    elements: u32,
    probability: f32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> control: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let seed = vec2<u32>(control[CONTROL_SEED], control[CONTROL_SEED + 1u]);
    let blocks = (p.elements + 3u) / 4u;
    for (var block = workgroup_index(id, count) * WORKGROUP + lane; block < blocks; block += workgroup_total(count) * WORKGROUP) {
        let words = philox(seed, STREAM_DROPOUT, control[CONTROL_STEP], block);
        let end = min(4u * block + 4u, p.elements);
        for (var i = 4u * block; i < end; i += 1u) {
            y[i] = select(0.0, p.scale * x[i], unit(words[i % 4u]) >= p.probability);
        }
    }
}
