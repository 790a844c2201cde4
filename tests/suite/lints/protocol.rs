//! Numbers that the host and the shaders agree on: every constant of a shader that
//! `src/protocol.rs` knows has its value there, and no shader writes such a number out.

use std::collections::BTreeSet;

use naga::{Expression, Literal, Module};
use sdgpu::internals::kernels::{ALL, compose};
use sdgpu::internals::protocol::{CONV_CHUNK_PIXELS, GRANULE, SHARED, WORKGROUP};

use super::Compiled;

/// Values by which the host and the shaders talk: none is indexed by a number, or compared with
/// one.
const NUMBERED: [&str; 6] = ["control", "report", "mode", "load", "p.load", "p.epilogue"];

/// Constants that differ from the protocol's, or pretend to belong to it, and numbers written out.
pub fn violations(compiled: &Compiled) -> Vec<String> {
    let constants = constants(&compiled.declared);
    let wrong = constants.iter().filter_map(|(name, value)| match SHARED.iter().find(|(shared, _)| shared == name) {
        Some(&(_, shared)) => (*value != Some(shared)).then(|| format!("{name} is {value:?}, not {shared}")),
        None => is_like_shared(name).then(|| format!("{name} is not in src/protocol.rs")),
    });
    wrong.chain(compiled.text.lines().filter_map(written_out)).collect()
}

/// The constants with a name, with their values if those are u32 literals.
fn constants(module: &Module) -> Vec<(&str, Option<u32>)> {
    let named = module.constants.iter().filter_map(|(_, constant)| {
        let value = match module.global_expressions[constant.init] {
            Expression::Literal(Literal::U32(value)) => Some(value),
            _ => None,
        };
        Some((constant.name.as_deref()?, value))
    });
    named.collect()
}

/// Returns whether a name begins as one of the protocol's does, up to the first `_`.
fn is_like_shared(name: &str) -> bool {
    let kind = |name: &str| name.split_once('_').map(|(kind, _)| kind.to_string());
    kind(name).is_some() && SHARED.iter().any(|(shared, _)| kind(shared) == kind(name))
}

/// Returns the fault of a line that has a number where a name of the protocol should be.
fn written_out(line: &str) -> Option<String> {
    let code = line.split("//").next().unwrap_or_default().trim();
    if code.starts_with("const ") || code.starts_with("override ") {
        return None;
    }
    let sizes = [WORKGROUP, GRANULE as u32, CONV_CHUNK_PIXELS];
    let mut words = code.split(|c: char| !c.is_alphanumeric());
    let size = words.any(|word| sizes.iter().any(|size| word == size.to_string() || word == format!("{size}u")));
    let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let numbered = NUMBERED.iter().any(|value| {
        code.match_indices(value).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let behind = code[at + value.len()..].trim_start();
            let operator = behind.trim_start_matches(['[', '=', '!', '<', '>']);
            let is_whole = !before.is_some_and(|c| c.is_alphanumeric() || "_.".contains(c));
            is_whole && operator.len() < behind.len() && digit(operator.trim_start())
        })
    });
    (size || numbered).then(|| format!("`{code}` has a number where src/protocol.rs has a name"))
}

#[test]
fn every_constant_of_the_protocol_stands_in_a_shader() {
    let texts = ALL.iter().map(|shader| compose(shader, &[]).expect("known imports"));
    let modules: Vec<Module> = texts.map(|text| naga::front::wgsl::parse_str(&text).expect("WGSL")).collect();
    let declared: BTreeSet<&str> = modules.iter().flat_map(constants).map(|(name, _)| name).collect();
    let missing: Vec<&str> = SHARED.iter().map(|(name, _)| *name).filter(|name| !declared.contains(name)).collect();
    assert!(missing.is_empty(), "in src/protocol.rs, but in no shader: {missing:?}");
}
