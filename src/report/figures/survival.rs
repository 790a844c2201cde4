//! The paper's figures on the survival probability: error against p_L for each rule, and over p_L and depth.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Drawn, Figure, csv_cell};
use crate::model::survival::Rule;
use crate::report::chart::{Axis, Cell, Drawing, HeatMap, Key, Layer, Panel, Plot, Point, Sign, Stroke, number};
use crate::report::nets::{NetRuns, OF_STOCHASTIC_DEPTH};
use crate::report::statistics::paired::mean;
use crate::report::study::Study;
use crate::report::text::listed;

/// A net as a cell of a sweep.
struct Swept<'a> {
    net: &'a NetRuns,
    arch: &'a str,
    /// `None` where every block survives, whatever the rule.
    rule: Option<Rule>,
    last: f64,
    /// Test error in percent of each run that has ended.
    errors: Vec<f64>,
}

impl<'a> Swept<'a> {
    fn of(net: &'a NetRuns) -> Option<Self> {
        let (rule, last) = net.rule();
        let errors = net.each(|run| run.summary.as_ref().map(|summary| 100.0 * (1.0 - summary.test.accuracy)));
        let arch = &net.first().config.settings.arch;
        (!errors.is_empty()).then_some(Self { net, arch, rule, last, errors })
    }

    /// The lowest error and the highest.
    fn ends(&self) -> (f64, f64) {
        self.errors.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)))
    }

    fn has_rule(&self, rule: Rule) -> bool {
        self.rule.is_none_or(|own| own == rule)
    }

    /// Whether nothing but the net and what a sweep varies tells it from the net with stochastic depth `other`.
    fn is_beside(&self, other: &Self) -> bool {
        // A net without stochastic depth has no settings of it.
        let of_gates = |name: &str| self.rule.is_none() && OF_STOCHASTIC_DEPTH.contains(&name);
        let is_varied = |name: &str| ["arch", "survival", "survival-last"].contains(&name) || of_gates(name);
        let names: BTreeSet<&String> = self.net.settings.keys().chain(other.net.settings.keys()).collect();
        let mut held = names.into_iter().filter(|name| !is_varied(name));
        held.all(|name| self.net.settings.get(name) == other.net.settings.get(name))
    }
}

/// The largest sweep among the nets of `study`: those that are equal but for net, rule and p_L.
fn largest_sweep(study: &Study) -> Vec<Swept<'_>> {
    let all = || study.nets.iter().filter_map(Swept::of);
    let beside = |head: &Swept| all().filter(|swept| swept.is_beside(head)).collect::<Vec<_>>();
    // Of equals the first.
    let sweeps = all().filter(|swept| swept.rule.is_some()).map(|head| beside(&head));
    sweeps.rev().max_by_key(Vec::len).unwrap_or_default()
}

/// Error against p_L for each net and rule; heat maps where there are several nets or rules.
pub fn draw(study: &Study) -> Drawn {
    let swept = largest_sweep(study);
    let lasts = distinct(swept.iter().map(|cell| cell.last), f64::total_cmp);
    let mut rules: Vec<Rule> = Vec::new();
    for rule in swept.iter().filter_map(|cell| cell.rule) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    let of_stochastic: BTreeSet<u64> = swept.iter().filter(|c| c.rule.is_some()).map(|c| c.last.to_bits()).collect();
    if of_stochastic.len() < 2 {
        return Err("Error against p_L: it takes nets of two survival probabilities that have ended.".into());
    }
    let mut archs: Vec<&str> = Vec::new();
    for cell in &swept {
        if !archs.contains(&cell.arch) {
            archs.push(cell.arch);
        }
    }
    let mut panels: Vec<Panel> = archs.iter().map(|arch| against_last(&swept, arch, &rules)).collect();
    if archs.len() > 1 || rules.len() > 1 {
        panels.push(Panel::HeatMap(heat_map(&swept, &archs, &rules, &lasts)));
    }
    let keys = rules.iter().enumerate().map(|(series, rule)| Key {
        series: SERIES[series % SERIES.len()],
        sign: Sign::Line(Stroke::Strong),
        name: format!("{} rule", rule.name()),
    });
    let mut text = vec![
        "Each point is the mean over the seeds, its bar reaches from the lowest run to the highest.".to_string(),
        match swept.iter().any(|cell| cell.rule.is_none()) {
            true => {
                "At p_L = 1 every block survives, whatever the rule. The differences from there are among the results \
                 above; between other survival probabilities nothing is claimed."
            }
            false => "No net without stochastic depth is among them, and so there is nothing to hold them all against.",
        }
        .to_string(),
    ];
    let is_swept = |net: &&NetRuns| swept.iter().any(|swept| std::ptr::eq(swept.net, *net));
    let others: Vec<String> = study.nets.iter().filter(|net| !is_swept(net)).map(|net| net.name.clone()).collect();
    if !others.is_empty() {
        text.push(format!("Not drawn, as it has not ended or differs in other settings: {}.", listed(&others)));
    }
    Ok(Figure {
        name: "survival",
        title: "Test error against the survival probability of the last block".into(),
        text,
        drawing: Drawing { legend: keys.collect(), panels },
        csv: csv(&swept),
        tables: Vec::new(),
    })
}

/// Colours of the rules: others than those of the first nets.
const SERIES: [usize; 3] = [2, 3, 4];

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_by(order);
    values.dedup();
    values
}

fn against_last(swept: &[Swept], arch: &str, rules: &[Rule]) -> Panel {
    let (mut lines, mut dots) = (Vec::new(), Vec::new());
    for (index, &rule) in rules.iter().enumerate() {
        let series = SERIES[index % SERIES.len()];
        let mut points: Vec<Point> = swept
            .iter()
            .filter(|cell| cell.arch == arch && cell.has_rule(rule))
            .map(|cell| Point { x: cell.last, y: mean(&cell.errors), interval: Some(cell.ends()) })
            .collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        let line = points.iter().map(|point| (point.x, point.y)).collect();
        lines.push(Layer::Line { series, stroke: Stroke::Strong, points: line });
        dots.push(Layer::Points { series, points });
    }
    lines.extend(dots);
    Panel::Plot(Plot {
        title: arch.into(),
        x: Axis::tight("survival probability of the last block, p_L"),
        y: Axis::round("test error (%)"),
        layers: lines,
    })
}

/// Mean error by net and rule, downward, and p_L; the darker, the higher.
fn heat_map(swept: &[Swept], archs: &[&str], rules: &[Rule], lasts: &[f64]) -> HeatMap {
    let means = swept.iter().map(|cell| mean(&cell.errors));
    let (least, most) = means.fold((f64::INFINITY, 0f64), |(least, most), error| (least.min(error), most.max(error)));
    let rows: Vec<(&str, Rule)> = archs.iter().flat_map(|&arch| rules.iter().map(move |&rule| (arch, rule))).collect();
    let at = |(arch, rule): (&str, Rule), last: f64| {
        let cell = swept.iter().find(|cell| cell.arch == arch && cell.has_rule(rule) && cell.last == last)?;
        let error = mean(&cell.errors);
        let shade = if most > least { (error - least) / (most - least) } else { 0.5 };
        Some(Cell { shade: 0.06 + 0.94 * shade, series: 1, text: number(error, 2) })
    };
    let name = |&(arch, rule): &(&str, Rule)| match (archs.len(), rules.len()) {
        (_, 1) => arch.to_string(),
        (1, _) => rule.name().to_string(),
        _ => format!("{arch} {}", rule.name()),
    };
    HeatMap {
        title: "mean test error (%)".into(),
        columns: "p_L".into(),
        rows: String::new(),
        column_names: lasts.iter().map(f64::to_string).collect(),
        row_names: rows.iter().map(name).collect(),
        cells: rows.iter().map(|&row| lasts.iter().map(|&last| at(row, last)).collect()).collect(),
    }
}

fn csv(swept: &[Swept]) -> String {
    let mut text = "net,arch,rule,p_L,seed,test_error\n".to_string();
    for of in swept {
        let rule = of.rule.map_or("any", Rule::name);
        for run in &of.net.runs {
            if let Some(summary) = &run.summary {
                let error = 100.0 * (1.0 - summary.test.accuracy);
                let (name, arch, last) = (csv_cell(&of.net.name), of.arch, of.last);
                let _ = writeln!(text, "{name},{arch},{rule},{last},{},{error:.4}", run.seed());
            }
        }
    }
    text
}
