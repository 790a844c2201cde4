//! Reports: what they show of runs that are made up here, and what they refuse.

mod broken_files;
mod charts;
mod nets;
mod page;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use sdgpu::internals::data::DataSet;
use sdgpu::internals::report::{PAGE, Report};
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
