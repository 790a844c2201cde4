//! Runs that are stopped and go on: nothing of them is lost, and they end as if they had never stopped.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Ran, TRAIN, Workspace};

/// What ends as the same bytes, however often a run was stopped.
const REPRODUCED: [&str; 5] =
    ["metrics.jsonl", "predictions.csv", "trace/steps.jsonl", "weights/last.safetensors", "weights/best.safetensors"];

/// A run of 60 steps that leaves all that can be compared.
fn long(workspace: &Workspace, out: &str) -> Command {
    let train = TRAIN.replace("--epochs 2", "--epochs 10");
    workspace
        .command(&format!("{train} --record trace,gradients --quiet --checkpoint-every 3 --test-every 4 --out {out}"))
}

fn resume(workspace: &Workspace, run: &str) -> Command {
    workspace.command(&format!("train --quiet --resume {run}"))
}

#[track_caller]
fn assert_ends_like(workspace: &Workspace, run: &str, whole: &str) {
    for name in REPRODUCED {
        let [a, b] = [run, whole].map(|run| workspace.read(&format!("{run}/{name}")));
        assert!(a == b, "{name} differs");
    }
    let lines = |run: &str| workspace.json(&format!("{run}/timing.jsonl")).len();
    assert_eq!(lines(run), lines(whole));
    let tests = |run: &str| {
        let summary: serde_json::Value = serde_json::from_str(&workspace.text(&format!("{run}/summary.json"))).unwrap();
        ["steps", "blocks_run", "test", "best"].map(|field| summary[field].clone())
    };
    assert_eq!(tests(run), tests(whole));
}

fn checkpoints(workspace: &Workspace, run: &str) -> Vec<String> {
    workspace.names_in(&format!("{run}/checkpoints"))
}

/// Starts `command`, and waits until the `run` has so many lines of metrics.
fn start(workspace: &Workspace, mut command: Command, run: &str, lines: usize) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let path = workspace.path(run).join("metrics.jsonl");
    while fs::read_to_string(&path).unwrap_or_default().lines().count() < lines {
        assert!(begun.elapsed() < Duration::from_secs(100), "{run} does not get to {lines} lines");
        sleep(Duration::from_millis(1));
    }
    child
}

fn refused(ran: &Ran, saying: &str) {
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(2), 1), "{ran}");
    assert!(ran.stderr.contains(saying), "expected: {saying}\n{ran}");
}

/// Begins a run and kills it at instants spread over the first `longest` of each attempt, until it ends; then another,
/// until there were `kills` kills. All must end like the run `whole`.
#[cfg(unix)]
fn kill_and_resume(workspace: &Workspace, begin: impl Fn(&str) -> Command, whole: &str, kills: u32, longest: Duration) {
    use std::os::unix::process::ExitStatusExt;
    let (mut killed, mut attempts) = (0, 0);
    for number in 0.. {
        let run = format!("run{number}");
        loop {
            let begun = workspace.path(&run).join("config.toml").exists();
            if !begun {
                // It was killed before it had begun: what there is of it is in the way.
                let _ = fs::remove_dir_all(workspace.path(&run));
            }
            let mut command = if begun { resume(workspace, &run) } else { begin(&run) };
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
            attempts += 1;
            assert!(attempts < 10 * kills, "{killed} kills in {attempts} attempts");
            if killed < kills {
                // The golden ratio spreads them evenly.
                sleep(longest.mul_f64((f64::from(attempts) * 0.618).fract()));
                let _ = child.kill();
            }
            let status = child.wait().unwrap();
            if status.signal() != Some(9) {
                assert_eq!(status.code(), Some(0), "attempt {attempts}");
                break;
            }
            killed += 1;
        }
        assert_ends_like(workspace, &run, whole);
        if killed == kills {
            return;
        }
    }
}

#[cfg(unix)]
#[test]
fn killed_at_any_instant() {
    let workspace = Workspace::with_tiny();
    let begun = Instant::now();
    let whole = workspace.run(&mut long(&workspace, "whole"));
    assert_eq!(whole.code, Some(0), "{whole}");
    kill_and_resume(&workspace, |out| long(&workspace, out), "whole", 8, begun.elapsed());
    assert_eq!(checkpoints(&workspace, "run0"), ["step-0000000057.safetensors", "step-0000000060.safetensors"]);
}

#[cfg(unix)]
#[test]
fn killed_on_the_gpu() {
    let workspace = Workspace::with_tiny();
    let train = TRAIN.replace("--device cpu", "--device gpu");
    let begin = |out: &str| {
        workspace.command(&format!("{train} --record trace,gradients --quiet --checkpoint-every 2 --out {out}"))
    };
    // Twice, as the first one compiles what the driver keeps.
    workspace.run(&mut begin("first"));
    let begun = Instant::now();
    let whole = workspace.run(&mut begin("whole"));
    assert_eq!(whole.code, Some(0), "{whole}");
    kill_and_resume(&workspace, begin, "whole", 3, begun.elapsed());
}

#[cfg(unix)]
#[test]
fn asked_to_end() {
    let workspace = Workspace::with_tiny();
    workspace.run(&mut long(&workspace, "whole"));
    let signal = |child: &Child, name: &str| {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    };
    let mut command = long(&workspace, "run");
    for (name, code, lines) in [("-INT", 130, 10), ("-TERM", 143, 30)] {
        let child = start(&workspace, command, "run", lines);
        signal(&child, name);
        let ended = child.wait_with_output().unwrap();
        let message = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{message}");
        assert!(message.starts_with("sdgpu: stopped after step "), "{message}");
        assert!(
            message.ends_with(&format!(" by SIG{}; to go on: sdgpu train --resume run\n", &name[1..])),
            "{message}"
        );
        let step: usize = message.split_whitespace().nth(4).unwrap().parse().unwrap();
        assert!(checkpoints(&workspace, "run").contains(&format!("step-{step:010}.safetensors")), "{message}");
        command = resume(&workspace, "run");
    }
    let ran = workspace.run(&mut command);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_ends_like(&workspace, "run", "whole");
    // A run that has ended can be resumed: there is only the test to be made. Until then, it has not ended any more.
    let again = workspace.sdgpu("train --resume run");
    assert!(again.stdout.contains("\nresuming   after step 60 of 60\n"), "{again}");
    assert_ends_like(&workspace, "run", "whole");
}

/// One that works on a step that lasts.
#[cfg(unix)]
#[test]
fn asked_to_end_twice() {
    let workspace = Workspace::new();
    let mut command =
        workspace.command("train --model resnet --device cpu --steps 3 --batch-size 3000 --quiet --out run");
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    while !workspace.path("run/config.toml").exists() {
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(300));
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        sleep(Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // Had it ended its step first, there would be one.
    assert!(!workspace.path("run/checkpoints/step-0000000001.safetensors").exists());
}

/// A summary stands for a run that has ended well.
#[test]
fn a_run_that_goes_on_has_no_summary() {
    let workspace = Workspace::with_tiny();
    workspace.run(&mut long(&workspace, "run"));
    let summary = workspace.path("run/summary.json");
    fs::remove_file(workspace.path("run/predictions.csv")).unwrap();
    // What the run would write at its end is in the way.
    fs::create_dir(workspace.path("run/predictions.csv")).unwrap();
    assert!(summary.exists());
    let ran = workspace.run(&mut resume(&workspace, "run"));
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(1), 1), "{ran}");
    assert!(ran.stderr.starts_with("sdgpu: can't write run/predictions.csv: "), "{ran}");
    assert!(ran.stderr.ends_with("; to go on: sdgpu train --resume run\n"), "{ran}");
    assert!(!summary.exists(), "{ran}");
    fs::remove_dir(workspace.path("run/predictions.csv")).unwrap();
    let ran = workspace.run(&mut resume(&workspace, "run"));
    assert!(ran.code == Some(0) && summary.exists(), "{ran}");
}

#[test]
fn two_runs_in_one_folder() {
    let workspace = Workspace::with_tiny();
    let mut child = start(&workspace, long(&workspace, "run"), "run", 2);
    refused(&workspace.run(&mut resume(&workspace, "run")), "run is in use: another sdgpu trains there");
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock of a run that was killed is none.
    let ran = workspace.run(&mut resume(&workspace, "run"));
    assert_eq!(ran.code, Some(0), "{ran}");
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_kept() {
    let workspace = Workspace::with_tiny();
    workspace.run(&mut long(&workspace, "whole"));
    workspace.run(&mut long(&workspace, "run"));
    let newest = workspace.path("run/checkpoints/step-0000000060.safetensors");
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() - 7]).unwrap();
    let ran = workspace.sdgpu("train --resume run");
    assert!(ran.stdout.contains("step-0000000060.safetensors: not a safetensors file"), "{ran}");
    assert!(ran.stdout.contains("\nresuming   after step 57 of 60\n"), "{ran}");
    assert_ends_like(&workspace, "run", "whole");
    let kept = ["step-0000000057.safetensors", "step-0000000060.damaged", "step-0000000060.safetensors"];
    assert_eq!(checkpoints(&workspace, "run"), kept);

    for name in kept {
        fs::write(workspace.path("run/checkpoints").join(name), "nonsense").unwrap();
    }
    let before = workspace.contents();
    let ran = workspace.run(&mut resume(&workspace, "run"));
    refused(&ran, "no older checkpoint is left, so the run can't go on");
    assert!(workspace.contents() == before, "nothing was changed");
}

#[test]
fn runs_that_can_not_go_on() {
    let workspace = Workspace::with_tiny();
    workspace.run(&mut long(&workspace, "run"));
    let again = workspace.run(&mut long(&workspace, "run"));
    refused(&again, "run holds a run already, which goes on with --resume run; choose another --out, or remove it");
    refused(&workspace.run(&mut resume(&workspace, "nowhere")), "nowhere/config.toml: ");
    refused(&workspace.run(&mut resume(&workspace, "tiny")), "tiny/config.toml: ");
    refused(&workspace.run(resume(&workspace, "run").args(["--lr", "1"])), "'--resume <RUN>' cannot be used with");
    refused(&workspace.run(resume(&workspace, "run").args(["--model", "resnet"])), "cannot be used with '--model");
    let kept = resume(&workspace, "run").args(["--keep-checkpoints", "3"]).output().unwrap();
    assert_eq!(kept.status.code(), Some(2));

    let metrics = workspace.path("run/metrics.jsonl");
    let whole = fs::read(&metrics).unwrap();
    fs::write(&metrics, &whole[..100]).unwrap();
    refused(&workspace.run(&mut resume(&workspace, "run")), "metrics.jsonl has 100 bytes, but had ");
    assert_eq!(fs::read(&metrics).unwrap(), &whole[..100]);
    fs::write(&metrics, &whole).unwrap();

    let labels = workspace.path("tiny/train-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    bytes[20] = (bytes[20] + 1) % 3;
    fs::write(&labels, bytes).unwrap();
    refused(&workspace.run(&mut resume(&workspace, "run")), "are not those that the run began with");
}

#[test]
fn rewinding_needs_checkpoints_by_steps() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.run(&mut workspace.command(&format!("{TRAIN} --on-nan rewind --out run")));
    refused(&ran, "--on-nan rewind needs a --checkpoint-every in steps");
    workspace.sdgpu(&format!("{TRAIN} --on-nan rewind --checkpoint-every 4 --out run"));
    let ran = workspace.run(resume(&workspace, "run").args(["--checkpoint-every", "5"]));
    refused(&ran, "--checkpoint-every 5 would change what a run with --on-nan rewind computes");
    let ran = workspace.run(&mut workspace.command(&format!("{TRAIN} --checkpoint-every 5x --out other")));
    refused(&ran, "a number of steps is needed, as in 500, or a time, as in 30s, 5m or 1h");
}

#[test]
fn the_weights_of_a_checkpoint_are_weights() {
    let workspace = Workspace::with_tiny();
    workspace.run(&mut long(&workspace, "run"));
    let result = |path: &str| {
        let line = &super::json_lines(&workspace.sdgpu(&format!("eval {path} --device cpu --json")).stdout)[0];
        (line["loss"].clone(), line["accuracy"].clone())
    };
    assert_eq!(result("run/checkpoints/step-0000000060.safetensors"), result("run/weights/last.safetensors"));
}

/// The metrics outgrow the limit first, or a checkpoint does; either way the run says so, and a later one goes on.
#[cfg(target_os = "linux")]
#[test]
fn a_file_may_not_grow() {
    let workspace = Workspace::with_tiny();
    workspace.run(&mut long(&workspace, "whole"));
    let limited = |command: &Command, kilobytes: usize| {
        let mut limited = Command::new("bash");
        limited.args(["-c", &format!("ulimit -f {kilobytes} && exec \"$0\" \"$@\"")]);
        limited.arg(command.get_program()).args(command.get_args()).current_dir(workspace.path("."));
        limited
    };
    // Checkpoints are larger than weights, and those than the lines.
    let size = |name: &str| fs::metadata(workspace.path(name)).unwrap().len() as usize / 1024;
    let between = size("whole/weights/last.safetensors") + 40;
    assert!(between < size("whole/checkpoints/step-0000000060.safetensors"));
    let ran = workspace.run(&mut limited(&long(&workspace, "run"), between));
    assert_eq!(ran.code, Some(0), "the training goes on: {ran}");
    assert!(ran.stderr.contains("sdgpu: a checkpoint could not be written: "), "{ran}");
    assert!(ran.stderr.lines().all(|line| line.contains("File too large")), "{ran}");
    assert_eq!(checkpoints(&workspace, "run"), Vec::<String>::new());
    assert_eq!(workspace.read("run/metrics.jsonl"), workspace.read("whole/metrics.jsonl"));

    // The settings fit in, and the lines of the steps reach the limit before any weights are written.
    let train = |out: &str| {
        let train = TRAIN.replace("--epochs 2", "--epochs 20");
        workspace.command(&format!("{train} --eval-every 60 --quiet --out {out}"))
    };
    let ran = workspace.run(&mut limited(&train("short"), 2));
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.starts_with("sdgpu: can't write short/metrics.jsonl: File too large"), "{ran}");
    assert!(ran.stderr.ends_with("; to go on: sdgpu train --resume short\n"), "{ran}");
    let text = workspace.text("short/metrics.jsonl");
    assert!(text.ends_with('\n') && !text.is_empty(), "whole lines only");
    let ran = workspace.run(&mut resume(&workspace, "short"));
    assert_eq!(ran.code, Some(0), "{ran}");
    workspace.run(&mut train("unlimited"));
    let last = |run: &str| workspace.read(&format!("{run}/weights/last.safetensors"));
    assert!(last("short") == last("unlimited"));
}

/// Memory and open files of a training are flat over 2,000 steps.
#[cfg(target_os = "linux")]
#[test]
fn a_long_run_needs_no_more_than_a_short_one() {
    let workspace = Workspace::with_tiny();
    let train = TRAIN.replace("--epochs 2", "--steps 2000");
    let mut command = workspace.command(&format!("{train} --quiet --checkpoint-every 100 --eval-every 50 --out run"));
    let mut child = command.spawn().unwrap();
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    let metrics = workspace.path("run/metrics.jsonl");
    let mut samples = Vec::new();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        let lines = fs::metadata(&metrics).map_or(0, |file| file.len());
        let pages = fs::read_to_string(process.join("statm")).unwrap_or_default();
        let resident: Option<f64> = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
        let files = fs::read_dir(process.join("fd")).map_or(0, Iterator::count);
        if let Some(pages) = resident.filter(|_| files > 0) {
            samples.push((lines, pages * 4096.0 / f64::from(1 << 20), files));
        }
        sleep(Duration::from_millis(20));
    }
    let end = samples.last().unwrap().0;
    // Past the first steps, in which buffers are touched for the first time; before the last tests. What counts is the
    // least: a checkpoint that is being written takes memory and a file, and gives them back.
    let part = |from: f64, to: f64| {
        let range = from * end as f64..to * end as f64;
        let chosen: Vec<_> = samples.iter().filter(|(lines, ..)| range.contains(&(*lines as f64))).collect();
        assert!(chosen.len() > 5, "{} samples", samples.len());
        let memory = chosen.iter().map(|(_, memory, _)| *memory).fold(f64::INFINITY, f64::min);
        (memory, chosen.iter().map(|(.., files)| *files).min().unwrap())
    };
    let (early, late) = (part(0.2, 0.4), part(0.75, 0.95));
    assert!(late.0 - early.0 < 1.0, "from {:.1} to {:.1} MiB", early.0, late.0);
    assert!(late.1 <= early.1, "from {} to {} open files", early.1, late.1);
}
