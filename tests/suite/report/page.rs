//! The page: what it says of runs, and of how they were made.

use std::fs;

use expect_test::expect_file;
use sdgpu::internals::report::Report;

use super::{MadeUp, compared, folder, report, shows};

#[test]
fn the_page_of_a_run_is_as_before() {
    let runs = folder(&[MadeUp::new("stochastic", 0, 4)]);
    let (page, _) = report(&[&runs.path().join("stochastic-0.5-seed0")]).unwrap();
    expect_file!["../../golden/report.html"].assert_eq(&page);
}

#[test]
fn two_nets_are_compared_in_every_figure() {
    let runs = compared(5, 66);
    let (page, figures) = report(&[runs.path()]).unwrap();
    let last = |model, seed| MadeUp::new(model, seed, 66).wobble(66) as f64;
    // A tenth of a point each.
    let points: f64 = (0..5).map(|seed| 0.1 * (last("resnet", seed) - last("stochastic", seed)) / 5.0).sum();
    let difference = format!("Test accuracy, stochastic \u{2212} plain: {points:+.2} points").replace('-', "\u{2212}");
    assert_eq!(
        figures,
        ["accuracy", "cost", "gates", "gradient", "learning", "mistakes", "variance"].map(|name| format!("{name}.svg"))
    );
    shows(
        &page,
        &[
            "resnet8 with and without stochastic depth",
            "10 runs of 2 nets, 66 steps each, on mnist",
            // Every difference has its interval.
            &difference,
            " points, 95 % interval ",
            "(paired t, 5 seeds; p = ",
            "Is the variance of the test accuracy larger for stochastic than for plain? Over 5 seeds, ",
            // Every second step.
            "Tested on all test images instead: Over 5 seeds, ",
            "after Holm\u{2019}s correction for 7 comparisons",
            "Strong: the exponentially weighted mean",
            "<td>label-smoothing</td><td>0.1</td>",
            "Gradient of the first convolution, mean over the second half of the run, stochastic / plain: ",
            // Gates of one in four steps are off; the survival rates are 5/6, 2/3 and 1/2.
            "<td>0\u{2013}4</td>",
            "<td>block 1, block 2 and block 3</td>",
            "data:image/png;base64,",
            "Made by <code>sdgpu compare --seeds 2 'a &lt;b&gt;'</code>.",
            "Error against p_L: it takes nets of two survival probabilities",
        ],
    );
    // Nothing is fetched, and nothing runs.
    for forbidden in ["http:", "https:", "<script", "url(", "@import", "<link rel=\"stylesheet\""] {
        assert!(!page.contains(forbidden), "the page holds {forbidden}");
    }
    assert_eq!(page.matches("<figure id=").count(), 7);
    assert_eq!(page.matches("href=\"data:text/csv;").count(), 7);
    // Drawn twice, for desks and for phones.
    assert_eq!(page.matches("<svg class=\"wide\"").count(), page.matches("<svg class=\"narrow\"").count());
}

#[test]
fn a_sweep_has_a_heat_map_and_a_table_of_differences() {
    let mut runs = Vec::new();
    for seed in 0..2 {
        runs.push(MadeUp::new("resnet", seed, 4));
        for survival_last in [0.2, 0.4, 0.8] {
            runs.push(MadeUp { survival_last, ..MadeUp::new("stochastic", seed, 4) });
        }
    }
    let (page, figures) = report(&[folder(&runs).path()]).unwrap();
    assert!(figures.contains(&"survival.svg".to_string()) && !figures.contains(&"variance.svg".to_string()));
    shows(
        &page,
        &[
            ">stochastic p_L=0.4</td>",
            "after Holm\u{2019}s correction for 3 comparisons",
            "a claim needs 5 seeds",
            "Left out: Variance of the accuracy: stochastic p_L=0.2 against plain: seed 0: both nets were tested at 4 \
             steps; at least 32 are needed to say something.",
        ],
    );
}

/// One command of each net is named: the others of the net differ in seed and folder alone.
#[test]
fn commands_are_named_once() {
    let run = |(seed, survival_last)| MadeUp { survival_last, ..MadeUp::new("stochastic", seed, 4) };
    let folder = folder(&[(0, 0.5), (1, 0.5), (2, 0.8)].map(run));
    for (seed, last) in [(0, ".5"), (1, ".5"), (2, ".8")] {
        let config = folder.path().join(format!("stochastic-0{last}-seed{seed}/config.toml"));
        let text = fs::read_to_string(&config).unwrap();
        let command = format!("sdgpu train --survival-last {last} --seed {seed} --quiet --out a{seed}");
        fs::write(&config, text.replace("sdgpu compare --seeds 2 'a <b>'", &command)).unwrap();
    }
    let page = report(&[folder.path()]).unwrap().0;
    let named = "<code>sdgpu train --survival-last .5 --seed 0 --quiet --out a0</code>, <code>sdgpu train \
                 --survival-last .8 --seed 2 --quiet --out a2</code> and 1 more, each in its run\u{2019}s \
                 config.toml.";
    shows(&page, &[&format!("Made by {named}")]);
}

/// Facts that a run wrote are reported as they stand; those of an older run are told by its
/// command.
#[test]
fn facts_are_reported_as_they_were_written() {
    let folder = folder(&[MadeUp::new("stochastic", 0, 4)]);
    let run = folder.path().join("stochastic-0.5-seed0");
    let older = fs::read_to_string(run.join("config.toml")).unwrap();
    let report_with = |config: &str| {
        fs::write(run.join("config.toml"), config).unwrap();
        report(&[&run])
    };
    let several = "Several runs were made at once";
    let newer = format!(
        "{}[facts]\njobs = JOBS\n\
         [facts.flop]\nalways = 1000000000\nblocks = [1000000000, 1000000000, 1000000000]\n",
        older.replace("data = \"mnist\"", "data = \"gone\"")
    );
    // Each of three blocks ran in three of four steps; they survive with 5/6, 2/3 and 1/2.
    let flop = "<td>3.25</td><td>25.0 %</td><td>18.8 %</td>";
    let page = report_with(&newer.replace("JOBS", "2")).unwrap().0;
    shows(&page, &[flop, several]);
    assert!(!page.contains("Operations could not be counted"), "{page}");
    // There was memory for one at once.
    let page = report_with(&newer.replace("JOBS", "1")).unwrap().0;
    shows(&page, &[flop]);
    assert!(!page.contains(several), "{page}");
    let two_blocks = newer.replace("JOBS", "1").replace("1000000000, 1000000000]", "1000000000]");
    let error = report_with(&two_blocks).unwrap_err();
    assert!(error.contains("config.toml: the FLOP of 2 blocks, where the net has 3"), "{error}");
    assert!(report_with(&newer.replace("JOBS", "-1")).unwrap_err().contains("config.toml: "));

    let page = report_with(&older.replace("compare --seeds 2", "sweep --jobs=2")).unwrap().0;
    shows(&page, &[several]);
    assert!(!page.contains(flop) && !report_with(&older).unwrap().0.contains(several));
}

/// A folder that held a report about other runs holds none of its figures afterwards.
#[test]
fn figures_of_an_earlier_report_go() {
    let runs = compared(1, 4);
    let figures = runs.path().join("figures");
    fs::create_dir(&figures).unwrap();
    for name in ["survival.svg", "mine.svg"] {
        fs::write(figures.join(name), "").unwrap();
    }
    Report::new(&[runs.path().to_path_buf()], None).unwrap().write(runs.path()).unwrap();
    assert!(!figures.join("survival.svg").exists() && figures.join("mine.svg").exists());
}

/// A long run gives a page that can still be opened.
#[test]
fn a_long_run_gives_a_page_of_sane_size() {
    let mut run = MadeUp::new("stochastic", 0, 100_000);
    run.test_every = 10;
    let (page, _) = report(&[folder(&[run]).path()]).unwrap();
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}
