//! Findings and their sentences, of nets that are made up here.

use super::findings::{NetPairFindings, PairedTests, Unjudged, Verdict};
use super::windows::{Detrended, Sample};
use crate::data::random_batch;
use crate::rng::{Stream, uniform};

const SAMPLE: Sample = Sample { images: 400, population: 10_000 };

/// Two nets that classify each of 10,000 images rightly or not: a share of mistakes that falls
/// along the run to `least`, and on top of it, `swing` times a number between -1 and 1 that is new
/// in each step. Tested on as many images as `sample` says after each of 1,000 steps.
fn pair_tested_on(sample: Sample, seed: u64, least: [f64; 2], swing: impl Fn(usize, u64) -> f64) -> PairedTests {
    // Which images are hard is the same for all steps and both nets.
    let ease: Vec<f64> = (0..10_000).map(|image| uniform(seed, Stream::Init, 0, image).into()).collect();
    let tests = (1..=1000u64).map(|step| {
        let images = random_batch(sample.population, sample.images, seed, step);
        let accuracies = [0, 1].map(|net| {
            let noise = 2.0 * f64::from(uniform(seed, Stream::Gates, net as u32, step as u32)) - 1.0;
            let mistakes = least[net] + 0.2 * (-(step as f64) / 60.0).exp() + swing(net, step) * noise;
            let wrong = images.iter().filter(|&&image| ease[image as usize] < mistakes).count();
            1.0 - wrong as f64 / images.len() as f64
        });
        (step, accuracies)
    });
    PairedTests { seed, tests: tests.collect() }
}

fn pair(seed: u64, least: [f64; 2], swing: impl Fn(usize, u64) -> f64) -> PairedTests {
    pair_tested_on(SAMPLE, seed, least, swing)
}

fn findings(pairs: &[PairedTests]) -> NetPairFindings {
    NetPairFindings::of("test accuracy", ["resnet", "stochastic"], pairs, SAMPLE).unwrap()
}

#[test]
fn nets_that_only_the_draw_makes_vary_do_not_differ() {
    let pairs: Vec<PairedTests> = (0..5).map(|seed| pair(seed, [0.02, 0.02], |_, _| 0.0)).collect();
    let found = findings(&pairs);
    let over = found.over_runs.as_ref().unwrap();
    assert_eq!(over.larger(), Verdict::NoDifference);
    for variance in over.variance {
        assert!(variance.beyond_sampling().abs() < 0.1 * variance.in_all, "{variance:?}");
    }
    // The same net twice: the pairs leave nothing to chance.
    assert_eq!((over.difference.value, over.ratio.low, over.ratio.high), (0.0, 1.0, 1.0));
    let [larger, shrinks] = found.answers();
    assert!(larger.sentences.len() == 1 && shrinks.sentences.len() == 2);
    assert!(larger.sentences[0].contains("no difference is shown"), "{larger:?}");
}

#[test]
fn a_net_with_a_variance_of_its_own_is_found_out() {
    // Uniform to 1.5 points: a variance of about 0.75 points squared.
    let swing = |net: usize, _| 0.015 * net as f64;
    let pairs: Vec<PairedTests> = (0..5).map(|seed| pair(seed, [0.02; 2], swing)).collect();
    let found = findings(&pairs);
    // Tests on all images see what lies beyond sampling, and that alone.
    let all = Sample { images: 10_000, ..SAMPLE };
    let tests = pair_tested_on(all, 0, [0.02; 2], swing).tests;
    let tests: Vec<(u64, f64)> = tests.into_iter().map(|(step, [_, candidate])| (step, candidate)).collect();
    let own = Detrended::of(&tests, all).unwrap().variance();
    let beyond = &found.pairs[0].findings.difference_beyond_sampling;
    assert!(own.sampling == 0.0 && beyond.low < own.in_all && own.in_all < beyond.high, "{beyond:?} {own:?}");
    let over = found.over_runs.as_ref().unwrap();
    for findings in found.pairs.iter().map(|pair| &pair.findings).chain([over]) {
        assert_eq!(findings.larger(), Verdict::More, "{findings:?}");
        assert!(findings.difference_beyond_sampling.low > 0.4e-4, "{findings:?}");
        assert_eq!([findings.trend(0), findings.trend(1)], [Verdict::NoDifference; 2], "{findings:?}");
    }
}

/// Where no images are drawn, nothing is beyond their draw, and nothing is asked about it.
#[test]
fn tests_on_all_images_ask_one_question_less() {
    let all = Sample { images: 10_000, ..SAMPLE };
    let swing = |net: usize, _| 0.01 + 0.02 * net as f64;
    let pairs: Vec<PairedTests> = (0..5).map(|seed| pair_tested_on(all, seed, [0.03; 2], swing)).collect();
    let whole = NetPairFindings::of("validation accuracy", ["a", "b"], &pairs, all).unwrap();
    let over = whole.over_runs.as_ref().unwrap();
    assert!(!over.is_of_draws() && over.comparisons == 3 && over.corrected[3] == 1.0, "{over:?}");
    let [larger, shrinks] = whole.answers();
    let text = [larger.question, larger.sentences.concat(), shrinks.sentences.concat()].concat();
    for expected in ["variance of the validation accuracy larger for b", "for 3 comparisons): larger. In all"] {
        assert!(text.contains(expected), "{text}");
    }
    assert!(!text.contains("ampling") && !text.contains("test accuracy"), "{text}");
    // Beside batches, they are corrected for with them.
    let mut batches = findings(&(0..5).map(|seed| pair(seed, [0.03; 2], swing)).collect::<Vec<_>>());
    let mut whole = whole;
    NetPairFindings::correct_together([&mut whole, &mut batches].into_iter());
    let [whole, batches] = [whole, batches].map(|findings| findings.over_runs.unwrap());
    assert_eq!((whole.comparisons, batches.comparisons), (7, 7));
    let (beyond, p_value) = (batches.corrected[3], batches.difference_beyond_sampling.p_value);
    assert!(p_value < beyond && beyond <= 7.0 * p_value, "{batches:?}");
}

#[test]
fn a_less_accurate_net_varies_more_but_not_by_itself() {
    let pairs: Vec<PairedTests> = (0..5).map(|seed| pair(seed, [0.01, 0.04], |_, _| 0.0)).collect();
    let found = findings(&pairs);
    let over = found.over_runs.as_ref().unwrap();
    assert_eq!((over.larger(), over.larger_beyond_sampling()), (Verdict::More, Verdict::NoDifference));
    let beyond = &over.difference_beyond_sampling;
    assert!(beyond.low < 0.0 && 0.0 < beyond.high, "{beyond:?}");
    let [larger, _] = found.answers();
    assert!(larger.sentences[0].contains("for 4 comparisons): larger. In all"), "{larger:?}");
    assert!(larger.sentences[0].contains("for 4 comparisons: no difference is shown"), "{larger:?}");
}

#[test]
fn what_is_told_together_is_corrected_together() {
    let pairs: Vec<PairedTests> = (0..4).map(|seed| pair(seed, [0.01, 0.04], |_, _| 0.0)).collect();
    let alone = findings(&pairs[..1]);
    let [mut one, mut others] = [findings(&pairs[..1]), findings(&pairs)];
    // Each seed is told by itself.
    assert_eq!((alone.pairs[0].findings.comparisons, others.pairs[0].findings.comparisons), (4, 16));
    NetPairFindings::correct_together([&mut one, &mut others].into_iter());
    let (alone, together) = (&alone.pairs[0].findings, &one.pairs[0].findings);
    assert_eq!(together.comparisons, 20);
    for (alone, together) in alone.corrected.iter().zip(together.corrected) {
        assert!(*alone <= together && together <= (5.0 * alone).min(1.0), "{alone} {together}");
    }
}

#[test]
fn a_variance_that_shrinks_is_told_from_one_that_does_not() {
    let swing = |net: usize, step: u64| if net == 0 { 0.02 * (1.0 - step as f64 / 1100.0) } else { 0.01 };
    let found = findings(&[pair(3, [0.03; 2], swing)]);
    let findings = &found.pairs[0].findings;
    assert_eq!([findings.trend(0), findings.trend(1)], [Verdict::Less, Verdict::NoDifference], "{findings:?}");
    let [_, shrinks] = found.answers();
    let [of_baseline, of_candidate, note] = &shrinks.sentences[..] else { panic!("{shrinks:?}") };
    assert!(of_baseline.contains("resnet's") && of_baseline.contains(": it shrinks; it is "), "{of_baseline}");
    assert!(of_candidate.contains("stochastic's") && of_candidate.contains("no change is shown"), "{of_candidate}");
    let expected = "A claim about the nets needs 5 seeds or more, and here is 1 seed: the intervals are about \
                    this seed's runs only.";
    assert_eq!(note, expected);
}

#[test]
fn four_runs_make_no_claim() {
    let pairs: Vec<PairedTests> = (0..4).map(|seed| pair(seed, [0.01, 0.04], |_, _| 0.0)).collect();
    let found = findings(&pairs);
    assert_eq!(found.over_runs, None);
    let [larger, shrinks] = found.answers();
    assert_eq!([larger.sentences.len(), shrinks.sentences.len()], [5, 9]);
    assert!(larger.sentences[3].starts_with("With seed 3, ") && larger.sentences[4].contains("here are 4 seeds"));
}

#[test]
fn what_cannot_be_judged_is_named() {
    let nets = ["resnet", "stochastic"];
    let judge =
        |pairs: &[PairedTests]| NetPairFindings::of("test accuracy", nets, pairs, SAMPLE).map(|_| ()).unwrap_err();
    assert_eq!(judge(&[]), Unjudged::NoPairs);
    let tests = |count: u64| PairedTests { seed: 7, tests: (1..=count).map(|step| (step, [0.9, 0.8])).collect() };
    assert_eq!(judge(&[tests(31)]), Unjudged::TooFew { seed: 7, tests: 31, needed: 32 });
    assert_eq!(judge(&[tests(32)]), Unjudged::Constant { seed: 7, net: "resnet".into() });
    let at_once = PairedTests { seed: 7, tests: vec![(1, [0.9, 0.8]); 63] };
    assert!(matches!(judge(&[at_once]), Unjudged::TooFew { .. }));
}
