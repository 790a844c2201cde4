//! The page: one HTML file that needs nothing else, no network and no script.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

use super::chart::{NARROW, STYLE, WIDE, escape, number};
use super::comparison::{ComparedFigure, Measure};
use super::figures::{Drawn, Figure};
use super::nets::NetRuns;
use super::run::Run;
use super::statistics::paired::{deviation, mean};
use super::study::Study;
use super::table::{NONE, Table};
use super::text::{counted, listed, seeds};
use crate::run_dir::Summary;

/// What the page looks like around the drawings.
const PAGE_STYLE: &str = "\
:root{color-scheme:light dark}*{box-sizing:border-box}\
body{margin:0 auto;max-width:58rem;padding:2.5rem 1.25rem 4rem;background:var(--paper);color:var(--ink);\
font:17px/1.55 \"Iowan Old Style\",Palatino,\"Palatino Linotype\",\"Book Antiqua\",Georgia,serif}\
h1{font-size:1.75rem;line-height:1.25;margin:0 0 .3rem;font-weight:600}h2{font-size:1.2rem;margin:2.6rem 0 .6rem}\
p{margin:.5rem 0;max-width:46rem}.byline,.foot{color:var(--muted);font-size:.9rem}\
figure{margin:2.4rem 0 0;padding-top:1.4rem;border-top:1px solid var(--rule)}\
figure svg{display:block;width:100%;height:auto}figure svg.narrow{display:none}\
figcaption{margin-top:.9rem;font-size:.95rem}figcaption b{font-weight:600}\
.command{color:var(--muted);font-size:.85rem}code{font:.85em ui-monospace,\"SF Mono\",Menlo,Consolas,monospace;\
overflow-wrap:anywhere}a{color:var(--c0)}\
.table{overflow-x:auto;margin:.9rem 0;background:\
linear-gradient(to right,var(--paper) 30%,transparent) left/40px 100% no-repeat local,\
linear-gradient(to left,var(--paper) 30%,transparent) right/40px 100% no-repeat local,\
linear-gradient(to right,var(--rule),transparent) left/14px 100% no-repeat scroll,\
linear-gradient(to left,var(--rule),transparent) right/14px 100% no-repeat scroll}\
table{border-collapse:collapse;font:13px/1.5 system-ui,-apple-system,\"Segoe UI\",\
Roboto,\"Helvetica Neue\",Arial,sans-serif;font-variant-numeric:tabular-nums}\
th,td{padding:.3rem .9rem .3rem 0;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}\
th{color:var(--muted);font-weight:500;vertical-align:bottom}thead th{border-bottom-color:var(--muted)}\
th:first-child,td:first-child{text-align:left}\
details{margin:.8rem 0}summary{cursor:pointer;color:var(--muted)}\
@media(max-width:640px){body{font-size:16px;padding:1.5rem 1rem 3rem}\
figure svg.wide{display:none}figure svg.narrow{display:block}}\
@media print{body{max-width:none}figure{break-inside:avoid}.table{overflow:visible;background:none}\
table{font-size:10px}th,td{white-space:normal}}";

/// The page about `study` with its `figures`.
pub fn page(study: &Study, figures: &[Drawn]) -> String {
    let title = title(study);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{0}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}{PAGE_STYLE}</style>\n</head>\n<body>\n\
         <h1>{0}</h1>\n<p class=\"byline\">{1}</p>\n",
        escape(&title),
        escape(&byline(study)),
    );
    results(&mut html, study);
    settings(&mut html, study);
    let mut left_out = Vec::new();
    let mut drawn = 0;
    for figure in figures {
        match figure {
            Ok(figure) => {
                drawn += 1;
                draw(&mut html, study, figure, drawn);
            }
            Err(reason) => left_out.push(reason.as_str()),
        }
    }
    notes(&mut html, study, &left_out);
    html.push_str("</body>\n</html>\n");
    html
}

fn title(study: &Study) -> String {
    let mut archs: Vec<String> = study.runs().map(|run| run.config.settings.arch.clone()).collect();
    let mut known = HashSet::new();
    archs.retain(|arch| known.insert(arch.clone()));
    let plain = study.nets.iter().any(NetRuns::is_plain);
    let stochastic = study.nets.iter().any(|net| !net.is_plain());
    let depth = match (plain, stochastic) {
        (true, true) => "with and without stochastic depth",
        (false, _) => "with stochastic depth",
        (true, false) => "without stochastic depth",
    };
    format!("{} {depth}", listed(&archs))
}

fn byline(study: &Study) -> String {
    let runs = study.runs().count();
    let distinct = |of: &dyn Fn(&Run) -> String| {
        let mut values: Vec<String> = study.runs().map(of).collect();
        values.sort();
        values.dedup();
        listed(&values)
    };
    let steps = distinct(&|run| number(run.config.settings.steps as f64, 0));
    format!(
        "{} of {}, {steps} steps each, on {}; {}; sdgpu {}",
        counted(runs, "run", "runs"),
        counted(study.nets.len(), "net", "nets"),
        distinct(&|run| data_name(&run.config.settings.data)),
        distinct(&|run| format!("{} ({})", run.config.device.name, run.config.device.backend)),
        distinct(&|run| run.config.version.clone()),
    )
}

/// What a data set is called: where its folder lies says nothing elsewhere.
fn data_name(source: &str) -> String {
    let name = Path::new(source).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| source.into())
}

fn results(html: &mut String, study: &Study) {
    html.push_str("<h2>Results</h2>\n");
    let head = ["net", "seeds", "test accuracy", "test loss", "of the best weights", "blocks run", "time in steps"];
    let row = |net: &NetRuns| {
        let each = |figure: &dyn Fn(&Summary) -> Option<f64>| net.each(|run| run.summary.as_ref().and_then(figure));
        let spread = |values: Vec<f64>, decimals: usize, unit: &str| match values.is_empty() {
            true => NONE.to_string(),
            false => {
                let spread = deviation(&values)
                    .map_or(String::new(), |deviation| format!(" \u{b1} {}", number(deviation, decimals)));
                format!("{}{spread}{unit}", number(mean(&values), decimals))
            }
        };
        [
            net.name.clone(),
            seeds(net.runs.iter().map(Run::seed)),
            spread(each(&|run| Some(100.0 * run.test.accuracy)), 2, " %"),
            spread(each(&|run| run.test.loss), 4, ""),
            spread(each(&|run| Some(100.0 * run.best.as_ref()?.accuracy)), 2, " %"),
            spread(each(&|run| Some(100.0 * run.blocks_run)), 1, " %"),
            spread(each(&|run| Some(run.step_seconds)), 1, " s"),
        ]
    };
    table(html, &Table::new(head, study.nets.iter().map(row)).dense());
    if study.nets.iter().any(|net| net.runs.len() > 1) {
        paragraph(html, "Means and standard deviations over the seeds, of the last weights on all test images.");
    }
    let compared = ComparedFigure {
        what: "test accuracy",
        measure: Measure::Difference("points"),
        figure: &|run| run.summary.as_ref().map(|summary| 100.0 * summary.test.accuracy),
    };
    let (sentences, of_pairs) = compared.tell(study);
    sentences.iter().for_each(|sentence| paragraph(html, sentence));
    of_pairs.iter().for_each(|of_pairs| table(html, of_pairs));
}

fn settings(html: &mut String, study: &Study) {
    html.push_str("<h2>Settings</h2>\n");
    let differing = study.differing();
    if differing.is_empty() {
        paragraph(html, "All runs have the same settings, their seeds apart.");
    } else {
        paragraph(html, "The settings in which the nets differ; a dash where a setting means nothing.");
        let head: Vec<String> = [String::from("net")].into_iter().chain(differing.iter().cloned()).collect();
        let value = |net: &NetRuns, name: &String| {
            net.settings.get(name).map_or(NONE.into(), |value| match name.as_str() {
                // The whole checksum says no more.
                "data-sha256" => value.chars().take(8).collect(),
                _ => value.clone(),
            })
        };
        let row = |net: &NetRuns| {
            [net.name.clone()].into_iter().chain(differing.iter().map(|name| value(net, name))).collect()
        };
        let by_net = Table { head, rows: study.nets.iter().map(row).collect() };
        // What is longer runs downward.
        table(html, &if differing.len() > study.nets.len() { by_net.transposed("setting") } else { by_net });
    }
    let shared = study.nets.iter().flat_map(|net| &net.settings).filter(|(name, _)| !differing.contains(name));
    let mut shared: Vec<(&String, &String)> = shared.collect();
    shared.sort();
    shared.dedup();
    let rows = shared.into_iter().map(|(name, value)| [name.clone(), value.clone()]);
    html.push_str("<details><summary>Settings that all share</summary>\n");
    table(html, &Table::new(["setting", "value"], rows));
    html.push_str("</details>\n");
}

fn draw(html: &mut String, study: &Study, figure: &Figure, number: usize) {
    let Figure { name, title, text, drawing, tables, csv } = figure;
    let _ = write!(
        html,
        "<figure id=\"{name}\">\n{}{}<figcaption>\n<p><b>Figure {number}. {}.</b> ",
        drawing.inline(WIDE, "wide", title),
        drawing.inline(NARROW, "narrow", title),
        escape(title),
    );
    let (first, others) = text.split_first().map_or(("", &[][..]), |(first, others)| (first.as_str(), others));
    let _ = writeln!(html, "{}</p>", escape(first));
    others.iter().for_each(|sentence| paragraph(html, sentence));
    tables.iter().for_each(|of_figure| table(html, of_figure));
    let _ = writeln!(
        html,
        "<p class=\"command\">{} <a download=\"{name}.csv\" href=\"data:text/csv;charset=utf-8,{}\">Data as \
         CSV</a></p>\n</figcaption>\n</figure>",
        commands(study),
        percent_encoded(csv),
    );
}

/// Commands that are named at most.
const COMMANDS: usize = 3;

/// Returns the commands that are named, one for each of the first nets, and the number of the
/// others: a net's runs differ in seed and folder, and so do their commands.
fn distinct_commands(study: &Study) -> (Vec<&str>, usize) {
    let mut named = Vec::new();
    for command in study.nets.iter().filter_map(|net| net.runs.iter().find_map(Run::command)) {
        if named.len() < COMMANDS && !named.contains(&command) {
            named.push(command);
        }
    }
    let all: HashSet<&str> = study.runs().filter_map(Run::command).collect();
    let others = all.len() - named.len();
    (named, others)
}

/// What made the runs, as HTML.
fn commands(study: &Study) -> String {
    let (named, others) = distinct_commands(study);
    let named: Vec<String> = named.iter().map(|command| format!("<code>{}</code>", escape(command))).collect();
    match (named.is_empty(), others) {
        (true, _) => "The runs do not say which command made them.".into(),
        (false, 0) => format!("Made by {}.", named.join(", ")),
        (false, others) => {
            format!("Made by {} and {others} more, each in its run\u{2019}s config.toml.", named.join(", "))
        }
    }
}

/// The commands as a line of plain text.
pub fn command_line(study: &Study) -> String {
    let (named, others) = distinct_commands(study);
    match (named.split_first(), others) {
        (None, _) => "The runs do not say which command made them.".into(),
        (Some((one, [])), 0) => format!("Made by {one}"),
        (Some((first, rest)), others) => {
            let commands = counted(rest.len() + others, "other command", "other commands");
            format!("Made by {first} and {commands}, each in its run\u{2019}s config.toml")
        }
    }
}

fn notes(html: &mut String, study: &Study, left_out: &[&str]) {
    html.push_str("<h2>Notes</h2>\n");
    let sentences = left_out.iter().map(|reason| format!("Left out: {reason}")).chain(study.notes.iter().cloned());
    sentences.for_each(|sentence| paragraph(html, &sentence));
    paragraph(
        html,
        "Intervals cover 95 %. p values are corrected for the comparisons within one figure, not for those of all \
         figures together.",
    );
    paragraph(
        html,
        "The runs\u{2019} directories hold all numbers: metrics.jsonl each step and evaluation, timing.jsonl the time \
         of each step. Long curves are thinned for the drawings, the lowest and the highest point of every stretch \
         kept.",
    );
}

fn paragraph(html: &mut String, text: &str) {
    let _ = writeln!(html, "<p>{}</p>", escape(text));
}

fn table(html: &mut String, table: &Table) {
    html.push_str("<div class=\"table\"><table>\n<thead><tr>");
    for name in &table.head {
        let _ = write!(html, "<th>{}</th>", escape(name));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for value in row {
            let _ = write!(html, "<td>{}</td>", escape(value));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
}

/// `text` as it can stand in an address between quotation marks (RFC 3986).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b',' | b':' | b'/' => {
                encoded.push(byte.into());
            }
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn addresses_hold_any_text() {
        assert_eq!(percent_encoded("a,1\n\"ü\" %"), "a,1%0A%22%C3%BC%22%20%25");
    }
}
