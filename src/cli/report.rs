//! `sdgpu report`.

use std::path::{Path, PathBuf};

use super::BadInput;
use super::args::ReportArgs;
use super::console::{Console, warn};
use crate::data::DataSet;
use crate::report::{Report, ReportError};

/// Writes the report about the runs that are named.
pub fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let out = match (&args.out, args.runs.as_slice()) {
        (Some(out), _) => out,
        (None, [one]) => one,
        (None, _) => return Err(BadInput("several runs have no folder in common; give --out".into()).into()),
    };
    show(Console::Out, &Report::new(&args.runs, None)?.write(out)?);
    Ok(())
}

/// Writes the report about the run, or the runs, in `folder` into it; `data` is what they saw. That it can't be written
/// is said, and is no reason for a command to fail that has done its work.
pub fn write_into(folder: &Path, data: &DataSet, console: Console) {
    let written: Result<PathBuf, ReportError> =
        Report::new(&[folder.to_path_buf()], Some(data)).and_then(|report| report.write(folder));
    match written {
        Ok(page) => show(console, &page),
        Err(error) => warn(&format!("there is no report: {error}")),
    }
}

fn show(console: Console, page: &Path) {
    console.line(format!("report     {}", page.display()));
}
