//! Rules that every shader keeps, checked on naga's IR without a device: what WebGPU and naga let pass, and what
//! some GPU or browser does not.
//!
//! Each lint comes with shaders that break it, made from a good one, so that a lint which sees nothing fails too.

mod protocol;
mod translations;
mod uniformity;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};
use sdgpu::internals::dispatch::{Family, ParamField, Scalar, Shader, Variant};
use sdgpu::internals::kernels::{ALL, compose};
use sdgpu::internals::selftest::tables;

/// Every adapter that WebGPU runs on has this much workgroup memory, in bytes.
const WORKGROUP_MEMORY: u32 = 16 * 1024;
/// Every adapter takes this many invocations in a workgroup.
const INVOCATIONS: u32 = 256;
/// Every adapter takes this many storage buffers in a shader.
const STORAGE_BUFFERS: usize = 8;

/// A rule, and how to break it.
struct Lint {
    /// What holds.
    rule: &'static str,
    /// A line for each place where it does not.
    violations: fn(&Compiled) -> Vec<String>,
    /// Changes to [`GOOD`] that the lint must see: what is replaced, by what.
    faults: &'static [(&'static str, &'static str)],
}

const LINTS: &[Lint] = &[
    Lint {
        rule: "the file opens with its contract",
        violations: contract,
        faults: &[("// good: ", "// bad: "), ("// Grid: ", "// "), ("relu.rs", "rleu.rs")],
    },
    Lint {
        rule: "the entry point is `main`, with at most 256 invocations",
        violations: entry_point,
        faults: &[
            ("fn main", "fn start"),
            ("workgroup_size(LANES)", "workgroup_size(LANES, 5)"),
            ("var<workgroup>", "@compute @workgroup_size(1) fn other() {}\nvar<workgroup>"),
        ],
    },
    Lint {
        rule: "binding 0 is `Params`, laid out as in Rust",
        violations: params,
        faults: &[
            ("scale: f32,", "factor: f32,"),
            ("scale: f32,", "scale: u32,"),
            ("scale: f32,", "@align(16) scale: f32,"),
            ("scale: f32,", "scale: f32, more: u32,"),
            ("@binding(0)", "@binding(5)"),
        ],
    },
    Lint {
        rule: "values are bound from 1 on: those read as `read`, then those written as `read_write`",
        violations: bindings,
        faults: &[
            ("var<storage, read> a", "var<storage, read_write> a"),
            ("@binding(2)", "@binding(3)"),
            ("@group(0) @binding(1)", "@group(1) @binding(1)"),
            ("var<workgroup>", "@group(0) @binding(3) var<storage, read> c: array<f32>;\nvar<workgroup>"),
        ],
    },
    Lint {
        rule: "at most 8 storage buffers are bound",
        violations: number_of_storage_buffers,
        faults: &[(
            "var<workgroup>",
            "@group(0) @binding(3) var<storage, read> c: array<f32>;\n\
             @group(0) @binding(4) var<storage, read> d: array<f32>;\n\
             @group(0) @binding(5) var<storage, read> e: array<f32>;\n\
             @group(0) @binding(6) var<storage, read> f: array<f32>;\n\
             @group(0) @binding(7) var<storage, read> g: array<f32>;\n\
             @group(0) @binding(8) var<storage, read> h: array<f32>;\n\
             @group(0) @binding(9) var<storage, read> j: array<f32>;\n\
             var<workgroup>",
        )],
    },
    Lint {
        rule: "workgroup memory is at most 16 KiB",
        violations: workgroup_memory,
        faults: &[("array<f32, LANES>", "array<f32, 4097>"), ("array<f32, LANES>", "array<f32, 65 * LANES>")],
    },
    Lint {
        rule: "all invocations of a workgroup reach a barrier",
        violations: |compiled| uniformity::violations(&compiled.module, &compiled.text),
        faults: &[
            ("workgroupBarrier();", "if lane < 32u { workgroupBarrier(); }"),
            ("workgroupBarrier();", "if a[lane] < 1.0 { workgroupBarrier(); }"),
            ("workgroupBarrier();", "if b[0] < 1.0 { workgroupBarrier(); }"),
            ("workgroupBarrier();", "if lanes[0] < 1.0 { workgroupBarrier(); }"),
            ("workgroupBarrier();", "if id.x + lane > 4u { return; } workgroupBarrier();"),
            ("workgroupBarrier();", "for (;;) { workgroupBarrier(); if lane > p.n { return; } }"),
            ("workgroupBarrier();", "for (var i = lane; i < p.n; i++) { workgroupBarrier(); }"),
            ("workgroupBarrier();", "for (var i = 0u; i < 9u; i++) { workgroupBarrier(); if i > lane { break; } }"),
            ("workgroupBarrier();", "for (var i = 0u; i < 9u; i++) { if i > lane { continue; } workgroupBarrier(); }"),
            ("workgroupBarrier();", "loop { workgroupBarrier(); continuing { break if lane > 3u; } }"),
            ("workgroupBarrier();", "var n = 3u; if lane < 5u { n = 4u; } if n == 3u { workgroupBarrier(); }"),
            ("workgroupBarrier();", "var n = 3u; n += lane; while n > 0u { n /= 2u; workgroupBarrier(); }"),
            ("workgroupBarrier();", "switch lane { case 0u { workgroupBarrier(); } default {} }"),
            ("workgroupBarrier();", "switch p.n { default { if lane < 3u { break; } workgroupBarrier(); } }"),
            ("workgroupBarrier();", "if half_of(lane) > 4u { workgroupBarrier(); }"),
            ("workgroupBarrier();", "if lane < 9u { meet(); }"),
            ("workgroupBarrier();", "if lane < 9u { b[lane] = workgroupUniformLoad(&lanes[0]); }"),
        ],
    },
    Lint {
        rule: "nothing at the top level has the name of a namespace of DXC",
        violations: namespaces,
        faults: &[
            ("var<workgroup>", "override dx = 3u;\nvar<workgroup>"),
            ("var<workgroup>", "var<workgroup> dx: u32;\nvar<workgroup>"),
            ("fn meet", "fn vk() {}\nfn meet"),
            ("struct Params", "struct dx { n: u32 }\nstruct Params"),
        ],
    },
    Lint {
        rule: "numbers that the host knows too are those of src/protocol.rs, by their names",
        violations: protocol::violations,
        faults: &[
            ("override", "const GRANULE = 32u;\noverride"),
            ("override", "const GRANULE = 64i;\noverride"),
            ("override", "const GRANULE = 2u * 16u;\noverride"),
            ("override", "const UPDATE_MOVE = 1u;\noverride"),
            ("n / 2u", "n / 64u"),
            ("workgroup_size(LANES)", "workgroup_size(256)"),
            ("var sum = 0.0;", "var mode = p.n; var sum = f32(mode == 3u);"),
            ("var sum = 0.0;", "var report = array(1u, 2u); var sum = f32(report[1]);"),
        ],
    },
    Lint {
        rule: "Vulkan, Metal and DX12 can have it",
        violations: |compiled| translations::of(compiled).err().unwrap_or_default(),
        faults: &[
            // An expression that HLSL and Metal could take, but no validator: f16 needs a feature of the adapter.
            ("struct Params", "enable f16;\nvar<private> half: f16;\nstruct Params"),
            ("let i =", "let i: f32 ="),
            // Subgroups differ in size from device to device, and some have none.
            ("var sum = 0.0;", "var sum = subgroupAdd(a[0]);"),
            ("lane: u32,\n) {", "lane: u32,\n    @builtin(subgroup_size) size: u32,\n) {"),
        ],
    },
];

/// A shader that keeps every rule.
const GOOD: &str = "\
// good: b = a halved sum of a, and everything that the lints must accept
// a, b: [n]
// Grid: any. Twin: kernels/relu.rs
struct Params {
    n: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;

override LANES = 64u;

var<workgroup> lanes: array<f32, LANES>;

fn half_of(n: u32) -> u32 {
    return n / 2u;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var tile = id.x; tile < p.n; tile += count.x) {
        let i = tile * LANES + lane;
        var sum = 0.0;
        if i < p.n {
            for (var k = lane; k < p.n; k += LANES) {
                if a[k] > 9.0 {
                    continue;
                }
                sum += a[k];
            }
        }
        lanes[lane] = sum;
        meet();
        var half = half_of(LANES);
        while half > 0u {
            if lane < half {
                lanes[lane] += lanes[lane + half];
            }
            workgroupBarrier();
            half = half_of(half);
        }
        if workgroupUniformLoad(&lanes[0]) > 0.0 && a[tile] > 0.0 {
            storageBarrier();
        }
        if i < p.n {
            b[i] = lanes[0];
        }
        meet();
    }
}

fn meet() {
    workgroupBarrier();
    if lanes[0] > 0.0 {
        return;
    }
}
";

/// A shader, as written and as run.
struct Compiled<'a> {
    shader: &'a Shader,
    text: String,
    /// As written.
    declared: Module,
    /// With the values of its overrides put in, and nothing left that the entry point does not use.
    module: Module,
    info: ModuleInfo,
}

/// Parses and validates `shader` for adapters without any optional feature.
fn compile<'a>(shader: &'a Shader, variant: &Variant) -> Result<Compiled<'a>, String> {
    let text = compose(shader, variant.imports)?;
    let declared = naga::front::wgsl::parse_str(&text).map_err(|error| error.emit_to_string(&text))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    let info = validator.validate(&declared).map_err(|error| error.emit_to_string(&text))?;
    let values = variant.constants.iter().map(|&(name, value)| (name.to_string(), value)).collect();
    let (module, info) = naga::back::pipeline_constants::process_overrides(&declared, &info, None, &values)
        .map_err(|error| format!("constants {:?}: {error}", variant.constants))?;
    let (module, info) = (module.into_owned(), info.into_owned());
    Ok(Compiled { shader, text, declared, module, info })
}

/// What is wrong with `shader`.
fn violations(shader: &Shader, variant: &Variant) -> Vec<String> {
    match compile(shader, variant) {
        Ok(compiled) => LINTS
            .iter()
            .flat_map(|lint| (lint.violations)(&compiled).into_iter().map(|what| format!("{}: {what}", lint.rule)))
            .collect(),
        Err(error) => vec![error],
    }
}

fn contract(compiled: &Compiled) -> Vec<String> {
    let comment: Vec<&str> = compiled.shader.source.lines().take_while(|line| line.starts_with("// ")).collect();
    let (comment, name) = (comment.join("\n"), compiled.shader.name);
    let mut wrong = vec![];
    if !comment.starts_with(&format!("// {name}: ")) {
        wrong.push(format!("the first line does not begin with `// {name}: `"));
    }
    if !comment.contains("Grid: ") {
        wrong.push("no `Grid: ` says what a workgroup does".into());
    }
    let twin = comment.split_once("Twin: ").map(|(_, twin)| twin.split_whitespace().next().unwrap_or_default());
    if !twin.is_some_and(|twin| root().join("src").join(twin).is_file()) {
        wrong.push(format!("no `Twin: FILE` in src/ ({twin:?})"));
    }
    wrong
}

fn entry_point(compiled: &Compiled) -> Vec<String> {
    match compiled.module.entry_points.as_slice() {
        [main] if main.name == "main" && main.stage == ShaderStage::Compute => {
            let invocations: u32 = main.workgroup_size.iter().product();
            (invocations > INVOCATIONS).then(|| format!("{invocations} invocations")).into_iter().collect()
        }
        others => {
            vec![format!("entry points {:?}", others.iter().map(|entry| &entry.name).collect::<Vec<_>>())]
        }
    }
}

fn params(compiled: &Compiled) -> Vec<String> {
    let module = &compiled.declared;
    let uniforms: Vec<_> =
        module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::Uniform).collect();
    let [(_, variable)] = uniforms[..] else { return vec![format!("{} uniforms", uniforms.len())] };
    let ty = &module.types[variable.ty];
    let TypeInner::Struct { members, span } = &ty.inner else { return vec!["not a struct".into()] };
    if ty.name.as_deref() != Some("Params") || variable.binding.is_none_or(|at| (at.group, at.binding) != (0, 0)) {
        return vec![format!("{:?} at {:?}", ty.name, variable.binding)];
    }
    let declared: Vec<_> = members
        .iter()
        .map(|member| {
            let scalar = match module.types[member.ty].inner {
                TypeInner::Scalar(naga::Scalar::U32) => Some(Scalar::U32),
                TypeInner::Scalar(naga::Scalar::F32) => Some(Scalar::F32),
                _ => None,
            };
            (member.name.clone().unwrap_or_default(), member.offset as usize, scalar)
        })
        .collect();
    let rust: Vec<_> =
        compiled.shader.params.iter().map(|field| (field.name.to_string(), field.offset, Some(field.scalar))).collect();
    if declared != rust || *span as usize != 4 * rust.len() {
        return vec![format!("{declared:?} ({span} bytes), in Rust {rust:?}")];
    }
    vec![]
}

/// (group, binding) of the storage buffers, and whether each is written.
fn storage_buffers(compiled: &Compiled) -> BTreeMap<(u32, u32), bool> {
    let mut bound = BTreeMap::new();
    for (_, variable) in compiled.declared.global_variables.iter() {
        if let (AddressSpace::Storage { access }, Some(at)) = (variable.space, variable.binding) {
            bound.insert((at.group, at.binding), access.contains(StorageAccess::STORE));
        }
    }
    bound
}

fn bindings(compiled: &Compiled) -> Vec<String> {
    let Shader { reads, writes, .. } = *compiled.shader;
    let expected = (0..reads + writes).map(|i| ((0, i as u32 + 1), i >= reads)).collect();
    let bound = storage_buffers(compiled);
    (bound != expected).then(|| format!("(group, binding), written: {bound:?}, not {expected:?}")).into_iter().collect()
}

fn number_of_storage_buffers(compiled: &Compiled) -> Vec<String> {
    let number = storage_buffers(compiled).len();
    (number > STORAGE_BUFFERS).then(|| format!("{number} storage buffers")).into_iter().collect()
}

/// naga renames HLSL's keywords, but not the namespaces that DXC declares: a buffer `dx` is a redefinition there.
fn namespaces(compiled: &Compiled) -> Vec<String> {
    let module = &compiled.declared;
    let variables = module.global_variables.iter().map(|(_, variable)| &variable.name);
    let constants = module.constants.iter().map(|(_, constant)| &constant.name);
    let overrides = module.overrides.iter().map(|(_, constant)| &constant.name);
    let functions = module.functions.iter().map(|(_, function)| &function.name);
    let types = module.types.iter().map(|(_, ty)| &ty.name);
    let names = variables.chain(constants).chain(overrides).chain(functions).chain(types).flatten();
    names.filter(|name| ["dx", "vk"].contains(&name.as_str())).cloned().collect()
}

/// Bytes of workgroup memory.
fn workgroup_bytes(compiled: &Compiled) -> u32 {
    let module = &compiled.module;
    module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()).next_multiple_of(16))
        .sum()
}

fn workgroup_memory(compiled: &Compiled) -> Vec<String> {
    let bytes = workgroup_bytes(compiled);
    (bytes > WORKGROUP_MEMORY).then(|| format!("{bytes} bytes")).into_iter().collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Stems of the `.wgsl` files in a folder.
fn stems(folder: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(root().join(folder)).expect("the folder exists");
    let paths = files.map(|file| file.expect("a readable entry").path());
    paths.filter(|path| path.is_file()).map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// A shader's text and constants as they are written.
const AS_WRITTEN: Variant = Variant { name: "", constants: Vec::new(), imports: &[], workgroups: 0 };

/// Every shader as it is written, and all variants of the kernels that the tables run.
fn variants() -> BTreeMap<String, (&'static Shader, Variant)> {
    let written = ALL.iter().map(|&shader| (shader, AS_WRITTEN));
    let rows = tables::rows();
    let tables = rows.iter().flat_map(|row| {
        let shader = row.kernel.shader();
        row.kernel.variants().into_iter().map(move |variant| (shader, variant))
    });
    let name = |shader: &Shader, variant: &Variant| {
        format!("{} ({}) {:?} {:?}", shader.name, variant.name, variant.imports, variant.constants)
    };
    written.chain(tables).map(|(shader, variant)| (name(shader, &variant), (shader, variant))).collect()
}

/// Also writes the texts that other compilers check (`scripts/check-shaders.sh`) into the folder
/// that `SDGPU_SHADER_TEXTS` names, if it does.
#[test]
fn every_variant_of_every_shader_keeps_every_rule() {
    let mut texts = std::env::var_os("SDGPU_SHADER_TEXTS").map(|folder| translations::Texts::new(folder.into()));
    let mut wrong = String::new();
    for (name, (shader, variant)) in variants() {
        for violation in violations(shader, &variant) {
            wrong += &format!("\n{name}: {violation}");
        }
        if let (Some(texts), Ok(compiled)) = (&mut texts, compile(shader, &variant)) {
            texts.add(&compiled, &variant);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    if let Some(texts) = texts {
        texts.finish();
    }
}

#[test]
fn every_lint_sees_its_faults() {
    let good = Shader {
        name: "good",
        family: Family("good"),
        source: GOOD,
        reads: 1,
        writes: 1,
        params: &[
            ParamField { name: "n", offset: 0, scalar: Scalar::U32 },
            ParamField { name: "scale", offset: 4, scalar: Scalar::F32 },
        ],
    };
    assert_eq!(violations(&good, &AS_WRITTEN), Vec::<String>::new());
    for lint in LINTS {
        for (find, replace) in lint.faults {
            assert!(GOOD.contains(find), "{find}");
            let source: &'static str = GOOD.replacen(find, replace, 1).leak();
            let seen = match compile(&Shader { source, ..good }, &AS_WRITTEN) {
                Ok(compiled) => !(lint.violations)(&compiled).is_empty(),
                // The validator speaks for the lint of translations only.
                Err(error) => {
                    assert!(lint.rule == LINTS[LINTS.len() - 1].rule, "{replace}: {error}");
                    true
                }
            };
            assert!(seen, "`{}` does not see {replace}", lint.rule);
        }
    }
}

#[test]
fn every_file_is_a_shader_and_every_shared_file_is_imported() {
    let names: Vec<String> = ALL.iter().map(|shader| shader.name.to_string()).collect();
    let unique: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(unique.len(), names.len(), "a shader is in ALL twice");
    assert_eq!(stems("shaders"), unique, "files in shaders/ and shaders in ALL");
    let imports: BTreeSet<String> = ALL
        .iter()
        .flat_map(|shader| shader.source.lines().filter_map(|line| line.strip_prefix("//!import ")))
        .flat_map(|alternatives| alternatives.split('|').map(|name| name.trim().to_string()))
        .collect();
    assert_eq!(stems("shaders/shared"), imports, "files in shaders/shared/ and imports");
}

#[test]
fn every_shader_has_a_table() {
    let tables: BTreeSet<&str> = tables::rows().iter().map(|row| row.name()).collect();
    let all: BTreeSet<&str> = ALL.iter().map(|shader| shader.name).collect();
    assert_eq!(tables, all, "shaders with rows, and all shaders");
}
