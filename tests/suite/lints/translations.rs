//! What drivers get: every module as SPIR-V, Metal and HLSL, with naga's options set as wgpu 30 sets them.
//!
//! naga writes them; whether another compiler takes them is for `scripts/check-shaders.sh`, which
//! asks for [`Texts`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::{AddressSpace, ShaderStage, StorageAccess};
use sdgpu::internals::dispatch::Variant;
use serde_json::json;

use super::{Compiled, storage_buffers, workgroup_bytes};

/// One translation: its kind, which is also how its file's name ends, and its bytes.
type Translation = (String, Vec<u8>);

/// Versions of SPIR-V and of the Vulkan that brings them: those that wgpu asks for on the oldest, and from 1.3 on.
const SPIRV: [((u8, u8), &str); 2] = [((1, 0), "vulkan1.0"), ((1, 6), "vulkan1.3")];

/// Shader models, those that wgpu asks of FXC (which every Windows has) and of DXC (where its library is found).
const SHADER_MODELS: [hlsl::ShaderModel; 2] = [hlsl::ShaderModel::V5_1, hlsl::ShaderModel::V6_0];

/// All translations of a module; or what its writers say is wrong, a line for each.
pub fn of(compiled: &Compiled) -> Result<Vec<Translation>, Vec<String>> {
    let (mut translations, mut wrong) = (vec![], vec![]);
    let mut keep = |kind: String, translation: Result<Vec<u8>, String>| match translation {
        Ok(bytes) => translations.push((kind, bytes)),
        Err(error) => wrong.push(format!("{kind}: {error}")),
    };
    // Debug builds run shaders with checks, release builds without.
    for (checks, name) in [(true, "checked"), (false, "trusted")] {
        for (version, vulkan) in SPIRV {
            keep(format!("{name}.{vulkan}.spv"), spirv(compiled, checks, version));
        }
        keep(format!("{name}.metal"), metal(compiled, checks));
        keep(format!("{name}.hlsl"), hlsl(compiled, checks));
    }
    if wrong.is_empty() { Ok(translations) } else { Err(wrong) }
}

/// What bounds checks do, where there are any.
fn bounds(checks: bool) -> BoundsCheckPolicies {
    let policy = if checks { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy }
}

fn spirv(compiled: &Compiled, checks: bool, lang_version: (u8, u8)) -> Result<Vec<u8>, String> {
    let options = spv::Options {
        lang_version,
        flags: spv::WriterFlags::LABEL_VARYINGS,
        bounds_check_policies: bounds(checks),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: checks,
        emit_int_div_checks: checks,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { entry_point: "main".into(), shader_stage: ShaderStage::Compute };
    let words = spv::write_vec(&compiled.module, &compiled.info, &options, Some(&pipeline));
    Ok(words.map_err(|error| error.to_string())?.iter().flat_map(|word| word.to_le_bytes()).collect())
}

fn metal(compiled: &Compiled, checks: bool) -> Result<Vec<u8>, String> {
    let mut resources = msl::EntryPointResources::default();
    for (_, variable) in compiled.module.global_variables.iter() {
        let Some(at) = variable.binding else { continue };
        let mutable = matches!(variable.space,
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE));
        let buffer = u8::try_from(at.binding).ok();
        resources.resources.insert(at, msl::BindTarget { buffer, mutable, ..Default::default() });
    }
    // Behind all bindings.
    resources.sizes_buffer = u8::try_from(resources.resources.len()).ok();
    let options = msl::Options {
        // An old version, which every later compiler takes.
        lang_version: (2, 0),
        per_entry_point_map: [("main".to_string(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: bounds(checks),
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: checks,
        emit_int_div_checks: checks,
        ..Default::default()
    };
    let pipeline =
        msl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())), ..Default::default() };
    let text = msl::write_string(&compiled.module, &compiled.info, &options, &pipeline);
    Ok(text.map_err(|error| error.to_string())?.0.into_bytes())
}

/// One text for both shader models.
fn hlsl(compiled: &Compiled, checks: bool) -> Result<Vec<u8>, String> {
    let [older, newer] = SHADER_MODELS.map(|model| hlsl_for(compiled, checks, model));
    let (older, newer) = (older?, newer?);
    if older == newer { Ok(older) } else { Err("shader models 5.1 and 6.0 ask for different texts".into()) }
}

fn hlsl_for(compiled: &Compiled, checks: bool, shader_model: hlsl::ShaderModel) -> Result<Vec<u8>, String> {
    let mut binding_map = BTreeMap::new();
    let (mut reads, mut writes) = (0..8, 0..8);
    let mut next = |written: bool| if written { writes.next() } else { reads.next() };
    for ((group, binding), written) in storage_buffers(compiled) {
        let register = next(written).ok_or("more than 8 storage buffers")?;
        let target = hlsl::BindTarget { register, restrict_indexing: checks, ..Default::default() };
        binding_map.insert(naga::ResourceBinding { group, binding }, target);
    }
    binding_map.insert(naga::ResourceBinding { group: 0, binding: 0 }, hlsl::BindTarget::default());
    let options = hlsl::Options {
        shader_model,
        binding_map,
        fake_missing_bindings: false,
        // Where the number of workgroups is passed.
        special_constants_binding: Some(hlsl::BindTarget { register: 1, ..Default::default() }),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: checks,
        force_loop_bounding: checks,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
    let mut text = String::new();
    let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&compiled.module, &compiled.info, None);
    let entry = written.map_err(|error| error.to_string())?.entry_point_names.swap_remove(0);
    match entry.as_deref() {
        Ok("main") => Ok(text.into_bytes()),
        other => Err(format!("the entry point became {other:?}, not `main`")),
    }
}

/// A folder with the text of every module and its translations.
///
/// `NAME.wgsl`, `NAME.KIND` for each [`Translation`], and `index.json`, a list with an object for each module.
pub struct Texts {
    folder: PathBuf,
    index: Vec<serde_json::Value>,
    /// Modules of each shader so far.
    numbers: BTreeMap<&'static str, usize>,
}

impl Texts {
    /// In `folder`, which is made anew.
    pub fn new(folder: PathBuf) -> Self {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Self { folder, index: vec![], numbers: BTreeMap::new() }
    }

    /// Writes the files of one module.
    pub fn add(&mut self, compiled: &Compiled, variant: &Variant) {
        let shader = compiled.shader.name;
        let number = self.numbers.entry(shader).or_default();
        let name = format!("{shader}.{number:02}");
        *number += 1;
        self.write(&format!("{name}.wgsl"), compiled.text.as_bytes());
        for (kind, bytes) in of(compiled).unwrap_or_default() {
            self.write(&format!("{name}.{kind}"), &bytes);
        }
        self.index.push(json!({
            "name": name,
            "shader": shader,
            "variant": variant.name,
            "imports": variant.imports,
            "constants": variant.constants.iter().copied().collect::<BTreeMap<_, _>>(),
            "entry_point": "main",
            "workgroup_size": compiled.module.entry_points[0].workgroup_size,
            "workgroup_bytes": workgroup_bytes(compiled),
        }));
    }

    /// Writes the index: a folder that has one is complete.
    pub fn finish(self) {
        self.write("index.json", serde_json::to_string_pretty(&self.index).expect("plain values").as_bytes());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
