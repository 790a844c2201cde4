//! Folders that are made for a run, and go again if it does not start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::durable;
use super::error::{RunError, write_error};

/// A folder that was created, with those of its parents that were missing. Dropped, it goes again with all that it
/// holds, and they go if they are empty, unless it is to be kept.
pub struct NewFolder {
    /// Where it is.
    pub path: PathBuf,
    created: bool,
    /// In the order of their creation.
    parents: Vec<PathBuf>,
}

impl NewFolder {
    /// Creates `path`, which must not exist.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        let mut folder = Self { path: path.to_path_buf(), created: false, parents: Vec::new() };
        let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        let missing: Vec<&Path> = parents.take_while(|parent| !parent.is_dir()).collect();
        for &parent in missing.iter().rev() {
            match fs::create_dir(parent) {
                Ok(()) => folder.parents.push(parent.to_path_buf()),
                // Somebody else was faster.
                Err(_) if parent.is_dir() => {}
                Err(error) => return Err(RunError::Write { path: parent.to_path_buf(), error }),
            }
        }
        fs::create_dir(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => RunError::Exists(path.to_path_buf()),
            _ => RunError::Write { path: path.to_path_buf(), error },
        })?;
        folder.created = true;
        // What is written below is lost with the name of a folder above it.
        for created in missing.into_iter().rev().chain([path]) {
            let above = created.parent().unwrap_or(Path::new(""));
            match durable::sync_folder(above) {
                // One may write into a folder that one may not open.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced.map_err(write_error(above))?,
            }
        }
        Ok(folder)
    }

    /// One that is there already, and stays.
    pub fn existing(path: &Path) -> Self {
        Self { path: path.to_path_buf(), created: false, parents: Vec::new() }
    }

    /// Lets it stay, from now on.
    pub fn keep(&mut self) {
        self.created = false;
        self.parents.clear();
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // What can't be removed stays: there is an error to report already, and it is another one.
        if self.created {
            let _ = fs::remove_dir_all(&self.path);
        }
        for parent in self.parents.iter().rev() {
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Creates the first free `<parent>/<name>-<n>`.
pub fn numbered(parent: &Path, name: &str) -> Result<NewFolder, RunError> {
    let mut number = 1u32;
    loop {
        match NewFolder::create(&parent.join(format!("{name}-{number}"))) {
            Err(RunError::Exists(_)) => number += 1,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_what_was_created_for_it_unless_it_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("there/a/b/run");
        fs::create_dir(root.path().join("there")).unwrap();

        let folder = NewFolder::create(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        assert!(matches!(NewFolder::create(&path), Err(RunError::Exists(_))));
        assert!(path.join("file").exists(), "what is somebody else's stays");
        // Another run comes into a parent.
        fs::create_dir(root.path().join("there/a/other")).unwrap();
        drop(folder);
        assert!(!root.path().join("there/a/b").exists() && root.path().join("there/a/other").exists());

        NewFolder::create(&path).unwrap().keep();
        assert!(path.exists());
    }
}
