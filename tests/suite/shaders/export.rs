//! The tables as files, for implementations of WebGPU that are not in Rust;
//! `scripts/check-shaders.sh` has Dawn run them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sdgpu::internals::dispatch::{Shader, Variant, fold};
use sdgpu::internals::kernels::{compose, conv};
use sdgpu::internals::selftest::{GUARDS_BEFORE, GUARDS_BEHIND, POISON, Row, Word, guarded, tables};
use serde_json::{Value, json};

use super::seeded;
use crate::mutants::MUTANTS;

/// At most how many workgroups a dispatch has per dimension: as WebGPU allows, and so few that shaders stride.
const LIMITS: [u32; 3] = [65_535, 7, 2];

/// Writes two folders into the one that `SDGPU_SHADER_ROWS` names: `tables` has every row of every kernel, `seeded` has
/// shaders with faults, each of which some row must find.
#[test]
#[ignore = "scripts/check-shaders.sh wants its files, nobody else"]
fn rows_are_written() {
    let folder = std::env::var_os("SDGPU_SHADER_ROWS").expect("SDGPU_SHADER_ROWS names the folder to write");
    let folder = Path::new(&folder);
    let rows = tables::rows();

    let mut export = Export::new(folder.join("tables"));
    for row in &rows {
        export.add(row, [(row.name().into(), compose)]);
    }
    export.finish();

    let mut export = Export::new(folder.join("seeded"));
    for row in seeded::faulty() {
        export.add(&row, [(row.name().into(), compose)]);
    }
    // A driver takes seconds to compile a convolution, and each mutant has as many as the kernel has variants.
    for row in rows.iter().filter(|row| row.kernel.shader().family != conv::FAMILY) {
        let mutants = MUTANTS.iter().filter(|mutant| mutant.shader == row.name());
        export.add(
            row,
            mutants.map(|mutant| {
                let name = format!("{} ({})", mutant.shader, mutant.fault);
                (name, |shader: &Shader, imports: &[&str]| mutant.wgsl(shader, imports))
            }),
        );
    }
    export.finish();
}

/// A folder with rows: `index.json`, and two files of numbers without a head, little-endian, into which the index
/// points by numbers counted from their start.
///
/// - `words.bin`, u32: parameters; and buffers, each a value between guard words, as they are before the run.
/// - `expected.bin`, f64: three for each word of a value written: the place of its kind in [`KINDS`], and two numbers.
struct Export {
    folder: PathBuf,
    pipelines: Vec<Pipeline>,
    /// The rows of each shader, by its name.
    shaders: BTreeMap<String, Vec<Value>>,
    words: Vec<u32>,
    expected: Vec<f64>,
}

/// A text with its constants.
struct Pipeline {
    /// The shader's name, and its fault if it has one.
    name: String,
    wgsl: String,
    variant: Variant,
}

/// What a word of an output can have to be: a number up to a tolerance, certain bits, a NaN, anything.
const KINDS: [&str; 4] = ["near", "bits", "nan", "any"];

/// What a word must be: its kind; the number or the bits; the tolerance.
fn expectation(word: Word) -> [f64; 3] {
    match word {
        Word::Near(sum) => [0.0, sum.value, sum.tolerance()],
        Word::Bits(bits) => [1.0, bits.into(), 0.0],
        Word::Nan => [2.0, 0.0, 0.0],
        Word::Any => [3.0, 0.0, 0.0],
    }
}

impl Export {
    /// Into `folder`, which is made anew by [`Self::finish`].
    fn new(folder: PathBuf) -> Self {
        Self { folder, pipelines: vec![], shaders: BTreeMap::new(), words: vec![], expected: vec![] }
    }

    /// Adds `row`, to be run with each of `shaders`, which are names and what gives the text: as
    /// [`check`](sdgpu::internals::selftest::check) does, in the kernel's first variant on all
    /// grids, in the others on the last.
    fn add<W>(&mut self, row: &Row, shaders: impl IntoIterator<Item = (String, W)>)
    where
        W: Fn(&Shader, &[&str]) -> Result<String, String>,
    {
        let params: Vec<u32> = row.kernel.params().chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
        let values = json!({
            "row": row.to_string(),
            "params": self.keep(&params),
            "buffers": guarded(row).iter().map(|words| self.keep(words)).collect::<Vec<_>>(),
            // Of the last buffers, the values written: where the first word's is.
            "expected": row.expected().map(|words| self.expect(words)).collect::<Vec<_>>(),
        });
        for (name, wgsl) in shaders {
            let mut runs = vec![];
            for (i, variant) in row.kernel.variants().into_iter().enumerate() {
                let (workgroups, variant_name) = (variant.workgroups, variant.name);
                let pipeline = self.pipeline(&name, variant, |imports| wgsl(row.kernel.shader(), imports));
                for &limit in &LIMITS[if i == 0 { 0 } else { LIMITS.len() - 1 }..] {
                    let mut mode = format!("at most {limit} workgroups per dimension");
                    if !variant_name.is_empty() {
                        mode = format!("{mode}, {variant_name}");
                    }
                    runs.push(json!({ "mode": mode, "pipeline": pipeline, "grid": fold(workgroups, limit) }));
                }
            }
            let mut row = values.clone();
            row["runs"] = runs.into();
            self.shaders.entry(name).or_default().push(row);
        }
    }

    /// The place of the pipeline of the shader `name` in `variant`.
    fn pipeline(&mut self, name: &str, variant: Variant, wgsl: impl Fn(&[&str]) -> Result<String, String>) -> usize {
        let same = |pipeline: &Pipeline| {
            let Variant { constants, imports, .. } = &pipeline.variant;
            pipeline.name == name && *constants == variant.constants && *imports == variant.imports
        };
        self.pipelines.iter().position(same).unwrap_or_else(|| {
            let wgsl = wgsl(variant.imports).expect("a text");
            self.pipelines.push(Pipeline { name: name.into(), wgsl, variant });
            self.pipelines.len() - 1
        })
    }

    /// Keeps `words`, and says where they are.
    fn keep(&mut self, words: &[u32]) -> Value {
        let at = self.words.len();
        self.words.extend_from_slice(words);
        json!({ "at": at, "words": words.len() })
    }

    /// Keeps what `words` must be, and says where that is.
    fn expect(&mut self, words: &[Word]) -> usize {
        let at = self.expected.len();
        self.expected.extend(words.iter().flat_map(|&word| expectation(word)));
        at
    }

    /// Writes the files.
    fn finish(self) {
        let pipelines = self.pipelines.into_iter().map(|Pipeline { wgsl, variant, .. }| {
            json!({ "wgsl": wgsl, "constants": variant.constants.into_iter().collect::<BTreeMap<_, _>>() })
        });
        let index = json!({
            "guards": { "before": GUARDS_BEFORE, "behind": GUARDS_BEHIND },
            "poison": POISON,
            "kinds": KINDS,
            "pipelines": pipelines.collect::<Vec<_>>(),
            "shaders": self.shaders,
        });
        let words: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let expected: Vec<u8> = self.expected.iter().flat_map(|number| number.to_le_bytes()).collect();
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder).unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
        // The index last: a folder that has one is complete.
        let files = [("words.bin", words), ("expected.bin", expected), ("index.json", index.to_string().into_bytes())];
        for (name, bytes) in files {
            let path = self.folder.join(name);
            fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
