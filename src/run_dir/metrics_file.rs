//! Reading the files of lines, and what is made of them for other programs: `metrics.csv`.

use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::durable;
use super::error::{RunError, read_error, write_error};
use crate::train::{EvalRecord, EvalSplit, Event, StepRecord, TimingRecord, TraceRecord, WhichWeights};

pub(super) const METRICS: &str = "metrics.jsonl";
/// Name of the steps' times in a run directory.
pub(super) const TIMING: &str = "timing.jsonl";
/// Path of the steps' traces in a run directory.
pub(super) const TRACE: &str = "trace/steps.jsonl";

/// Reads the metrics of the run in `folder` in the order in which they came: [`Event::Step`] and
/// [`Event::Eval`]. A last line without an end is left out: its run is being written, or was
/// killed.
pub fn read_metrics(folder: &Path) -> Result<Vec<Event<'static>>, RunError> {
    read_lines(&folder.join(METRICS))
}

/// Hands the same to `take`, one by one. What `take` has against an event becomes the error of its
/// line.
pub fn stream_metrics(folder: &Path, take: impl FnMut(Event<'static>) -> Result<(), String>) -> Result<(), RunError> {
    stream_lines(&folder.join(METRICS), take)
}

/// Reads what the steps of the run in `folder` took.
pub fn read_timing(folder: &Path) -> Result<Vec<TimingRecord>, RunError> {
    read_lines(&folder.join(TIMING))
}

/// Reads the trace of the run in `folder`, which has recorded one.
pub fn read_trace(folder: &Path) -> Result<Vec<TraceRecord<'static>>, RunError> {
    read_lines(&folder.join(TRACE))
}

/// The longest line that is read, in bytes: a file without ends of lines is none of sdgpu's.
const LONGEST_LINE: u64 = 1 << 20;

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RunError> {
    let mut records = Vec::new();
    stream_lines(path, |record| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

fn stream_lines<T: DeserializeOwned>(path: &Path, take: impl FnMut(T) -> Result<(), String>) -> Result<(), RunError> {
    parse_lines(path, BufReader::new(File::open(path).map_err(read_error(path))?), take)
}

/// Hands the metrics that `reader` gives to `take`, as [`stream_metrics`] does; errors name `path`.
pub fn parse_metrics(
    path: &Path,
    reader: impl BufRead,
    take: impl FnMut(Event<'static>) -> Result<(), String>,
) -> Result<(), RunError> {
    parse_lines(path, reader, take)
}

fn parse_lines<T: DeserializeOwned>(
    path: &Path,
    mut reader: impl BufRead,
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<(), RunError> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(read_error(path))?;
        let is_whole = line.ends_with(b"\n");
        if !is_whole && (line.len() as u64) < LONGEST_LINE {
            break;
        }
        let parsed = match is_whole {
            true => serde_json::from_slice(&line).map_err(|error| error.to_string()),
            false => Err(format!("is longer than {LONGEST_LINE} bytes")),
        };
        parsed.and_then(&mut take).map_err(|message| RunError::Line { path: path.to_path_buf(), number, message })?;
    }
    Ok(())
}

/// Writes `metrics.csv` into the run directory `folder`: a row for each step, with empty cells where there was no
/// evaluation or a number was not finite. Tests of the best weights are in `metrics.jsonl` alone. The last column is
/// there if gradients were recorded.
pub fn write_metrics_csv(folder: &Path) -> Result<(), RunError> {
    let path = folder.join("metrics.csv");
    durable::write(&path, csv(&read_metrics(folder)?).as_bytes()).map_err(write_error(&path))
}

fn csv(metrics: &[Event<'_>]) -> String {
    let mut text = String::from("step,epoch,loss,accuracy,lr,blocks_run,blocks");
    for split in EvalSplit::ALL {
        let name = split.name().replace('-', "_");
        // Writing to a string does not fail, here and below.
        let _ = write!(text, ",{name}_loss,{name}_accuracy");
    }
    let is_recorded =
        metrics.iter().any(|event| matches!(event, Event::Step(StepRecord { first_gradient: Some(_), .. })));
    if is_recorded {
        text.push_str(",first_gradient");
    }
    text.push('\n');
    let number = |x: f64| if x.is_finite() { x.to_string() } else { String::new() };
    let mut rest = metrics;
    while let [first, behind @ ..] = rest {
        rest = behind;
        let Event::Step(StepRecord { step, epoch, loss, accuracy, lr, gates, first_gradient, .. }) = first else {
            continue;
        };
        let (blocks_run, blocks) = (gates.survivors(), gates.0.len());
        let _ = write!(text, "{step},{epoch},{},{accuracy},{lr},{blocks_run},{blocks}", number(*loss));
        // The evaluations after a step stand behind it, before the next one.
        let end = rest.iter().position(|event| matches!(event, Event::Step(_))).unwrap_or(rest.len());
        for wanted in EvalSplit::ALL {
            let cells =
                rest[..end].iter().rev().find_map(|event| match event {
                    Event::Eval(EvalRecord {
                        split, step: of, weights: WhichWeights::Last, loss, accuracy, ..
                    }) if *split == wanted && of == step => Some(format!("{},{accuracy}", number(*loss))),
                    _ => None,
                });
            let _ = write!(text, ",{}", cells.as_deref().unwrap_or(","));
        }
        if is_recorded {
            let _ = write!(text, ",{}", first_gradient.map(number).unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LINES: &str = concat!(
        r#"{"kind":"train","step":1,"epoch":0,"loss":2.5,"accuracy":0.25,"lr":0.1,"gates":"101"}"#,
        "\n",
        r#"{"kind":"eval","split":"test-batch","step":1,"loss":2.25,"accuracy":0.5,"images":4}"#,
        "\n",
        r#"{"kind":"train","step":2,"epoch":0,"loss":null,"accuracy":0.5,"lr":0.1,"gates":"111","left_out":true}"#,
        "\n",
        r#"{"kind":"train","step":3,"epoch":1,"loss":1.5,"accuracy":1.0,"lr":0.01,"gates":"000"}"#,
        "\n",
        r#"{"kind":"eval","split":"test","step":3,"loss":null,"accuracy":0.875,"images":8}"#,
        "\n",
        r#"{"kind":"eval","split":"test","step":3,"weights":"best","loss":1.0,"accuracy":0.75,"images":8}"#,
        "\n",
    );

    #[test]
    fn a_table_has_a_row_for_each_step() {
        let folder = tempfile::tempdir().unwrap();
        // The last line is being written.
        fs::write(folder.path().join("metrics.jsonl"), format!("{LINES}{{\"kind\":\"tra")).unwrap();
        write_metrics_csv(folder.path()).unwrap();
        let expected = "\
            step,epoch,loss,accuracy,lr,blocks_run,blocks,validation_loss,validation_accuracy,test_batch_loss,\
            test_batch_accuracy,test_loss,test_accuracy\n\
            1,0,2.5,0.25,0.1,2,3,,,2.25,0.5,,\n\
            2,0,,0.5,0.1,3,3,,,,,,\n\
            3,1,1.5,1,0.01,0,3,,,,,,0.875\n";
        assert_eq!(fs::read_to_string(folder.path().join("metrics.csv")).unwrap(), expected);
    }

    #[test]
    fn a_recorded_gradient_has_a_column() {
        let lines = concat!(
            r#"{"kind":"train","step":1,"epoch":0,"loss":2,"accuracy":0,"lr":1,"gates":"1","first_gradient":0.125}"#,
            "\n",
            r#"{"kind":"train","step":2,"epoch":0,"loss":2,"accuracy":0,"lr":1,"gates":"1","first_gradient":null}"#,
        );
        let metrics: Vec<Event<'_>> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let table = csv(&metrics);
        let last: Vec<_> = table.lines().map(|row| row.split(',').skip(13).collect::<Vec<_>>()).collect();
        assert_eq!(last, [["first_gradient"], ["0.125"], [""]]);
    }

    #[test]
    fn a_foreign_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, format!("{LINES}nonsense\n")).unwrap();
        let error = read_metrics(folder.path()).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl, line 7: "), "{error}");
    }
}
