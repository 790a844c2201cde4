//! `sdgpu train`: what a run leaves behind and says, and that it learns.

use std::collections::BTreeSet;
use std::path::Path;

use sdgpu::internals::device::DeviceKind;
use sdgpu::internals::model::init::Init;
use sdgpu::internals::model::survival::Rule;
use sdgpu::internals::model::weights::Weights;
use sdgpu::internals::plan::{BranchScale, GateSampling};
use sdgpu::internals::run_dir::{RunConfig, read_metrics, read_timing, read_trace};
use sdgpu::internals::train::Event;
use sdgpu::internals::train::{DroppedUpdate, EvaluateOn, Model};
use serde_json::Value;

use super::{TRAIN, Workspace, json_lines};

/// What must be the same bytes in equal runs.
const REPRODUCED: [&str; 4] =
    ["metrics.jsonl", "predictions.csv", "weights/last.safetensors", "weights/best.safetensors"];

fn config(workspace: &Workspace, run: &str) -> RunConfig {
    toml::from_str(&workspace.text(&format!("{run}/config.toml"))).unwrap()
}

/// The weights in a file, in the order of their names: a file has none.
pub fn weights(workspace: &Workspace, path: &str) -> Weights {
    let (mut weights, _) = Weights::from_safetensors(&workspace.read(path)).unwrap();
    weights.0.sort_by(|a, b| a.name.cmp(&b.name));
    weights
}

#[track_caller]
fn assert_fields(line: &Value, fields: &[&str]) {
    let found: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(found, fields.iter().copied().collect(), "{line}");
}

#[track_caller]
fn assert_same(workspace: &Workspace, a: &str, b: &str) {
    for name in REPRODUCED {
        let [a, b] = [a, b].map(|run| workspace.read(&format!("{run}/{name}")));
        assert!(a == b, "{name} differs");
    }
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

#[test]
fn run_directory_holds_what_is_promised() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --out run"));
    let promised = [
        "checkpoints",
        "checkpoints/step-0000000012.safetensors",
        "config.toml",
        "figures",
        "figures/accuracy.svg",
        "figures/cost.svg",
        "figures/gates.svg",
        "figures/learning.svg",
        "figures/mistakes.svg",
        "lock",
        "metrics.jsonl",
        "predictions.csv",
        "report.html",
        "summary.json",
        "timing.jsonl",
        "weights",
        "weights/best.safetensors",
        "weights/last.safetensors",
    ];
    assert_eq!(workspace.names_in("run"), promised);

    // Unknown and missing settings would be errors.
    let config = config(&workspace, "run");
    let RunConfig { version, command, init_weights, trace, checkpoint_every, keep_checkpoints, .. } = config;
    let RunConfig { data_sha256, device, settings, tuning, .. } = config;
    assert!(tuning.is_empty());
    assert_eq!((checkpoint_every.to_string().as_str(), keep_checkpoints, data_sha256.len()), ("5m", 2, 64));
    assert_eq!((version.as_str(), device.kind), (env!("CARGO_PKG_VERSION"), DeviceKind::Cpu));
    assert_eq!((init_weights, trace, settings.record_gradients), (None, false, false));
    assert_eq!(command, Some(format!("sdgpu {TRAIN} --out run")));
    assert_eq!((settings.model, settings.arch.as_str()), (Model::Stochastic, "resnet8"));
    assert_eq!((settings.steps, settings.batch_size, settings.validation, settings.eval_every), (12, 8, 5, 2));

    let metrics = workspace.json("run/metrics.jsonl");
    for (index, line) in of_kind(&metrics, "train").into_iter().enumerate() {
        assert_fields(line, &["kind", "step", "epoch", "loss", "accuracy", "lr", "gates"]);
        assert_eq!((&line["step"], &line["epoch"]), (&(index + 1).into(), &(index / 6).into()), "{line}");
        let in_eighths = line["accuracy"].as_f64().unwrap() * 8.0;
        assert!((0.0..=8.0).contains(&in_eighths) && in_eighths.fract() == 0.0, "{line}");
        assert!(line["loss"].as_f64().unwrap() > 0.0 && line["lr"].as_f64().unwrap() > 0.0, "{line}");
        let gates = line["gates"].as_str().unwrap();
        assert!(gates.len() == 3 && gates.chars().all(|gate| "01".contains(gate)), "{line}");
    }
    let evaluations: Vec<_> = of_kind(&metrics, "eval")
        .into_iter()
        .map(|line| {
            let mut fields = vec!["kind", "split", "step", "loss", "accuracy", "images"];
            fields.extend(line.get("weights").map(|_| "weights"));
            assert_fields(line, &fields);
            let [step, images] = ["step", "images"].map(|field| line[field].as_u64().unwrap());
            (line["split"].as_str().unwrap(), step, images, line.get("weights").and_then(Value::as_str))
        })
        .collect();
    assert_eq!(evaluations[..6], [2, 4, 6, 8, 10, 12].map(|step| ("validation", step, 5, None)));
    let [("test", best, 20, Some("best")), ("test", 12, 20, None)] = evaluations[6..] else {
        panic!("{evaluations:?}")
    };
    let validation = &of_kind(&metrics, "eval")[..6];
    let accuracy = |line: &Value| line["accuracy"].as_f64().unwrap();
    let highest = validation.iter().map(|line| accuracy(line)).fold(0.0, f64::max);
    let first_best = validation.iter().find(|line| accuracy(line) == highest).unwrap();
    assert_eq!(first_best["step"], best);
    assert_eq!(metrics.len(), 12 + 8);

    let timing = workspace.json("run/timing.jsonl");
    assert_eq!(timing.len(), 12);
    for line in &timing {
        assert_fields(line, &["step", "seconds", "images_per_second"]);
    }
}

/// The rows of `predictions.csv`: image, label, predicted, probability.
fn predictions(workspace: &Workspace, run: &str) -> Vec<(usize, u8, u8, f32)> {
    let text = workspace.text(&format!("{run}/predictions.csv"));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("image,label,predicted,probability"));
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [image, label, predicted, probability] = fields[..] else { panic!("{line}") };
        (image.parse().unwrap(), label.parse().unwrap(), predicted.parse().unwrap(), probability.parse().unwrap())
    };
    lines.map(row).collect()
}

#[test]
fn the_summary_and_the_predictions_say_what_the_metrics_do() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&format!("{TRAIN} --eval-batch 7 --out run"));
    let metrics = workspace.json("run/metrics.jsonl");
    let [best, last] = &metrics[metrics.len() - 2..] else { panic!("{ran}") };
    let summary: Value = serde_json::from_str(&workspace.text("run/summary.json")).unwrap();
    let times = ["seconds", "step_seconds", "images_per_second", "all_gates_seconds"];
    let others = ["steps", "blocks_run", "steps_left_out", "all_gates_measurements", "test", "best"];
    assert_fields(&summary, &[&times[..], &others].concat());
    for (name, line) in [("test", last), ("best", best)] {
        assert_fields(&summary[name], &["step", "loss", "accuracy", "images"]);
        summary[name].as_object().unwrap().iter().for_each(|(field, value)| assert_eq!(value, &line[field], "{ran}"));
    }
    let [seconds, step_seconds, speed, all_gates] = times.map(|name| summary[name].as_f64().unwrap());
    assert!(step_seconds < seconds && all_gates > 0.0, "{summary}");
    assert!((speed * step_seconds / (12.0 * 8.0) - 1.0).abs() < 1e-9, "{summary}");
    assert_eq!((&summary["steps"], &summary["steps_left_out"]), (&12.into(), &0.into()));
    assert!(summary["all_gates_measurements"].as_u64() > Some(0), "{summary}");
    let open = |line: &&Value| line["gates"].as_str().unwrap().matches('1').count();
    let open: usize = of_kind(&metrics, "train").iter().map(open).sum();
    assert_eq!(summary["blocks_run"], open as f64 / (12.0 * 3.0));

    let rows = predictions(&workspace, "run");
    assert!(rows.iter().enumerate().all(|(index, row)| row.0 == index && usize::from(row.1) == index % 3));
    assert_eq!(rows.iter().filter(|row| row.1 == row.2).count() as f64 / 20.0, last["accuracy"].as_f64().unwrap());
    assert_eq!(rows.len(), 20);
    // The largest of three shares; and no loss is below that of the images classified right.
    assert!(rows.iter().all(|row| (1.0 / 3.0..=1.0).contains(&row.3)), "{rows:?}");
    let least: f64 = rows.iter().filter(|row| row.1 == row.2).map(|row| -f64::from(row.3).ln()).sum();
    assert!(least / 20.0 <= last["loss"].as_f64().unwrap() + 1e-6, "{rows:?}");

    workspace.sdgpu(&format!("{} --validation 0 --out plain", TRAIN.replace("stochastic", "resnet")));
    let summary: Value = serde_json::from_str(&workspace.text("plain/summary.json")).unwrap();
    let nothing = [&summary["best"], &summary["all_gates_seconds"], &summary["all_gates_measurements"]];
    assert_eq!((nothing, &summary["blocks_run"]), ([&Value::Null, &Value::Null, &0.into()], &1.0.into()));
}

#[test]
fn tests_on_the_way_change_nothing_else() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&format!("{TRAIN} --test-every 3 --json --out tested"));
    assert_eq!(ran.stdout, workspace.text("tested/metrics.jsonl"), "{ran}");
    let lines = json_lines(&ran.stdout);
    let tests = lines.iter().filter(|line| line["split"] == "test" && line.get("weights").is_none());
    let tests: Vec<_> = tests.map(|line| (line["step"].as_u64().unwrap(), line["images"].as_u64().unwrap())).collect();
    // The last step is tested once.
    assert_eq!(tests, [(3, 20), (6, 20), (9, 20), (12, 20)]);
    // After step 6, both: what the run goes by first.
    let place = |split: &str| lines.iter().position(|line| line["split"] == split && line["step"] == 6).unwrap();
    assert_eq!(place("validation") + 1, place("test"));

    workspace.sdgpu(&format!("{TRAIN} --out plain"));
    let mut rest = lines.clone();
    rest.retain(|line| !(line["split"] == "test" && line["step"].as_u64() < Some(12) && line.get("weights").is_none()));
    assert_eq!(rest, workspace.json("plain/metrics.jsonl"));
    let [a, b] = ["tested", "plain"].map(|run| weights(&workspace, &format!("{run}/weights/last.safetensors")));
    assert!(a == b);
}

#[test]
fn without_validation_images_nothing_is_chosen() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&format!("{TRAIN} --validation 0 --out run"));
    assert!(ran.stdout.contains("\ntraining   14 steps, no evaluation on the way, seed 0\n"), "{ran}");
    assert_eq!(workspace.names_in("run/weights"), ["last.safetensors"]);
    let metrics = workspace.json("run/metrics.jsonl");
    assert_eq!(metrics.len(), 14 + 1, "7 batches of 8 in each epoch, and the test");
    assert_eq!((&metrics[14]["split"], &metrics[14]["step"]), (&"test".into(), &14.into()));
}

#[test]
fn stdout_and_stderr_carry_what_was_asked_for() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&format!("{TRAIN} --json --out json"));
    assert_eq!(ran.stdout, workspace.text("json/metrics.jsonl"), "{ran}");
    assert!(ran.stderr.contains("run directory json"), "{ran}");

    let ran = workspace.sdgpu(&format!("{TRAIN} --quiet --out quiet"));
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""), "{ran}");
    let ran = workspace.sdgpu(&format!("{TRAIN} --quiet --json --out both"));
    assert_eq!((ran.stdout, ran.stderr.as_str()), (workspace.text("json/metrics.jsonl"), ""));

    let ran = workspace.sdgpu(&format!("{TRAIN} --out text"));
    assert_eq!(ran.stderr, "", "{ran}");
    assert!(ran.stdout.contains("\ntraining   12 steps, an evaluation every 2, seed 0\n"), "{ran}");
    let data = "/tiny: 55 training, 5 validation and 20 test images of 9x9x1, 3 classes\n";
    assert!(ran.stdout.replace('\\', "/").contains(data), "{ran}");
    // No evaluation within a second of another; the tests are shown whatever their time.
    let shown = |start: &str| ran.stdout.lines().filter(|line| line.starts_with(start)).count();
    assert!((2..=6).contains(&shown("validation step")), "{ran}");
    assert_eq!(shown("test       "), 2, "{ran}");
    for expected in ["device     cpu: ", "net        resnet8 stochastic, ", "test accuracy ", "run directory text"] {
        assert!(ran.stdout.contains(expected), "expected: {expected}\n{ran}");
    }
    for run in ["quiet", "both", "text"] {
        assert_same(&workspace, "json", run);
    }
}

#[test]
fn a_run_is_a_function_of_its_settings() {
    let workspace = Workspace::with_tiny();
    let train = format!("{TRAIN} --dropout 0.3");
    workspace.sdgpu(&format!("{train} --seed 7 --out a"));
    for threads in ["1", "4"] {
        let mut command = workspace.command(&format!("{train} --seed 7 --out threads-{threads}"));
        let ran = workspace.run(command.env("RAYON_NUM_THREADS", threads));
        assert_eq!(ran.code, Some(0), "{ran}");
        assert_same(&workspace, "a", &format!("threads-{threads}"));
    }
    workspace.sdgpu(&format!("{train} --seed 8 --out b"));
    for name in ["metrics.jsonl", "weights/last.safetensors"] {
        assert_ne!(workspace.read(&format!("a/{name}")), workspace.read(&format!("b/{name}")), "{name}");
    }
}

#[test]
fn every_block_of_the_plain_net_runs() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{} --out run", TRAIN.replace("stochastic", "resnet")));
    let metrics = workspace.json("run/metrics.jsonl");
    assert!(of_kind(&metrics, "train").iter().all(|line| line["gates"] == "111"));
}

#[test]
fn run_directories_are_numbered_by_default() {
    let workspace = Workspace::with_tiny();
    for train in [TRAIN, TRAIN, &TRAIN.replace("stochastic", "resnet")] {
        workspace.sdgpu(train);
    }
    let runs = workspace.names_in("runs");
    let folders: Vec<_> = runs.iter().filter(|name| !name.contains('/')).collect();
    assert_eq!(folders, ["resnet8-resnet-1", "resnet8-stochastic-1", "resnet8-stochastic-2"]);
    assert_same(&workspace, "runs/resnet8-stochastic-1", "runs/resnet8-stochastic-2");
}

#[test]
fn run_directories_may_have_any_name() {
    let workspace = Workspace::with_tiny();
    for out in ["deep/er/run", "./here", "Läufe und 走行/nº 1", "trailing/"] {
        let ran = workspace.run(workspace.command(TRAIN).args(["--out", out]));
        assert_eq!(ran.code, Some(0), "{ran}");
        assert!(workspace.path(out).join("weights/last.safetensors").is_file(), "{ran}");
        let ran = workspace.run(workspace.command("eval --device cpu").arg(out));
        assert_eq!(ran.code, Some(0), "{ran}");
    }
}

#[test]
fn trace_holds_what_a_replay_needs() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --record trace --seed 5 --out a"));
    assert_eq!(workspace.names_in("a/trace"), ["initial.safetensors", "steps.jsonl"]);
    let (metrics, trace) = (workspace.json("a/metrics.jsonl"), workspace.json("a/trace/steps.jsonl"));
    let steps = of_kind(&metrics, "train");
    assert_eq!(trace.len(), steps.len());
    for (index, (traced, step)) in trace.iter().zip(steps).enumerate() {
        assert_fields(traced, &["step", "indices", "gates", "lr", "dropout_seed", "dropout_step"]);
        for field in ["step", "gates", "lr"] {
            assert_eq!(traced[field], step[field], "{traced}");
        }
        assert_eq!((&traced["dropout_seed"], &traced["dropout_step"]), (&5.into(), &index.into()));
        let indices: BTreeSet<u64> =
            traced["indices"].as_array().unwrap().iter().map(|index| index.as_u64().unwrap()).collect();
        assert!(indices.len() == 8 && indices.iter().all(|&index| index < 60), "{traced}");
    }
    // What is read is what is written.
    let read = read_trace(&workspace.path("a")).unwrap();
    assert_eq!(read.iter().map(|record| serde_json::to_value(record).unwrap()).collect::<Vec<_>>(), trace);
    let timing = read_timing(&workspace.path("a")).unwrap();
    assert_eq!(serde_json::to_value(timing).unwrap(), Value::Array(workspace.json("a/timing.jsonl")));

    // Starting from the traced weights is the same run.
    workspace.sdgpu(&format!("{TRAIN} --seed 5 --init a/trace/initial.safetensors --out b"));
    assert_same(&workspace, "a", "b");
    let initial = config(&workspace, "b").init_weights.unwrap();
    assert!(initial.ends_with("initial.safetensors") && Path::new(&initial).is_absolute(), "{initial}");
    assert!(config(&workspace, "a").trace && !config(&workspace, "b").trace);
}

#[test]
fn recorded_gradients_change_nothing_else() {
    let workspace = Workspace::with_tiny();
    for (device, runs) in [("cpu", ["a", "b"]), ("gpu", ["c", "d"])] {
        let train = TRAIN.replace("--device cpu", &format!("--device {device}"));
        workspace.sdgpu(&format!("{train} --record gradients --csv --tensorboard --out {}", runs[0]));
        workspace.sdgpu(&format!("{train} --out {}", runs[1]));
        let [mut recorded, plain] = runs.map(|run| workspace.json(&format!("{run}/metrics.jsonl")));
        let take = |line: &mut Value| line.as_object_mut().unwrap().remove("first_gradient");
        let gradients: Vec<f64> = recorded.iter_mut().filter_map(take).map(|x| x.as_f64().unwrap()).collect();
        assert_eq!(recorded, plain);
        let distinct: BTreeSet<u64> = gradients.iter().map(|gradient| gradient.to_bits()).collect();
        assert_eq!((gradients.len(), distinct.len()), (12, 12), "{gradients:?}");
        assert!(gradients.iter().all(|&gradient| gradient > 0.0 && gradient < 10.0), "{gradients:?}");
        let [with, without] = runs.map(|run| weights(&workspace, &format!("{run}/weights/last.safetensors")));
        assert!(with == without, "{device}: other weights");
        assert_eq!(runs.map(|run| config(&workspace, run).settings.record_gradients), [true, false]);

        let metrics = read_metrics(&workspace.path(runs[0])).unwrap();
        let told = metrics.iter().filter_map(|event| match event {
            Event::Step(step) => step.first_gradient,
            _ => None,
        });
        assert!(told.eq(gradients.iter().copied()));
        let table = workspace.text(&format!("{}/metrics.csv", runs[0]));
        let column: Vec<&str> = table.lines().map(|row| row.rsplit(',').next().unwrap()).collect();
        assert_eq!(column[0], "first_gradient");
        assert!(column[1..].iter().map(|cell| cell.parse::<f64>().unwrap()).eq(gradients.iter().copied()));
        let events = workspace.read(&format!("{}/events.out.tfevents.sdgpu", runs[0]));
        let name = b"train/first_gradient";
        assert_eq!(events.windows(name.len()).filter(|window| window == name).count(), 12);
    }
}

#[test]
fn recalibrated_statistics_are_of_evaluations_alone() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --bn-recalibrate 2 --test-every 5 --out a"));
    workspace.sdgpu(&format!("{TRAIN} --test-every 5 --out b"));
    assert_eq!(["a", "b"].map(|run| config(&workspace, run).settings.bn_recalibrate), [2, 0]);
    let [a, b] = ["a", "b"].map(|run| workspace.json(&format!("{run}/metrics.jsonl")));
    assert_eq!(of_kind(&a, "train"), of_kind(&b, "train"));
    let [a, b] = [&a, &b].map(|metrics| of_kind(metrics, "eval"));
    assert!(a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a["loss"] != b["loss"]), "{a:?}\n{b:?}");
    let [a, b] = ["a", "b"].map(|run| weights(&workspace, &format!("{run}/weights/last.safetensors")));
    assert!(a == b, "other weights");
}

#[test]
fn without_shuffle_the_files_order_is_kept() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --no-shuffle --validation 0 --record trace --out run"));
    for (index, line) in workspace.json("run/trace/steps.jsonl").iter().enumerate() {
        let first = index % 7 * 8;
        assert_eq!(line["indices"], Value::from(Vec::from_iter(first..first + 8)), "step {}", index + 1);
    }
}

#[test]
fn training_goes_on_from_the_weights_of_a_run() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --out a"));
    workspace.sdgpu(&format!("{TRAIN} --init a/weights/last.safetensors --record trace --out b"));
    let [last, initial] = ["a/weights/last.safetensors", "b/trace/initial.safetensors"];
    assert!(weights(&workspace, last) == weights(&workspace, initial));
    let loss = |run: &str| workspace.json(&format!("{run}/metrics.jsonl"))[0]["loss"].as_f64().unwrap();
    assert!(loss("b") < loss("a"), "{} must be below {}", loss("b"), loss("a"));
}

#[test]
fn bright_quadrants_are_learnt() {
    let workspace = Workspace::new();
    workspace.write_set("quadrants", 64, 20, 9, 4);
    for (model, optimizer) in [("resnet", "adam"), ("stochastic", "adam"), ("stochastic", "sgd --lr 0.05")] {
        let train = format!(
            "train --model {model} --arch resnet8 --data quadrants --device cpu --batch-size 16 --validation 0 \
             --steps 200 --optimizer {optimizer} --json"
        );
        let lines = json_lines(&workspace.sdgpu(&train).stdout);
        let steps = of_kind(&lines, "train");
        // The last epoch: every image once.
        let right: f64 = steps[196..].iter().map(|line| 16.0 * line["accuracy"].as_f64().unwrap()).sum();
        assert_eq!(right, 64.0, "{train}");
        assert_eq!(lines[200]["accuracy"], 1.0, "{train}");
    }
}

#[test]
fn what_happens_to_dropped_blocks_makes_a_difference() {
    let workspace = Workspace::with_tiny();
    for optimizer in ["adam", "sgd"] {
        for dropped in ["freeze", "zero-grad"] {
            let out = format!("{optimizer}-{dropped}");
            workspace.sdgpu(&format!("{TRAIN} --optimizer {optimizer} --dropped-update {dropped} --out {out}"));
        }
        let [a, b] = ["freeze", "zero-grad"]
            .map(|dropped| weights(&workspace, &format!("{optimizer}-{dropped}/weights/last.safetensors")));
        assert!(a != b, "{optimizer}");
    }
}

#[test]
fn systematic_gates_hardly_vary_in_number() {
    let workspace = Workspace::with_tiny();
    let train = TRAIN.replace("resnet8", "resnet14").replace("--epochs 2", "--steps 30");
    for sampling in ["systematic", "independent"] {
        workspace.sdgpu(&format!("{train} --survival uniform --gate-sampling {sampling} --out {sampling}"));
    }
    let survivors = |run: &str| -> BTreeSet<usize> {
        let metrics = workspace.json(&format!("{run}/metrics.jsonl"));
        of_kind(&metrics, "train").iter().map(|line| line["gates"].as_str().unwrap().matches('1').count()).collect()
    };
    assert_eq!(survivors("systematic"), [3].into(), "6 blocks, each with probability .5");
    assert!(survivors("independent").len() > 1);
    assert_eq!(config(&workspace, "systematic").settings.gate_sampling, GateSampling::Systematic);
    assert_eq!(config(&workspace, "independent").settings.gate_sampling, GateSampling::Independent);
}

#[test]
fn drop_path_is_short_for_four_flags() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --drop-path .3 --out a"));
    let flags = "--survival linspace --survival-first 1 --survival-last .7 --branch-scale train";
    workspace.sdgpu(&format!("{TRAIN} {flags} --out b"));
    assert_same(&workspace, "a", "b");
    let settings = config(&workspace, "a").settings;
    assert_eq!((settings.survival, settings.branch_scale), (Rule::Linspace, BranchScale::Train));
    assert_eq!((settings.survival_first, settings.survival_last), (1.0, 0.7));
}

#[test]
fn the_largest_seed_is_written_and_read() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --steps 1 --seed 18446744073709551615 --out run").replace("--epochs 2 ", ""));
    assert_eq!(config(&workspace, "run").settings.seed, u64::MAX);
    workspace.sdgpu("eval run --device cpu");
}

#[test]
fn the_notebook_preset_is_the_notebooks_run() {
    let workspace = Workspace::new();
    workspace.write_set("tiny", 20, 10, 28, 3);
    let train =
        "train --model stochastic --preset notebook --data tiny --device cpu --batch-size 8 --steps 1 --out run";
    workspace.sdgpu(train);
    let settings = config(&workspace, "run").settings;
    assert_eq!((settings.arch.as_str(), settings.lr, settings.dropout), ("resnet50", 1e-3, 0.4));
    assert_eq!((settings.survival, settings.survival_first, settings.survival_last), (Rule::Linspace, 1.0, 0.6));
    assert_eq!((settings.branch_scale, settings.dropped_update), (BranchScale::Eval, DroppedUpdate::ZeroGrad));
    assert_eq!((settings.norm_epsilon, settings.norm_momentum), (1e-3, 0.01));
    assert_eq!((settings.initialisation, settings.evaluate_on), (Init::GlorotUniform, EvaluateOn::TestBatch));
    assert_eq!((settings.validation, settings.eval_every, settings.warmup_steps), (0, 1, 0));
    // A random test batch at each step, and at the end all test images.
    let metrics = workspace.json("run/metrics.jsonl");
    let splits: Vec<_> = of_kind(&metrics, "eval").iter().map(|line| line["split"].as_str().unwrap()).collect();
    assert_eq!(splits, ["test-batch", "test"]);
    assert_eq!(workspace.names_in("run/weights"), ["last.safetensors"]);
    // Under its old name, too.
    workspace.sdgpu(&train.replace("notebook", "seed").replace("--out run", "--out old"));
    assert_eq!(config(&workspace, "old").settings, settings);
}

#[test]
fn a_step_that_is_not_finite_stops_the_run_and_spares_the_weights() {
    let workspace = Workspace::with_tiny();
    for optimizer in ["sgd", "adam"] {
        let train = format!("{TRAIN} --lr 1e30 --warmup-steps 0 --optimizer {optimizer} --out {optimizer}");
        let ran = workspace.run(&mut workspace.command(&train));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
        let metrics = workspace.json(&format!("{optimizer}/metrics.jsonl"));
        let step = of_kind(&metrics, "train").len() + 1;
        let start = format!("sdgpu: step {step}: the loss, a gradient or a weight is not finite; ");
        let rest = ran.stderr.strip_prefix(&start).unwrap_or_else(|| panic!("expected: {start}\n{ran}"));
        let (value, rest) = rest.split_once(", element ").unwrap_or_else(|| panic!("{ran}"));
        assert!(value.contains("conv") || value.contains("bn"), "{ran}");
        let broken = [" is inf after `", " is -inf after `", " is NaN after `"];
        assert!(broken.iter().any(|broken| rest.contains(broken)), "{ran}");
        let last = weights(&workspace, &format!("{optimizer}/weights/last.safetensors"));
        assert!(last.0.iter().flat_map(|tensor| &tensor.values).all(|value| value.is_finite()), "{ran}");
    }
}

/// The variants that were measured are noted and kept for the next run; they change no result.
#[test]
fn tuning_is_noted_and_kept() {
    let workspace = Workspace::with_tiny();
    let train = "train --model resnet --arch resnet8 --data tiny --device gpu --batch-size 8 --steps 2";
    let run = |flags: &str| {
        let mut command = workspace.command(&format!("{train} {flags}"));
        let ran = workspace.run(command.env("XDG_CACHE_HOME", workspace.path("cache")));
        assert_eq!(ran.code, Some(0), "{ran}");
        ran
    };
    let measures = |ran: &super::Ran| ran.stdout.contains("tuning     up to ");
    assert!(!measures(&run("--no-tune --out plain")));
    // Compiled pipelines are kept there too.
    let measured = || workspace.names_in("cache/sdgpu").iter().filter(|name| name.starts_with("tuning-")).count();
    assert_eq!(measured(), 0);
    assert!(!workspace.text("plain/config.toml").contains("tuning"));

    assert!(measures(&run("--tune --out tuned")));
    let tuning = config(&workspace, "tuned").tuning;
    assert!(tuning.0.keys().all(|key| key.starts_with("conv_")) && !tuning.is_empty(), "{tuning:?}");
    assert_eq!(measured(), 1, "{:?}", workspace.names_in("cache/sdgpu"));
    run("--tune --out again");
    assert!(tuning.0.iter().all(|(key, name)| config(&workspace, "again").tuning.0[key] == *name));
    assert_same(&workspace, "plain", "tuned");
    assert_same(&workspace, "plain", "again");
}
