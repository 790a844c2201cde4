// sgd: one step of stochastic gradient descent with momentum in PyTorch's form, for all parameters of a net at once
//   g = gradient + weight_decay * w;  buffer = momentum * buffer + g
//   w -= rate * (g + momentum * buffer if nesterov, else buffer)
// gradients, parameters, momentum_buffer: [elements]; group_of: [elements / 64], parameter group of each granule
// control: header and one row per group (shared/update), with the rate as first coefficient
// report: [5], word 3 nonzero once a value was not finite: then nothing changes
// Grid: one thread per element. Twin: kernels/sgd.rs
//!import grid
//!import control
//!import update
//!import report

struct Params {
    elements: u32,
    momentum: f32,
    nesterov: u32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read> group_of: array<u32>;
@group(0) @binding(3) var<storage, read> control: array<u32>;
@group(0) @binding(4) var<storage, read> report: array<u32>;
@group(0) @binding(5) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(6) var<storage, read_write> momentum_buffer: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if report[REPORT_NOT_FINITE] != 0u {
        return;
    }
    for (var i = workgroup_index(id, count) * WORKGROUP + lane; i < p.elements; i += workgroup_total(count) * WORKGROUP) {
        let row = control_row(group_of[i / GRANULE]);
        let mode = control[row + ROW_MODE];
        if mode == UPDATE_SKIP {
            continue;
        }
        let rate = bitcast<f32>(control[row + ROW_STEP_SIZE]);
        let w = parameters[i];
        let g = fma(p.weight_decay, w, select(gradients[i], 0.0, mode == UPDATE_ZERO));
        let buffer = fma(p.momentum, momentum_buffer[i], g);
        let direction = select(buffer, fma(p.momentum, buffer, g), p.nesterov != 0u);
        momentum_buffer[i] = buffer;
        parameters[i] = fma(-rate, direction, w);
    }
}
