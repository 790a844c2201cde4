//! `sdgpu train --profile`: a trace with exactly the dispatches that ran, of a run that it does not change.

use std::collections::BTreeSet;

use sdgpu::internals::device::Device;
use serde_json::Value;

use super::{TRAIN, Workspace};
use crate::adapter;

fn events(workspace: &Workspace, name: &str) -> Vec<Value> {
    let Ok(Value::Array(events)) = serde_json::from_slice(&workspace.read(name)) else { panic!("no array in {name}") };
    events
}

/// Boxes on a track of the trace, 1 for the host and 2 for the device.
fn spans(events: &[Value], track: u64) -> Vec<&Value> {
    events.iter().filter(|event| event["ph"] == "X" && event["tid"] == track).collect()
}

fn steps(spans: &[&Value]) -> BTreeSet<u64> {
    spans.iter().map(|span| span["args"]["step"].as_u64().unwrap()).collect()
}

/// Names of the dispatches under the gates that `run` had in `step`, as `sdgpu plan` lists them.
fn planned(workspace: &Workspace, run: &str, step: u64) -> Vec<String> {
    let metrics = workspace.json(&format!("{run}/metrics.jsonl"));
    let line = metrics.iter().find(|line| line["kind"] == "train" && line["step"] == step).unwrap();
    let gates = line["gates"].as_str().unwrap();
    let arguments =
        format!("plan --model stochastic --arch resnet8 --data tiny --device cpu --batch-size 8 --gates {gates}");
    let ran = workspace.sdgpu(&arguments);
    let (step, _) = ran.stdout.split_once("\ntotal ").unwrap();
    let rows = step.lines().skip(2).filter(|line| line.starts_with("  "));
    let label = |line: &str| {
        let words = line.split_whitespace().skip_while(|word| word.parse::<f64>().is_ok());
        words.skip(1).collect::<Vec<_>>().join(" ")
    };
    rows.map(label).collect()
}

/// Trains with and without a profile of steps 3 to 5 on the device that `device` names.
fn profile(device: &[&str]) {
    let workspace = Workspace::with_tiny();
    let train = TRAIN.replace(" --device cpu", "");
    for arguments in ["--out plain", "--out profiled --profile trace.json --profile-steps 3..5"] {
        let ran = workspace.run(workspace.command(&format!("{train} {arguments}")).args(device));
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    for name in ["metrics.jsonl", "weights/last.safetensors", "weights/best.safetensors"] {
        let [plain, profiled] = ["plain", "profiled"].map(|run| workspace.read(&format!("{run}/{name}")));
        assert!(plain == profiled, "{name} differs");
    }

    let events = events(&workspace, "trace.json");
    let dispatches = spans(&events, 2);
    assert_eq!(steps(&dispatches), BTreeSet::from([3, 4, 5]));
    for step in 3..=5 {
        let names: Vec<&str> = dispatches
            .iter()
            .filter(|span| span["args"]["step"] == step)
            .map(|span| span["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, planned(&workspace, "profiled", step));
    }
    let number = |span: &Value, name: &str| span[name].as_f64().unwrap();
    for pair in dispatches.windows(2) {
        let end = number(pair[0], "ts") + number(pair[0], "dur");
        assert!(number(pair[0], "dur") >= 0.0 && end <= number(pair[1], "ts") + 0.01, "{} {}", pair[0], pair[1]);
    }
    let passes: BTreeSet<&str> = dispatches.iter().map(|span| span["args"]["pass"].as_str().unwrap()).collect();
    assert_eq!(passes, BTreeSet::from(["backward", "forward", "update"]));
    for span in &dispatches {
        let args = &span["args"];
        assert!(args["shader"].is_string() && args["segment"].is_string() && args["bytes"].is_u64(), "{span}");
        assert!(args["flop"].is_number(), "{span}");
    }
    let host = spans(&events, 1);
    let named = |name: &str| host.iter().copied().filter(|span| span["name"] == name).collect::<Vec<_>>();
    for name in ["upload", "schedule"] {
        assert_eq!((steps(&named(name)), named(name).len()), (BTreeSet::from([3, 4, 5]), 3));
    }
    let encoded = if device.contains(&"cpu") { 0 } else { 3 };
    assert_eq!(named("encode").len(), encoded);
    // Every two steps is an evaluation.
    assert_eq!((steps(&named("evaluation")), named("evaluation").len()), (BTreeSet::from([4]), 1));
    let tracks: Vec<&Value> = events.iter().filter(|event| event["ph"] == "M").collect();
    assert_eq!(tracks.len(), 2);
}

#[test]
fn a_profile_has_the_dispatches_and_changes_nothing_on_the_cpu() {
    profile(&["--device", "cpu"]);
}

#[test]
fn a_profile_has_the_dispatches_and_changes_nothing_on_the_gpu() {
    profile(&["--device", &adapter::open().info().name]);
}

#[test]
fn a_short_run_is_profiled_in_its_second_half() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&format!("{TRAIN} --profile trace.json --out run"));
    assert!(ran.stdout.contains("profile    trace.json: steps 7 to 12\n"), "{ran}");
    assert_eq!(steps(&spans(&events(&workspace, "trace.json"), 2)), (7..=12).collect());
}
