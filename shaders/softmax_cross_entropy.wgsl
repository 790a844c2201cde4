// softmax_cross_entropy: loss of a batch, its gradient, and how many images are classified right
//   target = (1 - s) * onehot(label) + s / classes, with s = label_smoothing
//   loss = -sum(target * log(softmax(logits))), dlogits = (softmax(logits) - target) / valid
// logits, dlogits: [batch, classes]; labels: of every image of the data set; indices: [batch], the batch's images
// control: word 0 = valid, the number of rows that count; the rows behind them get dlogits 0
// report: [5] = sum of losses (f32 bits), rows whose first largest logit is the label's, valid, and 1 if a logit or the
// sum of losses is not finite, else as it was. A logit that is not finite makes the sum NaN.
// Grid: one workgroup, one thread per row. Twin: kernels/softmax_cross_entropy.rs
//!import grid
//!import finite
//!import report
//!import control

struct Params {
    batch: u32,
    classes: u32,
    label_smoothing: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> indices: array<u32>;
@group(0) @binding(4) var<storage, read> control: array<u32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(6) var<storage, read_write> report: array<u32>;

const NAN = 0x7fc00000u;

struct Tally {
    losses: f32,
    correct: u32,
    broken: u32,  // rows with a logit that is not finite
}

var<workgroup> tallies: array<Tally, WORKGROUP>;

// Writes the gradient of one row, which begins at logit `first`.
fn row_tally(first: u32, label: u32, share: f32) -> Tally {
    var best = 0u;
    var broken = 0u;
    for (var c = 0u; c < p.classes; c += 1u) {
        let logit = logits[first + c];
        if logit > logits[first + best] {
            best = c;
        }
        broken |= u32(!is_finite(logit));
    }
    let largest = logits[first + best];
    var sum_exp = 0.0;
    var sum_shifted = 0.0;
    for (var c = 0u; c < p.classes; c += 1u) {
        let shifted = logits[first + c] - largest;
        let power = exp(shifted);
        sum_exp += power;
        sum_shifted += shifted;
        dlogits[first + c] = power;
    }
    let everywhere = p.label_smoothing / f32(p.classes);
    let at_label = 1.0 - p.label_smoothing;
    for (var c = 0u; c < p.classes; c += 1u) {
        let expected = everywhere + select(0.0, at_label, c == label);
        dlogits[first + c] = (dlogits[first + c] / sum_exp - expected) * share;
    }
    let loss = log(sum_exp) - at_label * (logits[first + label] - largest) - everywhere * sum_shifted;
    return Tally(loss, u32(best == label), broken);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if workgroup_index(id, count) > 0u {
        return;
    }
    let valid = control[CONTROL_IMAGES];
    let share = 1.0 / f32(valid);
    var sum = Tally(0.0, 0u, 0u);
    for (var row = lane; row < p.batch; row += WORKGROUP) {
        let first = row * p.classes;
        if row < valid {
            let tally = row_tally(first, labels[indices[row]], share);
            sum = Tally(sum.losses + tally.losses, sum.correct + tally.correct, sum.broken + tally.broken);
        } else {
            for (var c = 0u; c < p.classes; c += 1u) {
                dlogits[first + c] = 0.0;
            }
        }
    }
    tallies[lane] = sum;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if lane < half {
            tallies[lane].losses += tallies[lane + half].losses;
            tallies[lane].correct += tallies[lane + half].correct;
            tallies[lane].broken += tallies[lane + half].broken;
        }
        workgroupBarrier();
    }
    if lane == 0u {
        let total = tallies[0];
        report[REPORT_LOSS] = select(bitcast<u32>(total.losses), NAN, total.broken > 0u);
        report[REPORT_CORRECT] = total.correct;
        report[REPORT_IMAGES] = valid;
        if total.broken > 0u || !is_finite(total.losses) {
            report[REPORT_NOT_FINITE] = 1u;
        }
    }
}
