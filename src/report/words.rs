//! Figures in words: every difference with its interval.

use super::chart::number;
use super::estimate::Estimate;
use super::paired::RUNS_FOR_A_CLAIM;
use super::study::Pair;

/// `value` with a sign.
pub fn signed(value: f64, decimals: usize) -> String {
    let text = number(value, decimals);
    if value > 0.0 && text.chars().any(|letter| ('1'..='9').contains(&letter)) { format!("+{text}") } else { text }
}

/// How the nets of `pair` differ in `what`, a figure in `unit` of which `estimate` is the mean difference over `seeds`.
pub fn difference(pair: &Pair, what: &str, unit: &str, estimate: Option<Estimate>, seeds: usize) -> String {
    let names = format!("{} \u{2212} {}", pair.stochastic.name, pair.plain.name);
    let Some(Estimate { value, low, high, .. }) = estimate else {
        let reason = match seeds {
            0 => "no seed that both nets have a figure of".to_string(),
            _ => "one seed gives no interval".into(),
        };
        return format!("{names}: nothing can be said about {what}, as {reason}.");
    };
    let decimals = if (high - low).abs() < 0.1 { 3 } else { 2 };
    let [value_text, low_text, high_text] = [value, low, high].map(|figure| signed(figure, decimals));
    let verdict = match (low > 0.0, high < 0.0) {
        (true, _) => "larger with stochastic depth",
        (_, true) => "smaller with stochastic depth",
        _ => "no difference is shown",
    };
    let few = match seeds < RUNS_FOR_A_CLAIM {
        true => format!(" A claim about the nets needs {RUNS_FOR_A_CLAIM} seeds or more."),
        false => String::new(),
    };
    format!(
        "{names}: {value_text} {unit} of {what}, 95 % interval {low_text} to {high_text} (paired t, {seeds} seeds): \
         {verdict}.{few}"
    )
}

/// `count` things, which are called `one`, or `many` where there are several.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {many}", number(count as f64, 0)) }
}

/// `items` in a row, with `and` before the last.
pub fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_signs_and_lists_an_and() {
        assert_eq!([signed(0.5, 1), signed(-0.5, 1), signed(0.001, 1)], ["+0.5", "\u{2212}0.5", "0.0"]);
        assert_eq!(listed(&["a", "b", "c"].map(String::from)), "a, b and c");
        assert_eq!([counted(1, "run", "runs"), counted(1200, "run", "runs")], ["1 run", "1,200 runs"]);
    }
}
