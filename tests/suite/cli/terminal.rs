//! What a run looks like on terminals of all sorts, by `script`, which gives it one.

use std::process::Command;

use super::{TRAIN, Workspace};

/// All that a training writes to a terminal that calls itself `kind`, with so many columns.
fn seen(kind: &str, columns: usize) -> String {
    let workspace = Workspace::with_tiny();
    let train = workspace.command(&format!("{TRAIN} --out run"));
    let arguments: Vec<_> = train.get_args().map(|argument| argument.to_string_lossy()).collect();
    let program = train.get_program().to_string_lossy();
    let inside = format!("stty rows 24 cols {columns} </dev/tty && exec '{program}' {}", arguments.join(" "));
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &inside, "/dev/null"]).env("TERM", kind).current_dir(workspace.path("."));
    let ran = workspace.run(&mut script);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stdout.contains("test accuracy"), "{ran}");
    ran.stdout
}

/// The lines that were drawn over each other.
fn drawn(seen: &str) -> Vec<&str> {
    let lines = seen.split(['\r', '\n']).filter(|line| line.contains("step ") && line.contains("/12"));
    // What stood there before is overwritten by spaces.
    lines.map(|line| line.trim_start_matches("\u{1b}[2K").trim_end()).collect()
}

#[test]
fn a_line_that_is_drawn_fits_the_terminal() {
    for (columns, holds, has_bar) in [
        (20, "step 12/12", false),
        (59, "step 12/12  loss ", false),
        (80, "step 12/12  loss ", true),
        (200, " blocks  0:00 left", true),
    ] {
        let seen = seen("xterm", columns);
        let drawn = drawn(&seen);
        assert!(!drawn.is_empty(), "{seen}");
        for line in &drawn {
            assert!(line.chars().count() < columns, "{line:?} in {columns} columns");
            assert_eq!(line.contains('\u{2588}') || line.contains('\u{2591}'), has_bar, "{line:?}");
        }
        assert!(drawn.iter().any(|line| line.contains(holds)), "{drawn:?}");
    }
    // Nothing can be read there, and nothing fails.
    seen("xterm", 1);
}

#[test]
fn a_terminal_that_can_not_draw_gets_lines() {
    let seen = seen("dumb", 80);
    assert!(!seen.contains('\u{1b}') && !seen.contains('\u{2588}'), "{seen}");
    assert!(seen.contains("epoch 1/2  step 1/12  loss "), "{seen}");
}
