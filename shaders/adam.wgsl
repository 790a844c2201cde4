// adam: one step of Adam (Kingma and Ba 2015) in PyTorch's form, for all parameters of a net at once
//   g = gradient + weight_decay * w;  m += (1 - beta1) * (g - m);  v = beta2 * v + (1 - beta2) * g^2
//   w -= a * m / (sqrt(v) * b + epsilon)
// gradients, parameters, first_moment, second_moment: [elements]; group_of: [elements / 64], group of each granule
// control: header and one row per group (shared/update), with a = rate / (1 - beta1^t), b = 1 / sqrt(1 - beta2^t)
// report: [5], word 3 nonzero once a value was not finite: then nothing changes
// Grid: one thread per element. Twin: kernels/adam.rs
//!import grid
//!import control
//!import update
//!import report

struct Params {
    elements: u32,
    beta1_complement: f32,
    beta2: f32,
    beta2_complement: f32,
    epsilon: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read> group_of: array<u32>;
@group(0) @binding(3) var<storage, read> control: array<u32>;
@group(0) @binding(4) var<storage, read> report: array<u32>;
@group(0) @binding(5) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(6) var<storage, read_write> first_moment: array<f32>;
@group(0) @binding(7) var<storage, read_write> second_moment: array<f32>;

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
        let a = bitcast<f32>(control[row + ROW_STEP_SIZE]);
        let b = bitcast<f32>(control[row + ROW_ROOT_FACTOR]);
        let w = parameters[i];
        let g = fma(p.weight_decay, w, select(gradients[i], 0.0, mode == UPDATE_ZERO));
        let m = fma(p.beta1_complement, g - first_moment[i], first_moment[i]);
        let v = fma(p.beta2_complement * g, g, p.beta2 * second_moment[i]);
        first_moment[i] = m;
        second_moment[i] = v;
        parameters[i] = w - a * m / fma(sqrt(v), b, p.epsilon);
    }
}
