//! Which variant of its shader each kernel runs in, and the file that keeps what was measured.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dispatch::{Kernel, Scalar, Variant};

/// Names of variants by the names of kernels ([`Tuning::key`]). A kernel that is not in it, or whose variant does not
/// exist, runs in its first variant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning(pub BTreeMap<String, String>);

impl Tuning {
    /// Whether every kernel runs in its first variant.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of `kernel`: its shader and all its parameters.
    pub fn key(kernel: &dyn Kernel) -> String {
        let mut key = kernel.shader().name.to_string();
        for (field, word) in kernel.shader().params.iter().zip(kernel.params().chunks_exact(4)) {
            let word: u32 = bytemuck::pod_read_unaligned(word);
            key += &match field.scalar {
                Scalar::U32 => format!(" {}={word}", field.name),
                Scalar::F32 => format!(" {}={}", field.name, f32::from_bits(word)),
            };
        }
        key
    }

    /// The variant in which `kernel` runs.
    pub fn variant(&self, kernel: &dyn Kernel) -> Variant {
        let mut variants = kernel.variants();
        let name = if variants.len() > 1 { self.0.get(&Self::key(kernel)) } else { None };
        let index = name.and_then(|name| variants.iter().position(|variant| variant.name == name));
        variants.swap_remove(index.unwrap_or(0))
    }
}

/// How variants are chosen by measuring.
#[derive(Clone, Debug)]
pub struct TuneOptions {
    /// Measures on a software adapter too, where nobody waits for the fastest variant.
    pub forced: bool,
    /// Time after which no further kernel is measured.
    pub budget: Duration,
    /// Folder of the files that keep what was measured; `None` for no such files.
    pub cache: Option<PathBuf>,
}

/// The folder for caches: `XDG_CACHE_HOME`, or what the platform has in its place, and in it `sdgpu`.
pub fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let platform = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_vendor = "apple") {
        folder("HOME").map(|home| home.join("Library/Caches"))
    } else {
        folder("HOME").map(|home| home.join(".cache"))
    };
    folder("XDG_CACHE_HOME").or(platform).map(|folder| folder.join("sdgpu"))
}

/// What measurements hold for: everything that another measurement may come out differently for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Name of the adapter.
    pub adapter: String,
    /// PCI numbers of its vendor and of itself, where there are any.
    pub vendor_and_device: [u32; 2],
    /// Vulkan, Metal or Dx12.
    pub backend: String,
    /// Driver with its version.
    pub driver: String,
    /// Whether shaders check bounds.
    pub bounds_checked: bool,
    /// Version of sdgpu.
    pub sdgpu: String,
    /// [`crate::kernels::fingerprint`].
    pub shaders: u64,
}

/// A file of measurements.
#[derive(Debug, Serialize, Deserialize)]
pub struct CacheFile {
    identity: Identity,
    variants: Tuning,
}

/// Where the measurements of a device are kept. One file per adapter and backend: a new driver or version replaces it.
pub(super) fn cache_file(folder: &Path, identity: &Identity) -> PathBuf {
    let [vendor, device] = identity.vendor_and_device;
    let letters = identity.adapter.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    let (adapter, backend) = (letters.collect::<String>().to_lowercase(), identity.backend.to_lowercase());
    folder.join(format!("tuning-{adapter}-{vendor:04x}-{device:04x}-{backend}.json"))
}

/// What was measured before; nothing if the file is not there, not readable, or for something else. A cache that is
/// not usable is no fault of the user's, and no reason to stop.
pub(super) fn read_cache(path: &Path, identity: &Identity) -> Tuning {
    let file = fs::read(path).ok().and_then(|bytes| parse_cache(&bytes));
    file.filter(|file| file.identity == *identity).map(|file| file.variants).unwrap_or_default()
}

/// What a cache file says, if it is one.
pub fn parse_cache(bytes: &[u8]) -> Option<CacheFile> {
    serde_json::from_slice(bytes).ok()
}

pub(super) fn write_cache(path: &Path, identity: &Identity, variants: &Tuning) -> io::Result<()> {
    let file = CacheFile { identity: identity.clone(), variants: variants.clone() };
    write_whole(path, &serde_json::to_vec_pretty(&file)?)
}

/// Writes a file beside `path`, then renames it, so that no reader ever meets half of one.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            adapter: "A GPU (2nd)".into(),
            vendor_and_device: [0x10de, 1],
            backend: "Vulkan".into(),
            driver: "driver 1".into(),
            bounds_checked: false,
            sdgpu: "0.1.0".into(),
            shaders: 1,
        }
    }

    #[test]
    fn what_was_measured_is_found_again_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = cache_file(&folder.path().join("new"), &identity());
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), "tuning-a-gpu--2nd--10de-0001-vulkan.json");
        let tuning = Tuning([("kernel".to_string(), "variant".to_string())].into());
        let nothing = Tuning::default();

        assert_eq!(read_cache(&path, &identity()), nothing, "no file");
        write_cache(&path, &identity(), &tuning).unwrap();
        assert_eq!(read_cache(&path, &identity()), tuning);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no partial file is left");
        for other in [
            Identity { driver: "driver 2".into(), ..identity() },
            Identity { sdgpu: "0.2.0".into(), ..identity() },
            Identity { shaders: 2, ..identity() },
            Identity { bounds_checked: true, ..identity() },
        ] {
            assert_eq!(read_cache(&path, &other), nothing, "{other:?}");
        }

        let bytes = fs::read(&path).unwrap();
        for (wrong, what) in [(&bytes[..bytes.len() / 2], "truncated"), (b"\xff{}", "garbage"), (b"", "empty")] {
            fs::write(&path, wrong).unwrap();
            assert_eq!(read_cache(&path, &identity()), nothing, "{what}");
        }
        write_cache(&path, &identity(), &tuning).unwrap();
        assert_eq!(read_cache(&path, &identity()), tuning, "a broken file is replaced");

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        assert_eq!(read_cache(&path, &identity()), nothing, "a folder in its place");
        assert!(write_cache(&path, &identity(), &tuning).is_err());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no partial file is left");
    }
}
