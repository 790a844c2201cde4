//! `sdgpu eval`.

use std::time::Instant;

use super::{TRAIN, Workspace, json_lines};

/// The best weights' and the last weights' test, as the run reported them: its last lines.
fn reported(workspace: &Workspace) -> [serde_json::Value; 2] {
    let metrics = workspace.json("run/metrics.jsonl");
    [&metrics[metrics.len() - 2], &metrics[metrics.len() - 1]].map(Clone::clone)
}

/// The lines of `eval --json` without their times, and the times, in seconds.
fn timed_lines(stdout: &str) -> (Vec<serde_json::Value>, Vec<f64>) {
    let mut lines = json_lines(stdout);
    let seconds = lines.iter_mut().map(|line| line.as_object_mut().unwrap().remove("seconds").unwrap());
    let seconds = seconds.map(|seconds| seconds.as_f64().unwrap()).collect();
    (lines, seconds)
}

#[test]
fn a_run_is_tested_as_it_tested_itself() {
    for settings in ["--branch-scale eval", "--branch-scale train"] {
        let workspace = Workspace::with_tiny();
        workspace.sdgpu(&format!("{TRAIN} {settings} --out run"));
        let [best, last] = reported(&workspace);
        let started = Instant::now();
        let ran = workspace.sdgpu("eval run --device cpu --json");
        assert_eq!(ran.stderr, "", "{ran}");
        let (lines, seconds) = timed_lines(&ran.stdout);
        assert_eq!(lines.len(), 2, "{ran}");
        assert!(seconds.iter().all(|&s| s > 0.0) && seconds.iter().sum::<f64>() < started.elapsed().as_secs_f64());
        // What the run says already changes nothing.
        let named = workspace.sdgpu("eval run --device cpu --json --arch resnet8");
        assert_eq!(timed_lines(&named.stdout).0, lines);
        for (line, (name, report)) in lines.iter().zip([("last", last), ("best", best)]) {
            assert_eq!(line["kind"], "eval", "{ran}");
            assert!(line["weights"].as_str().unwrap().ends_with(&format!("weights/{name}.safetensors")), "{ran}");
            for field in ["split", "accuracy", "loss", "images"] {
                assert_eq!(line[field], report[field], "{name} {field}\n{ran}");
            }
        }
    }
}

#[test]
fn the_note_in_a_file_of_weights_says_what_net_it_is_for() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --out run"));
    let [_, last] = reported(&workspace);
    std::fs::rename(workspace.path("run/weights/last.safetensors"), workspace.path("w")).unwrap();
    std::fs::remove_dir_all(workspace.path("run")).unwrap();
    let ran = workspace.sdgpu("eval w --device cpu --json");
    assert_eq!(json_lines(&ran.stdout)[0]["accuracy"], last["accuracy"], "{ran}");
    let ran = workspace.sdgpu("eval w --device cpu --eval-batch 7 --data tiny");
    let percent = 100.0 * last["accuracy"].as_f64().unwrap();
    let (device, result) = ran.stdout.split_once('\n').unwrap();
    assert!(device.starts_with("device     cpu: "), "{ran}");
    assert!(result.starts_with(&format!("w: test accuracy {percent:.2} %, loss ")), "{ran}");
    assert!(result.contains(" (20 images in ") && result.ends_with(" s)\n") && ran.stderr.is_empty(), "{ran}");
}
