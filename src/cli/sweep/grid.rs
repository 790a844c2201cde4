//! A grid of cells over architectures, survival rules and probabilities, as a table and as a heat map.

use crate::cli::chart::{coloured, shade};
use crate::cli::console::duration;
use crate::model::survival::Rule;
use crate::report::statistics::paired::{deviation, mean};
use crate::run_dir::Summary;

/// A cell of the grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    arch: String,
    /// `None` where every block survives.
    rule: Option<Rule>,
    last: f64,
    /// Of the runs that ended well, one for each seed.
    pub summaries: Vec<Summary>,
}

impl Cell {
    /// Without results.
    pub fn new(arch: &str, rule: Option<Rule>, last: f64) -> Self {
        Self { arch: arch.into(), rule, last, summaries: Vec::new() }
    }

    fn rule(&self) -> &'static str {
        self.rule.map_or("any", Rule::name)
    }

    fn mean(&self, figure: impl Fn(&Summary) -> f64) -> Option<f64> {
        let values: Vec<f64> = self.summaries.iter().map(figure).collect();
        (!values.is_empty()).then(|| mean(&values))
    }
}

/// The cells with what they are ordered by.
pub struct Grid {
    /// In the order of the heat map's rows.
    pub rules: Vec<Rule>,
    /// In the order of its columns.
    pub lasts: Vec<f64>,
    /// Each cell once.
    pub cells: Vec<Cell>,
}

/// Columns of a cell of the heat map.
const WIDTH: usize = 9;

impl Grid {
    /// A row for each cell.
    pub fn table(&self) -> Vec<String> {
        let wide = self.arch_width();
        let heads = ["net", "rule", "p_L", "runs", "test accuracy", "blocks run", "in steps", "saved"];
        let row = |cells: [String; 8]| {
            let [arch, rule, last, runs, test, blocks, time, saved] = cells;
            format!("{arch:wide$}  {rule:8}  {last:>5}  {runs:>4}  {test:17}  {blocks:>10}  {time:>8}  {saved:>5}")
        };
        let mut lines = vec![String::new(), row(heads.map(String::from))];
        lines.extend(self.cells.iter().map(|cell| {
            let accuracies: Vec<f64> = cell.summaries.iter().map(|run| 100.0 * run.test.accuracy).collect();
            let spread = deviation(&accuracies).map_or(String::new(), |spread| format!(" +- {spread:.2}"));
            let accuracy = (!accuracies.is_empty()).then(|| format!("{:.2} %{spread}", mean(&accuracies)));
            let priced = cell.summaries.iter().filter_map(|run| Some((run.step_seconds, run.all_gates_seconds?)));
            let (took, all_gates) = priced.fold((0.0, 0.0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            row([
                cell.arch.clone(),
                cell.rule().into(),
                cell.last.to_string(),
                cell.summaries.len().to_string(),
                or_dash(accuracy),
                or_dash(cell.mean(|run| run.blocks_run).map(percent)),
                or_dash(cell.mean(|run| run.step_seconds).map(duration)),
                or_dash((all_gates > 0.0).then(|| format!("{:.0} %", 100.0 * (1.0 - took / all_gates)))),
            ])
        }));
        lines
    }

    /// Mean test accuracy by rule and architecture (down) and probability (across), with a shade beside each figure, so
    /// that it can be read without `colours`.
    pub fn heat_map(&self, colours: bool) -> Vec<String> {
        let accuracy = |cell: &Cell| cell.mean(|run| 100.0 * run.test.accuracy);
        let all = self.cells.iter().filter_map(accuracy);
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            return Vec::new();
        }
        let mut archs: Vec<&str> = self.cells.iter().map(|cell| cell.arch.as_str()).collect();
        archs.dedup();
        let wide = self.arch_width();
        let heads: String = self.lasts.iter().map(|last| format!(" {last:>WIDTH$}")).collect();
        let title = format!("test accuracy in %, mean over the seeds, from . ({low:.2}) to @ ({high:.2}), by p_L");
        let mut lines = vec![String::new(), title, format!("{:wide$}  {:8} {heads}", "", "")];
        for arch in archs {
            for &rule in &self.rules {
                let of_last = |&last: &f64| {
                    let fits = |cell: &&Cell| {
                        cell.arch == arch && cell.last == last && cell.rule.is_none_or(|own| own == rule)
                    };
                    match self.cells.iter().find(fits).and_then(accuracy) {
                        None => format!(" {:>WIDTH$}", "-"),
                        Some(x) => {
                            let text = format!("{x:>7.2} {}", shade(x, low, high));
                            format!(" {}", if colours { coloured(&text, x, low, high) } else { text })
                        }
                    }
                };
                let cells: String = self.lasts.iter().map(of_last).collect();
                lines.push(format!("{arch:wide$}  {:8} {cells}", rule.name()));
            }
        }
        lines
    }

    fn arch_width(&self) -> usize {
        self.cells.iter().map(|cell| cell.arch.len()).max().unwrap_or(0).max(3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::Test;

    fn cell(arch: &str, rule: Option<Rule>, last: f64, accuracies: &[f64]) -> Cell {
        let summary = |&accuracy: &f64| Summary {
            steps: 10,
            seconds: 20.0,
            step_seconds: 9.0,
            images_per_second: 100.0,
            blocks_run: 0.75,
            steps_left_out: 0,
            all_gates_seconds: rule.map(|_| 12.0),
            all_gates_measurements: 1,
            test: Test { step: 10, loss: Some(0.5), accuracy, images: 100 },
            best: None,
        };
        Cell { summaries: accuracies.iter().map(summary).collect(), ..Cell::new(arch, rule, last) }
    }

    fn grid() -> Grid {
        Grid {
            rules: vec![Rule::Linear, Rule::Uniform],
            lasts: vec![0.5, 1.0],
            cells: vec![
                cell("resnet8", Some(Rule::Linear), 0.5, &[0.9, 0.92]),
                cell("resnet8", None, 1.0, &[0.95]),
                cell("resnet8", Some(Rule::Uniform), 0.5, &[]),
            ],
        }
    }

    #[test]
    fn a_table_lists_each_cell_once() {
        let table = grid().table();
        assert_eq!(table.len(), 2 + 3);
        assert_eq!(table[2], "resnet8  linear      0.5     2  91.00 % +- 1.41        75.0 %      0:09   25 %");
        assert_eq!(table[3], "resnet8  any           1     1  95.00 %                75.0 %      0:09      -");
        assert_eq!(table[4], "resnet8  uniform     0.5     0  -                           -         -      -");
    }

    #[test]
    fn a_heat_map_can_be_read_without_colours() {
        let map = grid().heat_map(false);
        assert_eq!(map[3], "resnet8  linear      91.00 .   95.00 @");
        // Where every block survives, all rules are one.
        assert_eq!(map[4], "resnet8  uniform           -   95.00 @");
        assert!(map.iter().all(|line| line.is_ascii()));
        let coloured = grid().heat_map(true);
        assert!(coloured[3].contains("\u{1b}[38;5;231;48;5;18m  91.00 .\u{1b}[0m"), "{coloured:?}");
    }
}
