//! Adam, Kingma and Ba 2015, in PyTorch's form.

use super::inputs::{Draw, SUBNORMAL, control, report};
use crate::kernels::adam::Adam;
use crate::protocol::{UPDATE_GRADIENT, UPDATE_SKIP, UPDATE_ZERO};
use crate::selftest::row::{Row, Sum};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// One word's [w, m, v] after a step with gradient g.
fn adam([w, m, v]: [f64; 3], g: f64, weight_decay: f64, a: f64, b: f64) -> [Sum; 3] {
    let g = Sum::of([g, weight_decay * w]);
    let m = Sum::of([BETA1 * m]).plus(g.times(1.0 - BETA1));
    let v = Sum::of([BETA2 * v]).plus(g.then(g.value * g.value, 2.0 * g.value).times(1.0 - BETA2));
    let mut deviation = v.sqrt().times(b);
    deviation.add(EPSILON);
    let mut w = Sum::of([w]);
    w = w.plus(m.over(deviation).times(-a));
    [w, m, v]
}

/// Mode and coefficients of each group.
const GROUPS: [(u32, f32, f32); 4] = [
    (UPDATE_GRADIENT, 1e-3, 1.5),
    (UPDATE_ZERO, 2e-3, 1.25),
    (UPDATE_SKIP, 3e-3, 1.125),
    (UPDATE_GRADIENT, 4e-3, 31.6),
];

/// Rows of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for (words, weight_decay, stop, why) in [
        (1, 0.0, 0, "one word"),
        (64 * 21 + 10, 0.0, 0, "granules of every mode, the last one partial"),
        (64 * 21, 0.1, 0, "weight decay, which a zero gradient keeps"),
        (64 * 21, 0.1, 1, "a value was not finite: nothing moves"),
        (88_064, 0.0, 0, "more than 7 x 7 x 7 workgroups"),
        (64 * 5, 0.0, 0, SUBNORMAL),
    ] {
        let mut before = [draw.signed(words), draw.signed(words), draw.between(0.01, 1.0, words)];
        let mut gradients = draw.signed(words);
        if words > 1 {
            // The first step, and a parameter that has never had a gradient.
            before[1..].iter_mut().for_each(|moments| moments[..2].fill(0.0));
            gradients[0] = 0.0;
        }
        if why == SUBNORMAL {
            before[1..].iter_mut().for_each(|moments| *moments = draw.among_subnormals(std::mem::take(moments)));
            before[2].iter_mut().for_each(|v| *v = v.abs());
            gradients = draw.among_subnormals(gradients);
        }
        let group_of = draw.below(GROUPS.len() as u32, words.div_ceil(64));
        let mut after: [Vec<Sum>; 3] = Default::default();
        for i in 0..words {
            let (mode, a, b) = GROUPS[group_of[i / 64] as usize];
            let word = before.each_ref().map(|values| values[i]);
            let moved = match mode {
                _ if stop != 0 => word.map(Sum::exact),
                UPDATE_SKIP => word.map(Sum::exact),
                UPDATE_ZERO => adam(word, 0.0, weight_decay, a.into(), b.into()),
                _ => adam(word, gradients[i], weight_decay, a.into(), b.into()),
            };
            after.iter_mut().zip(moved).for_each(|(after, moved)| after.push(moved));
        }
        let row = Row::new(why, Adam::new(words as u32, BETA1, BETA2, EPSILON, weight_decay));
        let row = row.read(&gradients).read(&group_of).read(&control(&GROUPS)).read(&report(stop));
        rows.push(before.into_iter().zip(after).fold(row, |row, (before, after)| row.update(&before, after)));
    }
    rows
}
