//! Parameters, gradients, moments and running statistics in flat buffers, and the updates of each.

use super::{Builder, limit_words, push};
use crate::dispatch::ValueId;
use crate::kernels::update::GRANULE;
use crate::kernels::{adam, batch_norm, finite, sgd};
use crate::plan::{Interface, Optimizer, ParameterValue, Place, Template};

/// A flat buffer being filled with parameters, each on its own granules.
struct Chunk {
    values: ValueId,
    gradients: Option<ValueId>,
    words: usize,
    groups: Vec<u32>,
}

impl Builder<'_> {
    /// Lays parameters, gradients and running statistics out in flat buffers, and makes the updates of each buffer.
    pub(super) fn allocate_parameters(&mut self, interface: &Interface) {
        let parameters = self.net.parameters();
        let (mut checks, mut updates) = (Vec::new(), Vec::new());
        for trained in [true, false] {
            let what = if trained { "parameters" } else { "running statistics" };
            let derived = if trained { "gradients" } else { "batch statistics" };
            let mut chunk: Option<Chunk> = None;
            let limit = limit_words(self.options);
            let mut chunks = Vec::new();
            for parameter in parameters.iter().filter(|parameter| parameter.kind.is_trained() == trained) {
                let elements = parameter.kind.elements();
                let words = elements.next_multiple_of(GRANULE);
                if let Some(full) = chunk.take_if(|chunk| chunk.words + words > limit) {
                    chunks.push(full);
                }
                if chunk.is_none() {
                    chunk = Some(self.open_chunk(what, derived));
                }
                let Some(chunk) = &mut chunk else { continue };
                let offset = chunk.words;
                chunk.words += words;
                chunk.groups.extend(std::iter::repeat_n(parameter.block.map_or(0, |b| b as u32 + 1), words / GRANULE));
                let (values, gradients) = (chunk.values, chunk.gradients);
                let value = self.value(&parameter.name, elements, Place::Part { of: values, offset });
                let gradient = gradients.map(|of| {
                    let name = format!("{} {}", parameter.name, if trained { "gradient" } else { "of the batch" });
                    self.value(name, elements, Place::Part { of, offset })
                });
                let planned = ParameterValue { parameter: parameter.clone(), value, gradient };
                self.parameters.insert(parameter.name.clone(), planned);
            }
            chunks.extend(chunk);
            for chunk in chunks {
                self.close_chunk(chunk, trained, interface, &mut checks, &mut updates);
            }
        }
        // `take` in file order; the map is for lowering only.
        self.parameter_list = parameters.iter().map(|parameter| self.parameters[&parameter.name].clone()).collect();
        // Every check comes before every update, so that nothing moves if anything is not finite.
        self.update = checks;
        self.update.extend(updates);
    }

    fn open_chunk(&mut self, what: &str, derived: &str) -> Chunk {
        let values = self.value(what, 0, Place::Own);
        let gradients = self.options.training.is_some().then(|| self.value(derived, 0, Place::Own));
        Chunk { values, gradients, words: 0, groups: Vec::new() }
    }

    fn close_chunk(
        &mut self,
        chunk: Chunk,
        trained: bool,
        interface: &Interface,
        checks: &mut Vec<Template>,
        updates: &mut Vec<Template>,
    ) {
        let Chunk { values, gradients, words, groups } = chunk;
        self.values[values.index()].words = words;
        let (Some(gradients), Some(training)) = (gradients, &self.options.training) else { return };
        self.values[gradients.index()].words = words;
        let name = self.values[values.index()].name.clone();
        let table = self.value(format!("groups of the {name}"), groups.len(), Place::Own);
        self.group_tables.push((table, groups));
        let check = finite::Finite::new(words as u32);
        push(checks, format!("finite {}", self.values[gradients.index()].name), check, [gradients], [interface.report]);
        let reads = [gradients, table, interface.control, interface.report];
        if !trained {
            let commit = batch_norm::Commit::new(words as u32, self.net.norm.momentum);
            push(updates, "commit running statistics", commit, reads, [values]);
            return;
        }
        match training.optimizer {
            Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
                let first = self.value("adam first moment", words, Place::Own);
                let second = self.value("adam second moment", words, Place::Own);
                let adam = adam::Adam::new(words as u32, beta1, beta2, epsilon, weight_decay);
                push(updates, "adam", adam, reads, [values, first, second]);
            }
            Optimizer::Sgd { momentum, nesterov, weight_decay } => {
                let buffer = self.value("sgd momentum", words, Place::Own);
                let sgd = sgd::Sgd::new(words as u32, momentum, nesterov, weight_decay);
                push(updates, "sgd", sgd, reads, [values, buffer]);
            }
        }
    }
}
