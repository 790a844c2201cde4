//! Lines, bands and points between two axes.

use super::axis::{Axis, Fitted};
use super::svg::{Anchor, Svg, text_width};
use super::{MUTED, series_class, thin};

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// What the figure is about.
    Strong,
    /// What lies behind it.
    Faint,
    /// What was intended, or is there to compare.
    Dashed,
}

/// A point, and the interval around it if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// From where to where.
    pub interval: Option<(f64, f64)>,
}

/// Something drawn between the axes, in the colour of a series.
#[derive(Clone, Debug)]
pub enum Layer {
    /// A line through points.
    Line {
        /// Which series.
        series: usize,
        /// How.
        stroke: Stroke,
        /// In the order of x.
        points: Vec<(f64, f64)>,
    },
    /// An area from the second number of each point to the third.
    Band {
        /// Which series.
        series: usize,
        /// In the order of x.
        points: Vec<(f64, f64, f64)>,
    },
    /// Points.
    Points {
        /// Which series.
        series: usize,
        /// In the order of x.
        points: Vec<Point>,
    },
}

/// Layers between two axes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above it; may be empty.
    pub title: String,
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// The first is the lowest.
    pub layers: Vec<Layer>,
}

/// Space above the plot area for a title and for the name of the y axis, and below it.
const TITLE: f64 = 18.0;
const HEAD: f64 = 26.0;
const FOOT: f64 = 40.0;
/// Space to the right, for half of the last tick's name.
const RIGHT: f64 = 14.0;
/// Between a tick's name and the plot area.
const GAP: f64 = 8.0;
/// Pixels between two points of a line, below which it is thinned.
const CLOSEST: f64 = 0.75;

impl Plot {
    /// Height at `width`.
    pub fn height(&self, width: f64) -> f64 {
        self.head() + FOOT + (0.5 * width).clamp(170.0, 230.0)
    }

    fn head(&self) -> f64 {
        if self.title.is_empty() { HEAD } else { TITLE + HEAD }
    }

    /// Draws it `width` wide.
    pub fn draw(&self, svg: &mut Svg, width: f64) {
        let height = self.height(width);
        if !self.title.is_empty() {
            svg.text((0.0, 13.0), Anchor::Start, "panel", &self.title);
        }
        let (xs, ys) = (self.values(|(x, _)| x), self.values(|(_, y)| y));
        let (Some(y), Some(x)) = (
            self.y.fit(ys.into_iter(), if height > 260.0 { 5 } else { 4 }),
            self.x.fit(xs.into_iter(), if width > 400.0 { 7 } else { 4 }),
        ) else {
            svg.text((0.0, self.head()), Anchor::Start, MUTED, "nothing to show");
            return;
        };
        let left = y.ticks.iter().map(|(_, name)| text_width(name)).fold(0.0, f64::max) + GAP;
        let last = x.ticks.last().map_or(0.0, |(_, name)| text_width(name) / 2.0);
        let area = Area { left, right: width - RIGHT.max(last), top: self.head(), bottom: height - FOOT, x, y };
        area.axes(svg, self);
        self.layers.iter().for_each(|layer| area.layer(svg, layer));
    }

    /// One coordinate of everything shown.
    fn values(&self, coordinate: fn((f64, f64)) -> f64) -> Vec<f64> {
        let of_layer = |layer: &Layer| -> Vec<f64> {
            match layer {
                Layer::Line { points, .. } => points.iter().map(|&point| coordinate(point)).collect(),
                Layer::Band { points, .. } => {
                    points.iter().flat_map(|&(x, low, high)| [(x, low), (x, high)].map(coordinate)).collect()
                }
                Layer::Points { points, .. } => {
                    let ends = |point: &Point| {
                        let (low, high) = point.interval.unwrap_or((point.y, point.y));
                        [low, point.y, high].map(|y| coordinate((point.x, y)))
                    };
                    points.iter().flat_map(ends).collect()
                }
            }
        };
        self.layers.iter().flat_map(of_layer).collect()
    }
}

/// The area between the axes.
struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Fitted,
    y: Fitted,
}

impl Area {
    fn across(&self, value: f64) -> Option<f64> {
        self.x.share(value).map(|share| self.left + share * (self.right - self.left))
    }

    fn up(&self, value: f64) -> Option<f64> {
        self.y.share(value).map(|share| self.bottom - share * (self.bottom - self.top))
    }

    fn place(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        Some((self.across(x)?, self.up(y)?))
    }

    fn axes(&self, svg: &mut Svg, plot: &Plot) {
        svg.text((0.0, self.top - 14.0), Anchor::Start, MUTED, &plot.y.label);
        for (value, name) in &self.y.ticks {
            if let Some(y) = self.up(*value) {
                svg.line("grid", &[(self.left, y), (self.right, y)]);
                svg.text((self.left - GAP, y + 4.0), Anchor::End, MUTED, name);
            }
        }
        svg.line("axis", &[(self.left, self.bottom), (self.right, self.bottom)]);
        for (value, name) in &self.x.ticks {
            if let Some(x) = self.across(*value) {
                svg.line("axis", &[(x, self.bottom), (x, self.bottom + 4.0)]);
                svg.text((x, self.bottom + 17.0), Anchor::Middle, MUTED, name);
            }
        }
        svg.text((self.right, self.bottom + 34.0), Anchor::End, MUTED, &plot.x.label);
    }

    /// As many points as can be told apart.
    fn most_points(&self) -> usize {
        ((self.right - self.left) / CLOSEST) as usize
    }

    fn layer(&self, svg: &mut Svg, layer: &Layer) {
        match layer {
            Layer::Line { series, stroke, points } => {
                let kind = match stroke {
                    Stroke::Strong => "line",
                    Stroke::Faint => "line faint",
                    Stroke::Dashed => "line dashed",
                };
                let points: Vec<(f64, f64)> = points.iter().filter_map(|&point| self.place(point)).collect();
                svg.line(&format!("{kind} {}", series_class(*series)), &thin(&points, self.most_points()));
            }
            Layer::Band { series, points } => {
                let edge = |of: fn(&(f64, f64, f64)) -> f64| {
                    let placed: Vec<_> = points.iter().filter_map(|point| self.place((point.0, of(point)))).collect();
                    thin(&placed, self.most_points() / 2)
                };
                let (low, high) = (edge(|point| point.1), edge(|point| point.2));
                let around: Vec<(f64, f64)> = high.into_iter().chain(low.into_iter().rev()).collect();
                svg.area(&format!("band {}", series_class(*series)), &around);
            }
            Layer::Points { series, points } => {
                for point in points {
                    let Some((x, y)) = self.place((point.x, point.y)) else { continue };
                    let ends = point.interval.and_then(|(low, high)| Some((self.up(low)?, self.up(high)?)));
                    if let Some((low, high)) = ends {
                        svg.line(&format!("whisker {}", series_class(*series)), &[(x, low), (x, high)]);
                    }
                    svg.circle(&format!("dot {}", series_class(*series)), (x, y), 3.0);
                }
            }
        }
    }
}
