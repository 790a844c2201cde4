//! Reports: what they show of runs that are made up here, and what they refuse.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use sdgpu::data::DataSet;
use sdgpu::report::chart::{
    Axis, BarCode, Cell, DotPlot, Drawing, Gallery, HeatMap, Key, Layer, Mark, Marker, Panel, Picture, Plot, Point,
    Sign, Stroke,
};
use sdgpu::report::{PAGE, Report};
use tempfile::TempDir;

/// Blocks of `resnet8`.
const BLOCKS: u64 = 3;

/// A run on MNIST, as far as a report looks at it.
struct MadeUp {
    model: &'static str,
    seed: u64,
    steps: u64,
    survival_last: f64,
    batch_size: u32,
    /// Steps between tests on the whole test set.
    test_every: u64,
    has_ended: bool,
}

impl MadeUp {
    /// One that ended.
    fn new(model: &'static str, seed: u64, steps: u64) -> Self {
        Self { model, seed, steps, survival_last: 0.5, batch_size: 32, test_every: 2, has_ended: true }
    }

    fn config(&self) -> String {
        let Self { model, seed, steps, survival_last, batch_size, test_every, .. } = self;
        let sha256 = DataSet::load(DataSet::EMBEDDED).unwrap().sha256();
        format!(
            "version = \"0.1.0\"\ncommand = \"sdgpu compare --seeds 2 'a <b>'\"\ntrace = false\n\
             record-gradients = true\ncheckpoint-every = \"5m\"\nkeep-checkpoints = 2\ndata-sha256 = \"{sha256}\"\n\
             [device]\nkind = \"cpu\"\nname = \"a processor\"\nbackend = \"AVX-512\"\ndriver = \"2 threads\"\n\
             [settings]\nmodel = \"{model}\"\narch = \"resnet8\"\ndata = \"mnist\"\nvalidation = 0\n\
             batch-size = {batch_size}\nsteps = {steps}\neval-every = 1\neval-batch = 400\n\
             evaluate-on = \"test-batch\"\n\
             test-every = {test_every}\noptimizer = \"adam\"\nlr = 0.001\nmomentum = 0.9\nnesterov = false\n\
             weight-decay = 0.0\nlr-schedule = \"constant\"\nwarmup-steps = 0\nsurvival = \"linear\"\n\
             survival-first = 1.0\nsurvival-last = {survival_last}\ngate-sampling = \"independent\"\n\
             branch-scale = \"eval\"\ndropped-update = \"zero-grad\"\ndropout = 0.0\nlabel-smoothing = 0.1\n\
             initialisation = \"glorot-uniform\"\nnorm-epsilon = 0.001\nnorm-momentum = 0.01\nseed = {seed}\n\
             shuffle = true\non-nan = \"stop\"\n"
        )
    }

    /// Numbers that go up and down, and differ between seeds and nets.
    fn wobble(&self, step: u64) -> u64 {
        let net = self.model.len() as u64 * 31 + (20.0 * (self.survival_last - 0.5).abs()) as u64;
        (step * 7919 + self.seed * 104_729 + net * (self.seed + 1)) % 41
    }

    fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("config.toml"), self.config()).unwrap();
        let (mut metrics, mut timing) = (String::new(), String::new());
        for step in 1..=self.steps {
            let wobble = self.wobble(step) as f64;
            let (loss, gradient) = (2.0 / step as f64 + 0.01 * wobble, 0.001 + 0.0001 * wobble);
            let is_stochastic = self.model == "stochastic";
            let gate = |block: u64| if is_stochastic && (step + block).is_multiple_of(4) { '0' } else { '1' };
            let gates: String = (0..BLOCKS).map(gate).collect();
            let _ = writeln!(
                metrics,
                "{{\"kind\":\"train\",\"step\":{step},\"epoch\":{},\"loss\":{loss},\"accuracy\":0.5,\"lr\":0.001,\
                 \"gates\":\"{gates}\",\"first_gradient\":{gradient}}}",
                (step - 1) / 3
            );
            let mut evaluate = |split: &str, accuracy: f64| {
                let _ = writeln!(
                    metrics,
                    "{{\"kind\":\"eval\",\"split\":\"{split}\",\"step\":{step},\"loss\":{loss},\
                     \"accuracy\":{accuracy},\"images\":400}}"
                );
            };
            evaluate("test-batch", 0.9 - 0.0025 * wobble);
            if step.is_multiple_of(self.test_every) || step == self.steps {
                evaluate("test", 0.9 - 0.001 * wobble);
            }
            let seconds = if is_stochastic { 0.03125 } else { 0.046875 };
            let _ = writeln!(timing, "{{\"step\":{step},\"seconds\":{seconds},\"images_per_second\":1000}}");
        }
        fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
        fs::write(folder.join("timing.jsonl"), timing).unwrap();
        if self.has_ended {
            self.conclude(folder);
        }
    }

    fn conclude(&self, folder: &Path) {
        let accuracy = 0.9 - 0.001 * self.wobble(self.steps) as f64;
        let seconds = self.steps as f64 / 32.0;
        let all_gates = if self.model == "stochastic" { (1.25 * seconds).to_string() } else { "null".into() };
        let summary = format!(
            "{{\"steps\":{},\"seconds\":{},\"step_seconds\":{seconds},\"images_per_second\":1024,\"blocks_run\":0.75,\
             \"steps_left_out\":0,\"all_gates_seconds\":{all_gates},\"all_gates_measurements\":2,\
             \"test\":{{\"step\":{},\"loss\":0.5,\"accuracy\":{accuracy},\"images\":10000}},\"best\":null}}",
            self.steps,
            2.0 * seconds,
            self.steps
        );
        fs::write(folder.join("summary.json"), summary).unwrap();
        let mut predictions =
            "image,label,predicted,probability\n0,7,7,0.75\n1,2,3,0.5\n2,1,1,0.875\n3,0,6,0.9375\n".to_string();
        for image in 4..10_000 {
            let _ = writeln!(predictions, "{image},{0},{0},0.75", image % 10);
        }
        fs::write(folder.join("predictions.csv"), predictions).unwrap();
    }
}

/// A folder of runs.
fn folder(runs: &[MadeUp]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for run in runs {
        let other_batch = if run.batch_size == 32 { String::new() } else { format!("-{}", run.batch_size) };
        let name = format!("{}-{}{other_batch}-seed{}", run.model, run.survival_last, run.seed);
        run.write(&folder.path().join(name));
    }
    folder
}

/// Both nets with `seeds` seeds.
fn compared(seeds: u64, steps: u64) -> TempDir {
    let runs = (0..seeds).flat_map(|seed| ["resnet", "stochastic"].map(|model| MadeUp::new(model, seed, steps)));
    folder(&runs.collect::<Vec<_>>())
}

fn report(paths: &[&Path]) -> Result<(String, Vec<String>), String> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    let out = TempDir::new().unwrap();
    let report = Report::new(&paths, None).map_err(|error| error.to_string())?;
    let page = report.write(out.path()).map_err(|error| error.to_string())?;
    assert_eq!(page, out.path().join(PAGE));
    let mut figures: Vec<String> = fs::read_dir(out.path().join("figures"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    figures.sort();
    Ok((fs::read_to_string(page).unwrap(), figures))
}

#[track_caller]
fn shows(page: &str, expected: &[&str]) {
    for expected in expected {
        assert!(page.contains(expected), "expected: {expected}\n{page}");
    }
}

#[test]
fn charts_are_drawn_as_before() {
    let points: Vec<(f64, f64)> = (0..9u32).map(|x| (f64::from(x), f64::from(x * x % 7))).collect();
    let plot = Plot {
        title: "a plot & more".into(),
        x: Axis::tight("step").whole(),
        y: Axis::round("accuracy (%)"),
        layers: vec![
            Layer::Band { series: 0, points: points.iter().map(|&(x, y)| (x, y - 1.0, y + 1.0)).collect() },
            Layer::Line { series: 0, stroke: Stroke::Faint, points: points.clone() },
            Layer::Line { series: 1, stroke: Stroke::Dashed, points: points.clone() },
            Layer::Points { series: 1, points: vec![Point { x: 4.0, y: 3.0, interval: Some((2.0, 5.0)) }] },
        ],
    };
    let cell = |shade: f64| Some(Cell { shade, series: 1, text: format!("{shade}") });
    let heat_map = HeatMap {
        title: "a map".into(),
        columns: "p_L".into(),
        rows: String::new(),
        column_names: ["0.5", "1"].map(String::from).into(),
        row_names: ["linear", "uniform"].map(String::from).into(),
        cells: vec![vec![cell(0.0), cell(1.0)], vec![None, cell(0.25)]],
    };
    let code = BarCode {
        title: "gates".into(),
        columns: "step".into(),
        rows: "block".into(),
        series: 2,
        bars: vec![vec![true, false], vec![true, true], vec![false, true]],
    };
    let mark = |at, marker| Mark { at, interval: Some((at - 1.0, at + 2.0)), marker, series: 3 };
    let dot_plot = DotPlot {
        title: "saved".into(),
        x: Axis::round("share (%)"),
        rows: vec![("a net".into(), vec![mark(20.0, Marker::Dot), mark(24.0, Marker::Ring), mark(25.0, Marker::Tick)])],
    };
    let picture = Picture { source: "data:,".into(), lines: ["4 for 9", "99 %"].map(String::from) };
    let gallery = Gallery { title: "mistakes".into(), pictures: vec![picture] };
    let drawing = Drawing {
        legend: vec![Key { series: 0, sign: Sign::Swatch, name: "plain".into() }],
        panels: vec![
            Panel::Plot(plot),
            Panel::DotPlot(dot_plot),
            Panel::HeatMap(heat_map),
            Panel::BarCode(code),
            Panel::Gallery(gallery),
        ],
    };
    expect_file!["../golden/charts.svg"].assert_eq(&drawing.file("Charts", "Made by a test"));
}

#[test]
fn the_page_of_a_run_is_as_before() {
    let runs = folder(&[MadeUp::new("stochastic", 0, 4)]);
    let (page, _) = report(&[&runs.path().join("stochastic-0.5-seed0")]).unwrap();
    expect_file!["../golden/report.html"].assert_eq(&page);
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

/// Of two nets of one kind, the second is held against the first; the variance is that of what they were tested on.
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

/// What can be said of a variance is said by those tests that are there, and what can't be is named.
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

/// Commands that differ in seed and folder alone are named once.
#[test]
fn commands_are_named_once() {
    let folder = folder(&[0, 1, 2].map(|seed| MadeUp::new("stochastic", seed, 4)));
    for (seed, last) in [(0, ".5"), (1, ".5"), (2, ".50")] {
        let config = folder.path().join(format!("stochastic-0.5-seed{seed}/config.toml"));
        let text = fs::read_to_string(&config).unwrap();
        let command = format!("sdgpu train --survival-last {last} --seed {seed} --quiet --out a{seed}");
        fs::write(&config, text.replace("sdgpu compare --seeds 2 'a <b>'", &command)).unwrap();
    }
    let page = report(&[folder.path()]).unwrap().0;
    let named = "<code>sdgpu train --survival-last .5 --seed 0 --quiet --out a0</code>, <code>sdgpu train \
                 --survival-last .50 --seed 2 --quiet --out a2</code> and 1 more, each in its run\u{2019}s \
                 config.toml.";
    shows(&page, &[&format!("Made by {named}")]);
}

/// What a run wrote of itself is reported as it stands; what an older one did not write is told by its command.
#[test]
fn facts_are_reported_as_they_were_written() {
    let folder = folder(&[MadeUp::new("stochastic", 0, 4)]);
    let run = folder.path().join("stochastic-0.5-seed0");
    let older = fs::read_to_string(run.join("config.toml")).unwrap();
    let report_with = |config: &str| {
        fs::write(run.join("config.toml"), config).unwrap();
        report(&[&run])
    };
    let several = "Several runs were made at once (--jobs)";
    let newer = format!(
        "{}[facts]\narguments = [[\"sweep\"], [\"--jobs\", \"2\"]]\njobs = JOBS\ntraining-images = 60000\n\
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

/// Seeds from several devices are seeds of one net; the same seed from two is a comparison of these.
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
    broken("metrics.jsonl", format!("{line}\n{test}\n").as_bytes(), "line 2: moon is no set of images");
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
    misset("survival-last = 0.5", "survival-last = 7.0", "--survival-last is 7; it must be in (0, 1]");
    misset("batch-size = 32", "batch-size = 0", "--batch-size is 0; it must be from 1 to");
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

/// A long run gives a page that can still be opened.
#[test]
fn a_long_run_gives_a_page_of_sane_size() {
    let mut run = MadeUp::new("stochastic", 0, 100_000);
    run.test_every = 10;
    let (page, _) = report(&[folder(&[run]).path()]).unwrap();
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}
