//! From fields to flags: below the command line, messages name settings by their fields, in
//! backquotes.

use std::collections::HashSet;
use std::sync::LazyLock;

use clap::CommandFactory;

use super::args::Cli;

/// Every argument of every command, by its field.
static ARGUMENTS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let command = Cli::command();
    let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    arguments.map(|argument| argument.get_id().to_string()).collect()
});

/// Returns `message` with each field in backquotes, as in `` `batch_size` ``, as the flag that sets
/// it.
pub fn with_flags(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    // Every second part stands in backquotes, but for the last one, which may have lost its end.
    let mut parts = message.split('`').peekable();
    let mut quoted = false;
    while let Some(part) = parts.next() {
        let is_closed = quoted && parts.peek().is_some();
        if is_closed && ARGUMENTS.contains(part) {
            text += &format!("--{}", part.replace('_', "-"));
        } else if quoted {
            text.push('`');
            text += part;
            text += if is_closed { "`" } else { "" };
        } else {
            text += part;
        }
        quoted = !quoted;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_flags;

    #[test]
    fn fields_become_flags_and_all_else_stays() {
        let message = "`batch_size` is 0; it must be from 1 to the 60 training images left by `validation`";
        let expected = "--batch-size is 0; it must be from 1 to the 60 training images left by --validation";
        assert_eq!(with_flags(message), expected);
        for other in ["NaN after `conv1 forward`", "`apt install x`, then", "a `", "``", "", "`batch_size"] {
            assert_eq!(with_flags(other), other);
        }
    }
}
