//! `sdgpu sweep`.

use std::path::PathBuf;

use super::BadInput;
use super::args::{ModelArgs, NetArgs, SweepArgs, TrainingArgs};
use super::compare::seeds;
use super::console::Console;
use super::progress_table::ProgressTable;
use super::report::write_into;
use super::request;
use super::session::Session;
use crate::data::DataSet;
use crate::job::{Queue, QueueOptions, QueuedRun};
use crate::model::survival::Rule;
use crate::train::Model;

mod grid;

use grid::{Cell, Grid};

/// Trains every cell of the grid with every seed, and shows what came of it.
pub fn run(args: &SweepArgs) -> anyhow::Result<()> {
    let console = Console::new(false, args.run.quiet);
    if args.training.drop_path.is_some() {
        let message = "--drop-path would be the same in every cell; give --survival linspace and --survival-last";
        return Err(BadInput(message.into()).into());
    }
    let data = DataSet::load(&args.training.data)?;
    let (runs, mut grid) = plan_runs(args, &data)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs/sweep"));
    let (jobs, count) = (args.jobs as usize, runs.len());
    let session = Session::begin()?;
    let device = request::device(&args.training, args.run.tune);
    let context = session.context(&data, device, "the same command again");
    let recording = request::recording(&args.run);
    let varied = &["seed", "arch", "survival", "survival-last"];
    let mut queue = Queue::new(runs, QueueOptions { out, recording, jobs, varied }, context)?;
    if queue.jobs() < jobs.min(count) {
        console.line(format!("jobs       {} at once, as there is no memory for {jobs}", queue.jobs()));
    }
    let alone: Vec<Vec<usize>> = (0..count).map(|index| vec![index]).collect();
    let table = ProgressTable::new(console, &queue, &alone);
    let not_finite = queue.train(&table)?;

    let summaries: Vec<_> = queue.results().map(|(_, summary)| summary.cloned()).collect();
    for (cell, summaries) in grid.cells.iter_mut().zip(summaries.chunks(args.seeds as usize)) {
        cell.summaries = summaries.iter().flatten().cloned().collect();
    }
    grid.table().iter().chain(&grid.heat_map(console.colours())).for_each(|line| console.line(line));
    if !args.run.no_report {
        write_into(queue.out(), &data, console);
    }
    console.line(format!("runs       {}", queue.out().display()));
    not_finite.map_or(Ok(()), |message| Err(anyhow::Error::msg(message)))
}

/// The runs of the grid, cell by cell and seed by seed. Where every block survives, the rule makes no difference: that
/// is one cell, of the rule that is the default.
fn plan_runs(args: &SweepArgs, data: &DataSet) -> anyhow::Result<(Vec<QueuedRun>, Grid)> {
    let archs: Vec<Option<String>> = match args.arch.as_slice() {
        [] => vec![None],
        given => given.iter().cloned().map(Some).collect(),
    };
    let (mut runs, mut cells) = (Vec::new(), Vec::<Cell>::new());
    let (rules, lasts) = (distinct(&args.survival), distinct(&args.survival_last));
    for arch in distinct(&archs) {
        for &rule in &rules {
            for &last in &lasts {
                let of_seed = |seed: u64, rule: Rule| {
                    let net = NetArgs { arch: arch.clone(), survival: Some(rule), survival_last: Some(last) };
                    let training = TrainingArgs { seed, ..args.training.clone() };
                    let model = ModelArgs { model: Model::Stochastic, net, training };
                    anyhow::Ok(request::run_request(&model, &args.run)?.resolve(data)?)
                };
                let settings = of_seed(args.training.seed, rule)?;
                let blocks = settings.net(data.train.channels, data.classes)?.blocks.len();
                let all_survive = settings.survival_probabilities(blocks)?.iter().all(|&p| p == 1.0);
                let rule = if all_survive { Rule::Linear } else { rule };
                let name = match all_survive {
                    true => format!("{}-{last}", settings.arch),
                    false => format!("{}-{}-{last}", settings.arch, rule.name()),
                };
                let cell = Cell::new(&settings.arch, (!all_survive).then_some(rule), last);
                if cells.contains(&cell) {
                    continue;
                }
                cells.push(cell);
                for seed in seeds(&args.training, args.seeds)? {
                    runs.push(QueuedRun { name: format!("{name}-seed{seed}"), settings: of_seed(seed, rule)? });
                }
            }
        }
    }
    Ok((runs, Grid { rules, lasts, cells }))
}

/// `values` in their order, each once.
fn distinct<T: Clone + PartialEq>(values: &[T]) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(value) {
            distinct.push(value.clone());
        }
    }
    distinct
}
