//! Stochastic gradient descent with momentum, in PyTorch's form.

use super::inputs::{Draw, SUBNORMAL, control, report};
use crate::kernels::sgd::Sgd;
use crate::protocol::{UPDATE_GRADIENT, UPDATE_SKIP, UPDATE_ZERO};
use crate::selftest::row::{Row, Sum};

/// One word's [w, buffer] after a step with gradient g.
fn sgd([w, buffer]: [f64; 2], g: f64, momentum: f64, nesterov: bool, weight_decay: f64, rate: f64) -> [Sum; 2] {
    let g = Sum::of([g, weight_decay * w]);
    let buffer = Sum::of([momentum * buffer]).plus(g);
    let step = if nesterov { g.plus(buffer.times(momentum)) } else { buffer };
    [Sum::of([w]).plus(step.times(-rate)), buffer]
}

/// Mode and rate of each group.
const GROUPS: [(u32, f32, f32); 4] =
    [(UPDATE_GRADIENT, 0.1, 0.0), (UPDATE_ZERO, 0.2, 0.0), (UPDATE_SKIP, 0.3, 0.0), (UPDATE_GRADIENT, 0.4, 0.0)];

/// Rows of the family.
pub fn rows() -> Vec<Row> {
    let mut draw = Draw::new(1);
    let mut rows = vec![];
    for (words, momentum, nesterov, weight_decay, stop, why) in [
        (1, 0.9, false, 0.0, 0, "one word"),
        (64 * 21 + 10, 0.9, false, 1e-2, 0, "granules of every mode, the last one partial"),
        (64 * 21, 0.9, true, 1e-2, 0, "Nesterov's momentum"),
        (64 * 21, 0.0, false, 0.0, 0, "no momentum"),
        (64 * 21, 0.9, true, 1e-2, 1, "a value was not finite: nothing moves"),
        (88_064, 0.9, false, 1e-4, 0, "more than 7 x 7 x 7 workgroups"),
        (64 * 5, 0.9, true, 1e-2, 0, SUBNORMAL),
    ] {
        let mut before = [draw.signed(words), draw.signed(words)];
        let mut gradients = draw.signed(words);
        if why == SUBNORMAL {
            before = before.map(|values| draw.among_subnormals(values));
            gradients = draw.among_subnormals(gradients);
        }
        let group_of = draw.below(GROUPS.len() as u32, words.div_ceil(64));
        let mut after: [Vec<Sum>; 2] = Default::default();
        for i in 0..words {
            let (mode, rate, _) = GROUPS[group_of[i / 64] as usize];
            let word = before.each_ref().map(|values| values[i]);
            let step = |g| sgd(word, g, momentum, nesterov, weight_decay, rate.into());
            let moved = match mode {
                _ if stop != 0 => word.map(Sum::exact),
                UPDATE_SKIP => word.map(Sum::exact),
                UPDATE_ZERO => step(0.0),
                _ => step(gradients[i]),
            };
            after.iter_mut().zip(moved).for_each(|(after, moved)| after.push(moved));
        }
        let row = Row::new(why, Sgd::new(words as u32, momentum, nesterov, weight_decay));
        let row = row.read(&gradients).read(&group_of).read(&control(&GROUPS)).read(&report(stop));
        rows.push(before.into_iter().zip(after).fold(row, |row, (before, after)| row.update(&before, after)));
    }
    rows
}
