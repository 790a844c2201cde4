//! The run directories that a report is about.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::ReportError;
use crate::run_dir::{RunConfig, RunError};

/// Returns the run directories that `paths` name: each is one, or holds some. In a folder, they are
/// in the order of their names, numbers by their size; no directory comes twice.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ReportError> {
    let mut found = Vec::new();
    let mut known = HashSet::new();
    for path in paths {
        if !path.is_dir() {
            return Err(ReportError::NoFolder(path.clone()));
        }
        let is_run = |folder: &Path| folder.join(RunConfig::FILE).exists();
        let runs = match is_run(path) {
            true => vec![path.clone()],
            false => {
                let read = |error| RunError::Read { path: path.clone(), error };
                let entries = fs::read_dir(path).map_err(read)?;
                let mut runs: Vec<PathBuf> =
                    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|folder| is_run(folder)).collect();
                runs.sort_by_cached_key(|run| natural(&run.file_name().unwrap_or_default().to_string_lossy()));
                runs
            }
        };
        if runs.is_empty() {
            return Err(ReportError::NoRun(path.clone()));
        }
        found.extend(runs.into_iter().filter(|run| known.insert(run.canonicalize().unwrap_or_else(|_| run.clone()))));
    }
    Ok(found)
}

/// Cuts `name` into pieces by which names are ordered as people order them.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut pieces: Vec<(u64, String)> = Vec::new();
    let mut was_digit = true;
    for letter in name.chars() {
        let digit = letter.to_digit(10);
        if pieces.is_empty() || (digit.is_some() && !was_digit) {
            pieces.push((0, String::new()));
        }
        was_digit = digit.is_some();
        if let Some((number, text)) = pieces.last_mut() {
            match digit {
                Some(digit) => *number = number.saturating_mul(10).saturating_add(digit.into()),
                None => text.push(letter),
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn names_are_ordered_as_people_order_them() {
        let mut names = ["seed10", "seed9", "resnet110-1", "resnet20-0.5", "resnet20-0.25", "a"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["a", "resnet20-0.5", "resnet20-0.25", "resnet110-1", "seed9", "seed10"]);
    }
}
