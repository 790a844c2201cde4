//! Axes: from values to places, with round ticks.

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithms; values that are not above 0 are left out.
    Log,
}

/// Where an axis begins and ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ends {
    /// At round numbers around the values.
    Round,
    /// At the values' own ends.
    Tight,
    /// There.
    Fixed(f64, f64),
}

/// An axis before its values are known.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// How.
    pub scale: Scale,
    /// From where to where.
    pub ends: Ends,
    /// Whether ticks between whole numbers make no sense.
    pub whole: bool,
}

impl Axis {
    /// Linear, with round ends.
    pub fn round(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear, ends: Ends::Round, whole: false }
    }

    /// Linear, as long as its values.
    pub fn tight(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear, ends: Ends::Tight, whole: false }
    }

    /// Logarithmic, with round ends.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Log, ends: Ends::Round, whole: false }
    }

    /// Linear, from `low` to `high`.
    pub fn fixed(label: impl Into<String>, low: f64, high: f64) -> Self {
        Self { label: label.into(), scale: Scale::Linear, ends: Ends::Fixed(low, high), whole: false }
    }

    /// The same, of whole numbers.
    pub fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    /// Fits the axis around `values`, with about `count` ticks; `None` if none of them can be shown.
    pub fn fit(&self, values: impl Iterator<Item = f64>, count: usize) -> Option<Fitted> {
        let shown = values.filter(|value| value.is_finite() && (self.scale == Scale::Linear || *value > 0.0));
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            return None;
        }
        Some(match (self.scale, self.ends) {
            (Scale::Log, _) => log_axis(low, high),
            (Scale::Linear, Ends::Fixed(low, high)) => self.linear(low, high, count),
            (Scale::Linear, _) => {
                // A flat line has room above and below it.
                let room = if high > low { 0.0 } else { 0.05 * low.abs().max(1e-3) };
                self.linear(low - room, high + room, count)
            }
        })
    }

    fn linear(&self, low: f64, high: f64, count: usize) -> Fitted {
        let step = round_step((high - low) / count.max(1) as f64).max(if self.whole { 1.0 } else { 0.0 });
        let slack = 1e-9;
        let round = self.ends == Ends::Round;
        let (first, last) = match round {
            true => ((low / step + slack).floor(), (high / step - slack).ceil()),
            false => ((low / step - slack).ceil(), (high / step + slack).floor()),
        };
        let decimals = (-step.log10() - slack).ceil().clamp(0.0, 12.0) as usize;
        let at = |index: i64| (first + index as f64) * step;
        let ticks: Vec<(f64, String)> = (0..=(last - first).clamp(0.0, 100.0) as i64)
            .map(|index| (at(index), number(at(index), decimals)))
            .collect();
        let (low, high) = if round { (first * step, last * step) } else { (low, high) };
        Fitted { low, high, scale: Scale::Linear, ticks }
    }
}

/// An axis between two ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    low: f64,
    high: f64,
    scale: Scale,
    /// Values with their names.
    pub ticks: Vec<(f64, String)>,
}

impl Fitted {
    /// Where `value` is, from 0 at the low end to 1 at the high one; `None` where it can't be shown.
    pub fn share(&self, value: f64) -> Option<f64> {
        let place = |value: f64| if self.scale == Scale::Log { value.log10() } else { value };
        let share = (place(value) - place(self.low)) / (place(self.high) - place(self.low));
        share.is_finite().then(|| share.clamp(0.0, 1.0))
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    power * factors.into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9)).unwrap_or(10.0)
}

fn log_axis(low: f64, high: f64) -> Fitted {
    let high = if high > low { high } else { 2.0 * low };
    let decades = high.log10() - low.log10();
    // Few decades have ticks within them.
    let factors: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let every = ((last - first) / 6).max(1) as usize;
    let all: Vec<(f64, String)> = (first..=last)
        .step_by(every)
        .flat_map(|power| factors.iter().map(move |&factor| (factor * 10f64.powi(power), log_name(factor, power))))
        .collect();
    let slack = 1.0 + 1e-9;
    let below = all.iter().rev().find(|(at, _)| *at <= low * slack).map_or(low, |(at, _)| *at);
    let above = all.iter().find(|(at, _)| *at * slack >= high).map_or(high, |(at, _)| *at);
    let ticks = all.into_iter().filter(|(at, _)| *at >= below / slack && *at <= above * slack).collect();
    Fitted { low: below, high: above, scale: Scale::Log, ticks }
}

fn log_name(factor: f64, power: i32) -> String {
    if (-3..=3).contains(&power) {
        return number(factor * 10f64.powi(power), (-power).max(0) as usize);
    }
    let digit = |letter: char| match letter {
        '-' => '\u{207b}',
        '1' => '\u{b9}',
        '2' => '\u{b2}',
        '3' => '\u{b3}',
        digit => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    };
    let power: String = power.to_string().chars().map(digit).collect();
    if factor == 1.0 { format!("10{power}") } else { format!("{factor}\u{b7}10{power}") }
}

/// `value` with `decimals`, a true minus and commas between thousands.
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let is_zero = !text.chars().any(|letter| ('1'..='9').contains(&letter));
    let sign = if value < 0.0 && !is_zero { "\u{2212}" } else { "" };
    format!("{sign}{grouped}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis, values: &[f64], count: usize) -> String {
        let fitted = axis.fit(values.iter().copied(), count).expect("values to show");
        fitted.ticks.into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ticks_are_round() {
        let round = Axis::round("");
        assert_eq!(names(&round, &[97.2, 98.9], 4), "97.0 97.5 98.0 98.5 99.0");
        assert_eq!(names(&round, &[-3.0, 12.0], 4), "\u{2212}5 0 5 10 15");
        assert_eq!(names(&round, &[0.0, 1.0], 5), "0.0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(names(&Axis::tight(""), &[1.0, 1718.0], 5), "500 1,000 1,500");
        assert_eq!(names(&Axis::fixed("", 0.0, 100.0), &[3.0], 5), "0 20 40 60 80 100");
        assert_eq!(names(&Axis::tight("").whole(), &[1.0, 3.0], 7), "1 2 3");
        assert_eq!(names(&Axis::log(""), &[3e-5, 0.02], 5), "10\u{207b}\u{2075} 10\u{207b}\u{2074} 0.001 0.01 0.1");
        assert_eq!(names(&Axis::log(""), &[0.15, 3.0], 5), "0.1 0.2 0.5 1 2 5");
    }

    #[test]
    fn values_lie_between_the_ends() {
        for axis in [Axis::round(""), Axis::tight(""), Axis::log("")] {
            for values in [[1.0, 1.0], [0.5, 700.0], [3.0, 3.000_001]] {
                let fitted = axis.fit(values.into_iter(), 5).expect("values to show");
                let [first, last] = values.map(|value| fitted.share(value).expect("a place"));
                assert!((0.0..=1.0).contains(&first) && first <= last && last <= 1.0, "{axis:?} {values:?}");
                assert!(!fitted.ticks.is_empty() && fitted.ticks.len() < 12, "{axis:?} {values:?} {fitted:?}");
            }
        }
        assert_eq!(Axis::log("").fit([0.0, -1.0, f64::NAN].into_iter(), 5), None);
        assert_eq!(Axis::round("").fit([].into_iter(), 5), None);
    }
}
