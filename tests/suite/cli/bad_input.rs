//! What the user can mend is refused in one line, with exit code 2, before anything is written.

use std::fs;
use std::process::Command;

use sdgpu::internals::data::FILES;
use sdgpu::internals::device::Device;
use sdgpu::internals::model::weights::Weights;

use super::{Ran, Workspace};
use crate::adapter;
use crate::data::{gzip, idx_file};

/// Two steps on the set `tiny`; the batch size is left to the cases.
const TRAIN: &str = "train --model stochastic --arch resnet8 --data tiny --device cpu --steps 2";

/// Runs `command`, which must be refused, and leave everything as it was.
fn refuse(workspace: &Workspace, command: &mut Command) -> Ran {
    let before = workspace.contents();
    let ran = workspace.run(command);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
    assert!(workspace.contents() == before, "something was left behind\n{ran}");
    ran
}

/// Runs `command`, which must be refused in one line that says all of `expected`.
fn refuse_saying(workspace: &Workspace, command: &mut Command, expected: &str) {
    let ran = refuse(workspace, command);
    assert!(ran.stderr.starts_with("sdgpu: ") && ran.stderr.lines().count() == 1, "{ran}");
    assert!(ran.stderr.contains(expected), "expected: {expected}\n{ran}");
}

/// Each of the `cases`, arguments and what is said of them, behind `start`.
fn refuse_all(workspace: &Workspace, start: &str, cases: &[(&str, &str)]) {
    for (arguments, expected) in cases {
        refuse_saying(workspace, &mut workspace.command(&format!("{start} {arguments}")), expected);
    }
}

/// `file` as another program writes it: sdgpu's note is under a key that nobody knows.
fn without_note(mut file: Vec<u8>) -> Vec<u8> {
    let key = b"\"sdgpu\"";
    let place = file.windows(key.len()).position(|bytes| bytes == key).unwrap();
    file[place..][..key.len()].copy_from_slice(b"\"other\"");
    file
}

#[test]
fn numbers_and_names_that_are_easily_mistaken() {
    let workspace = Workspace::with_tiny();
    let cases = [
        (
            "--data tiny --steps 18446744073709551615",
            "--steps is 18446744073709551615; it must be from 1 to 4294967295",
        ),
        // No flag, but a folder's name.
        ("--data `seed`", "`seed`: no such folder"),
    ];
    refuse_all(&workspace, "train --model stochastic --arch resnet8 --device cpu", &cases);
}

#[test]
fn settings_out_of_range() {
    let workspace = Workspace::with_tiny();
    let cases = [
        ("--batch-size 0", "--batch-size is 0; it must be from 1 to the 55 training images left by --validation"),
        ("--batch-size 56", "--batch-size is 56; it must be from 1 to the 55 training images"),
        ("--batch-size 61 --validation 0", "--batch-size is 61; it must be from 1 to the 60 training images"),
        ("--survival-last 0", "--survival-last is 0; it must be in (0, 1]"),
        ("--survival-last -0.5", "--survival-last is -0.5; it must be in (0, 1]"),
        ("--survival-last NaN", "--survival-last is NaN; it must be in (0, 1]"),
        ("--survival-first 1.5", "--survival-first is 1.5; it must be in (0, 1]"),
        ("--lr -1", "--lr is -1; it must be above 0, at most 1e30"),
        ("--lr NaN", "--lr is NaN; it must be above 0"),
        ("--lr inf", "--lr is inf; it must be above 0"),
        ("--validation 60", "--validation is 60; it must be less than the 60 training images"),
        ("--eval-batch 0", "--eval-batch is 0; it must be from 1 to the 20 images evaluated"),
        ("--eval-batch 21", "--eval-batch is 21; it must be from 1 to the 20 images evaluated"),
        ("--eval-every 0", "--eval-every is 0; it must be at least 1"),
        ("--bn-recalibrate 3", "--bn-recalibrate is 3; it must be at most the number of steps"),
        ("--drop-path 1", "--drop-path is 1; it must be in [0, 1)"),
        ("--drop-path NaN", "--drop-path is NaN; it must be in [0, 1)"),
        ("--optimizer sgd --momentum 1", "--momentum is 1; it must be in [0, 1)"),
        ("--optimizer sgd --nesterov --momentum 0", "--nesterov is true; it must be used with a --momentum above 0"),
        ("--weight-decay -1", "--weight-decay is -1; it must be a number, 0 or more"),
        ("--warmup-steps 3", "--warmup-steps is 3; it must be at most the number of steps"),
        ("--dropout 1", "--dropout is 1; it must be in [0, 1)"),
        ("--label-smoothing NaN", "--label-smoothing is NaN; it must be in [0, 1)"),
    ];
    refuse_all(&workspace, TRAIN, &cases);

    let start = "train --model resnet --data tiny --device cpu";
    let cases = [
        ("--arch resnet21", "unknown architecture `resnet21`; did you mean `resnet20`?"),
        ("--arch ResNet-50", "unknown architecture `ResNet-50`; did you mean `resnet50`?"),
        ("--steps 0", "--steps is 0; it must be from 1 to 4294967295"),
        ("--epochs 0", "--epochs is 0; it must be from 1 to "),
        (
            "--batch-size 8 --epochs 18446744073709551615",
            "--epochs is 18446744073709551615; it must be from 1 to 715827882",
        ),
    ];
    refuse_all(&workspace, start, &cases);
}

#[test]
fn flags_that_exclude_each_other_or_mean_nothing() {
    let workspace = Workspace::with_tiny();
    let cases = [
        ("--epochs 3", "the argument '--steps <N>' cannot be used with '--epochs <N>'"),
        (
            "--drop-path .3 --survival linear",
            "the argument '--drop-path <R>' cannot be used with '--survival <SURVIVAL>'",
        ),
        ("--drop-path .3 --branch-scale eval", "'--drop-path <R>' cannot be used with '--branch-scale <BRANCH_SCALE>'"),
        ("--survival bogus", "unknown variant `bogus`, expected one of `linear`, `uniform`, `linspace`"),
        ("--backend opengl", "`opengl` is no backend; vulkan, metal and dx12 are"),
        ("--lr fast", "invalid value 'fast' for '--lr <LR>': a number is needed, as in 0.5"),
        ("--seed one", "'--seed <SEED>': a whole number is needed, 0 or more"),
        ("--batch-size 99999999999", "99999999999 is not in"),
        ("--bogus", "unexpected argument '--bogus' found"),
    ];
    refuse_all(&workspace, TRAIN, &cases);

    let cases = [
        ("--momentum .5", "--momentum has no effect with --optimizer adam; leave it out"),
        ("--nesterov", "--nesterov has no effect with --optimizer adam"),
        ("--survival uniform --survival-first 1", "--survival-first has no effect with --survival uniform"),
        ("--validation 0 --eval-every 1", "--eval-every has no effect with --validation 0"),
        ("--backend vulkan", "--backend has no effect with --device cpu"),
        ("--tune", "--tune has no effect with --device cpu"),
        ("--no-tune", "--no-tune has no effect with --device cpu"),
        ("--no-tune --tune", "cannot be used with '--tune'"),
    ];
    refuse_all(&workspace, TRAIN, &cases);
    let plain = TRAIN.replace("stochastic", "resnet");
    for (flag, value) in [
        ("--survival", "linear"),
        ("--survival-first", "1"),
        ("--survival-last", "0.5"),
        ("--gate-sampling", "systematic"),
        ("--branch-scale", "eval"),
        ("--dropped-update", "freeze"),
        ("--drop-path", "0.1"),
    ] {
        let expected = format!("{flag} has no effect with --model resnet; leave it out");
        refuse_all(&workspace, &plain, &[(&format!("{flag} {value}"), &expected)]);
    }

    let cases = [
        ("train --data tiny", "sdgpu: the following required arguments were not provided: --model <MODEL>\n"),
        ("train --epochs", "sdgpu: a value is required for '--epochs <N>' but none was supplied\n"),
        ("devices run", "sdgpu: unexpected argument 'run' found; --help tells which there are\n"),
        ("trian", "sdgpu: unrecognized subcommand 'trian'; a similar subcommand exists: 'train'\n"),
        ("train --epoch 3", "sdgpu: unexpected argument '--epoch' found; a similar argument exists: '--epochs'\n"),
    ];
    for (arguments, expected) in cases {
        let ran = refuse(&workspace, &mut workspace.command(arguments));
        assert_eq!(ran.stderr, expected, "{ran}");
    }
}

#[test]
fn adapters_that_are_not_there() {
    let workspace = Workspace::with_tiny();
    let named = adapter::open().info().name.clone();
    let cases = [
        ("selftest --device gpu:99", "there is no gpu:99; there are: gpu:0 "),
        ("selftest --device nonesuch", "no adapter is called `nonesuch`; there are: "),
        ("selftest --device gpu:first", "no adapter is called `gpu:first`; there are: "),
        ("selftest --device both", "--device is both; it must be all, gpu, gpu:N, an adapter's name, or cpu"),
        ("selftest --device cpu --backend vulkan", "--backend has no effect with --device cpu"),
        ("train --model resnet --data tiny --steps 1 --device gpu:99", named.as_str()),
    ];
    refuse_all(&workspace, "", &cases);
    if cfg!(target_os = "linux") {
        refuse_all(&workspace, "selftest --backend metal", &[("", "no GPU adapter found (tried metal)")]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_self_test_without_any_adapter() {
    let workspace = Workspace::new();
    let mut command = workspace.command_without_adapters("selftest");
    refuse_saying(&workspace, &mut command, "no GPU adapter found (tried vulkan); install a driver");
}

#[test]
fn measurements_of_nothing() {
    let workspace = Workspace::with_tiny();
    let cases = [
        ("--repeats 0", "--repeats is 0; it must be from 1 to 1000000"),
        ("--batch-size 0", "--batch-size is 0; it must be at least 1"),
        ("--batch-size 61", "--batch-size is 61; it must be from 1 to the 60 training images"),
        ("--arch resnet21", "unknown architecture `resnet21`; did you mean `resnet20`?"),
        ("--device both", "--device both runs everything twice, to compare; give gpu or cpu"),
        ("--skipping resnet8", "nets with batch sizes are needed, as in resnet20:128,resnet110:16"),
        ("--skipping resnet8:4 --draws 0", "--draws is 0; it must be from 1 to 100000"),
        ("--skipping resnet8:0", "--batch-size is 0; it must be at least 1"),
        ("--skipping resnet8:4,resnet21:4", "unknown architecture `resnet21`; did you mean `resnet20`?"),
        ("--skipping --model resnet", "--skipping has no effect with --model resnet; leave one of them out"),
        ("--skipping --arch resnet8", "'--skipping [<NET:BATCH,...>]' cannot be used with '--arch <NAME>'"),
        ("--skipping resnet8:4 --svg tiny", "can't write tiny: "),
        ("--svg plot.svg", "required arguments were not provided: --skipping"),
    ];
    refuse_all(&workspace, "bench --data tiny --backend vulkan", &cases);
    refuse_all(&workspace, "bench --data tiny --device cpu", &[("--backend vulkan", "--backend has no effect")]);
}

#[test]
fn profiles_of_nothing_or_to_nowhere() {
    let workspace = Workspace::with_tiny();
    fs::write(workspace.path("file"), "").unwrap();
    let cases = [
        ("--profile tiny", "can't write tiny: "),
        ("--profile file", "can't write file: File exists"),
        ("--profile nowhere/trace.json", "can't write nowhere/trace.json: "),
        ("--profile-steps 1..2", "required arguments were not provided: --profile <FILE>"),
        ("--profile t --profile-steps 1..3", "--profile-steps is 1..3; it must be within the run's steps, 1..2"),
        ("--profile t --profile-steps 0..1", "--profile-steps is 0..1; it must be within the run's steps, 1..2"),
        ("--profile t --profile-steps 2..1", "two numbers are needed, as in 10..20"),
        ("--profile t --profile-steps 2", "two numbers are needed, as in 10..20"),
    ];
    refuse_all(&workspace, TRAIN, &cases);
}

#[test]
fn data_that_are_missing_or_damaged() {
    let workspace = Workspace::with_tiny();
    fs::write(workspace.path("file"), "").unwrap();
    let start = "train --model resnet --arch resnet8 --steps 1 --device cpu --data";
    let no_folder = "no such folder; give `mnist` or a folder with the four IDX files of a set";
    refuse_all(&workspace, start, &[("nowhere", no_folder), ("file", no_folder)]);

    let [train_images, train_labels, test_images, test_labels] = FILES;
    let images = workspace.read(&format!("tiny/{train_images}"));
    let zipped = format!("{train_images}.gz");
    // A file of the set, what it is called now and holds, and what is said of it.
    let cases: [(&str, &str, Option<Vec<u8>>, &str); 10] = [
        (test_images, test_images, None, "a file is missing; one of these is needed: t10k-images-idx3-ubyte, "),
        (train_images, train_images, Some(images[..1000].into()), "ends after 1000 of 4876 bytes; it is cut off"),
        (train_images, &zipped, Some(images.clone()), "not gzip data; drop `.gz`"),
        (train_images, &zipped, Some(gzip(&images)[..500].into()), "cannot be read (incomplete deflate stream)"),
        (train_images, train_images, Some(idx_file(&[60], &[0; 60])), "starts with 00000801; an IDX file"),
        (train_labels, train_labels, Some(idx_file(&[59], &[0; 59])), "59 labels for 60 images"),
        (test_labels, test_labels, Some(idx_file(&[20], &[3; 20])), "test image 0 has label 3; the largest label"),
        (
            test_images,
            test_images,
            Some(idx_file(&[20, 1, 1], &[0; 20])),
            "test images of 1x1 pixels, training images of 9x9",
        ),
        (train_images, train_images, Some(idx_file(&[u32::MAX; 3], &[0])), "bytes; at most 4294967295 are possible"),
        (train_images, train_images, Some(idx_file(&[0, 9, 9], &[])), "holds nothing"),
    ];
    for (name, renamed, bytes, expected) in cases {
        let workspace = Workspace::with_tiny();
        fs::remove_file(workspace.path("tiny").join(name)).unwrap();
        if let Some(bytes) = bytes {
            fs::write(workspace.path("tiny").join(renamed), bytes).unwrap();
        }
        refuse_all(&workspace, start, &[("tiny", expected)]);
    }
}

#[test]
fn weights_that_are_no_weights_or_not_of_this_net() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --out run"));
    let sound = workspace.read("run/weights/last.safetensors");
    let (mut weights, _) = Weights::from_safetensors(&sound).unwrap();
    weights.0.iter_mut().find(|tensor| tensor.name == "bn1.bias").unwrap().values[3] = f32::NAN;
    let files: [(&str, Vec<u8>); 6] = [
        ("nan", without_note(weights.to_safetensors("{}").unwrap())),
        ("noted", weights.to_safetensors("{}").unwrap()),
        ("cut", sound[..sound.len() - 5].into()),
        ("pickle", b"\x80\x04\x95\x1b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x0bconv1.weight\x94K\x01s.".into()),
        ("zip", b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl".into()),
        ("empty", Vec::new()),
    ];
    for (name, bytes) in files {
        fs::write(workspace.path(name), bytes).unwrap();
    }
    let format = "not a safetensors file (";
    let cases = [
        ("--init nowhere", "can't read nowhere: "),
        ("--init tiny", "can't read tiny: "),
        ("--init cut", format),
        ("--init pickle", format),
        ("--init zip", format),
        ("--init empty", "weights are read from .safetensors with f32 tensors only"),
        ("--init noted", "noted: its settings are from another version of sdgpu ("),
        ("--init nan", "nan: the weights do not fit resnet8: bn1.bias holds NaN at element 3"),
    ];
    refuse_all(&workspace, TRAIN, &cases);

    let deeper = TRAIN.replace("resnet8", "resnet14");
    let expected = "the weights do not fit resnet14: layer1.1.conv1.weight is missing; layer1.1.bn1.weight is missing; \
                    layer1.1.bn1.bias is missing; and 27 more";
    refuse_all(&workspace, &deeper, &[("--init run/weights/last.safetensors", expected)]);
    workspace.write_set("four", 60, 20, 9, 4);
    let more_classes = TRAIN.replace("tiny", "four");
    let expected = "the weights do not fit resnet8: fc.weight is [3, 64], not [4, 64]; fc.bias is [3], not [4]";
    refuse_all(&workspace, &more_classes, &[("--init run/weights/last.safetensors", expected)]);
}

#[test]
fn run_directories_that_cannot_be() {
    let workspace = Workspace::with_tiny();
    fs::write(workspace.path("file"), "").unwrap();
    let cases = [
        ("--out tiny", "tiny exists already; choose another --out, or remove it"),
        ("--out file", "file exists already; choose another --out, or remove it"),
        ("--out file/run", "file/run can't be a folder, because file is a file; choose another --out"),
        ("--out file/runs/1", "file/runs/1 can't be a folder, because file is a file; choose another --out"),
    ];
    refuse_all(&workspace, TRAIN, &cases);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", workspace.path("dangling")).unwrap();
        refuse_all(&workspace, TRAIN, &[("--out dangling", "dangling exists already; ")]);
    }
    // No file system takes so long a name; the parents must go again.
    let long = "x".repeat(1000);
    refuse_all(
        &workspace,
        TRAIN,
        &[(&format!("--out new/folders/{long}"), &format!("can't write new/folders/{long}: "))],
    );
}

/// The CPU device asks for more than the shell allows; where the machine has less, the plan is refused.
#[cfg(target_os = "linux")]
#[test]
fn trainings_that_run_out_of_memory_before_they_start() {
    let workspace = Workspace::new();
    let train = workspace
        .command("train --model resnet --device cpu --steps 1 --batch-size 4000 --out new/run --profile trace");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 1000000 && exec \"$0\" \"$@\""]).arg(train.get_program()).args(train.get_args());
    limited.env("RAYON_NUM_THREADS", "2").current_dir(workspace.path("."));
    let ran = workspace.run(&mut limited);
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(2), 1), "{ran}");
    assert!(ran.stderr.contains("the largest that fits is --batch-size "), "{ran}");
    assert!(workspace.names().is_empty(), "{ran}");
}

/// Nobody has so much memory that a thread could have such a stack.
#[cfg(target_os = "linux")]
#[test]
fn systems_that_give_no_threads() {
    let workspace = Workspace::with_tiny();
    let refused = |arguments: &str, code: i32, saying: &str| {
        let mut command = workspace.command(arguments);
        let ran = workspace.run(command.env("RUST_MIN_STACK", (1u64 << 50).to_string()));
        assert_eq!((ran.code, ran.stderr.lines().count()), (Some(code), 1), "{ran}");
        assert!(ran.stderr.contains(saying), "expected: {saying}\n{ran}");
        assert_eq!(workspace.names().iter().filter(|name| name.starts_with("run")).count(), 0, "{ran}");
    };
    refused(&format!("{TRAIN} --out run"), 1, "can't start its threads: ");
    let on_gpu = TRAIN.replace("--device cpu", "--device gpu");
    refused(&format!("{on_gpu} --out run"), 2, "can't start the thread that writes checkpoints: ");
}

#[cfg(target_os = "linux")]
#[test]
fn devices_that_are_not_there() {
    let workspace = Workspace::with_tiny();
    let on = |device: &str| TRAIN.replace("--device cpu", &format!("--device {device}"));
    refuse_saying(&workspace, &mut workspace.command(&on("nobody")), "no adapter is called `nobody`; there are: ");
    let no_adapter = "no GPU adapter found (tried metal); ";
    refuse_saying(&workspace, &mut workspace.command(&on("gpu --backend metal")), no_adapter);
    for device in ["gpu", "both", "nobody"] {
        let no_adapter = "no GPU adapter found (tried vulkan); install a driver";
        refuse_saying(&workspace, &mut workspace.command_without_adapters(&on(device)), no_adapter);
    }
}

/// The largest values of resnet20 are its maps of 28x28 pixels in 16 channels.
#[test]
fn nets_that_do_not_fit_the_adapter() {
    let adapter = adapter::open();
    let limit = adapter.limits().binding_bytes.min(adapter.limits().buffer_bytes);
    let image = 28 * 28 * 16 * size_of::<f32>() as u64;
    let fits = (limit / image) as usize;
    let workspace = Workspace::new();
    workspace.write_set("many", fits + 1, 2, 28, 2);
    let command = |command: &str, batch: usize| {
        let arguments =
            format!("{command} --model resnet --arch resnet20 --data many --validation 0 --batch-size {batch}");
        let mut command = workspace.command(&arguments);
        command.args(["--device", &adapter.info().name]);
        command
    };
    let expected = format!(
        "conv1 output needs {} MiB, and this device binds at most {} MiB at once; the largest that fits is \
         --batch-size {fits}",
        ((fits as u64 + 1) * image) >> 20,
        limit >> 20,
    );
    refuse_saying(&workspace, &mut command("train", fits + 1), &expected);
    refuse_saying(&workspace, &mut command("plan", fits + 1), &expected);
    let ran = workspace.run(&mut command("plan", fits));
    assert_eq!(ran.code, Some(0), "{ran}");
}

#[test]
fn limits_that_nothing_runs_within() {
    let workspace = Workspace::with_tiny();
    let on_gpu = TRAIN.replace("--device cpu", "--device gpu");
    for (limits, expected) in [
        ("groups=0", "SDGPU_LIMITS is `groups=0`: groups must be a number from 1 on"),
        ("memory=8KiB", "SDGPU_LIMITS is `memory=8KiB`: memory must be a number from 16384 on"),
        (
            "bogus",
            "SDGPU_LIMITS is `bogus`: `bogus` is no limit; webgpu, binding, buffer, groups, memory and buffers are",
        ),
        // Whatever the batch: the largest convolution has 144 KiB of weights.
        ("binding=64KiB", " KiB, and this device binds at most 64 KiB at once; no batch size fits"),
    ] {
        refuse_saying(&workspace, workspace.command(&on_gpu).env("SDGPU_LIMITS", limits), expected);
    }
    refuse_saying(&workspace, workspace.command("selftest").env("SDGPU_LIMITS", "groups=0"), "groups must be");
}

#[test]
fn batches_of_one_that_leave_nothing_to_normalise() {
    let workspace = Workspace::new();
    workspace.write_set("mnist-sized", 20, 5, 28, 2);
    workspace.write_set("dots", 20, 5, 1, 2);
    let start = "train --model resnet --steps 1 --device cpu --batch-size 1";
    let cases = [
        (
            "--data mnist-sized --arch resnet18",
            "batch size 1 is too small for resnet18: layer4.0.bn1 normalises one value a channel, and batch norm needs \
             at least two; use --batch-size 2 or more",
        ),
        ("--data dots --arch resnet8", "batch size 1 is too small for resnet8: bn1 normalises one value a channel"),
    ];
    refuse_all(&workspace, start, &cases);
}

#[test]
fn plans_with_gates_of_another_length() {
    let workspace = Workspace::with_tiny();
    let plan = "plan --model stochastic --arch resnet8 --data tiny --device cpu";
    let cases = [
        ("--gates 10", "--gates has 2 gates; resnet8 has 3 blocks"),
        ("--gates 1011", "--gates has 4 gates; resnet8 has 3 blocks"),
        ("--gates 1x1", "`1x1` is no list of gates: one 1 (survives) or 0 (dropped) for each block"),
    ];
    refuse_all(&workspace, plan, &cases);
}

#[test]
fn evaluations_of_what_is_no_run() {
    let workspace = Workspace::with_tiny();
    workspace.sdgpu(&format!("{TRAIN} --out run"));
    let (weights, _) = Weights::from_safetensors(&workspace.read("run/weights/last.safetensors")).unwrap();
    let noted = weights.to_safetensors("{}").unwrap();
    fs::write(workspace.path("noted"), &noted).unwrap();
    fs::write(workspace.path("plain"), without_note(noted)).unwrap();
    fs::create_dir_all(workspace.path("unfinished/weights")).unwrap();
    fs::copy(workspace.path("run/config.toml"), workspace.path("unfinished/config.toml")).unwrap();
    fs::create_dir(workspace.path("broken")).unwrap();
    fs::write(workspace.path("broken/config.toml"), "version = 7").unwrap();
    let cases = [
        ("tiny", "; a run directory holds a config.toml"),
        ("broken", "config.toml: invalid type: integer `7`, expected a string"),
        ("unfinished", "unfinished holds no weights; did its run finish?"),
        ("nowhere", "can't read nowhere: "),
        ("plain", "plain does not say which net it is for; give --arch"),
        ("noted", "noted: its settings are from another version of sdgpu (missing field `sha256`"),
        ("run --arch resnet14", "run is of resnet8, not of resnet14; leave --arch out"),
        ("run/weights/last.safetensors --arch resnet14", "last.safetensors is of resnet8, not of resnet14"),
        ("run --backend vulkan --device cpu", "--backend has no effect with --device cpu"),
        ("plain --arch resnet9 --data tiny", "unknown architecture `resnet9`; did you mean `resnet8`?"),
        ("plain --arch resnet14 --data tiny", "the weights do not fit resnet14: "),
        ("tiny/train-images-idx3-ubyte", "not a safetensors file ("),
        ("run --eval-batch 0", "--eval-batch is 0; it must be from 1 to the 20 test images"),
        ("run --eval-batch 21", "--eval-batch is 21; it must be from 1 to the 20 test images"),
        ("run --data nowhere", "nowhere: no such folder"),
        ("run --device nobody", "no adapter is called `nobody`"),
    ];
    refuse_all(&workspace, "eval", &cases);
}
