//! How two nets differ, as a table.

use crate::cli::console::duration;
use crate::report::statistics::paired::{RUNS_FOR_A_CLAIM, deviation, mean, mean_difference};
use crate::run_dir::Summary;

/// A net's runs, in the order of their seeds.
pub struct NetSummaries {
    /// What it is called.
    pub name: &'static str,
    /// `None` of a run that did not end well.
    pub summaries: Vec<Option<Summary>>,
}

impl NetSummaries {
    fn ended(&self) -> Vec<&Summary> {
        self.summaries.iter().flatten().collect()
    }

    fn of(&self, figure: impl Fn(&Summary) -> f64) -> Vec<f64> {
        self.summaries.iter().flatten().map(figure).collect()
    }
}

/// Mean and deviation of `shares`, in percent.
fn percent(shares: &[f64]) -> String {
    let spread = deviation(shares).map_or(String::new(), |spread| format!(" +- {:.2}", 100.0 * spread));
    if shares.is_empty() { "-".into() } else { format!("{:.2} %{spread}", 100.0 * mean(shares)) }
}

/// The table of the baseline and the candidate.
pub fn lines(nets: &[NetSummaries; 2]) -> Vec<String> {
    let heads = ["net", "runs", "test accuracy", "of the best weights", "blocks run", "in steps", "images/s"];
    let row = |cells: [String; 7]| {
        let [name, runs, test, best, blocks, time, speed] = cells;
        format!("{name:12} {runs:>4}  {test:17}  {best:19}  {blocks:>10}  {time:>8}  {speed:>8}")
    };
    let mut lines = vec![String::new(), row(heads.map(String::from))];
    for net in nets {
        let best: Vec<f64> = net.ended().iter().filter_map(|run| Some(run.best.as_ref()?.accuracy)).collect();
        let figure = |values: Vec<f64>, text: &dyn Fn(f64) -> String| {
            if values.is_empty() { "-".to_string() } else { text(mean(&values)) }
        };
        lines.push(row([
            net.name.to_string(),
            format!("{}", net.ended().len()),
            percent(&net.of(|run| run.test.accuracy)),
            percent(&best),
            figure(net.of(|run| run.blocks_run), &|share| format!("{:.1} %", 100.0 * share)),
            figure(net.of(|run| run.step_seconds), &duration),
            figure(net.of(|run| run.images_per_second), &|speed| format!("{speed:.0}")),
        ]));
    }
    lines.extend(difference(nets));
    lines.extend(time_saved(nets));
    lines
}

/// The seeds with which both runs ended well.
fn pairs(nets: &[NetSummaries; 2]) -> Vec<(&Summary, &Summary)> {
    let pairs = nets[0].summaries.iter().zip(&nets[1].summaries);
    pairs.filter_map(|(baseline, candidate)| Some((baseline.as_ref()?, candidate.as_ref()?))).collect()
}

fn difference(nets: &[NetSummaries; 2]) -> Option<String> {
    let points =
        |(baseline, candidate): &(&Summary, &Summary)| 100.0 * (candidate.test.accuracy - baseline.test.accuracy);
    let differences: Vec<f64> = pairs(nets).iter().map(points).collect();
    if differences.is_empty() {
        return None;
    }
    let (middle, seeds) = (mean(&differences), differences.len());
    let names = format!("{} - {}", nets[1].name, nets[0].name);
    Some(match mean_difference(&differences) {
        None => format!("{names}: {middle:+.2} points of test accuracy, with one seed: no interval, no conclusion"),
        Some(difference) => {
            let conclusion = match difference.low > 0.0 || difference.high < 0.0 {
                _ if seeds < RUNS_FOR_A_CLAIM => format!(": a claim about the nets needs {RUNS_FOR_A_CLAIM} seeds"),
                true => String::new(),
                false => ": no difference is shown".into(),
            };
            format!(
                "{names}: {middle:+.2} points of test accuracy, 95 % interval {:+.2} to {:+.2} \
                 (paired t, {seeds} seeds){conclusion}",
                difference.low, difference.high
            )
        }
    })
}

fn time_saved(nets: &[NetSummaries; 2]) -> Vec<String> {
    let mut lines = Vec::new();
    let [baseline, candidate] = [0, 1].map(|index| nets[index].name);
    let times: Vec<(f64, f64)> = pairs(nets).iter().map(|pair| (pair.0.step_seconds, pair.1.step_seconds)).collect();
    if let Some(saved) = Saved::of(&times) {
        let (before, after) = sums(&times);
        let (more_or_less, share) = if saved.percent < 0.0 { ("more", saved.negated()) } else { ("less", saved) };
        lines.push(format!(
            "training steps of {candidate} took {} % {more_or_less} time than those of {baseline}{}: {after:.1} s \
             against {before:.1} s",
            share.percent,
            share.interval(),
        ));
    }
    for net in nets {
        let priced = |run: &Summary| Some((run.all_gates_seconds?, run.step_seconds));
        let times: Vec<(f64, f64)> = net.ended().into_iter().filter_map(priced).collect();
        if let Some(saved) = Saved::of(&times) {
            let (all_gates, took) = sums(&times);
            lines.push(format!(
                "skipping saved {} {} %{}, {:.1} s of {all_gates:.1} s: the same steps with all gates on",
                net.name,
                saved.percent,
                saved.interval(),
                all_gates - took,
            ));
        }
    }
    lines
}

fn sums(times: &[(f64, f64)]) -> (f64, f64) {
    times.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
}

/// What share of the first of two times the second saves, in whole percent.
#[derive(Clone, Copy)]
struct Saved {
    percent: f64,
    /// Ends of the interval; `None` of one seed.
    ends: Option<[f64; 2]>,
}

impl Saved {
    /// By the geometric mean of the times' ratios over the seeds; `None` of no pairs.
    fn of(times: &[(f64, f64)]) -> Option<Self> {
        let logarithms: Vec<f64> = times.iter().map(|(before, after)| (after / before).ln()).collect();
        // Without the sign of a zero.
        let percent = |logarithm: f64| (100.0 * (1.0 - logarithm.exp())).round() + 0.0;
        let ends = mean_difference(&logarithms).map(|ratio| [ratio.high, ratio.low].map(percent));
        let middle = mean(&logarithms);
        middle.is_finite().then(|| Self { percent: percent(middle), ends })
    }

    /// What the second takes more than the first.
    fn negated(self) -> Self {
        Self { percent: 0.0 - self.percent, ends: self.ends.map(|[low, high]| [0.0 - high, 0.0 - low]) }
    }

    fn interval(self) -> String {
        self.ends
            .map_or(" (one seed: no interval)".into(), |[low, high]| format!(" (95 % interval {low} % to {high} %)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::Test;

    fn summary(accuracy: f64, step_seconds: f64, all_gates_seconds: Option<f64>) -> Option<Summary> {
        let test = Test { step: 10, loss: Some(0.5), accuracy, images: 100 };
        Some(Summary {
            steps: 10,
            seconds: 2.0 * step_seconds,
            step_seconds,
            images_per_second: 100.0,
            blocks_run: 0.75,
            steps_left_out: 0,
            all_gates_seconds,
            all_gates_measurements: 1,
            test,
            best: None,
        })
    }

    #[test]
    fn pairs_are_compared_and_what_did_not_end_is_left_out() {
        let plain = vec![summary(0.9, 10.0, None), summary(0.92, 10.0, None), summary(0.1, 99.0, None)];
        let stochastic = vec![summary(0.91, 8.0, Some(10.0)), summary(0.95, 7.0, Some(10.0)), None];
        let nets = [
            NetSummaries { name: "resnet", summaries: plain },
            NetSummaries { name: "stochastic", summaries: stochastic },
        ];
        let text = lines(&nets).join("\n");
        // Differences of 1 and 3 points: mean 2, Student's half width 12.71.
        let expected = "stochastic - resnet: +2.00 points of test accuracy, 95 % interval -10.71 to +14.71 \
                        (paired t, 2 seeds): a claim about the nets needs 5 seeds";
        assert!(text.contains(expected), "{text}");
        // Of the ratios 0.8 and 0.7: sqrt(0.56) = 0.748, and their logarithms are 0.1335 apart, so 0.848 to each side.
        let expected = "took 25 % less time than those of resnet (95 % interval -75 % to 68 %): 15.0 s against 20.0 s";
        assert!(text.contains(expected), "{text}");
        let expected = "skipping saved stochastic 25 % (95 % interval -75 % to 68 %), 5.0 s of 20.0 s: the same steps";
        assert!(text.contains(expected), "{text}");
        let [plain, stochastic] = nets;
        let text = lines(&[stochastic, plain]).join("\n");
        let expected = "took 34 % more time than those of stochastic (95 % interval -43 % to 212 %)";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("stochastic      2  93.00 % +- 2.83"), "{text}");
    }

    #[test]
    fn one_seed_gives_no_conclusion() {
        let nets = [(0.9, "resnet"), (0.8, "stochastic")]
            .map(|(accuracy, name)| NetSummaries { name, summaries: vec![summary(accuracy, 1.0, None)] });
        let text = lines(&nets).join("\n");
        assert!(text.contains("-10.00 points of test accuracy, with one seed: no interval"), "{text}");
        assert!(text.contains("took 0 % less time than those of resnet (one seed: no interval)"), "{text}");
        let nets = [("resnet", 10.0), ("stochastic", 10.5)]
            .map(|(name, seconds)| NetSummaries { name, summaries: vec![summary(0.9, seconds, Some(10.0))] });
        let text = lines(&nets).join("\n");
        assert!(text.contains("took 5 % more time than those of resnet (one seed: no interval)"), "{text}");
        assert!(text.contains("skipping saved stochastic -5 % (one seed: no interval), -0.5 s of 10.0 s"), "{text}");
        let none = ["resnet", "stochastic"].map(|name| NetSummaries { name, summaries: vec![None] });
        assert_eq!(lines(&none).len(), 4);
    }
}
