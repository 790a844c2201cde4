//! Figures and lists in words.

use super::chart::number;

/// `value` with a sign.
pub fn signed(value: f64, decimals: usize) -> String {
    let text = number(value, decimals);
    if value > 0.0 && text.chars().any(|letter| ('1'..='9').contains(&letter)) { format!("+{text}") } else { text }
}

/// `text` with true minus signs before its numbers.
pub fn typeset(text: &str) -> String {
    let mut set = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        let is_minus = letter == '-' && !before.is_alphanumeric() && letters.peek().is_some_and(char::is_ascii_digit);
        set.push(if is_minus { '\u{2212}' } else { letter });
        before = letter;
    }
    set
}

/// Seeds, those in a row by the first and the last.
pub fn seeds(all: impl Iterator<Item = u64>) -> String {
    let mut rows: Vec<(u64, u64)> = Vec::new();
    for seed in all {
        match rows.last_mut().filter(|(_, last)| last.checked_add(1) == Some(seed)) {
            Some((_, last)) => *last = seed,
            None => rows.push((seed, seed)),
        }
    }
    let text = |&(first, last): &(u64, u64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}\u{2013}{last}"),
    };
    rows.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// `text` as a sentence begins.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
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
        assert_eq!(typeset("from -0.5 to +1, bit-wise (-3)"), "from \u{2212}0.5 to +1, bit-wise (\u{2212}3)");
        assert_eq!(seeds([0, 1, 2, 5, 7, 8].into_iter()), "0\u{2013}2, 5, 7, 8");
        assert_eq!(capitalised("test error"), "Test error");
        assert_eq!([counted(1, "run", "runs"), counted(1200, "run", "runs")], ["1 run", "1,200 runs"]);
    }
}
