//! The arguments of the command that began a run.

use serde::{Deserialize, Serialize};

/// The arguments of a command in their order, each flag in a list with its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Arguments(Vec<Vec<String>>);

impl Arguments {
    /// Groups `words`, the arguments behind the program's name.
    pub fn of(words: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<Vec<String>> = Vec::new();
        for word in words {
            if !word.starts_with("--") {
                match groups.last_mut() {
                    Some(group) => group.push(word),
                    None => groups.push(vec![word]),
                }
            } else if let Some((flag, value)) = word.split_once('=') {
                groups.push(vec![flag.into(), value.into()]);
            } else {
                groups.push(vec![word]);
            }
        }
        Self(groups)
    }

    /// Returns all but those that begin with one of `flags`.
    pub fn without(&self, flags: &[&str]) -> Vec<&[String]> {
        let groups = self.0.iter().map(Vec::as_slice);
        groups.filter(|group| !group.first().is_some_and(|first| flags.contains(&first.as_str()))).collect()
    }

    /// Returns the first value of `flag`.
    pub fn value(&self, flag: &str) -> Option<&str> {
        let group = self.0.iter().find(|group| group.first().is_some_and(|first| first == flag))?;
        group.get(1).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn arguments(command: &str) -> Arguments {
        Arguments::of(command.split(' ').map(String::from))
    }

    #[test]
    fn flags_stand_with_their_values() {
        let given = arguments("train --quiet --seed 3 --out=a --survival-last .5");
        assert_eq!([given.value("--seed"), given.value("--out")], [Some("3"), Some("a")]);
        assert_eq!([given.value("--quiet"), given.value("--jobs")], [None, None]);
        let rest = given.without(&["--seed", "--out"]);
        assert_eq!(rest, [&["train"][..], &["--quiet"], &["--survival-last", ".5"]]);
        assert_eq!(arguments("train --quiet --survival-last=.5").without(&[]), rest);
    }
}
