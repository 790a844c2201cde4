//! `sdgpu compare`.

use std::path::PathBuf;

use super::BadInput;
use super::args::{CompareArgs, ModelArgs, NetArgs, TrainingArgs};
use super::console::Console;
use super::progress_table::ProgressTable;
use super::report::write_into;
use super::request;
use super::session::Session;
use crate::data::DataSet;
use crate::job::{Queue, QueueOptions, QueuedRun};
use crate::train::{EvaluateOn, Model};

mod table;

use table::NetSummaries;

/// Trains both nets with each seed, one after the other, and says how they differ.
pub fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let console = Console::new(false, args.run.quiet);
    let models = [args.baseline, args.candidate];
    if args.baseline == args.candidate {
        let name = args.baseline.name();
        return Err(BadInput(format!("--baseline and --candidate are both {name}; one has to be the other net")).into());
    }
    let data = DataSet::load(&args.training.data)?;
    // As the notebook compares them: on test batches, the same for both nets.
    let asked = args.training.evaluate_on;
    let evaluate_on = asked.or(args.training.validation.is_none().then_some(EvaluateOn::TestBatch));
    let mut runs = Vec::new();
    for seed in seeds(&args.training, args.seeds)? {
        for model in models {
            let given = TrainingArgs { seed, evaluate_on, ..args.training.clone() };
            let asked = request::run_request(&for_model(model, &args.net, given), &args.run)?;
            let settings = asked.resolve(&data)?;
            runs.push(QueuedRun { name: format!("{}-seed{seed}", model.name()), settings });
        }
    }
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("runs/compare-{}", runs[0].settings.arch)));
    let session = Session::begin()?;
    let device = request::device(&args.training, args.run.tune);
    let context = session.context(&data, device, "the same command again");
    let recording = request::recording(&args.run);
    // Side by side they would spoil each other's times.
    let options = QueueOptions { out, recording, jobs: 1, varied: &["seed"] };
    let mut queue = Queue::new(runs, options, context)?;
    let seed_by_seed: Vec<Vec<usize>> = (0..args.seeds as usize).map(|seed| vec![2 * seed, 2 * seed + 1]).collect();
    let table = ProgressTable::new(console, &queue, &seed_by_seed);
    let not_finite = queue.train(&table)?;

    let nets = models.map(|model| {
        let of_model = queue.results().filter(|(run, _)| run.settings.model == model);
        NetSummaries { name: model.name(), summaries: of_model.map(|(_, summary)| summary.cloned()).collect() }
    });
    table::lines(&nets).iter().for_each(|line| console.line(line));
    if !args.run.no_report {
        write_into(queue.out(), &data, console);
    }
    console.line(format!("runs       {}", queue.out().display()));
    not_finite.map_or(Ok(()), |message| Err(anyhow::Error::msg(message)))
}

/// The seed of `training` and those that follow it, `count` in all.
pub fn seeds(training: &TrainingArgs, count: u32) -> Result<std::ops::Range<u64>, BadInput> {
    let end = training.seed.checked_add(count.into());
    let end = end.ok_or_else(|| BadInput(format!("--seed {} leaves no room for {count} seeds", training.seed)))?;
    Ok(training.seed..end)
}

/// What is asked for of `model`: the plain net has no use for the flags of stochastic depth.
fn for_model(model: Model, net: &NetArgs, training: TrainingArgs) -> ModelArgs {
    let (net, training) = match model {
        Model::Stochastic => (net.clone(), training),
        Model::Resnet => (
            NetArgs { survival: None, survival_last: None, ..net.clone() },
            TrainingArgs {
                survival_first: None,
                gate_sampling: None,
                branch_scale: None,
                dropped_update: None,
                drop_path: None,
                ..training
            },
        ),
    };
    ModelArgs { model, net, training }
}
