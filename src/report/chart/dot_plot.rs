//! Named lines with marks on them, above one axis: shares and differences with their intervals.

use super::axis::Axis;
use super::svg::{Anchor, Svg};
use super::{MUTED, series_class};

/// How a mark looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// What was measured.
    Dot,
    /// What was promised.
    Ring,
    /// What is there to compare.
    Tick,
}

/// A mark on a line.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Where.
    pub at: f64,
    /// From where to where, if there is an interval.
    pub interval: Option<(f64, f64)>,
    /// How it looks.
    pub marker: Marker,
    /// In which colour.
    pub series: usize,
}

/// Named rows of marks above one axis.
#[derive(Clone, Debug)]
pub struct DotPlot {
    /// Above them; may be empty.
    pub title: String,
    /// The axis that all rows share.
    pub x: Axis,
    /// Name and marks of each.
    pub rows: Vec<(String, Vec<Mark>)>,
}

const HEAD: f64 = 24.0;
const FOOT: f64 = 40.0;
/// Height of a row, its name included.
const ROW: f64 = 38.0;
/// Space on both sides.
const SIDE: f64 = 16.0;

impl DotPlot {
    /// Height at any width.
    pub fn height(&self) -> f64 {
        HEAD + FOOT + ROW * self.rows.len() as f64
    }

    /// Draws them `width` wide.
    pub fn draw(&self, svg: &mut Svg, width: f64) {
        if !self.title.is_empty() {
            svg.text((0.0, 13.0), Anchor::Start, "panel", &self.title);
        }
        let ends = |mark: &Mark| {
            let (low, high) = mark.interval.unwrap_or((mark.at, mark.at));
            [low, mark.at, high]
        };
        let values = self.rows.iter().flat_map(|(_, marks)| marks.iter().flat_map(ends));
        let Some(axis) = self.x.fit(values, if width > 400.0 { 7 } else { 4 }) else {
            svg.text((0.0, HEAD + 14.0), Anchor::Start, MUTED, "nothing to show");
            return;
        };
        let (left, right) = (SIDE, width - SIDE);
        let across = |value: f64| axis.share(value).map(|share| left + share * (right - left));
        let bottom = HEAD + ROW * self.rows.len() as f64;
        for (value, name) in &axis.ticks {
            let Some(x) = across(*value) else { continue };
            svg.line("grid", &[(x, HEAD), (x, bottom)]);
            svg.text((x, bottom + 17.0), Anchor::Middle, MUTED, name);
        }
        svg.line("axis", &[(left, bottom), (right, bottom)]);
        svg.text((right, bottom + 34.0), Anchor::End, MUTED, &self.x.label);
        for (index, (name, marks)) in self.rows.iter().enumerate() {
            let top = HEAD + ROW * index as f64;
            let y = top + 26.0;
            svg.text((left, top + 13.0), Anchor::Start, "halo", name);
            svg.line("grid", &[(left, y), (right, y)]);
            for mark in marks {
                let class = series_class(mark.series);
                let ends = mark.interval.and_then(|(low, high)| Some((across(low)?, across(high)?)));
                if let Some((low, high)) = ends {
                    svg.line(&format!("whisker {class}"), &[(low, y), (high, y)]);
                }
                let Some(x) = across(mark.at) else { continue };
                match mark.marker {
                    Marker::Dot => svg.circle(&format!("dot {class}"), (x, y), 4.5),
                    Marker::Ring => svg.circle(&format!("ring {class}"), (x, y), 4.5),
                    Marker::Tick => svg.line(&format!("tick {class}"), &[(x, y - 7.0), (x, y + 7.0)]),
                }
            }
        }
    }
}
