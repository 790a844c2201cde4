//! Gates by systematic sampling: each block as likely to survive as it should be, and hardly any chance in how many do.
//!
//! The survival probabilities are laid end to end along a line; a block survives if one of the points u, u + 1, u + 2,
//! … falls into its piece, where u is one uniform number in [0, 1) (Madow 1949). No piece is longer than 1, so a block
//! survives with its own probability, whatever the order; a stretch of the line that is S long takes ⌊S⌋ or ⌈S⌉ points,
//! ⌈S⌉ with probability S - ⌊S⌋, and always S if S is whole. So much for the number of survivors, in the whole net and
//! in any run of neighbouring groups.
//!
//! **Groups.** The blocks of a group lie in random order, anew in each step, the groups in the net's order. Blocks that
//! always survive would take a whole length, and change nothing: they are left out of all that follows. A group is a
//! stage of the net; or several stages in a row, where the probabilities of one do not add up to more than 1: then at
//! most one of its blocks would survive in any step. If those of the whole net do not, then no more than one block can
//! survive anyway, or their number would vary by more than one.
//!
//! **Pairs.** Two blocks can survive together if in some order their pieces lie about a whole number apart. Two in one
//! group of equal probabilities p always can: with k of the others between them, the distance of two points in them is
//! anything between kp and (k + 2)p; these ranges overlap from one k to the next, and reach from 0 to the group's
//! length, which is more than 1. So can any two in a group of at most three. Beyond that there are exceptions, such as
//! the last two of .7, .7, .1 and .1. A test looks for them in nets of 8 to 152 layers, under linear, linspaced and
//! uniform probabilities from .1 to .95, and finds none, within groups or across.
//!
//! Lengths are whole multiples of 2^-32, and so is u: what is said of probabilities holds exactly for the rounded ones.

use std::ops::Range;

use super::Gates;
use crate::rng::{self, Stream};

/// The length 1.
const ONE: u64 = 1 << 32;

/// A net's blocks, laid out for systematic sampling.
#[derive(Clone, Debug)]
pub struct Systematic {
    /// Number of blocks.
    blocks: usize,
    /// Blocks that may be dropped, in the net's order, each with the length of its piece.
    uncertain: Vec<(usize, u64)>,
    /// Blocks that always survive.
    certain: Vec<usize>,
    /// The groups, as ranges of `uncertain`.
    groups: Vec<Range<usize>>,
}

impl Systematic {
    /// Of blocks with these survival probabilities, each of which belongs to a stage, in ascending order.
    pub fn new(survival: &[f64], stages: &[usize]) -> Self {
        let (mut uncertain, mut certain, mut stage_of) = (Vec::new(), Vec::new(), Vec::new());
        let (mut sum, mut end) = (0.0, 0);
        for (block, (&probability, &stage)) in survival.iter().zip(stages).enumerate() {
            if probability >= 1.0 {
                certain.push(block);
                continue;
            }
            // The ends are rounded, not the lengths: a sum that is whole stays so.
            let begin = end;
            sum += probability;
            end = (sum * ONE as f64).round() as u64;
            uncertain.push((block, (end - begin).min(ONE)));
            stage_of.push(stage);
        }
        let groups = groups(&uncertain, &stage_of);
        Self { blocks: survival.len(), uncertain, certain, groups }
    }

    /// The draw of step `step`: a function of seed and step alone.
    pub fn draw(&self, seed: u64, step: u32) -> Gates {
        let word = |index: usize| rng::word(seed, Stream::SystematicGates, step, index as u32);
        let mut order: Vec<usize> = (0..self.uncertain.len()).collect();
        for group in &self.groups {
            // Fisher and Yates, from the end; word 0 is for u.
            for last in (group.start + 1..group.end).rev() {
                let choices = (last - group.start + 1) as u64;
                order.swap(last, group.start + ((u64::from(word(last)) * choices) >> 32) as usize);
            }
        }
        self.select(&order, word(0).into())
    }

    /// The gates for the point `u`, below [`ONE`], where the blocks that may be dropped lie in this order.
    fn select(&self, order: &[usize], u: u64) -> Gates {
        let mut gates = Gates(vec![false; self.blocks]);
        self.certain.iter().for_each(|&block| gates.0[block] = true);
        let mut end = 0;
        for &place in order {
            let (block, length) = self.uncertain[place];
            let begin = end;
            end += length;
            gates.0[block] = points(u, end) > points(u, begin);
        }
        gates
    }

    /// The blocks that always survive.
    pub fn certain(&self) -> &[usize] {
        &self.certain
    }

    /// The groups' blocks, those that always survive apart.
    pub fn groups(&self) -> impl Iterator<Item = impl Iterator<Item = usize> + '_> {
        self.groups.iter().map(|group| self.uncertain[group.clone()].iter().map(|&(block, _)| block))
    }

    /// All combinations of numbers of survivors that a draw can have in the groups, those that always survive apart.
    pub fn counts(&self) -> Vec<Vec<usize>> {
        let length = |range: &Range<usize>| self.uncertain[range.clone()].iter().map(|(_, length)| length).sum::<u64>();
        let mut ends = vec![0];
        self.groups.iter().for_each(|group| ends.push(ends[ends.len() - 1] + length(group)));
        // Where u passes the end of a group, the numbers change.
        let mut counts: Vec<Vec<usize>> = ends
            .iter()
            .map(|end| end % ONE)
            .map(|u| ends.windows(2).map(|ends| (points(u, ends[1]) - points(u, ends[0])) as usize).collect())
            .collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    /// The least and the largest number of survivors.
    pub fn survivors(&self) -> (usize, usize) {
        let sums: Vec<usize> = self.counts().iter().map(|counts| counts.iter().sum::<usize>()).collect();
        let certain = self.certain.len();
        (certain + sums.iter().min().unwrap_or(&0), certain + sums.iter().max().unwrap_or(&0))
    }
}

/// How many of the points u, u + 1, … lie before `end`.
fn points(u: u64, end: u64) -> u64 {
    end.saturating_sub(u).div_ceil(ONE)
}

/// Stages, as ranges of `uncertain`, joined to neighbours until each is longer than 1, if they can be.
fn groups(uncertain: &[(usize, u64)], stage_of: &[usize]) -> Vec<Range<usize>> {
    let length = |range: &Range<usize>| uncertain[range.clone()].iter().map(|(_, length)| length).sum::<u64>();
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (place, stage) in stage_of.iter().enumerate() {
        let begins = place == 0 || stage_of[place - 1] != *stage;
        match groups.last_mut() {
            Some(group) if !begins || length(group) <= ONE => group.end = place + 1,
            _ => groups.push(place..place + 1),
        }
    }
    if groups.len() > 1 && groups.last().is_some_and(|last| length(last) <= ONE) {
        groups.pop();
        if let Some(group) = groups.last_mut() {
            group.end = uncertain.len();
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::resnet::ResNet;
    use crate::model::survival::{Rule, probabilities};

    fn stages(arch: &str) -> Vec<usize> {
        ResNet::named(arch, 1, 10).unwrap().blocks.iter().map(|block| block.stage).collect()
    }

    /// The nets that have a name and are not too deep to look at, under probabilities that are used.
    fn layouts() -> impl Iterator<Item = (String, Vec<f64>, Systematic)> {
        let archs = ["resnet8", "resnet14", "resnet20", "resnet32", "resnet56", "resnet110"];
        let archs = archs.into_iter().chain(["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]);
        archs.flat_map(|arch| {
            let stages = stages(arch);
            let rules = [Rule::Linear, Rule::Linspace, Rule::Uniform];
            let all = rules.into_iter().flat_map(|rule| [0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 0.95, 1.0].map(|p| (rule, p)));
            all.map(move |(rule, last)| {
                let survival = probabilities(rule, 1.0, last, stages.len()).unwrap();
                let systematic = Systematic::new(&survival, &stages);
                (format!("{arch}, {rule:?}, {last}"), survival, systematic)
            })
        })
    }

    /// Orders in which groups stay together, and for each the values of u between which nothing changes.
    fn orders(systematic: &Systematic, count: u32) -> impl Iterator<Item = (Vec<usize>, Vec<u64>)> + '_ {
        (0..count).map(|number| {
            let mut order = Vec::new();
            for (index, group) in systematic.groups.iter().enumerate() {
                let shuffled = rng::permutation(index as u64, Stream::SystematicGates, number, group.len());
                order.extend(shuffled.iter().map(|&place| group.start + place as usize));
            }
            let mut end = 0;
            let mut breaks: Vec<u64> = order
                .iter()
                .map(|&place| {
                    end += systematic.uncertain[place].1;
                    end % ONE
                })
                .chain([0, ONE])
                .collect();
            breaks.sort_unstable();
            breaks.dedup();
            (order, breaks)
        })
    }

    /// By integrating over u: exact, in any order.
    #[test]
    fn each_block_survives_with_its_probability() {
        for (what, survival, systematic) in layouts() {
            for (order, breaks) in orders(&systematic, 3) {
                let mut measures = vec![0; survival.len()];
                for range in breaks.windows(2) {
                    let gates = systematic.select(&order, range[0]);
                    assert_eq!(gates, systematic.select(&order, range[1] - 1), "{what}");
                    (0..survival.len()).filter(|&block| gates.survives(block)).for_each(|block| {
                        measures[block] += range[1] - range[0];
                    });
                }
                for (block, (&measure, &probability)) in measures.iter().zip(&survival).enumerate() {
                    let difference = (measure as f64 / ONE as f64 - probability).abs();
                    assert!(difference <= 1.0 / ONE as f64, "{what}, block {block}: {measure}, not {probability}");
                }
                assert!(systematic.uncertain.iter().all(|&(block, length)| measures[block] == length), "{what}");
            }
        }
    }

    /// Over draws: rates within 4.5 standard deviations of a binomial (of some 700 blocks, none is expected beyond),
    /// and survivors within the bound.
    #[test]
    fn draws_keep_to_probabilities_and_bounds() {
        let draws = 4000;
        for (what, survival, systematic) in layouts().step_by(3) {
            let mut counts = vec![0u32; survival.len()];
            let (mut least, mut most) = (usize::MAX, 0);
            let possible = systematic.counts();
            for step in 0..draws {
                let gates = systematic.draw(11, step);
                (0..survival.len()).for_each(|block| counts[block] += u32::from(gates.survives(block)));
                (least, most) = (least.min(gates.survivors()), most.max(gates.survivors()));
                let in_groups: Vec<usize> =
                    systematic.groups().map(|group| group.filter(|&block| gates.survives(block)).count()).collect();
                assert!(possible.contains(&in_groups), "{what}: {in_groups:?} survive, not any of {possible:?}");
            }
            let sum: f64 = survival.iter().sum();
            // The sum of probabilities in f64 is not exact.
            let (floor, ceiling) = ((sum + 1e-9).floor() as usize, (sum - 1e-9).ceil() as usize);
            assert!(floor <= least && most <= ceiling, "{what}: {least} to {most} survive, of {sum} expected");
            assert_eq!(systematic.survivors(), (floor, ceiling), "{what}");
            for (block, (&count, &p)) in counts.iter().zip(&survival).enumerate() {
                let (rate, deviation) =
                    (f64::from(count) / f64::from(draws), (p * (1.0 - p) / f64::from(draws)).sqrt());
                assert!((rate - p).abs() <= 4.5 * deviation, "{what}, block {block}: {rate}, not {p}");
            }
        }
    }

    /// By integrating over u in some orders: every two blocks, unless no more than one is expected to survive.
    #[test]
    fn every_two_blocks_can_survive_together() {
        for (what, survival, systematic) in layouts() {
            let blocks = survival.len();
            let possible = systematic.uncertain.iter().map(|(_, length)| length).sum::<u64>() > ONE;
            let mut together = vec![false; blocks * blocks];
            for (order, breaks) in orders(&systematic, 400) {
                for u in &breaks[..breaks.len() - 1] {
                    let gates = systematic.select(&order, *u);
                    let survivors: Vec<usize> = (0..blocks).filter(|&block| gates.survives(block)).collect();
                    for (index, &a) in survivors.iter().enumerate() {
                        survivors[index + 1..].iter().for_each(|&b| together[a * blocks + b] = true);
                    }
                }
            }
            for a in 0..blocks {
                for b in a + 1..blocks {
                    let uncertain = survival[a] < 1.0 && survival[b] < 1.0;
                    let expected = possible || !uncertain;
                    assert_eq!(together[a * blocks + b], expected, "{what}: blocks {a} and {b}");
                }
            }
        }
    }

    /// Over draws: one or two of a stage's three survive, each half of the time, so a pair does in a sixth of the
    /// steps, whichever it is, as no order is preferred. In a fixed order, neighbours never would.
    #[test]
    fn draws_prefer_no_order() {
        let draws = 6000;
        let systematic = Systematic::new(&[0.5; 9], &[0, 0, 0, 1, 1, 1, 2, 2, 2]);
        let gates: Vec<Gates> = (0..draws).map(|step| systematic.draw(5, step)).collect();
        let deviation = (1.0 / 6.0 * (5.0 / 6.0) / f64::from(draws)).sqrt();
        for (a, b) in
            [0, 3, 6].into_iter().flat_map(|first| [(0, 1), (0, 2), (1, 2)].map(|(a, b)| (first + a, first + b)))
        {
            let count = gates.iter().filter(|gates| gates.survives(a) && gates.survives(b)).count();
            let rate = count as f64 / f64::from(draws);
            assert!((rate - 1.0 / 6.0).abs() <= 4.5 * deviation, "blocks {a} and {b}: {rate}");
        }
    }

    #[test]
    fn groups_are_stages_where_more_than_one_block_is_expected() {
        let groups = |arch: &str, last: f64| {
            let stages = stages(arch);
            let survival = probabilities(Rule::Uniform, 1.0, last, stages.len()).unwrap();
            Systematic::new(&survival, &stages).groups().map(Iterator::count).collect::<Vec<_>>()
        };
        assert_eq!(groups("resnet20", 0.5), [3, 3, 3]);
        assert_eq!(groups("resnet50", 0.5), [3, 4, 6, 3]);
        // One of a stage's three: two stages are needed, and the third is no group of its own.
        assert_eq!(groups("resnet20", 0.3), [9]);
        assert_eq!(groups("resnet8", 0.5), [3]);
        assert_eq!(groups("resnet50", 0.3), [7, 9]);
        assert!(groups("resnet50", 1.0).is_empty());
    }

    #[test]
    fn a_draw_is_a_function_of_seed_and_step() {
        let systematic = Systematic::new(&[0.5; 9], &[0, 0, 0, 1, 1, 1, 2, 2, 2]);
        let drawn = |seed| (0..50).map(|step| systematic.draw(seed, step)).collect::<Vec<_>>();
        assert_eq!(drawn(3), drawn(3));
        assert_ne!(drawn(3), drawn(4));
        assert_eq!(systematic.survivors(), (4, 5));
        // A whole number is expected: so many survive.
        assert_eq!(Systematic::new(&[0.1; 30], &[0; 30]).survivors(), (3, 3));
    }
}
