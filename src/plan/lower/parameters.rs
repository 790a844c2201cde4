//! Parameters, gradients, moments and running statistics in flat buffers, and the updates of each.

use super::{Builder, limit_bytes, push};
use crate::dispatch::{Element, ValueId};
use crate::kernels::{adam, batch_norm, finite, first_gradient, sgd};
use crate::model::parameters::Parameter;
use crate::plan::{Allocation, Interface, Optimizer, ParameterValue, Template};
use crate::protocol::GRANULE;

/// Returns the elements of a parameter, filled up to whole granules.
fn padded(parameter: &Parameter) -> usize {
    parameter.kind.elements().next_multiple_of(GRANULE)
}

/// The flat buffers of a chunk of parameters, or of running statistics.
struct Flat {
    values: ValueId,
    /// In training: their gradients, or the batch's statistics.
    gradients: Option<ValueId>,
    /// In training: what the optimiser keeps of parameters.
    moments: Vec<ValueId>,
}

/// Cuts `parameters` into runs of at most `limit` elements; a parameter that is larger has a run of
/// its own.
fn chunks<'p>(parameters: &[&'p Parameter], limit: usize) -> Vec<Vec<&'p Parameter>> {
    let mut chunks: Vec<Vec<&Parameter>> = Vec::new();
    let mut filled = 0;
    for &parameter in parameters {
        match chunks.last_mut() {
            Some(chunk) if filled + padded(parameter) <= limit => chunk.push(parameter),
            _ => {
                chunks.push(vec![parameter]);
                filled = 0;
            }
        }
        filled += padded(parameter);
    }
    chunks
}

impl Builder<'_> {
    /// Lays parameters, gradients and running statistics out in flat buffers, and makes the updates of each buffer.
    pub(super) fn allocate_parameters(&mut self, interface: &Interface) {
        let parameters = self.net.parameters();
        let (mut checks, mut updates) = (Vec::new(), Vec::new());
        for trained in [true, false] {
            let chosen: Vec<&Parameter> = parameters.iter().filter(|p| p.kind.is_trained() == trained).collect();
            let limit = (limit_bytes(self.options) / Element::F32.bytes()) as usize;
            for (number, chunk) in chunks(&chosen, limit).iter().enumerate() {
                let flat = self.allocate_chunk(chunk, trained, number);
                self.update_chunk(chunk, trained, &flat, interface, &mut checks, &mut updates);
            }
        }
        self.parameter_list = parameters.iter().map(|parameter| self.parameters[&parameter.name].clone()).collect();
        // Every check comes before every update, so that nothing moves if anything is not finite.
        self.update = checks;
        self.record_gradients(interface);
        self.update.extend(updates);
    }

    /// What a step reports of its gradients, if anything.
    fn record_gradients(&mut self, interface: &Interface) {
        if self.options.training.as_ref().is_some_and(|training| training.record_gradients) {
            let gradient = self.gradient(&self.net.stem.name, ".weight");
            let kernel = first_gradient::FirstGradient { elements: self.values[gradient.index()].count as u32 };
            push(&mut self.update, "first gradient", kernel, [gradient], [interface.report]);
        }
    }

    /// The flat buffers of a chunk, and each parameter's place in them.
    fn allocate_chunk(&mut self, chunk: &[&Parameter], trained: bool, number: usize) -> Flat {
        let (what, derived) =
            if trained { ("parameters", "gradients") } else { ("running statistics", "batch statistics") };
        let optimizer = self.options.training.as_ref().map(|training| training.optimizer);
        let kept = optimizer.filter(|_| trained).map_or(&[][..], |optimizer| optimizer.moments());
        let total = chunk.iter().map(|parameter| padded(parameter)).sum();
        let mut flat = |name: &str| self.value(format!("{name} {number}"), Element::F32, total, Allocation::Own);
        let values = flat(what);
        let gradients = optimizer.map(|_| flat(derived));
        let moments = kept.iter().map(|name| flat(name)).collect();
        let flat = Flat { values, gradients, moments };
        let mut offset = 0;
        for &parameter in chunk {
            let mut part = |what: &str, of: ValueId| {
                let name = format!("{}{what}", parameter.name);
                self.value(name, Element::F32, parameter.kind.elements(), Allocation::Part { of, offset })
            };
            let value = part("", flat.values);
            let gradient = flat.gradients.map(|of| part(if trained { " gradient" } else { " of the batch" }, of));
            let moments = kept.iter().zip(&flat.moments).map(|(name, &of)| part(&format!(" {name}"), of)).collect();
            let planned = ParameterValue { parameter: parameter.clone(), value, gradient, moments };
            self.parameters.insert(parameter.name.clone(), planned);
            offset += padded(parameter);
        }
        flat
    }

    /// The check of a chunk's gradients, and its update.
    fn update_chunk(
        &mut self,
        chunk: &[&Parameter],
        trained: bool,
        flat: &Flat,
        interface: &Interface,
        checks: &mut Vec<Template>,
        updates: &mut Vec<Template>,
    ) {
        let (Some(training), &Flat { values, gradients: Some(gradients), ref moments }) =
            (&self.options.training, flat)
        else {
            return;
        };
        let count = self.values[values.index()].count as u32;
        let group = |parameter: &&Parameter| {
            let group = parameter.block.map_or(0, |block| block as u32 + 1);
            std::iter::repeat_n(group, padded(parameter) / GRANULE)
        };
        let groups: Vec<u32> = chunk.iter().flat_map(group).collect();
        let name = self.values[values.index()].name.clone();
        let table = self.value(format!("groups of the {name}"), Element::U32, groups.len(), Allocation::Own);
        self.group_tables.push((table, groups));
        let check = finite::Finite { elements: count };
        push(checks, format!("finite {}", self.values[gradients.index()].name), check, [gradients], [interface.report]);
        let reads = [gradients, table, interface.control, interface.report];
        if !trained {
            let commit = batch_norm::Commit { elements: count, momentum: self.net.norm.momentum };
            push(updates, format!("commit {name}"), commit, reads, [values]);
            return;
        }
        let writes = std::iter::once(values).chain(moments.iter().copied());
        match training.optimizer {
            Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
                let adam = adam::Adam::new(count, beta1, beta2, epsilon, weight_decay);
                push(updates, format!("adam {name}"), adam, reads, writes);
            }
            Optimizer::Sgd { momentum, nesterov, weight_decay } => {
                let sgd = sgd::Sgd::new(count, momentum, nesterov, weight_decay);
                push(updates, format!("sgd {name}"), sgd, reads, writes);
            }
        }
    }
}
