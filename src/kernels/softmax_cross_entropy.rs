//! The loss and its gradient, in one kernel.

use rayon::prelude::*;

use super::{params, shader};
use crate::dispatch::{Bindings, Cost, Element, Input, Kernel, bytes_of};
use crate::protocol::{CONTROL_IMAGES, REPORT_CORRECT, REPORT_IMAGES, REPORT_LOSS, REPORT_NOT_FINITE};

shader! {
    SOFTMAX_CROSS_ENTROPY: "softmax_cross_entropy", family: softmax_cross_entropy,
    reads: 4, writes: 2, params: SoftmaxCrossEntropy
}

params! {
    /// `logits, labels, indices, control -> dlogits, report`: gradient of the mean loss over the valid rows, with
    /// PyTorch's label smoothing.
    ///
    /// `labels` are those of the whole data set, `indices` say which images the rows are, and word 0 of `control` says
    /// how many rows are valid; the rows behind them get a gradient of 0. Words of `report`: sum of the losses as f32
    /// bits, rows classified right (by the first largest logit), valid rows, and a 1 if a logit or the sum is not
    /// finite, else what it was. A logit that is not finite makes the sum NaN.
    pub struct SoftmaxCrossEntropy {
        /// Rows of `logits`.
        batch: u32,
        /// Columns of `logits`.
        classes: u32,
        /// Share of the target that is spread over all classes.
        label_smoothing: f32,
    }
}

impl SoftmaxCrossEntropy {
    /// The loss of a row, NaN if a logit is not finite, and whether it is classified right; writes its gradient.
    fn row(&self, logits: &[f32], label: usize, share: f32, dlogits: &mut [f32]) -> (f32, bool) {
        let mut best = 0;
        for (c, &logit) in logits.iter().enumerate() {
            if logit > logits[best] {
                best = c;
            }
        }
        let largest = logits[best];
        let (mut sum_exp, mut sum_shifted) = (0.0, 0.0);
        for (logit, power) in logits.iter().zip(dlogits.iter_mut()) {
            let shifted = logit - largest;
            *power = shifted.exp();
            sum_exp += *power;
            sum_shifted += shifted;
        }
        let everywhere = self.label_smoothing / self.classes as f32;
        let at_label = 1.0 - self.label_smoothing;
        for (c, dlogit) in dlogits.iter_mut().enumerate() {
            let expected = everywhere + if c == label { at_label } else { 0.0 };
            *dlogit = (*dlogit / sum_exp - expected) * share;
        }
        let loss = sum_exp.ln() - at_label * (logits[label] - largest) - everywhere * sum_shifted;
        let finite = logits.iter().all(|logit| logit.is_finite());
        (if finite { loss } else { f32::NAN }, best == label)
    }
}

impl Kernel for SoftmaxCrossEntropy {
    fn workgroups(&self) -> u32 {
        1
    }
    fn cost(&self) -> Cost {
        let (batch, classes) = (f64::from(self.batch), f64::from(self.classes));
        Cost { flop: 9.0 * batch * classes, terms: batch + classes, loads: 4.0 * batch * classes }
    }
    fn bytes(&self) -> Option<u64> {
        // Logits and their gradient; the indices, and of the labels only the batch's.
        let (batch, classes) = (self.batch as usize, self.classes as usize);
        Some(2 * bytes_of(Element::F32, batch * classes) + 2 * bytes_of(Element::U32, batch))
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([logits, integers @ ..], [dlogits, report]) = bindings.values::<4, 2>();
        let [labels, indices, control] = integers.map(Input::u32);
        let (logits, dlogits, report) = (logits.f32(), dlogits.f32(), report.u32());
        let (valid, classes) = (control[CONTROL_IMAGES] as usize, self.classes as usize);
        let share = 1.0 / valid as f32;
        let (dlogits, rest) = dlogits.split_at_mut(valid * classes);
        rest.fill(0.0);
        let rows: Vec<(f32, bool)> = logits
            .par_chunks(classes)
            .zip(dlogits.par_chunks_mut(classes))
            .zip(indices)
            .map(|((logits, dlogits), &image)| self.row(logits, labels[image as usize] as usize, share, dlogits))
            .collect();
        let losses: f32 = rows.iter().map(|(loss, _)| loss).sum();
        report[REPORT_LOSS] = losses.to_bits();
        report[REPORT_CORRECT] = rows.iter().filter(|(_, correct)| *correct).count() as u32;
        report[REPORT_IMAGES] = control[CONTROL_IMAGES];
        if !losses.is_finite() {
            report[REPORT_NOT_FINITE] = 1;
        }
    }
}
