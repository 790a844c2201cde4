//! Figures and lists in words.

use super::chart::number;

/// `value` with a sign.
pub fn signed(value: f64, decimals: usize) -> String {
    let text = number(value, decimals);
    if value > 0.0 && text.chars().any(|letter| ('1'..='9').contains(&letter)) { format!("+{text}") } else { text }
}

/// `count` things, which are called `one`, or `many` where there are several.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {many}", number(count as f64, 0)) }
}

/// A p value after Holm's correction for `count` comparisons.
pub fn p_value(corrected: f64, count: usize) -> String {
    let figure = if corrected < 0.001 { "p < 0.001".to_string() } else { format!("p = {corrected:.3}") };
    if count < 2 { figure } else { format!("{figure} after Holm\u{2019}s correction for {count} comparisons") }
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
