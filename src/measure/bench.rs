//! What a step costs: by dispatch, by kernel and as a whole, plain and stochastic, with what the host adds.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::{MeasureError, Peak, Spread, Stepper};
use crate::plan::{DispatchRow, Gates, ImageFile, Pass};

/// Steps with drawn gates, each beside a plain one, in a repeat.
const PAIRS: u32 = 3;
/// Evaluation batches in a repeat.
const EVALUATION_BATCHES: usize = 2;

/// Work, and how long it takes.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Seconds.
    pub seconds: Spread,
    /// Operations, a multiply-add counting as two.
    pub flop: f64,
    /// Bytes of the values read and written.
    pub bytes: f64,
    /// 10^9 operations in a second, by the median time.
    pub gflops: f64,
    /// 10^9 bytes in a second, likewise.
    pub gbytes: f64,
    /// Share of the device's measured peak: of the operations' or the bytes', whichever is larger.
    pub of_peak: f64,
}

impl Figures {
    fn new(times: impl IntoIterator<Item = f64>, flop: f64, bytes: f64, peak: &Peak) -> Self {
        let seconds = Spread::of(times);
        // A clock with coarse steps can see no time at all.
        let median = seconds.median.max(1e-9);
        let of_peak = peak.share(flop, bytes, median);
        Self { seconds, flop, bytes, gflops: flop / median / 1e9, gbytes: bytes / median / 1e9, of_peak }
    }
}

/// Some dispatches of a step with all gates on.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// The dispatch, the kernel's shader, or the pass.
    pub name: String,
    /// The shader, where it is one.
    pub shader: Option<&'static str>,
    /// Number of dispatches.
    pub dispatches: usize,
    /// Share in the step, by the sum of all median times: shares add up to 1.
    pub share: f64,
    /// What they cost.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What a whole step costs.
#[derive(Clone, Debug, Serialize)]
pub struct StepTime {
    /// Images in a second, by the median time.
    pub images_per_second: f64,
    /// What it costs.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Steps with drawn gates beside steps with all gates on.
#[derive(Clone, Debug, Serialize)]
pub struct Stochastic {
    /// Their times; FLOP and bytes are the mean over the draws.
    pub step: StepTime,
    /// Number of draws.
    pub draws: usize,
    /// Sum of their times / sum of the times of the plain steps that ran in turn with them.
    pub time_share: f64,
    /// The same of operations: what the time share would be if nothing but arithmetic took time.
    pub flop_share: f64,
    /// The same of bytes moved.
    pub byte_share: f64,
}

/// What the host does for a step, in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Encoding {
    /// From gates to the list of dispatches.
    pub schedule: Spread,
    /// From the list to commands; `None` where nothing is encoded.
    pub record: Option<Spread>,
    /// From commands to a submission; likewise.
    pub submit: Option<Spread>,
    /// The medians together, for each dispatch.
    pub per_dispatch: f64,
}

/// Evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Images evaluated in a repeat.
    pub images: usize,
    /// Seconds for them.
    pub seconds: Spread,
    /// Images in a second, by the median time.
    pub images_per_second: f64,
}

/// Everything that [`bench()`] measures.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// What the device does at most.
    pub peak: Peak,
    /// Times that everything was measured.
    pub repeats: u32,
    /// Dispatches of a step with all gates on, in order.
    pub dispatches: Vec<Group>,
    /// The same by shader, slowest first.
    pub kernels: Vec<Group>,
    /// The same by pass: forward, backward, update.
    pub passes: Vec<Group>,
    /// A step with all gates on.
    pub plain: StepTime,
    /// Steps with drawn gates; `None` where all blocks survive always.
    pub stochastic: Option<Stochastic>,
    /// Evaluation.
    pub evaluation: Evaluation,
    /// The host's work for a step with all gates on.
    pub encoding: Encoding,
}

/// Measures the net of `stepper` `repeats` times, on a device whose peak is `peak`; draws gates by `seed`.
///
/// Everything takes turns, so that a machine whose speed drifts slows all alike.
pub fn bench(stepper: &mut Stepper, peak: Peak, repeats: u32, seed: u64) -> Result<BenchReport, MeasureError> {
    let all = Gates::all(stepper.plan().blocks.len());
    let survival = stepper.plan().survival.clone();
    let is_stochastic = survival.iter().any(|&probability| probability < 1.0);
    let rows = stepper.rows(&all);
    let draws = if is_stochastic { repeats * PAIRS } else { 0 };
    let draws = stepper.draws(seed, draws);
    let mut draws_left = draws.iter();

    // By dispatch, then by repeat.
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); rows.len()];
    let (mut plain, mut stochastic, mut encoding, mut evaluation) = (vec![], vec![], vec![], vec![]);
    let mut images = stepper.plan().data.test;
    images = images.min(EVALUATION_BATCHES * stepper.engine().eval_batch());
    let indices: Vec<u32> = (0..images as u32).collect();
    // Once to warm up.
    stepper.timed(&all)?;
    stepper.encoding(&all)?;
    stepper.engine().evaluate(ImageFile::Test, &indices)?;
    for _ in 0..repeats {
        let timing = stepper.timed(&all)?;
        times.iter_mut().zip(timing.timed.seconds()).for_each(|(times, time)| times.push(time));
        for _ in 0..PAIRS {
            plain.push(stepper.whole(&all)?);
            if let Some(gates) = draws_left.next() {
                stochastic.push(stepper.whole(gates)?);
            }
        }
        encoding.push(stepper.encoding(&all)?);
        let start = Instant::now();
        stepper.engine().evaluate(ImageFile::Test, &indices)?;
        evaluation.push(start.elapsed().as_secs_f64());
    }

    let everything: Vec<usize> = (0..rows.len()).collect();
    let in_order = everything.iter().map(|&index| (rows[index].label.clone(), vec![index])).collect();
    let by_shader = gathered(&rows, |row| row.shader);
    let by_pass = Pass::ALL.map(|pass| {
        let members = everything.iter().copied().filter(|&index| rows[index].pass == pass).collect();
        (pass.name().to_string(), members)
    });
    let dispatches = groups(in_order, &rows, &times, &peak);
    let mut kernels = groups(by_shader, &rows, &times, &peak);
    kernels.sort_by(|a, b| b.figures.seconds.median.total_cmp(&a.figures.seconds.median));
    let passes = groups(by_pass.into(), &rows, &times, &peak);

    let work = |gates: &Gates| totals(&stepper.rows(gates));
    let (plain_flop, plain_bytes) = work(&all);
    let step = |times: &[f64], flop, bytes| {
        let figures = Figures::new(times.iter().copied(), flop, bytes, &peak);
        StepTime { images_per_second: stepper.images() / figures.seconds.median, figures }
    };
    let drawn: Vec<(f64, f64)> = draws.iter().map(work).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| drawn.iter().map(of).sum::<f64>() / drawn.len() as f64;
    let stochastic = is_stochastic.then(|| {
        let (flop, bytes) = (mean(|work| work.0), mean(|work| work.1));
        Stochastic {
            step: step(&stochastic, flop, bytes),
            draws: stochastic.len(),
            time_share: stochastic.iter().sum::<f64>() / plain.iter().sum::<f64>(),
            flop_share: flop / plain_flop,
            byte_share: bytes / plain_bytes,
        }
    });
    let part = |part: usize| Spread::of(encoding.iter().map(|times| times[part]));
    let encodes = encoding.iter().any(|times| times[1] > 0.0);
    let host = part(0).median + part(1).median + part(2).median;
    let seconds = Spread::of(evaluation);
    Ok(BenchReport {
        peak,
        repeats,
        plain: step(&plain, plain_flop, plain_bytes),
        stochastic,
        evaluation: Evaluation { images, images_per_second: images as f64 / seconds.median, seconds },
        encoding: Encoding {
            schedule: part(0),
            record: encodes.then(|| part(1)),
            submit: encodes.then(|| part(2)),
            per_dispatch: host / rows.len() as f64,
        },
        dispatches,
        kernels,
        passes,
    })
}

/// Operations and bytes of `rows`.
pub(super) fn totals(rows: &[DispatchRow]) -> (f64, f64) {
    (rows.iter().map(|row| row.cost.flop).sum(), rows.iter().map(|row| row.bytes as f64).sum())
}

/// The places of `rows` by a key.
fn gathered(rows: &[DispatchRow], key: impl Fn(&DispatchRow) -> &'static str) -> Vec<(String, Vec<usize>)> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        members.entry(key(row)).or_default().push(index);
    }
    members.into_iter().map(|(key, members)| (key.to_string(), members)).collect()
}

/// The figures of each of `named`, which together are all of `rows`. A group's time is summed within each repeat.
fn groups(named: Vec<(String, Vec<usize>)>, rows: &[DispatchRow], times: &[Vec<f64>], peak: &Peak) -> Vec<Group> {
    let repeats = times.first().map_or(0, Vec::len);
    let group = |(name, members): (String, Vec<usize>)| {
        let sums = (0..repeats).map(|repeat| members.iter().map(|&index| times[index][repeat]).sum());
        let sum = |of: fn(&DispatchRow) -> f64| members.iter().map(|&index| of(&rows[index])).sum();
        let figures = Figures::new(sums, sum(|row| row.cost.flop), sum(|row| row.bytes as f64), peak);
        let first = members.first().map(|&index| rows[index].shader);
        let shader = first.filter(|&shader| members.iter().all(|&index| rows[index].shader == shader));
        Group { name, shader, dispatches: members.len(), share: 0.0, figures }
    };
    let mut groups: Vec<Group> = named.into_iter().map(group).collect();
    let sum: f64 = groups.iter().map(|group| group.figures.seconds.median).sum();
    groups.iter_mut().for_each(|group| group.share = group.figures.seconds.median / sum);
    groups
}
