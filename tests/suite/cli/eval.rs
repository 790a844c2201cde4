//! `sdgpu eval`.

use super::{TRAIN, Workspace, json_lines};

/// The best weights' and the last weights' test, as the run reported them: its last lines.
fn reported(workspace: &Workspace) -> [serde_json::Value; 2] {
    let metrics = workspace.json("run/metrics.jsonl");
    [&metrics[metrics.len() - 2], &metrics[metrics.len() - 1]].map(Clone::clone)
}

#[test]
fn a_run_is_tested_as_it_tested_itself() {
    for settings in ["--branch-scale eval", "--branch-scale train"] {
        let workspace = Workspace::with_tiny();
        workspace.sdgpu(&format!("{TRAIN} {settings} --out run"));
        let [best, last] = reported(&workspace);
        let ran = workspace.sdgpu("eval run --device cpu --json");
        assert_eq!(ran.stderr, "", "{ran}");
        // What the run says already changes nothing.
        assert_eq!(workspace.sdgpu("eval run --device cpu --json --arch resnet8").stdout, ran.stdout);
        let lines = json_lines(&ran.stdout);
        assert_eq!(lines.len(), 2, "{ran}");
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
    assert!(result.ends_with(" (20 images)\n") && ran.stderr.is_empty(), "{ran}");
}
