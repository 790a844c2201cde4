//! `sdgpu compare` and `sdgpu sweep`: what differs between their runs, and that they can be stopped at any time.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::run::weights;
use super::{Ran, Workspace};

const NET: &str = "--data tiny --device cpu --batch-size 8";

/// Two nets with two seeds, 12 steps each.
fn compare(flags: &str) -> String {
    format!("compare --arch resnet8 {NET} --epochs 2 --seeds 2 --evaluate-on validation {flags}")
}

const COMPARED: [&str; 4] = ["resnet-seed0", "resnet-seed1", "stochastic-seed0", "stochastic-seed1"];

/// Three cells with one seed, 12 steps each.
fn sweep(flags: &str) -> String {
    format!("sweep --arch resnet8 {NET} --epochs 2 --survival-last .5,1 --survival linear,uniform {flags}")
}

const SWEPT: [&str; 3] = ["resnet8-1-seed0", "resnet8-linear-0.5-seed0", "resnet8-uniform-0.5-seed0"];

/// All that is in the folder `out`, apart from the lock and the report.
fn folders(workspace: &Workspace, out: &str) -> Vec<String> {
    let beside = ["lock", "figures", "report.html"];
    workspace.names_in(out).into_iter().filter(|name| !name.contains('/') && !beside.contains(&name.as_str())).collect()
}

/// What a run computes is the same bytes in the series `a` and `b`.
#[track_caller]
fn assert_same(workspace: &Workspace, a: &str, b: &str, runs: &[&str]) {
    assert_eq!(folders(workspace, b), runs);
    for run in runs {
        for name in ["metrics.jsonl", "predictions.csv", "weights/last.safetensors", "weights/best.safetensors"] {
            let [a, b] = [a, b].map(|out| workspace.read(&format!("{out}/{run}/{name}")));
            assert!(a == b, "{run}/{name} differs");
        }
        let lines = |out: &str| workspace.json(&format!("{out}/{run}/timing.jsonl")).len();
        assert_eq!(lines(a), lines(b));
    }
}

#[track_caller]
fn refused(ran: &Ran, saying: &str) {
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(2), 1), "{ran}");
    assert!(ran.stderr.contains(saying), "expected: {saying}\n{ran}");
}

#[test]
fn compared_nets_differ_by_their_gates_alone() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&compare(
        "--dropout 0.3 --record trace --survival-last 0.3 --survival-first 0.9 --gate-sampling systematic --out c",
    ));
    assert_eq!(folders(&workspace, "c"), COMPARED);
    for seed in 0..2 {
        let [plain, stochastic] = ["resnet", "stochastic"].map(|net| format!("c/{net}-seed{seed}/trace"));
        let initial = |trace: &str| weights(&workspace, &format!("{trace}/initial.safetensors"));
        assert!(initial(&plain) == initial(&stochastic), "the nets begin with other weights");
        let steps = |trace: &str| workspace.json(&format!("{trace}/steps.jsonl"));
        let [mut plain, mut stochastic] = [steps(&plain), steps(&stochastic)];
        assert_eq!(plain.len(), 12);
        let take_gates =
            |lines: &mut Vec<Value>| -> Vec<Value> { lines.iter_mut().map(|l| l["gates"].take()).collect() };
        let gates = [take_gates(&mut plain), take_gates(&mut stochastic)];
        assert!(gates[0].iter().all(|gates| gates == "111") && gates[1].iter().any(|gates| gates != "111"));
        // Batches, learning rates, and what dropout masks are drawn from.
        assert_eq!(plain, stochastic);
    }
    let metrics = |run: &str| workspace.read(&format!("c/{run}/metrics.jsonl"));
    assert_ne!(metrics("resnet-seed0"), metrics("stochastic-seed0"));
    assert_ne!(metrics("resnet-seed0"), metrics("resnet-seed1"));
    for expected in ["\nresnet          2  ", "\nstochastic      2  ", "(paired t, 2 seeds)", "\nstochastic - resnet: "]
    {
        assert!(ran.stdout.contains(expected), "expected: {expected}\n{ran}");
    }
    assert_eq!(ran.stderr, "", "{ran}");
}

/// With gates that are all on, everything is the same: the test batches too.
#[test]
fn nets_whose_gates_are_all_on_are_one_net() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!(
        "compare --preset seed --arch resnet8 {NET} --eval-batch 5 --steps 6 --survival-last 1 --out c --quiet"
    ));
    let metrics = |net: &str| workspace.text(&format!("c/{net}-seed0/metrics.jsonl"));
    assert_eq!(metrics("resnet"), metrics("stochastic"));
    assert_eq!(metrics("resnet").matches("\"split\":\"test-batch\"").count(), 6);
}

/// As in the notebook, whatever the preset: a test batch as large as a training batch, and no image held out.
#[test]
fn nets_are_compared_on_a_test_batch_after_each_step() {
    let workspace = Workspace::with_tiny();
    let evaluations = |flags: &str| {
        let out = format!("c{}", flags.replace(' ', ""));
        workspace.sdgpu(&format!("compare --arch resnet8 {NET} --steps 6 {flags} --out {out} --quiet"));
        let metrics = workspace.json(&format!("{out}/stochastic-seed0/metrics.jsonl"));
        let evaluations = metrics.iter().filter(|line| line["kind"] == "eval" && line["split"] != "test");
        let text = |line: &Value| format!("{} {} {}", line["split"].as_str().unwrap(), line["step"], line["images"]);
        evaluations.map(text).collect::<Vec<_>>()
    };
    assert_eq!(evaluations(""), (1..=6).map(|step| format!("test-batch {step} 8")).collect::<Vec<_>>());
    assert_eq!(evaluations("--eval-every 4 --eval-batch 5"), ["test-batch 4 5", "test-batch 6 5"]);
    assert_eq!(evaluations("--validation 6 --eval-every 6"), ["validation 6 6"]);
    assert_eq!(evaluations("--validation 6 --eval-every 6 --evaluate-on test-batch"), ["test-batch 6 8"]);
}

#[test]
fn finished_runs_are_not_repeated() {
    let workspace = Workspace::with_tiny();
    for (command, runs) in [(compare("--out c"), COMPARED.len()), (sweep("--out s"), SWEPT.len())] {
        let first = workspace.sdgpu(&command);
        let ended = first.stdout.lines().filter(|line| line.contains("-seed") && line.contains(": test accuracy"));
        assert_eq!(ended.count(), runs, "{first}");
        let before = workspace.contents();
        let again = workspace.sdgpu(&command);
        assert!(workspace.contents() == before, "something was done again");
        // The same tables, without a run.
        let tables = |ran: &Ran| ran.stdout[ran.stdout.find("\n\n").unwrap_or_else(|| panic!("{ran}"))..].to_string();
        assert!(first.stdout.contains("begins\n") && !again.stdout.contains("begins\n"), "{again}");
        assert_eq!(tables(&first).trim(), again.stdout.trim(), "{again}");
    }
    // What is asked for besides is done all the same.
    workspace.sdgpu(&compare("--out c --csv --tensorboard"));
    let names = workspace.names_in("c/resnet-seed1");
    assert!(names.iter().any(|name| name == "metrics.csv") && names.iter().any(|name| name.contains("tfevents")));
}

#[test]
fn a_sweep_has_one_cell_where_every_block_survives() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&sweep("--out s"));
    assert_eq!(folders(&workspace, "s"), SWEPT);
    for expected in ["\nresnet8  linear      0.5     1  ", "\nresnet8  any           1     1  ", "mean over the seeds"]
    {
        assert!(ran.stdout.contains(expected), "expected: {expected}\n{ran}");
    }
    // Another part of the same grid joins the folder, whatever the order of its rules.
    let more = format!("sweep --arch resnet8 {NET} --epochs 2 --survival-last 1,.8 --survival uniform --out s");
    let more = workspace.sdgpu(&more);
    assert_eq!(folders(&workspace, "s").len(), 4);
    assert!(!more.stdout.contains("resnet8-1-seed0: begins"), "{more}");
    // Several at once compute the same; what was killed before it had begun is in nobody's way.
    fs::create_dir_all(workspace.path("t/resnet8-1-seed0/weights")).unwrap();
    fs::write(workspace.path("t/resnet8-1-seed0/metrics.jsonl"), "").unwrap();
    workspace.sdgpu(&sweep("--out t --jobs 3 --quiet"));
    assert_same(&workspace, "s", "t", &SWEPT);
    // As alone.
    let alone = "train --model stochastic --arch resnet8 --epochs 2 --survival uniform --survival-last 0.5";
    workspace.sdgpu(&format!("{alone} {NET} --out alone --quiet"));
    assert_eq!(workspace.read("alone/metrics.jsonl"), workspace.read("t/resnet8-uniform-0.5-seed0/metrics.jsonl"));
}

#[test]
fn runs_of_other_settings_are_refused() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&compare("--out c --quiet"));
    let before = workspace.contents();
    let refuse = |command: &str, saying: &str| {
        refused(&workspace.run(&mut workspace.command(command)), saying);
        assert!(workspace.contents() == before, "something was changed");
    };
    let run = |run: &str, what: &str| format!("c/{run} holds a run with {what}; choose another --out, or remove it");
    refuse(
        &compare("--out c --lr 0.25"),
        &run("resnet-seed0", "lr = 0.005, not 0.25").replace('/', std::path::MAIN_SEPARATOR_STR),
    );
    refuse(&compare("--out c --survival-last .25"), "stochastic-seed0 holds a run with survival-last = 0.5, not 0.25");
    refuse(&compare("--out c --label-smoothing .3"), "holds a run with label-smoothing = 0.1, not 0.3");
    refuse(&compare("--out c --record trace"), "holds a run with trace = false, not true");
    refuse(&compare("--out c --record gradients"), "holds a run with record-gradients = false, not true");
    // Also where only runs of other seeds are there.
    refuse(&compare("--out c --seed 7 --lr 0.25"), "holds a run with lr = 0.005, not 0.25");
    refuse(&sweep("--out c"), "holds a run with model = resnet, not stochastic");
    refuse(&compare("--out tiny/train-labels-idx1-ubyte"), "exists already");
    refuse(&compare("--out d --baseline stochastic"), "--baseline and --candidate are both stochastic");
    refuse(&compare("--out d --model resnet"), "unexpected argument '--model' found; --help tells");
    refuse(&compare("--out d").replace("--seeds 2", "--seeds 0"), "invalid value '0' for '--seeds <N>'");
    refuse(&compare("--out d --survival-last 2"), "--survival-last is 2; it must be in (0, 1]");
    refuse(&compare("--out d --on-nan rewind"), "--on-nan rewind needs a --checkpoint-every in steps");
    refuse(&sweep("--out d --drop-path .1"), "cannot be used with");
    refuse(&sweep("--out d --arch resnet9"), "unknown architecture `resnet9`");
    refuse(&sweep("--out d --jobs 0"), "invalid value '0' for '--jobs <N>'");
    // What is nobody's run is in the way.
    fs::create_dir_all(workspace.path("e/resnet-seed0/other")).unwrap();
    refused(&workspace.run(&mut workspace.command(&compare("--out e"))), "resnet-seed0 exists already");
}

/// A cell whose values overflow is passed over; the others go on.
#[test]
fn a_run_that_is_not_finite_does_not_end_the_series() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.run(&mut workspace.command(&compare("--lr 1e30 --warmup-steps 0 --out c")));
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.lines().count() == 5 && ran.stderr.contains("is not finite"), "{ran}");
    assert_eq!(folders(&workspace, "c"), COMPARED);
    assert!(ran.stdout.contains("\nresnet          0  -"), "{ran}");
}

/// Runs `command` again and again, and kills it at instants spread over `longest`, until it has been killed `kills`
/// times; then to its end.
#[cfg(unix)]
fn kill_and_repeat(workspace: &Workspace, command: &str, kills: u32, longest: Duration) {
    let mut killed = 0;
    for attempt in 1.. {
        assert!(attempt < 20 * kills, "{killed} kills in {attempt} attempts");
        let mut child = workspace.command(command).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        if killed < kills {
            // The golden ratio spreads them evenly.
            sleep(longest.mul_f64((f64::from(attempt) * 0.618).fract()));
            let _ = child.kill();
        }
        match child.wait().unwrap().code() {
            None => killed += 1,
            code => {
                assert_eq!(code, Some(0));
                return;
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn series_that_are_killed_end_as_if_they_had_not_been() {
    let workspace = Workspace::with_tiny();
    for (command, runs) in
        [(compare("--checkpoint-every 3 --quiet"), &COMPARED[..]), (sweep("--checkpoint-every 3 --quiet"), &SWEPT)]
    {
        let begun = Instant::now();
        let name = command.split(' ').next().unwrap().to_string();
        workspace.sdgpu(&format!("{command} --out {name}-whole"));
        // A third of it, so that many of the kills come before the end.
        kill_and_repeat(&workspace, &format!("{command} --out {name}-killed"), 6, begun.elapsed() / 3);
        assert_same(&workspace, &format!("{name}-whole"), &format!("{name}-killed"), runs);
    }
}

#[cfg(unix)]
#[test]
fn series_that_are_asked_to_end_go_on() {
    let workspace = Workspace::with_tiny();
    for (command, runs) in
        [(compare("--epochs 20 --quiet"), &COMPARED[..]), (sweep("--epochs 20 --jobs 2 --quiet"), &SWEPT)]
    {
        // 120 steps each.
        let command = command.replacen("--epochs 2 ", "", 1);
        let name = command.split(' ').next().unwrap().to_string();
        workspace.sdgpu(&format!("{command} --out {name}-whole"));
        let out = format!("{name}-asked");
        for (signal, code, run) in [("-INT", 130, runs[0]), ("-TERM", 143, runs[runs.len() - 1])] {
            let mut again = workspace.command(&format!("{command} --out {out}"));
            let child = again.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let metrics = workspace.path(&format!("{out}/{run}/metrics.jsonl"));
            let begun = Instant::now();
            while fs::read_to_string(&metrics).unwrap_or_default().lines().count() < 20 {
                assert!(begun.elapsed() < Duration::from_secs(100), "{run} does not get to 20 lines");
                sleep(Duration::from_millis(1));
            }
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
            let ended = child.wait_with_output().unwrap();
            let message = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(code), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.starts_with("sdgpu: stopped "), "{message}");
            let end = format!(" by SIG{}; to go on: the same command again\n", &signal[1..]);
            assert!(message.ends_with(&end), "{message}");
        }
        workspace.sdgpu(&format!("{command} --out {out}"));
        assert_same(&workspace, &format!("{name}-whole"), &out, runs);
    }
}

#[test]
fn two_series_in_one_folder() {
    let workspace = Workspace::with_tiny();
    let command = compare("--quiet --out c").replace("--epochs 2", "--epochs 100");
    let mut child = workspace.command(&command).spawn().unwrap();
    let begun = Instant::now();
    while !workspace.path("c/resnet-seed0/config.toml").exists() {
        assert!(begun.elapsed() < Duration::from_secs(100));
        sleep(Duration::from_millis(2));
    }
    refused(&workspace.run(&mut workspace.command(&command)), "c is in use: another sdgpu trains there");
    child.kill().unwrap();
    child.wait().unwrap();
}
