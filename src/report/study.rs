//! The runs of a report, net by net: which are left out and why, and which nets are compared.

use super::data_sets::DataSets;
use super::nets::{NetPair, NetRuns, differing, name, settings_of_all};
use super::run::Run;
use super::text::{counted, listed};
use crate::data::DataSet;
use crate::run_dir::EvaluateOn;

/// What a report is about.
#[derive(Clone, Debug)]
pub struct Study {
    /// Nets without stochastic depth first. A net's place is also its colour's.
    pub nets: Vec<NetRuns>,
    /// What was left out, and why.
    pub notes: Vec<String>,
    data: DataSets,
}

/// Names of the settings that two nets of one kind have to share to be compared: what they learn from, and what they
/// are tested on.
const OF_DATA: [&str; 3] = ["data-sha256", "validation", "evaluate-on"];

impl Study {
    /// Sorts `runs`, whose data sets are among `data`, into nets.
    pub fn new(runs: Vec<Run>, data: DataSets) -> Self {
        let mut nets: Vec<NetRuns> = Vec::new();
        let mut notes = Vec::new();
        let (runs, idle): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(|run| !run.steps.is_empty());
        notes.extend(idle.iter().map(|run| format!("{} has done no step yet, and is left out.", run.name())));
        let all_settings = settings_of_all(&runs);
        for (run, settings) in runs.into_iter().zip(all_settings) {
            let Some(net) = nets.iter_mut().find(|net| net.settings == settings) else {
                nets.push(NetRuns { name: String::new(), runs: vec![run], settings });
                continue;
            };
            match net.runs.iter().find(|other| other.seed() == run.seed()) {
                None => net.runs.push(run),
                // Counted twice, it would make intervals too narrow.
                Some(twin) => {
                    let names = (run.name(), twin.name());
                    notes.push(format!("{} has the settings and the seed of {}, and is left out.", names.0, names.1));
                }
            }
        }
        nets.iter_mut().for_each(|net| leave_out_unfinished(net, &mut notes));
        nets.sort_by_key(|net| !net.is_plain());
        nets.iter_mut().for_each(|net| net.runs.sort_by_key(Run::seed));
        name(&mut nets);
        let mut study = Self { nets, notes, data };
        study.notes.extend(study.unpaired());
        study
    }

    /// Why nets that could be compared are not.
    fn unpaired(&self) -> Vec<String> {
        let pairs = self.pairs();
        if let Some((baseline, candidate)) = self.two_of_a_kind()
            && pairs.is_empty()
        {
            let differing = differing(&[baseline, candidate]);
            let differing: Vec<String> = differing.into_iter().filter(|name| is_of_data(name, baseline)).collect();
            let (other, one) = (&candidate.name, &baseline.name);
            return vec![format!("{other} and {one} are not compared, as they differ in {}.", listed(&differing))];
        }
        let both = self.nets.iter().any(NetRuns::is_plain) && self.nets.iter().any(|net| !net.is_plain());
        if both && pairs.is_empty() {
            let all = "No net with stochastic depth is compared, as there is no plain net that is equal to one of them \
                       in everything else.";
            return vec![all.into()];
        }
        let strangers = pairs.iter().filter(|pair| pair.runs().next().is_none());
        let sentence = |pair: &NetPair| {
            format!("{} and {} are not compared, as no seed is the same.", pair.candidate.name, pair.baseline.name)
        };
        strangers.map(sentence).collect()
    }

    /// The data set of `run`, or why it is not there.
    pub fn data_of(&self, run: &Run) -> Result<&DataSet, &str> {
        self.data.of(&run.config)
    }

    /// The nets, if there are two, and both plain or both with stochastic depth.
    fn two_of_a_kind(&self) -> Option<(&NetRuns, &NetRuns)> {
        match self.nets.as_slice() {
            [one, other] if one.is_plain() == other.is_plain() => Some((one, other)),
            _ => None,
        }
    }

    /// Each net with stochastic depth, held against the plain net that is equal to it in everything else; of just two
    /// nets of one kind, the second against the first, if they learn from the same images and are tested alike.
    pub fn pairs(&self) -> Vec<NetPair<'_>> {
        if let Some((baseline, candidate)) = self.two_of_a_kind() {
            let is_equal = !differing(&[baseline, candidate]).iter().any(|name| is_of_data(name, baseline));
            return is_equal.then_some(NetPair { baseline, candidate }).into_iter().collect();
        }
        let plain =
            |stochastic: &NetRuns| self.nets.iter().find(|net| net.is_plain() && net.rest() == stochastic.rest());
        let stochastic = self.nets.iter().filter(|net| !net.is_plain());
        stochastic.filter_map(|candidate| Some(NetPair { baseline: plain(candidate)?, candidate })).collect()
    }

    /// Names of the settings in which the nets differ.
    pub fn differing(&self) -> Vec<String> {
        differing(&self.nets.iter().collect::<Vec<_>>())
    }

    /// Every run, net by net.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.nets.iter().flat_map(|net| &net.runs)
    }
}

/// Whether the setting `name` is one that nets of one kind, of which `net` is one, have to share to be compared.
fn is_of_data(name: &str, net: &NetRuns) -> bool {
    let on_batches = net.first().config.settings.evaluate_on == EvaluateOn::TestBatch;
    OF_DATA.contains(&name) || (on_batches && name == "eval-batch")
}

/// Leaves out those runs of `net` that have not ended, if some have: curves and means are over runs of equal length.
fn leave_out_unfinished(net: &mut NetRuns, notes: &mut Vec<String>) {
    let some_ended = net.runs.iter().any(|run| run.summary.is_some());
    net.runs.retain(|run| {
        let Some(sentence) = run.unfinished() else { return true };
        let end = if some_ended { ", and is left out beside the runs of its net that have ended." } else { "." };
        notes.push(sentence + end);
        !some_ended
    });
    for run in &net.runs {
        let left_out = run.summary.as_ref().map_or(0, |summary| summary.steps_left_out);
        if left_out > 0 {
            let updates = counted(left_out as usize, "update", "updates");
            notes.push(format!("{}: {updates} left out, as a value was not finite (setting on-nan).", run.name()));
        }
    }
}
