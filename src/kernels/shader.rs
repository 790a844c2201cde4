//! How kernels declare their shaders, and how a shader's text is put together.

use crate::dispatch::Shader;

/// Texts that shaders import with a line `//!import NAME`.
const SHARED: &[(&str, &str)] = &[
    ("finite", include_str!("../../shaders/shared/finite.wgsl")),
    ("gemm", include_str!("../../shaders/shared/gemm.wgsl")),
    ("grid", include_str!("../../shaders/shared/grid.wgsl")),
    ("norm", include_str!("../../shaders/shared/norm.wgsl")),
    ("moments", include_str!("../../shaders/shared/moments.wgsl")),
    ("philox", include_str!("../../shaders/shared/philox.wgsl")),
    ("control", include_str!("../../shaders/shared/control.wgsl")),
    ("report", include_str!("../../shaders/shared/report.wgsl")),
    ("relu", include_str!("../../shaders/shared/relu.wgsl")),
    ("input", include_str!("../../shaders/shared/input.wgsl")),
    ("taps", include_str!("../../shaders/shared/taps.wgsl")),
    ("update", include_str!("../../shaders/shared/update.wgsl")),
    ("words_single", include_str!("../../shaders/shared/words_single.wgsl")),
    ("words_vector", include_str!("../../shaders/shared/words_vector.wgsl")),
];

/// Returns a number that changes with the text of any shader.
pub fn fingerprint() -> u64 {
    let texts = super::ALL.iter().map(|shader| shader.source).chain(SHARED.iter().map(|(_, text)| *text));
    fnv(texts.flat_map(str::bytes))
}

/// Hashes by FNV-1a, which is the same in every version, unlike the standard library's hash.
pub(crate) fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Returns the complete WGSL text of `shader`: each line `//!import NAME` is replaced by
/// `shaders/shared/NAME.wgsl`. A line `//!import ONE | OTHER` offers alternatives: the one that is
/// among `imports`, else the first.
///
/// Errors with the name of an import that does not exist; a test composes every shader.
pub fn compose(shader: &Shader, imports: &[&str]) -> Result<String, String> {
    let mut text = String::with_capacity(2 * shader.source.len());
    for line in shader.source.lines() {
        match line.strip_prefix("//!import ") {
            None => text.push_str(line),
            Some(alternatives) => {
                let mut names = alternatives.split('|').map(str::trim);
                let first = names.clone().next().unwrap_or_default();
                let import = names.find(|name| imports.contains(name)).unwrap_or(first);
                let (_, shared) = SHARED
                    .iter()
                    .find(|(name, _)| *name == import)
                    .ok_or_else(|| format!("shader {} imports unknown `{import}`", shader.name))?;
                text.push_str(shared);
            }
        }
        text.push('\n');
    }
    Ok(text)
}

/// Declares the parameter struct of a kernel (4-byte scalars only, laid out as in WGSL) and the
/// list of its fields, which a test compares with the shader's `Params`.
macro_rules! params {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $scalar:ident,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$field_meta])* pub $field: $scalar,)* }
        impl $name {
            /// Fields in order, as the shader must declare them.
            pub const FIELDS: &'static [crate::dispatch::ParamField] = &[$(crate::dispatch::ParamField {
                name: stringify!($field),
                offset: std::mem::offset_of!($name, $field),
                scalar: crate::kernels::scalar!($scalar),
            },)*];
        }
    };
}

macro_rules! scalar {
    (u32) => {
        crate::dispatch::Scalar::U32
    };
    (f32) => {
        crate::dispatch::Scalar::F32
    };
}

/// Declares the shader of that name in `shaders/`, with its numbers of values and its parameter
/// struct, and ties it to its kernel: the parameter struct itself, or a `kernel` that wraps one
/// which several share.
macro_rules! shader {
    ($shader:ident: $name:literal, family: $family:ident, reads: $reads:literal, writes: $writes:literal,
     params: $params:ident) => {
        crate::kernels::shader!(@ $shader, $name, $family, $reads, $writes, $params, $params, |kernel| kernel);
    };
    ($shader:ident: $name:literal, family: $family:ident, reads: $reads:literal, writes: $writes:literal,
     params: $params:ident, kernel: $kernel:ident) => {
        crate::kernels::shader!(@ $shader, $name, $family, $reads, $writes, $params, $kernel, |kernel| &kernel.0);
    };
    (@ $shader:ident, $name:literal, $family:ident, $reads:literal, $writes:literal, $params:ident, $kernel:ident,
     |$self:ident| $bytes:expr) => {
        pub(crate) static $shader: crate::dispatch::Shader = crate::dispatch::Shader {
            name: $name,
            family: crate::dispatch::Family(stringify!($family)),
            source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl")),
            reads: $reads,
            writes: $writes,
            params: <$params>::FIELDS,
        };
        impl crate::dispatch::Parameters for $kernel {
            fn shader(&self) -> &'static crate::dispatch::Shader {
                &$shader
            }
            fn params(&self) -> &[u8] {
                let $self = self;
                bytemuck::bytes_of($bytes)
            }
        }
    };
}

pub(crate) use {params, scalar, shader};
