//! Small pictures of text: the course of a run, and maps of figures. They need neither colours nor more than ASCII.

use crate::train::{EvalRecord, Event, StepRecord, WhichWeights};

/// The widest picture, and the narrowest that can be read.
const WIDEST: usize = 80;
const NARROWEST: usize = 20;
/// Lines of a chart without its frame.
const HEIGHT: usize = 8;
/// Characters before a chart's plot area.
const MARGIN: usize = 9;

/// Columns of the terminal, or 80 where there is none.
pub fn columns() -> usize {
    terminal_size::terminal_size().map_or(WIDEST, |(width, _)| usize::from(width.0).max(1))
}

/// Columns that a picture may take: those of the terminal, at most 80, and at least 20.
pub fn width() -> usize {
    columns().clamp(NARROWEST, WIDEST)
}

/// Points of a series: steps and values.
type Points = Vec<(u64, f64)>;

/// Loss and accuracy of a run over its steps, in `width` columns: training as `.`, evaluations on the way as `o`.
/// Nothing without two steps.
pub fn of_run(metrics: &[Event<'_>], width: usize) -> Vec<String> {
    let (mut loss, mut accuracy): ([Points; 2], [Points; 2]) = Default::default();
    // Whole tests beside other evaluations stay out, as they would be taken for them.
    let shown = metrics.iter().find_map(|event| match event {
        Event::Eval(EvalRecord { split, weights: WhichWeights::Last, .. }) => Some(*split),
        _ => None,
    });
    for event in metrics {
        let (series, step, of_loss, of_accuracy) = match event {
            Event::Step(StepRecord { step, loss, accuracy, .. }) => (0, *step, *loss, accuracy),
            Event::Eval(EvalRecord { split, weights: WhichWeights::Last, step, loss, accuracy, .. })
                if Some(*split) == shown =>
            {
                (1, *step, *loss, accuracy)
            }
            _ => continue,
        };
        if of_loss.is_finite() {
            loss[series].push((step, of_loss));
        }
        accuracy[series].push((step, 100.0 * of_accuracy));
    }
    let Some(&(last, _)) = accuracy[0].last().filter(|&&(last, _)| last > 1) else { return Vec::new() };
    let evaluated = shown.map_or(String::new(), |split| format!(", o {}", split.name()));
    let mut lines = chart(&format!("loss: . training{evaluated}"), &loss, last, width);
    lines.extend(chart(&format!("accuracy in %: . training{evaluated}"), &accuracy, last, width));
    lines
}

/// One chart with its title, its frame, and the steps from 1 to `last` below it.
fn chart(title: &str, series: &[Points; 2], last: u64, width: usize) -> Vec<String> {
    let columns = width.max(NARROWEST) - MARGIN;
    let column = |step: u64| ((step - 1) as usize * (columns - 1)) / (last - 1).max(1) as usize;
    // A column shows the mean of its points.
    let means = series.each_ref().map(|points| {
        let mut sums = vec![(0.0, 0u32); columns];
        for &(step, value) in points.iter().filter(|(step, value)| (1..=last).contains(step) && value.is_finite()) {
            let (sum, count) = &mut sums[column(step)];
            (*sum, *count) = (*sum + value, *count + 1);
        }
        sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / f64::from(count))).collect::<Vec<_>>()
    });
    let values = || means.iter().flatten().flatten().copied();
    let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low > high {
        return Vec::new();
    }
    let range = if high > low { high - low } else { 1.0 };
    let mut picture = vec![vec![' '; columns]; HEIGHT];
    for (means, glyph) in means.iter().zip(['.', 'o']) {
        for (column, mean) in means.iter().enumerate() {
            let Some(mean) = mean else { continue };
            let row = ((high - mean) / range * (HEIGHT - 1) as f64).round() as usize;
            picture[row.min(HEIGHT - 1)][column] = glyph;
        }
    }
    let label = |row: usize| match row {
        0 => format!("{high:8.3}"),
        _ if row == HEIGHT - 1 => format!("{:8.3}", high - range),
        _ => " ".repeat(MARGIN - 1),
    };
    let mut lines = vec![title.chars().take(width).collect()];
    lines.extend(picture.into_iter().enumerate().map(|(row, glyphs)| {
        let glyphs: String = glyphs.into_iter().collect();
        format!("{}|{glyphs}", label(row)).trim_end().to_string()
    }));
    let axis = format!("{}+{}", " ".repeat(MARGIN - 1), "-".repeat(columns));
    let steps = format!("step {last}");
    lines.extend([axis, format!("{}1{steps:>rest$}", " ".repeat(MARGIN), rest = columns - 1)]);
    lines
}

/// Shades from the lowest value to the highest.
const SHADES: &[u8] = b".:-=+*#%@";

/// The shade of `value` between `low` and `high`.
pub fn shade(value: f64, low: f64, high: f64) -> char {
    let share = if high > low { (value - low) / (high - low) } else { 1.0 };
    SHADES[(share.clamp(0.0, 1.0) * (SHADES.len() - 1) as f64).round() as usize].into()
}

/// `text` on a ground between blue (low) and yellow (high) of the 256 colours, legible on both.
pub fn coloured(text: &str, value: f64, low: f64, high: f64) -> String {
    const GROUNDS: [u8; 7] = [18, 25, 31, 37, 71, 143, 220];
    let share = if high > low { (value - low) / (high - low) } else { 1.0 };
    let ground = GROUNDS[(share.clamp(0.0, 1.0) * (GROUNDS.len() - 1) as f64).round() as usize];
    let ink = if ground > 100 { 16 } else { 231 };
    format!("\x1b[38;5;{ink};48;5;{ground}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Gates;
    use crate::train::EvalSplit;

    fn run(steps: u64) -> Vec<Event<'static>> {
        let train = |step: u64| {
            Event::Step(StepRecord {
                step,
                epoch: 0,
                loss: if step == 3 { f64::NAN } else { 3.0 / step as f64 },
                accuracy: step as f64 / steps as f64,
                lr: 0.1,
                gates: Gates::all(2),
                left_out: false,
                first_gradient: None,
            })
        };
        let evaluation = |split, step, accuracy| {
            Event::Eval(EvalRecord { split, step, weights: WhichWeights::Last, loss: 0.5, accuracy, images: 4 })
        };
        let mut metrics: Vec<Event<'_>> = (1..=steps).map(train).collect();
        metrics.push(evaluation(EvalSplit::Validation, steps, 0.5));
        metrics.push(evaluation(EvalSplit::Test, steps, 0.125));
        metrics
    }

    #[test]
    fn a_chart_fits_its_width_and_shows_where_a_run_began_and_ended() {
        for width in [20, 33, 80] {
            let lines = of_run(&run(100), width);
            assert_eq!(lines.len(), 2 * (HEIGHT + 3));
            assert!(lines.iter().all(|line| line.is_ascii() && line.len() <= width), "{lines:#?}");
            let [first, last] = [&lines[1], &lines[HEIGHT]];
            assert!(first[8..].starts_with("|."), "the loss begins at the top: {lines:#?}");
            assert!(last.starts_with("   0.0") && last.ends_with('.') && last.len() == width, "{lines:#?}");
            let accuracy = &lines[HEIGHT + 3..];
            assert!(accuracy[1].starts_with(" 100.000|") || accuracy[1].starts_with("  9"), "{accuracy:#?}");
            // 50 % of the last column: an evaluation hides no training, which is at the top.
            assert_eq!(accuracy.iter().filter(|line| line.ends_with('o')).count(), 1, "{accuracy:#?}");
        }
        assert!(of_run(&run(100), 80)[0].ends_with("o validation"));
    }

    #[test]
    fn a_run_of_one_step_or_none_has_no_chart() {
        assert!(of_run(&run(1), 80).is_empty() && of_run(&[], 80).is_empty());
        assert!(!of_run(&run(2), 20).is_empty());
    }

    #[test]
    fn shades_grow_darker() {
        let shades: String = (0..=8).map(|x| shade(f64::from(x), 0.0, 8.0)).collect();
        assert_eq!(shades.as_bytes(), SHADES);
        assert_eq!(shade(1.0, 1.0, 1.0), '@');
    }
}
