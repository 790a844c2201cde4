//! The data sets of a report's runs, each loaded once.

use std::collections::BTreeMap;

use crate::data::DataSet;
use crate::run_dir::RunConfig;

/// Data sets by the names that settings have for them and by their checksums; or why one could not
/// be loaded.
#[derive(Clone, Debug, Default)]
pub struct DataSets(BTreeMap<(String, String), Result<DataSet, String>>);

impl DataSets {
    /// Begins with `known`, which is loaded already.
    pub fn new(known: Option<&DataSet>) -> Self {
        Self(known.map(|data| ((data.name.clone(), data.sha256()), Ok(data.clone()))).into_iter().collect())
    }

    /// Loads the data set of the run of `config`; `None` if it is not there, or no longer what the
    /// run saw.
    pub fn load(&mut self, config: &RunConfig) -> Option<&DataSet> {
        self.0.entry(key(config)).or_insert_with(|| load(config)).as_ref().ok()
    }

    /// Returns the data set of the run of `config`, or why it is not there.
    pub fn of(&self, config: &RunConfig) -> Result<&DataSet, &str> {
        let data = self.0.get(&key(config)).ok_or("it was not asked for")?;
        data.as_ref().map_err(String::as_str)
    }
}

fn key(config: &RunConfig) -> (String, String) {
    (config.settings.data.clone(), config.data_sha256.clone())
}

fn load(config: &RunConfig) -> Result<DataSet, String> {
    let source = &config.settings.data;
    let data = DataSet::load(source).map_err(|error| error.to_string())?;
    let is_same = data.sha256() == config.data_sha256;
    if is_same { Ok(data) } else { Err(format!("{source} is not what it was when the run saw it")) }
}
