//! What a net makes of images: scores, and predictions one by one.

use std::collections::VecDeque;
use std::sync::Arc;

use super::engine::{Engine, IN_FLIGHT, StepReport};
use crate::data::{EvaluationBatch, evaluation_batches};
use crate::device::{DeviceError, Ticket};
use crate::plan::ImageFile;
use crate::protocol::{CONTROL_IMAGES, REPORT_WORDS, control_words};

/// How a net did on some images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean loss.
    pub loss: f64,
    /// Share of correct predictions.
    pub accuracy: f64,
    /// Number of images.
    pub images: usize,
}

/// What a net makes of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The image's place in its file.
    pub image: u32,
    /// What it is.
    pub label: u8,
    /// The class with the largest logit, the first of equal ones.
    pub predicted: u8,
    /// The softmax of that class: how sure the net is; NaN where a logit is.
    pub probability: f32,
}

impl Prediction {
    /// By the logits of all classes.
    fn new(image: u32, label: u8, logits: &[f32]) -> Self {
        let first_largest = |best: usize, class: usize| if logits[class] > logits[best] { class } else { best };
        let best = (0..logits.len()).fold(0, first_largest);
        let powers = logits.iter().map(|&logit| (f64::from(logit) - f64::from(logits[best])).exp());
        Self { image, label, predicted: best as u8, probability: (1.0 / powers.sum::<f64>()) as f32 }
    }
}

/// Takes the logits of a batch, `[batch, classes]`.
type Keep<'a> = &'a mut dyn FnMut(&EvaluationBatch, &[f32]);

/// A batch whose results are on their way.
struct SubmittedBatch {
    batch: EvaluationBatch,
    report: Ticket,
    logits: Option<Ticket>,
}

impl Engine {
    /// Evaluates the weights on the device on the images `indices` of `file`, each once. The loss
    /// is not finite where the logits overflow, as they can before running statistics have settled.
    ///
    /// # Panics
    ///
    /// If `file` has no image of one of the indices, or none at all in a plan for inference.
    pub fn evaluate(&mut self, file: ImageFile, indices: &[u32]) -> Result<Score, DeviceError> {
        self.infer(file, indices, None)
    }

    /// Evaluates like [`Self::evaluate`], and returns the prediction for each image, too, in the
    /// order of `indices`.
    pub fn predict(&mut self, file: ImageFile, indices: &[u32]) -> Result<(Score, Vec<Prediction>), DeviceError> {
        let labels = Arc::clone(&self.labels[file as usize]);
        let classes = self.count(self.plan.interface.eval_logits) / self.eval_batch();
        let mut predictions = Vec::with_capacity(indices.len());
        let mut keep = |batch: &EvaluationBatch, logits: &[f32]| {
            let rows = batch.indices[..batch.valid].iter().zip(logits.chunks(classes));
            predictions.extend(rows.map(|(&image, logits)| Prediction::new(image, labels[image as usize], logits)));
        };
        let score = self.infer(file, indices, Some(&mut keep))?;
        Ok((score, predictions))
    }

    /// Evaluates, and hands the logits of each batch to `keep`.
    fn infer(&mut self, file: ImageFile, indices: &[u32], mut keep: Option<Keep<'_>>) -> Result<Score, DeviceError> {
        let images = self.labels[file as usize].len();
        assert!(indices.iter().all(|&index| (index as usize) < images), "the file has {images} images");
        let list = self.plan.schedule_inference(file);
        let groups = self.plan.blocks.len() + 1;
        let interface = self.plan.interface;
        let mut control = vec![0; control_words(groups)];
        let mut submitted: VecDeque<SubmittedBatch> = VecDeque::new();
        let mut reports: Vec<StepReport> = Vec::new();
        let batches = evaluation_batches(indices, self.eval_batch());
        let keeps = keep.is_some();
        let mut collect = |engine: &mut Self, SubmittedBatch { batch, report, logits }| {
            if let (Some(keep), Some(logits)) = (&mut keep, logits) {
                keep(&batch, bytemuck::cast_slice(&engine.device.collect(logits)?));
            }
            reports.push(engine.report(report)?);
            Ok::<(), DeviceError>(())
        };
        for batch in batches {
            control[CONTROL_IMAGES] = batch.valid as u32;
            self.write_batch(file, interface.eval_indices, &batch.indices)?;
            self.device.write(interface.control, &control)?;
            self.device.run(&list)?;
            let report = self.device.request(interface.report)?;
            let logits = keeps.then(|| self.device.request(interface.eval_logits)).transpose()?;
            submitted.push_back(SubmittedBatch { batch, report, logits });
            if submitted.len() > IN_FLIGHT
                && let Some(first) = submitted.pop_front()
            {
                collect(self, first)?;
            }
        }
        for batch in submitted {
            collect(self, batch)?;
        }
        if reports.iter().any(|report| !report.finite) {
            // An overflow in inference spoils no weights: the next step must not take it for its own.
            self.device.write(interface.report, &[0; REPORT_WORDS])?;
        }
        let images: usize = reports.iter().map(|report| report.images as usize).sum();
        let mean = |sum: f64| sum / images.max(1) as f64;
        Ok(Score {
            loss: mean(reports.iter().map(|report| report.loss_sum).sum()),
            accuracy: mean(reports.iter().map(|report| f64::from(report.correct)).sum()),
            images,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Prediction;

    #[test]
    fn the_first_largest_logit_is_predicted_with_its_softmax() {
        let of = |logits: &[f32]| {
            let Prediction { predicted, probability, .. } = Prediction::new(7, 1, logits);
            (predicted, probability)
        };
        assert_eq!(of(&[0.0, 2.0f32.ln(), 5.0f32.ln(), 2.0f32.ln()]), (2, 0.5));
        assert_eq!(of(&[1.0, 3.0, 3.0]).0, 1);
        // No power overflows.
        assert_eq!(of(&[-1e38, 3e38, 1e38]), (1, 1.0));
        assert!(of(&[1.0, f32::NAN]).1.is_nan());
    }
}
