//! `sdgpu bench`: its figures agree with each other and with `sdgpu plan`.

use sdgpu::internals::device::Device;
use serde_json::Value;

use super::{Ran, Workspace};
use crate::adapter;

/// What each dispatch of a step is called, and its shader, as `sdgpu plan` lists them; and the step's GFLOP.
fn planned(workspace: &Workspace, arguments: &str) -> (Vec<(String, String)>, f64) {
    let ran = workspace.sdgpu(&format!("plan --device cpu --data tiny {arguments}"));
    let (step, _) = ran.stdout.split_once("\ntotal ").unwrap();
    let rows = step.lines().skip(2).filter(|line| line.starts_with("  ")).map(|line| {
        // Numbers, of which the loads may be missing, then the shader and the label.
        let mut words = line.split_whitespace().skip_while(|word| word.parse::<f64>().is_ok());
        let shader = words.next().unwrap().to_string();
        (words.collect::<Vec<_>>().join(" "), shader)
    });
    let total = ran.stdout.lines().find_map(|line| line.strip_prefix("total ")).unwrap();
    (rows.collect(), total.split(' ').next().unwrap().parse().unwrap())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn sum(groups: &Value, of: impl Fn(&Value) -> f64) -> f64 {
    groups.as_array().unwrap().iter().map(of).sum()
}

#[track_caller]
fn assert_close(got: f64, wanted: f64, tolerance: f64) {
    assert!((got - wanted).abs() <= tolerance * wanted.abs(), "{got}, not {wanted}");
}

#[track_caller]
fn assert_spread(spread: &Value) {
    let names = ["min", "lower_quartile", "median", "upper_quartile", "max"];
    let numbers = names.map(|name| number(&spread[name]));
    assert!(numbers[0] >= 0.0 && numbers.is_sorted(), "{spread}");
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"))
}

/// Everything that must hold between the figures of a step.
fn assert_consistent(workspace: &Workspace, document: &Value) {
    let (rows, gigaflop) = planned(workspace, "--model stochastic --arch resnet8 --batch-size 4");
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let dispatches = document["dispatches"].as_array().unwrap();
    let listed: Vec<_> = dispatches.iter().map(|row| (text(&row["name"]), text(&row["shader"]))).collect();
    assert_eq!(listed, rows);
    for groups in ["dispatches", "kernels", "passes"] {
        let groups = &document[groups];
        assert_close(sum(groups, |group| number(&group["share"])), 1.0, 1e-9);
        assert_eq!(sum(groups, |group| number(&group["dispatches"])) as usize, rows.len());
        assert_close(sum(groups, |group| number(&group["flop"])), 1e9 * gigaflop, 1e-2);
        for group in groups.as_array().unwrap() {
            assert_spread(&group["seconds"]);
        }
    }
    for kernel in document["kernels"].as_array().unwrap() {
        let count = rows.iter().filter(|(_, shader)| *shader == text(&kernel["name"])).count();
        assert_eq!(number(&kernel["dispatches"]) as usize, count, "{kernel}");
    }
    let passes: Vec<String> = document["passes"].as_array().unwrap().iter().map(|pass| text(&pass["name"])).collect();
    assert_eq!(passes, ["forward", "backward", "update"]);
    let peak = &document["peak"];
    let (plain, stochastic) = (&document["plain"], &document["stochastic"]);
    for step in [plain, &stochastic["step"]] {
        assert_spread(&step["seconds"]);
        let median = number(&step["seconds"]["median"]);
        assert_close(number(&step["images_per_second"]), 4.0 / median, 1e-9);
        assert_close(number(&step["gflops"]), number(&step["flop"]) / median / 1e9, 1e-9);
        assert_close(number(&step["gbytes"]), number(&step["bytes"]) / median / 1e9, 1e-9);
        let shares = [("gflops", &step["gflops"]), ("gbytes", &step["gbytes"])];
        let largest = shares.map(|(name, rate)| number(rate) / number(&peak[name])).into_iter().fold(0.0, f64::max);
        assert_close(number(&step["of_peak"]), largest, 1e-9);
    }
    // Three draws a repeat, of which resnet8 drops something, but never its stem.
    assert_eq!(stochastic["draws"], 6);
    for share in ["flop_share", "byte_share"] {
        assert!((0.1..1.0).contains(&number(&stochastic[share])), "{stochastic}");
    }
    let step = &stochastic["step"];
    assert_close(number(&stochastic["flop_share"]), number(&step["flop"]) / number(&plain["flop"]), 1e-9);
    assert_spread(&document["evaluation"]["seconds"]);
    assert_eq!(document["evaluation"]["images"], 8);
    assert_eq!((&document["net"]["arch"], &document["net"]["batch_size"]), (&"resnet8".into(), &4.into()));
}

const BENCH: &str = "bench --arch resnet8 --data tiny --batch-size 4 --eval-batch 4 --repeats 2";

#[test]
fn figures_agree_on_the_cpu() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&format!("{BENCH} --device cpu --json"));
    let document = document(&ran);
    assert_consistent(&workspace, &document);
    assert_eq!(document["device"]["kind"], "cpu");
    assert_eq!(document["clock"], "the host's clock");
    assert_eq!(document["encoding"]["record"], Value::Null, "nothing is encoded on the CPU");
    assert!(number(&document["encoding"]["schedule"]["median"]) > 0.0);
    assert!(number(&document["peak"]["gflops"]) > 0.1 && number(&document["peak"]["gbytes"]) > 0.1, "{ran}");
    assert!(ran.stderr.starts_with("device     cpu: "), "{ran}");
}

#[test]
fn figures_agree_on_the_gpu() {
    let workspace = Workspace::with_tiny();
    let name = adapter::open().info().name.clone();
    let ran = workspace.run(workspace.command(&format!("{BENCH} --json")).args(["--device", &name]));
    assert_eq!(ran.code, Some(0), "{ran}");
    let document = document(&ran);
    assert_consistent(&workspace, &document);
    assert_eq!((&document["device"]["kind"], &document["device"]["name"]), (&"gpu".into(), &name.as_str().into()));
    for part in ["schedule", "record", "submit"] {
        assert!(number(&document["encoding"][part]["median"]) > 0.0, "{ran}");
    }
}

#[test]
fn tables_are_readable() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.sdgpu(&format!("{BENCH} --device cpu --each"));
    let heads =
        ["\ndispatch ", "\nkernel ", "\npass ", "\nstep ", "\nplain ", "\nstochastic ", "\nevaluation ", "\nhost "];
    for head in
        heads.into_iter().chain(["peak ", "GFLOP/s", "GB/s", "of peak", "6 independent draws at p_L = 0.5 take "])
    {
        assert!(ran.stdout.contains(head), "expected: {head}\n{ran}");
    }
    let (rows, _) = planned(&workspace, "--model stochastic --arch resnet8 --batch-size 4");
    for (label, _) in &rows {
        assert!(ran.stdout.lines().any(|line| line.starts_with(&format!("{label} "))), "expected: {label}\n{ran}");
    }
    let plain = workspace.sdgpu(&format!("{BENCH} --device cpu --model resnet"));
    assert!(!plain.stdout.contains("\nstochastic ") && !plain.stdout.contains("\ndispatch "), "{plain}");
}

#[test]
fn skipping_is_priced_by_draw_and_plotted() {
    let workspace = Workspace::with_tiny();
    let arguments = "bench --skipping resnet8:4,resnet14:4 --data tiny --device cpu --draws 5 --repeats 2";
    let ran = workspace.sdgpu(&format!("{arguments} --svg skip.svg --json"));
    let document = document(&ran);
    let nets = document["skipping"].as_array().unwrap();
    let setting = |net: &Value| (net["arch"].as_str().unwrap().to_string(), number(&net["survival_last"]));
    let expected = [("resnet8", 0.5), ("resnet8", 0.2), ("resnet14", 0.5), ("resnet14", 0.2)];
    assert_eq!(nets.iter().map(setting).collect::<Vec<_>>(), expected.map(|(arch, last)| (arch.to_string(), last)));
    for net in nets {
        assert_eq!(net["draws"].as_array().unwrap().len(), 5);
        let mean = sum(&net["draws"], |draw| number(&draw["flop_share"])) / 5.0;
        assert_close(number(&net["flop_share"]), mean, 1e-9);
        for draw in net["draws"].as_array().unwrap() {
            ["ratio", "time_share", "summed_share"].iter().for_each(|name| assert_spread(&draw[name]));
        }
    }
    let draw = &nets[3]["draws"][0];
    let gates = draw["gates"].as_str().unwrap();
    assert!(gates.len() == 6 && gates.contains('0'), "{gates}");
    let all = planned(&workspace, "--model stochastic --arch resnet14 --batch-size 4");
    let some = planned(&workspace, &format!("--model stochastic --arch resnet14 --batch-size 4 --gates {gates}"));
    assert_eq!(number(&draw["dispatches"]) as usize, some.0.len());
    assert_close(number(&draw["flop_share"]), some.1 / all.1, 0.05);

    let svg = workspace.text("skip.svg");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("<circle").count(), 4 * 5 + 1, "a dot for each draw, and the legend's\n{svg}");
    assert_eq!(svg.matches("<polyline").count(), 4 * 2, "FLOP and bytes in each panel\n{svg}");
    assert!(svg.contains("resnet14, batch 4, p_L = 0.2") && svg.contains(&format!("sdgpu {arguments}")), "{svg}");

    let text =
        workspace.sdgpu("bench --skipping resnet8:4 --survival-last .5 --data tiny --device cpu --draws 3 --each");
    for expected in ["resnet8, batch 4, p_L = 0.5: 3 draws", "within 2 %", "saved: ", "time / sum"] {
        assert!(text.stdout.contains(expected), "expected: {expected}\n{text}");
    }
}
