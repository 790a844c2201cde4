//! Folders of runs that an older sdgpu left: they are reported, evaluated and resumed.
//! `tests/fixtures/runs/README.md` says what they hold.

use std::fs;
use std::io;
use std::path::Path;

use lzma_rust2::XzReader;
use serde_json::Value;

use super::{Workspace, json_lines};

const RUNS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/runs");

/// Returns a workspace with the set `tiny` and both folders in `runs/`, their weights unpacked.
fn with_old_runs() -> Workspace {
    let workspace = Workspace::with_tiny();
    for run in ["ended", "stopped"] {
        unpack(&Path::new(RUNS).join(run), &workspace.path("runs").join(run));
    }
    // A run has the folder from its start, but git keeps no empty ones.
    fs::create_dir(workspace.path("runs/stopped/weights")).unwrap();
    workspace
}

/// Copies the folder `from`, with `NAME.xz` unpacked to `NAME`.
fn unpack(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            unpack(&path, &copy);
        } else if path.extension().is_some_and(|extension| extension == "xz") {
            let mut packed = XzReader::new(io::BufReader::new(fs::File::open(&path).unwrap()), false);
            io::copy(&mut packed, &mut fs::File::create(copy.with_extension("")).unwrap()).unwrap();
        } else {
            fs::copy(&path, &copy).unwrap();
        }
    }
}

/// Returns the lines of training steps.
fn steps(metrics: &[Value]) -> Vec<&Value> {
    metrics.iter().filter(|line| line["kind"] == "train").collect()
}

#[track_caller]
fn assert_close(found: &Value, expected: f64) {
    let difference = (found.as_f64().unwrap() - expected).abs();
    assert!(difference <= 1e-4 * expected, "{found}, where {expected} is expected");
}

#[test]
fn old_runs_are_reported() {
    let workspace = with_old_runs();
    workspace.sdgpu("report runs --out page");
    let page = workspace.text("page/report.html");
    // The test loss of the one that ended, and what the one that stopped did before there was the
    // setting.
    for expected in ["2 runs of 2 nets, 12 and 120 steps each", ">0.8889<", ">systematic<", ">independent<"] {
        assert!(page.contains(expected), "expected: {expected}\n{page}");
    }
}

#[test]
fn old_weights_are_evaluated() {
    let workspace = with_old_runs();
    // By the running statistics as they are, which the runs' own tests re-estimated.
    for (weights, loss) in [("ended", 1.029_843), ("stopped/checkpoints/step-0000000030.safetensors", 1.044_630)] {
        let ran = workspace.sdgpu(&format!("eval runs/{weights} --device cpu --json"));
        let lines = json_lines(&ran.stdout);
        assert_eq!((lines.len(), &lines[0]["images"]), (1, &Value::from(20)), "{ran}");
        assert_close(&lines[0]["loss"], loss);
    }
}

#[test]
fn an_old_run_that_was_stopped_is_resumed() {
    let workspace = with_old_runs();
    let before = workspace.read("runs/stopped/metrics.jsonl");
    let ran = workspace.sdgpu("train --resume runs/stopped");
    assert!(ran.stdout.contains("\nresuming   after step 30 of 120\n"), "{ran}");
    assert!(workspace.read("runs/stopped/metrics.jsonl").starts_with(&before), "{ran}");
    let found = workspace.json("runs/stopped/metrics.jsonl");
    let expected = json_lines(&fs::read_to_string(Path::new(RUNS).join("resumed.jsonl")).unwrap());
    assert_eq!(found.len(), expected.len(), "{ran}");
    let (found, expected) = (steps(&found), steps(&expected));
    for (found, expected) in found.iter().zip(&expected) {
        for field in ["step", "epoch", "gates"] {
            assert_eq!(found[field], expected[field], "{field} of {found}, where {expected} is expected");
        }
        assert_close(&found["lr"], expected["lr"].as_f64().unwrap());
    }
    // Later on, what processors round differently makes other runs.
    for (found, expected) in found[30..35].iter().zip(&expected[30..]) {
        assert_close(&found["loss"], expected["loss"].as_f64().unwrap());
    }
    let summary: Value = serde_json::from_str(&workspace.text("runs/stopped/summary.json")).unwrap();
    assert_eq!((&summary["steps"], &summary["test"]["images"]), (&120.into(), &20.into()), "{ran}");
}
