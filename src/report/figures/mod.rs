//! The figures of a report, one a file. Each says in a sentence why it is left out, where its data is not there.

mod accuracy;
mod cost;
mod gates;
mod gradient;
mod learning;
mod mistakes;
mod survival;

use super::chart::{COLOURS, Drawing, Key, Sign};
use super::nets::NetRuns;
use super::study::Study;
use super::table::Table;
use super::text::{counted, listed};
use super::variance;

/// A figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of its files.
    pub name: &'static str,
    /// What it shows.
    pub title: String,
    /// What there is to say about it, a paragraph each.
    pub text: Vec<String>,
    /// What is drawn.
    pub drawing: Drawing,
    /// What belongs to it in figures.
    pub tables: Vec<Table>,
    /// Its data, as a CSV file.
    pub csv: String,
}

/// Names of all figures there are.
pub const NAMES: [&str; 8] = ["accuracy", "learning", "variance", "gates", "gradient", "survival", "cost", "mistakes"];

/// A figure, or why it is left out.
pub type Drawn = Result<Figure, String>;

/// All figures of `study`, in their order.
pub fn all(study: &Study) -> Vec<Drawn> {
    let makers: [fn(&Study) -> Drawn; 8] = [
        accuracy::draw,
        learning::draw,
        variance::figure::draw,
        gates::draw,
        gradient::draw,
        survival::draw,
        cost::draw,
        mistakes::draw,
    ];
    makers.into_iter().map(|draw| draw(study)).collect()
}

/// The nets that a figure has colours for, with their series.
fn shown(study: &Study) -> impl Iterator<Item = (usize, &NetRuns)> {
    study.nets.iter().enumerate().take(COLOURS)
}

/// A colour for each of `nets`, where there are several.
pub fn legend<'a>(nets: impl Iterator<Item = (usize, &'a NetRuns)>) -> Vec<Key> {
    let keys: Vec<Key> = nets.map(|(series, net)| Key { series, sign: Sign::Swatch, name: net.name.clone() }).collect();
    if keys.len() > 1 { keys } else { Vec::new() }
}

/// What the lines are, and which nets are not drawn.
fn lines_and_bands(study: &Study) -> String {
    let most = study.nets.iter().map(|net| net.runs.len()).max().unwrap_or(1);
    let mut text = match most {
        1 => String::new(),
        _ => format!(
            "Lines are means over up to {}, bands reach from the lowest run to the highest.",
            counted(most, "seed", "seeds")
        ),
    };
    text.extend(beyond_colours(study).map(|sentence| format!(" {sentence}")));
    text.trim().to_string()
}

/// Which nets are not drawn, as there are more than colours.
fn beyond_colours(study: &Study) -> Option<String> {
    let left_out: Vec<String> = study.nets.iter().skip(COLOURS).map(|net| net.name.clone()).collect();
    let sentence = || format!("There are colours for {COLOURS} nets; not drawn: {}.", listed(&left_out));
    (!left_out.is_empty()).then(sentence)
}

/// Most rows of a net in a figure's CSV.
const CSV_ROWS: usize = 2000;

/// Every `n`th of `items`, so that at most [`CSV_ROWS`] are left; the last is among them.
fn sampled<T>(items: &[T]) -> impl Iterator<Item = &T> {
    let every = items.len().div_ceil(CSV_ROWS).max(1);
    items.iter().rev().step_by(every).collect::<Vec<_>>().into_iter().rev()
}

/// `text` as a cell of a CSV file (RFC 4180).
pub fn csv_cell(text: &str) -> String {
    let is_plain = !text.contains([',', '"', '\n']);
    if is_plain { text.to_string() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}
