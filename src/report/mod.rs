//! The report: what runs say together, as a page and as figures.
//!
//! `run_paths` and `run` find and read run directories, `study` sorts the runs into `nets` and
//! these into pairs, `figures` draws them, and `page` puts all on one page. What is said of
//! differences rests on [`statistics`]: [`variance`] is about the variance of the accuracy,
//! `comparison` about all else. A report is a pure function of the directories' files and of the
//! data sets that they name, and it knows nothing of how a run is made.

use std::path::{Path, PathBuf};
use std::{fs, io};

pub mod chart;
mod comparison;
mod curves;
mod data_sets;
mod error;
mod figures;
mod nets;
mod page;
mod png;
mod run;
mod run_paths;
pub mod statistics;
mod study;
mod table;
mod text;
pub mod variance;

pub use error::ReportError;

use crate::data::DataSet;
use crate::run_dir::{RunError, write_durably};
use data_sets::DataSets;
use figures::Figure;
use run::Run;
use study::Study;

/// Name of the page.
pub const PAGE: &str = "report.html";
/// Name of the folder with the figures, beside the page.
pub const FIGURES: &str = "figures";

/// A page and its figures.
pub struct Report {
    page: String,
    /// Name and contents of each file.
    figures: Vec<(String, String)>,
}

impl Report {
    /// About the runs that `paths` name: run directories, or folders of them. `known` is a data set that is loaded
    /// already. Errors if there is no run, or if a file of one is not what sdgpu writes.
    pub fn new(paths: &[PathBuf], known: Option<&DataSet>) -> Result<Self, ReportError> {
        let found = run_paths::find(paths)?;
        let mut data = DataSets::new(known);
        let runs: Vec<Run> = found.iter().map(|path| Run::read(path, &mut data)).collect::<Result<_, _>>()?;
        let study = Study::new(runs, data);
        if study.nets.is_empty() {
            let names: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
            return Err(ReportError::NoSteps(names.join(", ")));
        }
        let drawn = figures::all(&study);
        let below = page::command_line(&study);
        let file = |figure: &Figure| (format!("{}.svg", figure.name), figure.drawing.file(&figure.title, &below));
        let figures = drawn.iter().flatten().map(file).collect();
        Ok(Self { page: page::page(&study, &drawn), figures })
    }

    /// Writes the page into `folder`, and the figures into a folder in it. Returns the page's path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, ReportError> {
        let error = |path: &Path| {
            let path = path.to_path_buf();
            move |error| ReportError::Run(RunError::Write { path, error })
        };
        let figures = folder.join(FIGURES);
        fs::create_dir_all(&figures).map_err(error(&figures))?;
        for (name, svg) in &self.figures {
            let path = figures.join(name);
            write_durably(&path, svg.as_bytes()).map_err(error(&path))?;
        }
        // Those of an earlier page about other runs would pass for this one's.
        for name in figures::NAMES.map(|name| format!("{name}.svg")) {
            if !self.figures.iter().any(|(written, _)| *written == name) {
                let path = figures.join(name);
                match fs::remove_file(&path) {
                    Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(error(&path)(cause)),
                    _ => {}
                }
            }
        }
        let page = folder.join(PAGE);
        write_durably(&page, self.page.as_bytes()).map_err(error(&page))?;
        Ok(page)
    }
}
