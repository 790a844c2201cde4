//! Whether a dropped block costs nothing: steps with drawn gates against what exactly their dispatches take in a step
//! with all gates on.

use std::collections::HashMap;

use serde::Serialize;

use super::bench::totals;
use super::{MeasureError, Spread, Stepper};
use crate::device::Clock;
use crate::plan::Gates;

/// One draw of the gates. Shares are of the step with all gates on.
#[derive(Clone, Debug, Serialize)]
pub struct DrawTime {
    /// The draw, one 1 or 0 for each block.
    pub gates: String,
    /// Dispatches of the step.
    pub dispatches: usize,
    /// Time of the step / summed times of its dispatches in a step with all gates on.
    pub ratio: Spread,
    /// Time of the step, as a share.
    pub time_share: Spread,
    /// Summed times of its dispatches in a step with all gates on, as a share.
    pub summed_share: Spread,
    /// Its operations, as a share.
    pub flop_share: f64,
    /// The bytes that it moves, as a share.
    pub byte_share: f64,
}

/// All draws of one net at one survival probability.
#[derive(Clone, Debug, Serialize)]
pub struct Skipping {
    /// The net.
    pub arch: String,
    /// Images in a batch.
    pub batch_size: u32,
    /// Survival probability of the last block.
    pub survival_last: f64,
    /// Times that each draw was measured; half of them count.
    pub repeats: u32,
    /// Summed times of the dispatches of a step with all gates on, in seconds.
    pub all_gates: Spread,
    /// The draws.
    pub draws: Vec<DrawTime>,
    /// The draws' median ratios.
    pub ratio: Spread,
    /// Share of the draws whose median ratio is within 0.02 of 1.
    pub within_two_percent: f64,
    /// Mean over the draws of the median share of time.
    pub time_share: f64,
    /// Mean of the share of operations.
    pub flop_share: f64,
    /// Mean of the share of bytes.
    pub byte_share: f64,
}

/// A step with drawn gates, and the steps with all gates on before it and after it; in seconds.
#[derive(Clone, Copy)]
struct Triple {
    /// The step's time.
    step: f64,
    /// Times of its dispatches in the other two, their mean, summed.
    summed: f64,
    /// Times of all dispatches in the other two, likewise.
    whole: f64,
    /// How far the other two lie apart, as a share of their mean.
    disagreement: f64,
}

/// Measures `draws` draws `repeats` times each; `arch`, `batch_size` and `survival_last` say what `stepper` runs.
///
/// Each step stands between two steps with all gates on that are timed dispatch by dispatch, and is held against the
/// mean of the two: a drift of the machine's speed cancels. Of a draw's triples, the half counts whose two steps with
/// all gates on agree best: where they do not, something else ran into the triple. That looks at no time of the drawn
/// step, so it prefers no result. The ratio is made within each triple, and a draw's figure is the median of these; a
/// ratio of medians would not do, as medians of dispatches do not add up to that of their sum.
pub fn skipping(
    stepper: &mut Stepper,
    arch: &str,
    batch_size: u32,
    survival_last: f64,
    draws: u32,
    repeats: u32,
    seed: u64,
) -> Result<Skipping, MeasureError> {
    let blocks = stepper.plan().blocks.len();
    let all = Gates::all(blocks);
    let labels: Vec<String> = stepper.rows(&all).into_iter().map(|row| row.label).collect();
    let drawn = stepper.draws(seed, draws);
    // The dispatches of each draw by their place in the step with all gates on, and those that run only for a dropped
    // block, which have none.
    let place: HashMap<&str, usize> = labels.iter().enumerate().map(|(index, label)| (label.as_str(), index)).collect();
    let members: Vec<(Vec<usize>, Vec<String>)> = drawn
        .iter()
        .map(|gates| {
            let (mut shared, mut own) = (Vec::new(), Vec::new());
            for row in stepper.rows(gates) {
                match place.get(row.label.as_str()) {
                    Some(&index) => shared.push(index),
                    None => own.push(row.label),
                }
            }
            (shared, own)
        })
        .collect();

    let mut triples: Vec<Vec<Triple>> = vec![Vec::new(); drawn.len()];
    let mut all_gates = Vec::new();
    let mut before = all_times(stepper, &all)?;
    for _ in 0..repeats {
        let bypasses = bypass_times(stepper, &members)?;
        for ((gates, (shared, own)), triples) in drawn.iter().zip(&members).zip(&mut triples) {
            let step = step_seconds(stepper, gates)?;
            let after = all_times(stepper, &all)?;
            let [first, second] = [&before, &after].map(|times| times.iter().sum::<f64>());
            let summed = |times: &[f64]| shared.iter().map(|&index| times[index]).sum::<f64>();
            let own: f64 = own.iter().map(|label| bypasses[label]).sum();
            let whole = (first + second) / 2.0;
            triples.push(Triple {
                step,
                summed: own + (summed(&before) + summed(&after)) / 2.0,
                whole,
                disagreement: (first - second).abs() / whole,
            });
            all_gates.push(whole);
            before = after;
        }
    }

    let (all_flop, all_bytes) = totals(&stepper.rows(&all));
    let draw_time = |(gates, mut triples): (&Gates, Vec<Triple>)| {
        triples.sort_by(|a, b| a.disagreement.total_cmp(&b.disagreement));
        triples.truncate(triples.len().div_ceil(2));
        let rows = stepper.rows(gates);
        let (flop, bytes) = totals(&rows);
        let spread = |of: fn(&Triple) -> f64| Spread::of(triples.iter().map(of));
        DrawTime {
            gates: gates.to_string(),
            dispatches: rows.len(),
            ratio: spread(|triple| triple.step / triple.summed),
            time_share: spread(|triple| triple.step / triple.whole),
            summed_share: spread(|triple| triple.summed / triple.whole),
            flop_share: flop / all_flop,
            byte_share: bytes / all_bytes,
        }
    };
    let draws: Vec<DrawTime> = drawn.iter().zip(triples).map(draw_time).collect();
    let mean = |of: fn(&DrawTime) -> f64| draws.iter().map(of).sum::<f64>() / draws.len() as f64;
    Ok(Skipping {
        arch: arch.to_string(),
        batch_size,
        survival_last,
        repeats,
        all_gates: Spread::of(all_gates),
        ratio: Spread::of(draws.iter().map(|draw| draw.ratio.median)),
        within_two_percent: mean(|draw| f64::from(u8::from((draw.ratio.median - 1.0).abs() <= 0.02))),
        time_share: mean(|draw| draw.time_share.median),
        flop_share: mean(|draw| draw.flop_share),
        byte_share: mean(|draw| draw.byte_share),
        draws,
    })
}

/// Seconds that each dispatch of a step with all gates on adds to it.
fn all_times(stepper: &mut Stepper, all: &Gates) -> Result<Vec<f64>, MeasureError> {
    Ok(stepper.timed(all)?.timed.slots().collect())
}

/// Seconds of a whole step: on the host, with upload, schedule and report; on a GPU, from the begin of its first
/// dispatch to the end of its last, by the clock that its dispatches are timed by.
fn step_seconds(stepper: &mut Stepper, gates: &Gates) -> Result<f64, MeasureError> {
    match stepper.clock() {
        Clock::Host => stepper.whole(gates),
        Clock::Timestamps | Clock::RoundTrip => Ok(stepper.timed(gates)?.timed.extent()),
    }
}

/// Seconds of the dispatches that run only for dropped blocks, if any draw has one: from a step with no gate on.
fn bypass_times(
    stepper: &mut Stepper,
    members: &[(Vec<usize>, Vec<String>)],
) -> Result<HashMap<String, f64>, MeasureError> {
    if members.iter().all(|(_, own)| own.is_empty()) {
        return Ok(HashMap::new());
    }
    let none = Gates(vec![false; stepper.plan().blocks.len()]);
    let labels = stepper.rows(&none).into_iter().map(|row| row.label);
    Ok(labels.zip(stepper.timed(&none)?.timed.slots()).collect())
}
