//! Run directories that lack something, and files that are not what sdgpu writes.

use std::fs;

use tempfile::TempDir;

use super::{MadeUp, compared, folder, report, shows};

/// What a run lacks is said, and the rest is shown.
#[test]
fn what_is_not_there_is_left_out_with_a_sentence() {
    let mut stopped = MadeUp::new("stochastic", 0, 4);
    stopped.has_ended = false;
    let folder = folder(&[stopped]);
    let run = folder.path().join("stochastic-0.5-seed0");
    // As if it had been asked for more steps; a line is being written.
    let config = fs::read_to_string(run.join("config.toml")).unwrap().replace("steps = 4\n", "steps = 9\n");
    fs::write(run.join("config.toml"), config.replace("data = \"mnist\"", "data = \"gone\"")).unwrap();
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    fs::write(run.join("metrics.jsonl"), format!("{metrics}{{\"kind\":\"tr")).unwrap();
    let (page, _) = report(&[&run]).unwrap();
    shows(
        &page,
        &[
            "stochastic-0.5-seed0 has not ended: 4 of 9 steps are done.",
            "Left out: Mistakes: no run has ended",
            "Operations could not be counted for all runs: gone: no such folder",
        ],
    );
    // Twice the same run counts once, however it is named; a copy is named.
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["config.toml", "metrics.jsonl", "timing.jsonl"] {
        fs::copy(run.join(name), copy.join(name)).unwrap();
    }
    let (page, _) = report(&[&run, &folder.path().join("copy/../copy"), &copy]).unwrap();
    shows(&page, &["1 run of 1 net", "copy has the settings and the seed of stochastic-0.5-seed0, and is left out."]);
}

#[test]
fn foreign_and_broken_files_are_named() {
    let runs = compared(1, 4);
    let run = runs.path().join("resnet-0.5-seed0");
    let broken = |name: &str, contents: &[u8], expected: &str| {
        let path = run.join(name);
        let before = fs::read(&path).unwrap();
        fs::write(&path, contents).unwrap();
        let error = report(&[runs.path()]).unwrap_err();
        fs::write(&path, before).unwrap();
        assert!(error.contains(expected) && !error.contains('\n'), "expected: {expected}\n{error}");
        assert!(error.contains(name) && error.contains("resnet-0.5-seed0"), "{error}");
    };
    let line = r#"{"kind":"train","step":1,"epoch":0,"loss":1,"accuracy":0.5,"lr":0.1,"gates":"111"}"#;
    broken("config.toml", b"a = 1", "unknown field");
    broken("metrics.jsonl", b"{}\n", "line 1: missing field `kind`");
    broken("metrics.jsonl", b"\xff\xfe\n", "line 1: ");
    broken("metrics.jsonl", &[b'x'; 1 << 21], "line 1: is longer than");
    broken("metrics.jsonl", format!("{line}\n{line}\n").as_bytes(), "line 2: step 1 follows step 1");
    let gates = format!("{line}\n{}\n", line.replace("\"step\":1", "\"step\":2").replace("111", "11"));
    let five = line.replace("111", "11111") + "\n";
    broken("metrics.jsonl", five.as_bytes(), "line 1: the gates are 11111; a 1 or a 0 for each of 3 blocks is needed");
    broken("metrics.jsonl", gates.as_bytes(), "line 2: the gates are 11; a 1 or a 0 for each of 3 blocks is needed");
    let test = r#"{"kind":"eval","split":"moon","step":1,"loss":1,"accuracy":0.5,"images":4}"#;
    broken(
        "metrics.jsonl",
        format!("{line}\n{test}\n").as_bytes(),
        "line 2: unknown variant `moon`, expected one of `validation`, ",
    );
    let test = test.replace("moon", "test").replace("\"step\":1", "\"step\":3");
    broken("metrics.jsonl", format!("{line}\n{test}\n").as_bytes(), "line 2: an evaluation at step 3");
    broken("timing.jsonl", b"{\"step\":1}\n", "line 1: missing field `seconds`");
    let timing = b"{\"step\":1,\"seconds\":-1,\"images_per_second\":1}\n";
    broken("timing.jsonl", timing, "step 1 took -1 seconds; a time is 0 or more");
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    let misset = |from: &str, to: &str, expected: &str| {
        assert!(config.contains(from), "{config}");
        broken("config.toml", config.replace(from, to).as_bytes(), expected);
    };
    misset("survival-last = 0.5", "survival-last = 7.0", "`survival_last` is 7; it must be in (0, 1]");
    misset("batch-size = 32", "batch-size = 0", "`batch_size` is 0; it must be from 1 to");
    misset("\"resnet8\"", "\"resnet9\"", "resnet9");
    let summary = fs::read_to_string(run.join("summary.json")).unwrap();
    broken(
        "summary.json",
        summary.replace("\"steps\":4", "\"steps\":5").as_bytes(),
        "5 steps, where metrics.jsonl has 4",
    );
    let accuracy = summary.replace("\"accuracy\":0.", "\"accuracy\":17.");
    broken("summary.json", accuracy.as_bytes(), "where it is a share of 1");
    let predictions = fs::read_to_string(run.join("predictions.csv")).unwrap();
    let short: Vec<&str> = predictions.lines().take(50).collect();
    let expected = "49 predictions, where summary.json has 10000 test images";
    broken("predictions.csv", (short.join("\n") + "\n").as_bytes(), expected);
    broken(
        "predictions.csv",
        predictions.replace("0,7,7,0.75", "0,7,7,7.5").as_bytes(),
        "image 0 with probability 7.5",
    );
    broken("predictions.csv", predictions.replace("0,7,7,", "99999,7,7,").as_bytes(), "image 99999 with probability");
    broken("summary.json", b"{}", "missing field");
    broken("predictions.csv", b"a,b\n", "line 1: should be image,label,predicted,probability");
    broken("predictions.csv", b"image,label,predicted,probability\n1,2,3\n", "line 2: ");

    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    assert!(report(&[&run]).unwrap_err().contains("metrics.jsonl: "));
    fs::write(run.join("metrics.jsonl"), "").unwrap();
    assert!(report(&[&run]).unwrap_err().contains("summary.json: 4 steps, where metrics.jsonl has 0"));
    fs::remove_file(run.join("summary.json")).unwrap();
    assert!(report(&[&run]).unwrap_err().starts_with("no run has done a step yet: "));
    let empty = TempDir::new().unwrap();
    assert!(report(&[empty.path()]).unwrap_err().contains("holds no run; give run directories"));
    assert!(report(&[&run.join("config.toml")]).unwrap_err().contains("is no folder"));
}
