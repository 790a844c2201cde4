//! What is said before a run and after it.

use std::path::Path;

use crate::cli::chart;
use crate::cli::console::{Console, duration, thousands};
use crate::cli::plan::survivors;
use crate::cli::show_device;
use crate::job::Start;
use crate::run_dir::read_metrics;
use crate::train::{EvalRecord, Outcome};

/// What will happen, before it does.
pub fn announce(console: Console, start: &Start<'_>) {
    let &Start { net, settings: options, data, plan, device, device_note, notes, .. } = start;
    show_device(console, device, device_note);
    let (train, test) = (&data.train, &data.test);
    console.line(format!(
        "data       {}: {} training, {} validation and {} test images of {}x{}x{}, {} classes",
        options.data,
        thousands(train.len() - options.validation),
        thousands(options.validation),
        thousands(test.len()),
        train.height,
        train.width,
        train.channels,
        data.classes,
    ));
    let blocks = plan.blocks.len();
    console.line(format!(
        "net        {} {}, {} parameters, {:.1} of {blocks} blocks expected in a step{}",
        options.arch,
        options.model.name(),
        thousands(net.parameter_count()),
        plan.expected_depth(),
        survivors(plan, options.gate_sampling),
    ));
    console.line(format!(
        "step       batch {}, {:.2} GFLOP with all blocks, {:.2} expected; {:.0} MiB planned",
        options.batch_size,
        plan.flop().all_gates() / 1e9,
        plan.expected_flop() / 1e9,
        plan.storage.bytes() as f64 / f64::from(1 << 20),
    ));
    let evaluations = match options.eval_every {
        _ if !options.evaluates() => "no evaluation on the way".into(),
        every if every < options.steps => format!("an evaluation every {every}"),
        _ => "an evaluation after the last".into(),
    };
    console.line(format!("training   {} steps, {evaluations}, seed {}", options.steps, options.seed));
    notes.iter().for_each(|note| console.line(format!("resuming   {note}")));
}

/// How it went.
pub fn conclude(console: Console, outcome: &Outcome, run: &Path) {
    if console == Console::Out {
        // What was written a moment ago can be read; if not, the figures below say enough.
        if let Ok(metrics) = read_metrics(run) {
            chart::of_run(&metrics, chart::width()).iter().for_each(|line| console.line(line));
        }
    }
    let percent = |record: &EvalRecord| format!("{:.2} %", 100.0 * record.accuracy);
    let mut accuracy = format!("test accuracy {} (last weights)", percent(&outcome.test));
    if let Some(best) = &outcome.best {
        accuracy += &format!(", {} (best on validation, of step {})", percent(best), best.step);
    }
    console.line(accuracy);
    let (time, steps) = (outcome.time.as_secs_f64(), outcome.step_time.as_secs_f64());
    console.line(format!(
        "time {}, of it {} in training steps; {:.1} % of the blocks ran",
        duration(time),
        duration(steps),
        100.0 * outcome.blocks_run,
    ));
    if let Some((all_gates, samples)) = outcome.all_gates_time {
        let all_gates = all_gates.as_secs_f64();
        console.line(format!(
            "skipping saved {:.1} s of {:.1} s ({:.0} %): the same steps with all gates on, by {samples} measurements \
             along the run, of steps whose update was not applied",
            all_gates - steps,
            all_gates,
            100.0 * (1.0 - steps / all_gates),
        ));
    }
    if outcome.steps_left_out > 0 {
        console.line(format!("{} steps were left out, as a value in them was not finite", outcome.steps_left_out));
    }
    console.line(format!("run directory {}", run.display()));
}
