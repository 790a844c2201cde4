//! The scheduler: from gates to the list of dispatches of a step.

use super::{DroppedOutput, Gates, ImageFile, Operand, Pass, Plan, Segment, Template};
use crate::dispatch::{Dispatch, ValueId};

/// What each trunk operand stands for in one step.
struct Trunk {
    /// Input of each block, then of the head.
    values: Vec<ValueId>,
    /// Their gradients.
    gradients: Vec<ValueId>,
}

impl Plan {
    /// Returns the forward and backward pass of one training step, in order; only what survives
    /// under `gates`. The update is in [`Self::schedule_update`]. A plan for inference has neither.
    ///
    /// # Panics
    ///
    /// Unless there is a gate for each block.
    pub fn schedule(&self, gates: &Gates) -> Vec<Dispatch> {
        let Some(trunk) = self.resolve_trunk(gates) else { return Vec::new() };
        self.templates(gates).map(|(_, _, template)| self.resolve(template, Some(&trunk), ImageFile::Train)).collect()
    }

    /// The templates of a step's forward and backward pass, in order, each with its pass and its segment.
    pub(super) fn templates(&self, gates: &Gates) -> impl Iterator<Item = (Pass, &Segment, &Template)> {
        let segments = || self.segments.iter().filter(|segment| segment.runs.under(gates));
        let forward = segments()
            .flat_map(|segment| segment.forward.iter().map(move |template| (Pass::Forward, segment, template)));
        let backward = segments()
            .rev()
            .flat_map(|segment| segment.backward.iter().map(move |template| (Pass::Backward, segment, template)));
        forward.chain(backward)
    }

    /// Finite check, record of gradients, optimiser and running statistics.
    pub fn schedule_update(&self) -> Vec<Dispatch> {
        self.update.iter().map(|template| self.resolve(template, None, ImageFile::Train)).collect()
    }

    /// The statistics of every batch norm on a training batch, written as those of the batch.
    pub fn schedule_recalibration(&self) -> Vec<Dispatch> {
        self.recalibration.iter().map(|template| self.resolve(template, None, ImageFile::Train)).collect()
    }

    /// One evaluation batch of images in `file`.
    pub fn schedule_inference(&self, file: ImageFile) -> Vec<Dispatch> {
        self.inference.iter().map(|template| self.resolve(template, None, file)).collect()
    }

    /// Follows the trunk through the blocks, forward and back; a plan for inference has none.
    ///
    /// The gradient alternates between two buffers from one *surviving* block to the next: by the number of the block,
    /// a block would read and write the same buffer once its neighbour is dropped.
    fn resolve_trunk(&self, gates: &Gates) -> Option<Trunk> {
        let mut values = vec![self.stem_output?];
        assert_eq!(gates.0.len(), self.blocks.len(), "there is a gate for each block");
        for (block, plan) in self.blocks.iter().enumerate() {
            values.push(match plan.dropped_output {
                DroppedOutput::Input if !gates.survives(block) => values[block],
                DroppedOutput::Shortcut(shortcut) if !gates.survives(block) => shortcut,
                _ => plan.output,
            });
        }
        let mut gradient = self.gradient_buffers[self.blocks.len()][0];
        let mut gradients = vec![gradient];
        for (block, plan) in self.blocks.iter().enumerate().rev() {
            let [first, second] = self.gradient_buffers[block];
            gradient = match plan.shortcut_gradient {
                _ if gates.survives(block) => {
                    if gradient == first {
                        second
                    } else {
                        first
                    }
                }
                Some(shortcut) => shortcut,
                None => gradient,
            };
            gradients.push(gradient);
        }
        gradients.reverse();
        Some(Trunk { values, gradients })
    }

    fn resolve(&self, template: &Template, trunk: Option<&Trunk>, file: ImageFile) -> Dispatch {
        let resolve = |operand: &Operand| match (*operand, trunk) {
            (Operand::Value(value), _) => Some(value),
            (Operand::Unused, _) => None,
            (Operand::Trunk(block), Some(trunk)) => Some(trunk.values[block]),
            (Operand::TrunkGradient(block), Some(trunk)) => Some(trunk.gradients[block]),
            (Operand::Images, _) => Some(self.interface.images[file as usize]),
            (Operand::Labels, _) => Some(self.interface.labels[file as usize]),
            (Operand::Trunk(_) | Operand::TrunkGradient(_), None) => {
                unreachable!("only training's segments name the trunk: {}", template.label)
            }
        };
        Dispatch {
            label: template.label.clone(),
            kernel: template.kernel.clone(),
            reads: template.reads.iter().map(resolve).collect(),
            writes: template.writes.iter().map(resolve).collect(),
        }
    }

    /// Returns every value that `operand` can stand for, under any gates.
    pub(super) fn candidates(&self, operand: Operand) -> Vec<ValueId> {
        match operand {
            Operand::Value(value) => vec![value],
            Operand::Unused => Vec::new(),
            Operand::Images => self.interface.images.to_vec(),
            Operand::Labels => self.interface.labels.to_vec(),
            Operand::Trunk(0) => self.stem_output.into_iter().collect(),
            Operand::Trunk(index) => {
                let block = &self.blocks[index - 1];
                let mut values = match block.dropped_output {
                    DroppedOutput::Input => self.candidates(Operand::Trunk(index - 1)),
                    DroppedOutput::Shortcut(shortcut) => vec![shortcut],
                    DroppedOutput::Rectified => Vec::new(),
                };
                values.push(block.output);
                values
            }
            Operand::TrunkGradient(index) => {
                let mut values = self.gradient_buffers[index].to_vec();
                values.dedup();
                // A dropped identity block passes on the gradient of its output, which may be a shortcut's.
                for block in &self.blocks[index..] {
                    if let Some(shortcut) = block.shortcut_gradient {
                        values.push(shortcut);
                        break;
                    }
                }
                values
            }
        }
    }
}
