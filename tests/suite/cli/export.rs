//! What is made of a run's metrics for other programs and for the terminal.

use super::{TRAIN, Workspace};

#[test]
fn tables_and_events_hold_the_metrics() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --csv --tensorboard --test-every 5 --out run"));
    let table = workspace.text("run/metrics.csv");
    let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split(',').collect()).collect();
    assert_eq!(rows.len(), 1 + 12);
    assert!(rows.iter().all(|row| row.len() == 13), "{table}");
    let metrics = workspace.json("run/metrics.jsonl");
    let trained: Vec<_> = metrics.iter().filter(|line| line["kind"] == "train").collect();
    for (row, line) in rows[1..].iter().zip(&trained) {
        let number = |cell: &str| cell.parse::<f64>().unwrap();
        assert_eq!(
            [0, 1, 2, 3, 4].map(|column| number(row[column])),
            ["step", "epoch", "loss", "accuracy", "lr"].map(|name| line[name].as_f64().unwrap())
        );
        let step = line["step"].as_u64().unwrap();
        let has = |column: usize| !row[column].is_empty();
        // An evaluation every 2 steps, tests every 5 and at the end.
        assert_eq!(
            [7, 8, 11, 12].map(has),
            [step % 2 == 0, step % 2 == 0, step % 5 == 0 || step == 12, step % 5 == 0 || step == 12]
        );
    }
    let events = workspace.read("run/events.out.tfevents.sdgpu");
    let count = |name: &[u8]| events.windows(name.len()).filter(|window| window == &name).count();
    assert_eq!([&b"train/loss"[..], b"train/lr", b"validation/accuracy", b"test/accuracy"].map(count), [12, 12, 6, 3]);

    // A run that goes on writes them as if it had never stopped.
    std::fs::remove_file(workspace.path("run/metrics.csv")).unwrap();
    workspace.sdgpu("train --resume run --csv");
    assert_eq!(workspace.text("run/metrics.csv"), table);
}

#[test]
fn a_chart_is_shown_to_who_reads() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&format!("{TRAIN} --out run"));
    for title in ["\nloss: . training, o validation\n", "\naccuracy in %: . training, o validation\n"] {
        assert!(ran.stdout.contains(title), "{ran}");
    }
    let chart = ran.stdout.lines().skip_while(|line| !line.starts_with("loss: ")).take(22);
    assert!(chart.clone().all(|line| line.len() <= 80 && line.is_ascii()), "{ran}");
    assert!(chart.clone().any(|line| line.ends_with("step 12")), "{ran}");
    for flag in ["--quiet", "--json"] {
        let ran = workspace.sdgpu(&format!("{TRAIN} {flag} --out run{flag}"));
        assert!(!ran.stdout.contains("loss: .") && !ran.stderr.contains("loss: ."), "{ran}");
    }
}
