//! `sdgpu selftest`. What a wrong adapter makes of it is tested in `tests/suite/selftest.rs` and `src/cli/selftest.rs`.

use sdgpu::internals::device::Device;
use sdgpu::internals::kernels::ALL;
use serde_json::Value;

use super::Workspace;
use crate::adapter;

#[test]
fn the_cpu_device_alone() {
    let workspace = Workspace::new();
    let ran = workspace.sdgpu("selftest --device cpu");
    assert!(ran.stdout.starts_with("cpu        "), "{ran}");
    let expected = format!("right: {} kernels over ", ALL.len());
    assert!(ran.stdout.lines().last().is_some_and(|line| line.starts_with(&expected)), "{ran}");
    assert_eq!((ran.stderr.as_str(), ran.names.len()), ("", 0), "{ran}");
}

#[test]
fn an_adapter_is_tested_and_described() {
    let workspace = Workspace::new();
    let adapter = adapter::open();
    // The first of that name, as the tests take it.
    let name = adapter.info().name.split(' ').next().unwrap().to_string();
    let ran = workspace.sdgpu(&format!("selftest --quick --json --device {name}"));
    assert!(ran.stderr.contains("gpu:") && ran.names.is_empty(), "{ran}");
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"));
    assert_eq!((&document["verdict"], &document["quick"]), (&"right".into(), &true.into()), "{ran}");
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    let adapters = document["adapters"].as_array().unwrap();
    let [tested] = &adapters[..] else { panic!("one adapter\n{ran}") };
    assert_eq!(tested["device"]["driver"], adapter.info().driver.as_str(), "{ran}");
    assert_eq!((tested["facts"]["largest binding"].is_string(), &tested["error"]), (true, &Value::Null), "{ran}");
    for kernels in [&tested["kernels"], &document["cpu"]["kernels"]] {
        let kernels = kernels.as_array().unwrap();
        assert_eq!(kernels.len(), ALL.len(), "{ran}");
        for kernel in kernels {
            let worst = kernel["worst_error"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&worst) && kernel["failures"].as_array().unwrap().is_empty(), "{kernel}");
        }
    }
    let models: Vec<&Value> = tested["trainings"].as_array().unwrap().iter().map(|it| &it["model"]).collect();
    assert_eq!(models, ["plain", "stochastic"]);
}
