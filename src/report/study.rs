//! Runs in their order: which are of the same net, and which nets can be compared.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::runs::Run;
use super::text::{counted, listed};
use crate::data::DataSet;
use crate::model::survival::Rule;
use crate::train::{EvaluateOn, Model};

/// Runs that differ in their seed alone.
#[derive(Clone, Debug)]
pub struct Net {
    /// What tells it from the other nets.
    pub name: String,
    /// In the order of their seeds; there is at least one.
    pub runs: Vec<Run>,
    /// Every setting that its runs share, as text.
    pub settings: Settings,
}

/// What a report is about.
#[derive(Clone, Debug)]
pub struct Study {
    /// Nets without stochastic depth first. A net's place is also its colour's.
    pub nets: Vec<Net>,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// Data sets by the names that settings have for them and by their checksums; or why they could not be loaded.
    data: BTreeMap<(String, String), Result<DataSet, String>>,
}

/// Names in `config.toml` of what doesn't make another net: what a run records, how it is guarded, and what its results
/// don't depend on.
const APART: [&str; 9] = [
    "seed",
    "command",
    "trace",
    "record-gradients",
    "checkpoint-every",
    "keep-checkpoints",
    "tuning",
    "device.driver",
    // The checksum says what it is, wherever it lies.
    "data",
];

/// Names of the settings of stochastic depth, which mean nothing where every block survives.
pub const OF_STOCHASTIC_DEPTH: [&str; 7] =
    ["model", "survival", "survival-first", "survival-last", "gate-sampling", "branch-scale", "dropped-update"];

impl Net {
    /// A run that stands for all, where one setting is as good as another's.
    pub fn first(&self) -> &Run {
        &self.runs[0]
    }

    /// Whether no block is ever dropped.
    pub fn is_plain(&self) -> bool {
        self.first().is_plain()
    }

    /// The intended survival probability of each block.
    pub fn survival(&self) -> Vec<f64> {
        self.first().survival()
    }

    /// Rule and p_L; the rule is `None` where every block survives.
    pub fn rule(&self) -> (Option<Rule>, f64) {
        let settings = &self.first().config.settings;
        if self.is_plain() { (None, 1.0) } else { (Some(settings.survival), settings.survival_last) }
    }

    /// A figure of each run that has it.
    pub fn each(&self, figure: impl Fn(&Run) -> Option<f64>) -> Vec<f64> {
        self.runs.iter().filter_map(figure).collect()
    }

    /// Everything but stochastic depth.
    fn rest(&self) -> Settings {
        rest(&self.settings)
    }
}

/// Settings by their names in `config.toml`.
type Settings = BTreeMap<String, String>;

/// `settings` but those of stochastic depth.
fn rest(settings: &Settings) -> Settings {
    let rest = settings.iter().filter(|(name, _)| !OF_STOCHASTIC_DEPTH.contains(&name.as_str()));
    rest.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The settings of each of `runs` that make it a run of its net. Seeds may come from several devices; where one seed of
/// a net does, devices are what is compared, and the net's counterparts keep theirs as well.
fn settings_of_all(runs: &[Run]) -> Vec<Settings> {
    let whole: Vec<Settings> = runs.iter().map(settings_of).collect();
    let anywhere = |settings: &Settings| {
        let apart = settings.iter().filter(|(name, _)| !name.starts_with("device."));
        apart.map(|(name, value)| (name.clone(), value.clone())).collect::<Settings>()
    };
    let mut devices: BTreeMap<(Settings, u64), BTreeSet<&Settings>> = BTreeMap::new();
    for (run, whole) in runs.iter().zip(&whole) {
        devices.entry((anywhere(whole), run.seed())).or_default().insert(whole);
    }
    let compared: BTreeSet<Settings> =
        devices.iter().filter(|(_, devices)| devices.len() > 1).map(|((settings, _), _)| rest(settings)).collect();
    let of_run = |whole: &Settings| {
        let anywhere = anywhere(whole);
        if compared.contains(&rest(&anywhere)) { whole.clone() } else { anywhere }
    };
    whole.iter().map(of_run).collect()
}

/// The settings of `run` but those that stand apart.
fn settings_of(run: &Run) -> Settings {
    let mut settings = Settings::new();
    // By way of the text, which has as few digits as tell a number.
    let text = toml::to_string(&run.config).unwrap_or_default();
    flatten("", text.parse().unwrap_or_default(), &mut settings);
    let is_apart = |name: &str| APART.iter().any(|apart| name == *apart || name.starts_with(&format!("{apart}.")));
    settings.retain(|name, _| !is_apart(name));
    if run.is_plain() {
        settings.retain(|name, _| !OF_STOCHASTIC_DEPTH.contains(&name.as_str()));
        settings.insert("model".into(), Model::Resnet.name().into());
    }
    settings
}

/// Puts `config`, whose names are below `prefix`, into `settings` with full names; those of the table `settings` stay
/// as they are on the command line.
fn flatten(prefix: &str, config: Table, settings: &mut Settings) {
    for (name, value) in config {
        match value {
            Value::Table(table) if name == "settings" => flatten("", table, settings),
            Value::Table(table) => flatten(&format!("{prefix}{name}."), table, settings),
            Value::String(text) => drop(settings.insert(format!("{prefix}{name}"), text)),
            value => drop(settings.insert(format!("{prefix}{name}"), value.to_string())),
        }
    }
}

/// Two nets that can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// What the other is held against.
    pub baseline: &'a Net,
    /// The other.
    pub candidate: &'a Net,
}

impl Pair<'_> {
    /// The runs that share a seed: baseline, candidate.
    pub fn runs(&self) -> impl Iterator<Item = (&Run, &Run)> {
        let twin = |run: &Run| self.candidate.runs.iter().find(|other| other.seed() == run.seed());
        self.baseline.runs.iter().filter_map(move |run| Some((run, twin(run)?)))
    }
}

/// Names of the settings that two nets of one kind have to share to be compared: what they learn from, and what they
/// are tested on.
const OF_DATA: [&str; 3] = ["data-sha256", "validation", "evaluate-on"];

impl Study {
    /// Of `runs`; `known` is a data set that is loaded already.
    pub fn new(runs: Vec<Run>, known: Option<&DataSet>) -> Self {
        let mut nets: Vec<Net> = Vec::new();
        let mut notes = Vec::new();
        let (runs, idle): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(|run| !run.steps.is_empty());
        notes.extend(idle.iter().map(|run| format!("{} has done no step yet, and is left out.", run.name())));
        let all_settings = settings_of_all(&runs);
        for (run, settings) in runs.into_iter().zip(all_settings) {
            let Some(net) = nets.iter_mut().find(|net| net.settings == settings) else {
                nets.push(Net { name: String::new(), runs: vec![run], settings });
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
        let mut data = BTreeMap::new();
        for run in nets.iter().flat_map(|net| &net.runs) {
            let (source, sha256) = &run.data();
            data.entry(run.data()).or_insert_with(|| load(source, sha256, known));
        }
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
        let both = self.nets.iter().any(Net::is_plain) && self.nets.iter().any(|net| !net.is_plain());
        if both && pairs.is_empty() {
            let all = "No net with stochastic depth is compared, as there is no plain net that is equal to one of them \
                       in everything else.";
            return vec![all.into()];
        }
        let strangers = pairs.iter().filter(|pair| pair.runs().next().is_none());
        let sentence = |pair: &Pair| {
            format!("{} and {} are not compared, as no seed is the same.", pair.candidate.name, pair.baseline.name)
        };
        strangers.map(sentence).collect()
    }

    /// The data set of `run`, or why it is not there.
    pub fn data_of(&self, run: &Run) -> Result<&DataSet, &str> {
        let data = self.data.get(&run.data()).ok_or("no data set")?;
        data.as_ref().map_err(String::as_str)
    }

    /// The nets, if there are two, and both plain or both with stochastic depth.
    fn two_of_a_kind(&self) -> Option<(&Net, &Net)> {
        match self.nets.as_slice() {
            [one, other] if one.is_plain() == other.is_plain() => Some((one, other)),
            _ => None,
        }
    }

    /// Each net with stochastic depth, held against the plain net that is equal to it in everything else; of just two
    /// nets of one kind, the second against the first, if they learn from the same images and are tested alike.
    pub fn pairs(&self) -> Vec<Pair<'_>> {
        if let Some((baseline, candidate)) = self.two_of_a_kind() {
            let is_equal = !differing(&[baseline, candidate]).iter().any(|name| is_of_data(name, baseline));
            return is_equal.then_some(Pair { baseline, candidate }).into_iter().collect();
        }
        let plain = |stochastic: &Net| self.nets.iter().find(|net| net.is_plain() && net.rest() == stochastic.rest());
        let stochastic = self.nets.iter().filter(|net| !net.is_plain());
        stochastic.filter_map(|candidate| Some(Pair { baseline: plain(candidate)?, candidate })).collect()
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
fn is_of_data(name: &str, net: &Net) -> bool {
    let on_batches = net.first().config.settings.evaluate_on == EvaluateOn::TestBatch;
    OF_DATA.contains(&name) || (on_batches && name == "eval-batch")
}

/// Leaves out those runs of `net` that have not ended, if some have: curves and means are over runs of equal length.
fn leave_out_unfinished(net: &mut Net, notes: &mut Vec<String>) {
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
            notes.push(format!("{}: {updates} left out, as a value was not finite (--on-nan).", run.name()));
        }
    }
}

/// The set `source`, if it is still the one with the checksum `sha256`.
fn load(source: &str, sha256: &str, known: Option<&DataSet>) -> Result<DataSet, String> {
    let data = match known.filter(|known| known.name == source) {
        Some(known) => known.clone(),
        None => DataSet::load(source).map_err(|error| error.to_string())?,
    };
    if data.sha256() == sha256 { Ok(data) } else { Err(format!("{source} is not what it was when the run saw it")) }
}

fn differing(nets: &[&Net]) -> Vec<String> {
    let names: BTreeSet<&String> = nets.iter().flat_map(|net| net.settings.keys()).collect();
    let differs = |name: &&String| nets.iter().any(|net| net.settings.get(*name) != nets[0].settings.get(*name));
    names.into_iter().filter(differs).cloned().collect()
}

/// The longest name, in letters, that a legend has room for on a phone.
const LONGEST_NAME: usize = 44;

/// Names each net by what tells it from the others; by a number where that is too much for a name, and the table of
/// settings says it.
fn name(nets: &mut [Net]) {
    let all = differing(&nets.iter().collect::<Vec<_>>());
    // What all nets with stochastic depth share does not tell them apart, though the plain net has none of it.
    let stochastic = differing(&nets.iter().filter(|net| !net.is_plain()).collect::<Vec<_>>());
    for (number, net) in (1..).zip(nets) {
        let arch = all.iter().any(|name| name == "arch").then(|| net.first().config.settings.arch.clone());
        let model = if net.is_plain() { "plain" } else { "stochastic" };
        let tells = |name: &String| match OF_STOCHASTIC_DEPTH.contains(&name.as_str()) {
            true => stochastic.contains(name),
            false => all.contains(name) && name != "arch",
        };
        let others = net.settings.iter().filter(|(name, _)| tells(name)).map(|(name, value)| match name.as_str() {
            "survival-last" => format!("p_L={value}"),
            "survival" | "gate-sampling" => value.clone(),
            // A checksum says no more than that it is another.
            "data-sha256" => format!("data {}", value.chars().take(8).collect::<String>()),
            name => format!("{name} {value}"),
        });
        let head = arch.into_iter().chain([model.to_string()]).collect::<Vec<_>>().join(" ");
        net.name = [head.clone()].into_iter().chain(others).collect::<Vec<_>>().join(" ");
        if net.name.chars().count() > LONGEST_NAME {
            net.name = format!("{head} (net {number})");
        }
    }
}
