//! Nets: which runs are of the same one, what it is called, and which two make a pair.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::run::Run;
use crate::model::survival::Rule;
use crate::run_dir::Model;

/// Runs that differ in their seed alone.
#[derive(Clone, Debug)]
pub struct NetRuns {
    /// The settings that tell it from the other nets, as a name.
    pub name: String,
    /// In the order of their seeds; there is at least one.
    pub runs: Vec<Run>,
    /// Every setting that its runs share, as text.
    pub settings: Settings,
}

/// Names in `config.toml` of what doesn't make another net: what a run records, how it is guarded,
/// and what its results don't depend on.
const APART: [&str; 10] = [
    "seed",
    "command",
    "facts",
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

impl NetRuns {
    /// A run that stands for all, where one setting is as good as another's.
    pub fn first(&self) -> &Run {
        &self.runs[0]
    }

    /// Returns whether no block is ever dropped.
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
    pub fn rest(&self) -> Settings {
        rest(&self.settings)
    }
}

/// Settings by their names in `config.toml`.
pub type Settings = BTreeMap<String, String>;

/// `settings` but those of stochastic depth.
fn rest(settings: &Settings) -> Settings {
    let rest = settings.iter().filter(|(name, _)| !OF_STOCHASTIC_DEPTH.contains(&name.as_str()));
    rest.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The settings of each of `runs` that make it a run of its net. Seeds may come from several
/// devices; where one seed of a net does, devices are what is compared, and the net's counterparts
/// keep theirs as well.
pub fn settings_of_all(runs: &[Run]) -> Vec<Settings> {
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

/// Puts `config`, whose names are below `prefix`, into `settings` with full names; those of the
/// table `settings` stay as they are on the command line.
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
pub struct NetPair<'a> {
    /// The net that the other one is held against.
    pub baseline: &'a NetRuns,
    /// The other.
    pub candidate: &'a NetRuns,
}

impl NetPair<'_> {
    /// The runs that share a seed: baseline, candidate.
    pub fn runs(&self) -> impl Iterator<Item = (&Run, &Run)> {
        let twin = |run: &Run| self.candidate.runs.iter().find(|other| other.seed() == run.seed());
        self.baseline.runs.iter().filter_map(move |run| Some((run, twin(run)?)))
    }
}

/// Returns the names of the settings in which `nets` differ.
pub fn differing(nets: &[&NetRuns]) -> Vec<String> {
    let names: BTreeSet<&String> = nets.iter().flat_map(|net| net.settings.keys()).collect();
    let differs = |name: &&String| nets.iter().any(|net| net.settings.get(*name) != nets[0].settings.get(*name));
    names.into_iter().filter(differs).cloned().collect()
}

/// The longest name, in letters, that a legend has room for on a phone.
const LONGEST_NAME: usize = 44;

/// Names each net by what tells it from the others; by a number where that is too much for a name,
/// and the table of settings says it.
pub fn name(nets: &mut [NetRuns]) {
    let all = differing(&nets.iter().collect::<Vec<_>>());
    // Settings that all nets with stochastic depth share do not tell them apart, though the plain
    // net has none of them.
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
