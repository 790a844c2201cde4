//! Which runs are of one net, which nets are compared, and what is left out.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{MadeUp, folder, report, shows};

/// Means and curves are over runs that have come as far.
#[test]
fn a_run_that_has_not_ended_does_not_spoil_its_net() {
    let runs: Vec<MadeUp> = (0..3).map(|seed| MadeUp::new("stochastic", seed, 12)).collect();
    let folder = folder(&runs);
    let whole = report(&[folder.path()]).unwrap().0;
    // Without the last run there is the same page, but for what is said of that run.
    let last = folder.path().join("stochastic-0.5-seed2");
    let cut = |name: &str, lines: usize| {
        let text = fs::read_to_string(last.join(name)).unwrap();
        let kept: Vec<&str> = text.lines().take(lines).collect();
        fs::write(last.join(name), kept.join("\n") + "\n").unwrap();
    };
    fs::remove_file(last.join("summary.json")).unwrap();
    cut("metrics.jsonl", 5);
    let page = report(&[folder.path()]).unwrap().0;
    let ended = [0, 1].map(|seed| folder.path().join(format!("stochastic-0.5-seed{seed}")));
    let alone = report(&[&ended[0], &ended[1]]).unwrap().0;
    let said = "<p>stochastic-0.5-seed2 has not ended: 2 of 12 steps are done, and is left out beside the runs of its \
                net that have ended.</p>\n";
    shows(&page, &[said, "<td>0, 1</td>", "The lines join the evaluations, which are too few to be smoothed."]);
    assert!(page.replace(said, "") == alone && whole != alone);
}

/// A sweep of two more nets than there are colours, beside nets of another batch size.
#[test]
fn no_net_is_lost_without_a_word() {
    let mut runs = vec![MadeUp::new("resnet", 0, 4)];
    for tenth in 1..10 {
        runs.push(MadeUp { survival_last: f64::from(tenth) / 10.0, ..MadeUp::new("stochastic", 0, 4) });
    }
    for survival_last in [0.25, 0.75] {
        runs.push(MadeUp { survival_last, batch_size: 16, ..MadeUp::new("stochastic", 1, 4) });
    }
    let folder = folder(&runs);
    let (page, _) = report(&[folder.path()]).unwrap();
    let csv = |figure: &str| {
        let from = page.split_once(&format!("download=\"{figure}.csv\"")).unwrap().1;
        from.split_once("</a>").unwrap().0.replace("%0A", "\n").replace("%20", " ")
    };
    let nets = |figure: &str| {
        let mut names: Vec<String> =
            csv(figure).lines().skip(1).filter_map(|line| Some(line.split_once(',')?.0.to_string())).collect();
        names.dedup();
        names.len()
    };
    // The plain net has no gates; the two others are no part of the sweep.
    assert_eq!([nets("gates"), nets("cost"), nets("survival")], [11, 12, 10]);
    shows(
        &page,
        &[
            "There are colours for 8 nets; not drawn: ",
            "Of 11 nets, the first 4 have their bar codes drawn.",
            "At p_L = 1 every block survives",
            "Not drawn, as it has not ended or differs in other settings: stochastic batch-size 16 p_L=0.25 and \
             stochastic batch-size 16 p_L=0.75.",
        ],
    );
    // Nothing is compared with what is not there.
    let others: Vec<PathBuf> =
        [0.25, 0.75].map(|last| folder.path().join(format!("stochastic-{last}-16-seed1"))).into();
    let others: Vec<&Path> = others.iter().map(PathBuf::as_path).collect();
    shows(
        &report(&others).unwrap().0,
        &["No net without stochastic depth is among them, and so there is nothing to hold them all against."],
    );
    let strangers = [folder.path().join("resnet-0.5-seed0"), others[0].to_path_buf()];
    shows(
        &report(&[&strangers[0], &strangers[1]]).unwrap().0,
        &["No net with stochastic depth is compared, as there is no plain net that is equal to one of them"],
    );
}

/// Of two nets of one kind, the second is held against the first; the variance is that of what they
/// were tested on.
#[test]
fn two_nets_of_one_kind_are_compared() {
    let of = |survival_last| {
        (0..5).map(move |seed| MadeUp { survival_last, test_every: 66, ..MadeUp::new("stochastic", seed, 66) })
    };
    let folder = folder(&of(0.5).chain(of(0.8)).collect::<Vec<_>>());
    let replace = |run: &str, file: &str, from: &str, to: &str| {
        let path = folder.path().join(run).join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    };
    let runs =
        || [0.5, 0.8].into_iter().flat_map(|last| (0..5).map(move |seed| format!("stochastic-{last}-seed{seed}")));
    for run in runs() {
        replace(&run, "config.toml", "evaluate-on = \"test-batch\"", "evaluate-on = \"validation\"");
        replace(&run, "config.toml", "validation = 0", "validation = 5000");
        replace(&run, "metrics.jsonl", "\"test-batch\"", "\"validation\"");
    }
    let last = |survival_last, seed| MadeUp { survival_last, ..MadeUp::new("stochastic", seed, 66) }.wobble(66) as f64;
    let points: f64 = (0..5).map(|seed| 0.1 * (last(0.5, seed) - last(0.8, seed)) / 5.0).sum();
    let nets = "stochastic p_L=0.8 \u{2212} stochastic p_L=0.5";
    let difference = format!("Test accuracy, {nets}: {points:+.2} points").replace('-', "\u{2212}");
    let (page, _) = report(&[folder.path()]).unwrap();
    shows(
        &page,
        &[
            &difference,
            "Variance of the validation accuracy from one test to the next, over the run",
            "Is the variance of the validation accuracy larger for stochastic p_L=0.8 than for stochastic p_L=0.5? \
             Over 5 seeds, ",
            "after Holm\u{2019}s correction for 3 comparisons",
        ],
    );
    for absent in ["eyond sampling", "variance of the test accuracy", "expected of the draw"] {
        assert!(!page.contains(absent), "the page holds {absent}");
    }
    // What has learned from other images is another matter.
    for run in runs().filter(|run| run.contains("0.8")) {
        replace(&run, "config.toml", "validation = 5000", "validation = 6000");
    }
    let (page, _) = report(&[folder.path()]).unwrap();
    shows(&page, &["10 runs of 2 nets"]);
    assert!(!page.contains("Test accuracy, stochastic"), "{page}");
    shows(
        &page,
        &["validation 6000 and stochastic p_L=0.5 validation 5000 are not compared, as they differ in validation."],
    );
}

/// What can be said of a variance is said by those tests that are there, and what can't be is
/// named.
#[test]
fn variances_are_judged_by_what_there_is() {
    let replace = |folder: &TempDir, from: &str, to: &str| {
        for run in fs::read_dir(folder.path()).unwrap() {
            let path = run.unwrap().path().join("config.toml");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(path, text.replace(from, to)).unwrap();
        }
    };
    let of = |model, survival_last, steps| MadeUp { survival_last, test_every: 1, ..MadeUp::new(model, 0, steps) };
    // No validation image was looked at, but all test images.
    let whole = folder(&[of("resnet", 0.5, 40), of("stochastic", 0.5, 40)]);
    replace(&whole, "evaluate-on = \"test-batch\"", "evaluate-on = \"validation\"");
    let (page, _) = report(&[whole.path()]).unwrap();
    shows(&page, &["Is the variance of the test accuracy larger for stochastic than for plain? With seed 0, "]);
    assert!(!page.contains("Tested on all test images instead") && !page.contains("Bands reach"), "{page}");
    // One net whose accuracy is always the same.
    let some = folder(&[of("resnet", 0.5, 40), of("stochastic", 0.5, 40), of("stochastic", 0.8, 40)]);
    let metrics = some.path().join("stochastic-0.5-seed0/metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    let constant = |line: &str| match line.split_once("\"accuracy\":") {
        Some((head, _)) if line.contains("\"eval\"") => format!("{head}\"accuracy\":0.5,\"images\":400}}\n"),
        _ => format!("{line}\n"),
    };
    fs::write(&metrics, text.lines().map(constant).collect::<String>()).unwrap();
    let (page, _) = report(&[some.path()]).unwrap();
    shows(
        &page,
        &[
            "larger for stochastic p_L=0.8 than for plain?",
            "Not judged: stochastic p_L=0.5 against plain: seed 0: the accuracy of stochastic p_L=0.5 does not vary",
        ],
    );
    // At the same step, one has further to go than the other.
    let lengths = folder(&[of("stochastic", 0.5, 40), of("stochastic", 0.8, 80)]);
    let (page, _) = report(&[lengths.path()]).unwrap();
    shows(&page, &["p_L=0.5: the runs of the two nets are not equally long."]);
}

/// The same images in another folder are the same data; runs without a common seed are no pairs.
#[test]
fn data_may_lie_anywhere_and_strangers_are_named() {
    let folder = folder(&[MadeUp::new("resnet", 0, 4), MadeUp::new("stochastic", 0, 4)]);
    let config = folder.path().join("stochastic-0.5-seed0/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("data = \"mnist\"", "data = \"/elsewhere\"")).unwrap();
    shows(&report(&[folder.path()]).unwrap().0, &["2 runs of 2 nets", "one seed gives no interval"]);
    fs::write(&config, text.replace("seed = 0", "seed = 1")).unwrap();
    shows(&report(&[folder.path()]).unwrap().0, &["stochastic and plain are not compared, as no seed is the same."]);
}

/// Seeds from several devices are seeds of one net; the same seed from two is a comparison of
/// these.
#[test]
fn runs_of_several_devices() {
    let folder = folder(&[0, 1].map(|seed| MadeUp::new("stochastic", seed, 4)));
    let config = folder.path().join("stochastic-0.5-seed1/config.toml");
    let text = fs::read_to_string(&config).unwrap().replace("a processor", "another processor");
    fs::write(&config, &text).unwrap();
    let several = "The runs were made on several devices, which figures of time compare, too.";
    shows(&report(&[folder.path()]).unwrap().0, &["2 runs of 1 net", "<td>0, 1</td>", several]);
    fs::write(&config, text.replace("seed = 1", "seed = 0")).unwrap();
    shows(&report(&[folder.path()]).unwrap().0, &["2 runs of 2 nets", "stochastic device.name another processor"]);
    // The plain net of one of them still has its counterpart.
    MadeUp::new("resnet", 0, 4).write(&folder.path().join("plain"));
    shows(&report(&[folder.path()]).unwrap().0, &["3 runs of 3 nets", "one seed gives no interval"]);
}
