//! Pairs of nets, judged by the tests that their runs have: which tests those are, and on how many
//! images.

use super::findings::{NetPairFindings, PairedTests};
use super::windows::Sample;
use crate::report::nets::NetPair;
use crate::report::run::{Evaluation, Run};
use crate::run_dir::EvaluateOn;

/// A pair of nets and what its tests show.
pub struct JudgedPair<'a> {
    /// The nets.
    pub pair: &'a NetPair<'a>,
    /// By the evaluations on the way, or else by the tests on all test images.
    pub findings: NetPairFindings,
    /// By the tests on all test images, where that is something else.
    pub whole: Option<NetPairFindings>,
}

impl<'a> JudgedPair<'a> {
    /// Judges `pair`, or says why that can't be done.
    pub fn of(pair: &'a NetPair<'a>) -> Result<Self, String> {
        let tested = match pair.baseline.first().config.settings.evaluate_on {
            EvaluateOn::TestBatch => TestedOn::TestBatches,
            EvaluateOn::Validation => TestedOn::ValidationImages,
        };
        let whole = judge(pair, TestedOn::AllTestImages).ok();
        match (judge(pair, tested), whole) {
            (Ok(findings), whole) => Ok(Self { pair, findings, whole }),
            (Err(_), Some(findings)) => Ok(Self { pair, findings, whole: None }),
            (Err(reason), None) => Err(reason),
        }
    }
}

/// Images that the runs' accuracy was tested on.
#[derive(Clone, Copy, PartialEq)]
enum TestedOn {
    TestBatches,
    ValidationImages,
    AllTestImages,
}

impl TestedOn {
    fn accuracy(self) -> &'static str {
        if self == Self::ValidationImages { "validation accuracy" } else { "test accuracy" }
    }

    fn of(self, run: &Run) -> &[Evaluation] {
        match self {
            Self::TestBatches => &run.test_batches,
            Self::ValidationImages => &run.validation,
            Self::AllTestImages => &run.tests,
        }
    }
}

/// Judges `pair` by the tests of its runs.
fn judge(pair: &NetPair, tested: TestedOn) -> Result<NetPairFindings, String> {
    let has_ended = |run: &Run| run.summary.is_some();
    let ended: Vec<(&Run, &Run)> =
        pair.runs().filter(|(baseline, candidate)| has_ended(baseline) && has_ended(candidate)).collect();
    let (first, other) = ended.first().ok_or("no seed has ended in both nets")?;
    let settings = &first.config.settings;
    if settings.steps != other.config.settings.steps {
        return Err("the runs of the two nets are not equally long".into());
    }
    let test_images = first.summary.as_ref().map_or(0, |summary| summary.test.images);
    let sample = match tested {
        TestedOn::TestBatches => Sample { images: settings.eval_batch as usize, population: test_images },
        TestedOn::ValidationImages => Sample { images: settings.validation, population: settings.validation },
        TestedOn::AllTestImages => Sample { images: test_images, population: test_images },
    };
    let tests = |(baseline, candidate): &(&Run, &Run)| {
        let mut others = tested.of(candidate).iter().peekable();
        let mut tests = Vec::new();
        for test in tested.of(baseline) {
            while others.next_if(|other| other.step < test.step).is_some() {}
            if let Some(other) = others.next_if(|other| other.step == test.step) {
                tests.push((test.step, [test.accuracy, other.accuracy]));
            }
        }
        PairedTests { seed: baseline.seed(), tests }
    };
    let pairs: Vec<PairedTests> = ended.iter().map(tests).collect();
    let nets = [pair.baseline, pair.candidate].map(|net| net.name.as_str());
    NetPairFindings::of(tested.accuracy(), nets, &pairs, sample).map_err(|error| error.to_string())
}
