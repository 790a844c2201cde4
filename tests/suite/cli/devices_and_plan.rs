//! `sdgpu devices`, `sdgpu plan`, help, and pipes that close.

use sdgpu::internals::device::Device;

use super::{Ran, TRAIN, Workspace};
use crate::adapter;

/// Flags that `sdgpu train --help` names.
const TRAIN_FLAGS: &str = "--model --arch --preset --data --validation --batch-size --epochs --steps --eval-every \
    --eval-batch --test-every --bn-recalibrate --optimizer --lr --momentum --nesterov --weight-decay --lr-schedule \
    --warmup-steps --survival --survival-last --survival-first --gate-sampling --branch-scale --dropped-update \
    --drop-path --record --dropout --label-smoothing --device --backend --seed --no-shuffle --tune --no-tune --init \
    --out --json --quiet --profile --profile-steps";

#[track_caller]
fn assert_says(ran: &Ran, expected: &[&str]) {
    for expected in expected {
        assert!(ran.stdout.contains(expected), "expected: {expected}\n{ran}");
    }
}

#[test]
fn devices_are_listed_with_what_auto_takes() {
    let workspace = Workspace::new();
    let ran = workspace.sdgpu("devices");
    assert_says(
        &ran,
        &["gpu:0  ", "cpu  ", "backend ", "driver ", "largest binding ", "workgroup memory ", " threads"],
    );
    let auto: Vec<_> = ran.stdout.lines().filter(|line| line.starts_with("auto takes ")).collect();
    assert_eq!(auto.len(), 1, "{ran}");
    let hardware = ran.stdout.lines().any(|line| line.contains("kind") && line.ends_with(" GPU"));
    let why = if hardware { ": the preferred hardware GPU" } else { "the CPU device: there is no hardware GPU" };
    assert!(auto[0].contains(why), "{ran}");
}

#[test]
fn an_adapter_is_listed_as_it_is() {
    let adapter = adapter::open();
    let ran = Workspace::new().sdgpu("devices");
    // Behind `gpu:` and the number.
    let named = |text: &&str| text.split_once("  ").is_some_and(|(_, text)| text.starts_with(&adapter.info().name));
    let mut listed = ran.stdout.split("gpu:").filter(named);
    let listed = listed.next().unwrap_or_else(|| panic!("{ran}"));
    let fact = |name: &str| {
        let line = listed.lines().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("no {name}\n{ran}")).trim_start()[name.len()..].trim().to_string()
    };
    assert_eq!(fact("kind") == "software", adapter.is_software(), "{ran}");
    assert_eq!((fact("backend"), fact("driver")), (adapter.info().backend.clone(), adapter.info().driver.clone()));
    assert_eq!(fact("largest binding"), format!("{} MiB", adapter.limits().binding_bytes >> 20), "{ran}");
    assert_eq!(fact("largest buffer"), format!("{} MiB", adapter.limits().buffer_bytes >> 20), "{ran}");
}

#[cfg(target_os = "linux")]
#[test]
fn without_adapters_the_cpu_is_left() {
    let workspace = Workspace::with_tiny();
    let bare = |arguments: &str| {
        let ran = workspace.run(&mut workspace.command_without_adapters(arguments));
        assert_eq!(ran.code, Some(0), "{ran}");
        ran
    };
    let ran = bare("devices");
    assert_says(&ran, &["no GPU adapter found", "cpu  ", "auto takes the CPU device"]);
    let ran = bare(&TRAIN.replace("--device cpu", "--device auto"));
    assert_says(&ran, &["device     cpu: ", "no hardware GPU found, so the CPU device is used; "]);
}

#[test]
fn plan_shows_a_step_and_what_its_gates_leave_out() {
    let workspace = Workspace::new();
    let ran = workspace.sdgpu("plan --model stochastic --arch resnet8 --device cpu --gates 101");
    let expected = [
        "step with gates 101: ",
        "MFLOP",
        "KiB",
        "loads/FMA",
        "\nlayer1.0 branch\n",
        "\nlayer2.0 shortcut\n",
        "\nupdate\n",
        "total ",
        " MiB moved, of ",
        " at the least\n",
        "estimated on a GPU",
        "\n  integrated ",
        "\n  desktop ",
        "\n  data-centre ",
        "expected over all draws: ",
        ", 2.00 of 3 blocks",
        "\nleft out by these gates: ",
        "\nmemory: ",
        " buffers, for any gates\n",
        "\nof it live at one moment of a step: at most ",
    ];
    assert_says(&ran, &expected);
    assert!(!ran.stdout.contains("\nlayer2.0 branch\n"), "{ran}");
    let (step, rest) = ran.stdout.split_once("\nleft out by these gates: ").unwrap();
    let left_out = rest.split_once("\nmemory: ").unwrap().0;
    for dispatch in ["layer2.0.conv1 forward", "layer2.0.conv2 weight gradient", "layer2.0.conv1 input gradient"] {
        assert!(left_out.contains(dispatch) && !step.contains(dispatch), "{dispatch}\n{ran}");
    }
    assert!(!left_out.contains("layer1.0") && !left_out.contains("shortcut"), "{ran}");

    let count = |text: &str| -> usize { text.split(' ').find_map(|word| word.parse().ok()).unwrap() };
    assert_eq!(count(left_out), left_out.lines().count() - 1, "{ran}");
    let dispatches = step.split_once("\nestimated").unwrap().0;
    let rows = dispatches.lines().filter(|line| line.starts_with("  ") && !line.contains("MFLOP")).count();
    let head = step.lines().next().unwrap().split(": ").nth(1).unwrap();
    assert_eq!(count(head), rows, "{ran}");
    let all = workspace.sdgpu("plan --model stochastic --arch resnet8 --device cpu");
    assert_says(&all, &["step with gates 111: ", "left out by these gates: 0 dispatches, 0.0 % of the FLOP"]);
}

#[test]
fn plan_shows_what_systematic_gates_bound() {
    let plan = "plan --model stochastic --arch resnet20 --device cpu --survival-last .2";
    let [independent, systematic] = ["independent", "systematic"]
        .map(|sampling| Workspace::new().sdgpu(&format!("{plan} --gate-sampling {sampling}")));
    assert_says(&independent, &["5.00 of 9 blocks\n", "MiB with all gates on; parameters, "]);
    assert_says(&systematic, &["5.00 of 9 blocks, 5 in each\n", "MiB with all gates on, "]);
    let line = systematic.stdout.lines().find(|line| line.starts_with("of it live at one moment")).unwrap();
    let sizes: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [all_gates, bound] = sizes[..] else { panic!("{line}") };
    assert!(0.5 * all_gates < bound && bound < 0.9 * all_gates, "{line}");
    assert!(independent.stdout.contains(&format!("at most {all_gates:.1} MiB with all gates on;")), "{independent}");
}

/// Every convolution with at least 64 channels in and out; in resnet18 that is every one but the stem's.
#[test]
fn wide_convolutions_load_little_for_each_multiply_add() {
    let ran = Workspace::new().sdgpu("plan --model resnet --arch resnet18 --device cpu");
    let mut convolutions = 0;
    for line in ran.stdout.lines().filter(|line| line.contains("  conv_") && !line.contains("gradient_sum")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (loads, shader, layer) = (words[2].parse::<f64>().unwrap(), words[4], words[5]);
        assert!(["conv_forward", "conv_weight_gradient", "conv_input_gradient"].contains(&shader), "{line}");
        if layer != "conv1" {
            convolutions += 1;
            assert!(loads > 0.0 && loads <= 0.1, "{line}");
        }
    }
    assert_eq!(convolutions, 3 * 19, "16 convolutions in blocks and 3 projections, three ways\n{ran}");
}

#[test]
fn a_closed_pipe_is_no_fault() {
    let workspace = Workspace::with_tiny();
    for (arguments, first) in [
        ("devices", "gpu:0  "),
        ("plan --model stochastic --arch resnet8 --data tiny --device cpu", "step with gates 111"),
        (&format!("{TRAIN} --out text"), "device     cpu: "),
        (&format!("{TRAIN} --quiet --json --out json"), "{\"kind\":\"train\",\"step\":1,"),
        ("eval text --device cpu", "device     cpu: "),
        ("train --help", "Trains a net"),
    ] {
        let ran = workspace.sdgpu_head(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
        assert!(ran.stdout.starts_with(first), "expected: {first}\n{ran}");
    }
    // Errors keep their exit codes where nobody reads them.
    for (arguments, code) in [("eval nowhere", 2), ("train --bogus", 2), (&format!("{TRAIN} --lr 1e30 --quiet"), 1)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = workspace.command(arguments).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments}");
    }
    // The training went on to its end.
    for run in ["text", "json"] {
        assert_eq!(workspace.json(&format!("{run}/metrics.jsonl")).len(), 12 + 8);
        assert!(workspace.names_in(run).contains(&"weights/last.safetensors".to_string()));
    }
}

#[test]
fn help_names_every_flag() {
    let workspace = Workspace::new();
    let plan_flags: String = TRAIN_FLAGS.split(" --record ").next().unwrap().to_string() + " --gates --device --seed";
    for (command, flags) in [
        ("train", TRAIN_FLAGS),
        ("plan", &plan_flags),
        ("bench", &format!("{plan_flags} --repeats --each --json --skipping --draws --svg").replace("--gates ", "")),
        ("eval", "--data --arch --eval-batch --tune --no-tune --device --backend --json"),
        ("devices", "--backend"),
        ("selftest", "--device --backend --quick --json"),
    ] {
        let ran = workspace.sdgpu(&format!("{command} --help"));
        assert_eq!(ran.stderr, "", "{ran}");
        let named: Vec<&str> = ran.stdout.split_whitespace().filter(|word| word.starts_with("--")).collect();
        for flag in flags.split_whitespace() {
            assert!(named.contains(&flag), "expected: {flag}\n{ran}");
        }
    }
    let ran = workspace.sdgpu("--help");
    assert_says(&ran, &["train ", "eval ", "devices ", "plan ", "bench ", "selftest "]);
    let version = workspace.sdgpu("--version");
    assert_eq!(version.stdout, format!("sdgpu {}\n", env!("CARGO_PKG_VERSION")));
}
