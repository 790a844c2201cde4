//! The memory plan: where every value lies, computed before the first step.
//!
//! The time line runs through everything that can ever be encoded: all segments forward (a block's sum and its bypass
//! alike), all segments backward, the update, a recalibration, then an evaluation batch. A pooled value lives from the
//! first dispatch that may write it to the last that may read it, under *any* gates: an operand of the trunk uses every
//! value it can stand for. Values whose lives do not overlap may share a buffer.

use super::{Allocation, Operand, Plan, Template, Value};
use crate::dispatch::{Element, Region, Storage, ValueId, bytes_of};

/// First and last use on the time line.
type Lifetime = (usize, usize);

/// Region of a value that nothing uses.
const NOWHERE: Region = Region { buffer: 0, offset: 0, element: Element::F32, count: 0 };

/// Fills in the plan's lifetimes and its storage.
pub(super) fn assign(plan: &mut Plan) {
    let lifetimes = lifetimes(plan);
    let mut storage = Storage::default();
    let mut regions: Vec<Option<Region>> = vec![None; plan.values.len()];
    let region = |value: &Value, buffer, offset| {
        let &Value { element, count, .. } = value;
        Some(Region { buffer, offset, element, count })
    };
    let pooled = |index: &usize| plan.values[*index].allocation == Allocation::Pooled;

    for (index, value) in plan.values.iter().enumerate() {
        if value.allocation == Allocation::Own {
            regions[index] = region(value, storage.buffers.len(), 0);
            storage.buffers.push(value.bytes());
        }
    }
    for (index, value) in plan.values.iter().enumerate() {
        if let Allocation::Part { of, offset } = value.allocation {
            let whole = regions[of.index()].expect("what a value is part of has a buffer of its own").buffer;
            regions[index] = region(value, whole, bytes_of(value.element, offset));
        }
    }
    // The largest values first; each into the first buffer whose tenants all live at other times.
    let mut order: Vec<usize> = (0..plan.values.len()).filter(pooled).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(plan.values[index].bytes()), index));
    let mut tenants: Vec<(usize, Vec<Lifetime>)> = Vec::new();
    for index in order {
        let Some(life) = lifetimes[index] else { continue };
        let apart = |others: &[Lifetime]| others.iter().all(|other| other.1 < life.0 || life.1 < other.0);
        let buffer = match tenants.iter_mut().find(|(_, others)| apart(others)) {
            Some((buffer, others)) => {
                others.push(life);
                *buffer
            }
            None => {
                storage.buffers.push(plan.values[index].bytes());
                tenants.push((storage.buffers.len() - 1, vec![life]));
                storage.buffers.len() - 1
            }
        };
        regions[index] = region(&plan.values[index], buffer, 0);
    }
    // A value that nothing uses has no place; no dispatch names it either.
    storage.regions = regions.into_iter().map(|region| region.unwrap_or(NOWHERE)).collect();
    plan.storage = storage;
    plan.lifetimes = lifetimes;
}

impl Plan {
    /// Upper bound of the number of bind groups that a GPU will ever make for this plan.
    pub fn bind_group_bound(&self) -> usize {
        let choices = |operands: &[Operand]| -> usize {
            operands.iter().map(|&operand| self.candidates(operand).len().max(1)).product()
        };
        time_line(self).map(|template| choices(&template.reads) * choices(&template.writes)).sum()
    }

    /// The values and where they lie, as lines of text; pooled ones with their lives on the plan's
    /// time line.
    pub fn memory_lines(&self) -> Vec<String> {
        let mut lines = Vec::with_capacity(self.values.len());
        for (index, value) in self.values.iter().enumerate() {
            let region = self.storage.regions[index];
            let life = match (value.allocation, self.lifetimes[index]) {
                (Allocation::Pooled, Some((first, last))) => format!("lives {first}..{last}"),
                (Allocation::Pooled, None) => continue,
                _ => "lives throughout".to_string(),
            };
            let kibibytes = value.bytes() as f64 / 1024.0;
            let sign = if value.non_negative { ">=0" } else { "" };
            lines.push(format!(
                "buffer {:4} +{:<9} {kibibytes:10.1} KiB  {life:18} {sign:3} {}",
                region.buffer, region.offset, value.name
            ));
        }
        lines
    }
}

/// Everything that can ever be encoded, in order.
fn time_line(plan: &Plan) -> impl Iterator<Item = &Template> {
    let forward = plan.segments.iter().flat_map(|segment| &segment.forward);
    let backward = plan.segments.iter().rev().flat_map(|segment| &segment.backward);
    forward.chain(backward).chain(&plan.update).chain(&plan.recalibration).chain(&plan.inference)
}

fn lifetimes(plan: &Plan) -> Vec<Option<Lifetime>> {
    let mut lifetimes: Vec<Option<Lifetime>> = vec![None; plan.values.len()];
    for (time, template) in time_line(plan).enumerate() {
        let operands = template.reads.iter().chain(&template.writes);
        for value in operands.flat_map(|&operand: &Operand| plan.candidates(operand)) {
            let life = lifetimes[ValueId::index(value)].get_or_insert((time, time));
            life.1 = time;
        }
    }
    lifetimes
}
