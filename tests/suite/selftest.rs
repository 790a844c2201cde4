//! What `sdgpu selftest` runs: a right adapter passes, and a wrong shader is named. That every table catches its seeded
//! faults is the mutants' test.

use sdgpu::internals::data::DataSet;
use sdgpu::internals::device::gpu::{GpuDevice, GpuRequest};
use sdgpu::internals::device::{Device, DeviceError};
use sdgpu::internals::selftest::tables::FAMILIES;
use sdgpu::internals::selftest::{Row, TrainingReport, Trainings, shaders, test_kernels, twins};

use crate::adapter;

/// The adapter, with `find` replaced in the shader `name`.
fn faulty(name: &'static str, find: &'static str, replace: &'static str) -> GpuRequest {
    GpuRequest { trusted: false, ..adapter::with_fault(name, find, replace) }
}

/// How many of `rows` are of `kernel`.
fn rows_of(rows: &[Row], kernel: &str) -> usize {
    rows.iter().filter(|row| row.name() == kernel).count()
}

#[test]
fn a_wrong_kernel_is_named_and_no_other() {
    let request = faulty("sgd", "workgroup_total(count)", "(workgroup_total(count) + 1u)");
    let families = FAMILIES.iter().filter(|(family, _)| ["sgd", "adam"].contains(family));
    let rows: Vec<Row> = families.flat_map(|(_, rows)| rows()).collect();
    let mut told = 0;
    let mut shaders = shaders(&request, false).expect("an adapter");
    let reports = test_kernels(&mut shaders, &rows, &mut |_| told += 1).expect("reports");
    assert_eq!(told, rows.len());
    let [adam, sgd] = &reports[..] else { panic!("two kernels, not {reports:?}") };
    assert_eq!((adam.kernel, adam.cases, adam.variants), ("adam", rows_of(&rows, "adam"), 1));
    assert!(adam.failures.is_empty() && adam.worst_error > 0.0 && adam.worst_error <= 1.0, "{adam:?}");
    // Only a grid with fewer workgroups than work is strided over.
    assert_eq!((sgd.kernel, sgd.cases, sgd.failures.is_empty()), ("sgd", rows_of(&rows, "sgd"), false));
    assert!(sgd.failures.iter().all(|failure| failure.contains("at most 2 workgroups")), "{sgd:?}");
    let twins = test_kernels(&mut twins().expect("the CPU device"), &rows, &mut |_| {}).expect("reports");
    assert!(twins.iter().all(|twin| twin.failures.is_empty()), "{twins:?}");
}

/// A shader that the driver refuses is a failure of its kernel, and the others are tested all the same.
#[test]
fn a_shader_that_does_not_compile_stops_nothing() {
    let request = faulty("relu", "fn main(", "fn other(");
    let families = FAMILIES.iter().filter(|(family, _)| ["relu", "sgd"].contains(family));
    let rows: Vec<Row> = families.flat_map(|(_, rows)| rows()).collect();
    let mut shaders = shaders(&request, true).expect("an adapter");
    let reports = test_kernels(&mut shaders, &rows, &mut |_| {}).expect("reports");
    let failures: Vec<_> = reports.iter().map(|report| (report.kernel, report.cases, report.failures.len())).collect();
    let [relu, sgd] = ["relu", "sgd"].map(|kernel| rows_of(&rows, kernel));
    assert_eq!(failures, [("relu", relu, relu), ("sgd", sgd, 0)], "{reports:?}");
}

fn train(request: &GpuRequest) -> Vec<TrainingReport> {
    let trainings = Trainings::new(&DataSet::load(DataSet::EMBEDDED).expect("MNIST")).expect("the CPU device");
    let open = || -> Result<Box<dyn Device>, DeviceError> { Ok(Box::new(GpuDevice::open(request)?)) };
    trainings.test(&open).expect("trainings")
}

#[test]
fn trainings_agree_with_the_cpu_device() {
    let reports = train(&adapter::request());
    let models: Vec<&str> = reports.iter().map(|report| report.model).collect();
    assert_eq!(models, ["plain", "stochastic"]);
    for report in &reports {
        assert!(report.failures.is_empty(), "{report:?}");
        // A bound that is never approached proves nothing; one that is nearly met fails on the next device.
        assert!(report.worst_error > 1e-3 && report.worst_error < 0.3, "{report:?}");
    }
}

/// Two trainings alone find a norm that is one in a hundred too large, and a dropout that takes the same numbers twice.
#[test]
fn wrong_trainings_are_found() {
    for report in train(&faulty("batch_norm_residual", "relu(fma(p.scale,", "relu(fma(1.01 * p.scale,")) {
        assert!(!report.failures.is_empty(), "{report:?}");
    }
    let [plain, stochastic] = &train(&faulty("dropout", "control[CONTROL_STEP]", "0u"))[..] else { panic!("two") };
    assert!(plain.failures.is_empty() && !stochastic.failures.is_empty(), "{plain:?} {stochastic:?}");
}
