//! `sdgpu report`, and the reports that other commands leave.

use std::fs;

use super::{TRAIN, Workspace};

#[test]
fn commands_leave_the_report_that_the_command_writes() {
    let workspace = Workspace::with_tiny();
    let trained = workspace.sdgpu(&format!("{TRAIN} --out run"));
    assert!(trained.stdout.contains("\nreport     run"), "{trained}");
    let compare =
        "compare --arch resnet8 --data tiny --device cpu --batch-size 8 --epochs 2 --seeds 2 --record gradients";
    workspace.sdgpu(&format!("{compare} --out c --quiet"));
    for runs in ["run", "c"] {
        let ran = workspace.sdgpu(&format!("report {runs} --out again/{runs}"));
        assert!(ran.stdout.starts_with("report     again") && ran.stdout.lines().count() == 1, "{ran}");
        let [left, again] = [runs.to_string(), format!("again/{runs}")].map(|folder| {
            let names = workspace.names_in(&folder).into_iter().filter(|name| name.starts_with("figures/"));
            names
                .chain(["report.html".to_string()])
                .map(|name| (workspace.text(&format!("{folder}/{name}")), name))
                .collect::<Vec<_>>()
        });
        assert!(left == again && left.len() > 5, "{ran}");
    }
    let page = workspace.text("c/report.html");
    for expected in [
        "4 runs of 2 nets, 14 steps each, on ",
        &format!("<code>sdgpu {compare} --out c --quiet</code>"),
        "stochastic \u{2212} plain: ",
        "<td>0, 1</td>",
    ] {
        assert!(page.contains(expected), "expected: {expected}\n{page}");
    }
    // By default, the report goes where the runs are; several have to be told.
    fs::remove_file(workspace.path("c/report.html")).unwrap();
    workspace.sdgpu("report c");
    assert_eq!(workspace.text("c/report.html"), page);
    workspace.sdgpu("report c/resnet-seed0 c/stochastic-seed1 --out two");
    assert!(workspace.text("two/report.html").contains("2 runs of 2 nets"));
}

/// A run of an older version, which did not write them, gets the same page.
#[test]
fn runs_write_the_facts_that_are_told_of_older_ones() {
    let workspace = Workspace::with_tiny();
    let sweep = "sweep --arch resnet8 --data tiny --device cpu --batch-size 8 --steps 3 --survival-last .5,.8 --jobs 2";
    workspace.sdgpu(&format!("{sweep} --out s --quiet"));
    let page = workspace.text("s/report.html");
    for expected in ["Several runs were made at once", "FLOP saved, promised"] {
        assert!(page.contains(expected), "expected: {expected}\n{page}");
    }
    for run in ["s/resnet8-linear-0.5-seed0", "s/resnet8-linear-0.8-seed0"] {
        let file = format!("{run}/config.toml");
        let config = workspace.text(&file);
        let (older, facts) = config.split_once("\n[facts]\n").expect("facts at the end");
        for expected in ["jobs = 2\n", "always = "] {
            assert!(facts.contains(expected), "expected: {expected}\n{facts}");
        }
        fs::write(workspace.path(&file), format!("{older}\n")).unwrap();
    }
    workspace.sdgpu("report s");
    assert_eq!(workspace.text("s/report.html"), page);
}

#[test]
fn a_report_can_be_declined() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&format!("{TRAIN} --no-report --out run"));
    assert!(!ran.stdout.contains("report "), "{ran}");
    let sweep = "sweep --arch resnet8 --data tiny --device cpu --batch-size 8 --steps 2 --survival-last .5 --no-report";
    workspace.sdgpu(&format!("{sweep} --out s --quiet"));
    assert!(!workspace.names().iter().any(|name| name.ends_with("report.html") || name.ends_with("figures")));
}

#[test]
fn what_is_no_run_is_refused_in_a_line() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --no-report --out run"));
    fs::create_dir(workspace.path("empty")).unwrap();
    let refuse = |arguments: &str, expected: &str| {
        let before = workspace.contents();
        let ran = workspace.run(&mut workspace.command(&format!("report {arguments}")));
        assert_eq!((ran.code, ran.stderr.lines().count()), (Some(2), 1), "{ran}");
        assert!(ran.stderr.contains(expected), "expected: {expected}\n{ran}");
        assert!(workspace.contents() == before, "something was changed\n{ran}");
    };
    refuse("", "RUN|DIR");
    refuse("empty", "empty holds no run; give run directories, each with a config.toml, or a folder of them");
    refuse("nowhere", "nowhere is no folder");
    refuse("run run", "several runs have no folder in common; give --out");
    refuse("run --out run/config.toml", "can't write run");
    let metrics = workspace.text("run/metrics.jsonl");
    fs::write(workspace.path("run/metrics.jsonl"), format!("{metrics}nonsense\n")).unwrap();
    refuse("run", "metrics.jsonl, line ");
    fs::remove_file(workspace.path("run/metrics.jsonl")).unwrap();
    refuse("run", "can't read run");
}
