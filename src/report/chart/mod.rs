//! Charts of our own, as SVG: calm, readable in print and on a phone, in light and in dark.
//!
//! A [`Drawing`] is made of panels. Its SVG exists in two widths, [`WIDE`] and [`NARROW`]; a page shows the one that
//! fits. Shapes carry classes, and [`STYLE`] says what these look like.

mod axis;
mod bar_code;
mod dot_plot;
mod gallery;
mod heat_map;
mod plot;
mod svg;

pub use axis::{Axis, number};
pub use bar_code::BarCode;
pub use dot_plot::{DotPlot, Mark, Marker};
pub use gallery::{Gallery, Picture};
pub use heat_map::{Cell, HeatMap};
pub use plot::{Layer, Plot, Point, Stroke};
pub use svg::escape;

use svg::{Anchor, Coordinate, Svg, text_width};

/// Width of a drawing on a desk, in pixels.
pub const WIDE: f64 = 920.0;
/// Width of a drawing on a phone, in pixels.
pub const NARROW: f64 = 360.0;

/// Number of colours: series of higher numbers take the first ones again.
pub const COLOURS: usize = 8;

/// What classes look like. The colours can be told apart by the colour-blind (after Paul Tol's "bright" scheme,
/// <https://personal.sron.nl/~pault/>), and have a contrast of at least 3 to the ground in both modes.
pub const STYLE: &str = "\
:root{--paper:#fdfdfc;--ink:#1d2126;--muted:#626a73;--rule:#e3e5e7;--ground:#f0f1f2;\
--c0:#3a6ea5;--c1:#c8553d;--c2:#2b8a5f;--c3:#8a5a9e;--c4:#94740f;--c5:#1d8296;--c6:#b3478a;--c7:#66707a}\
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e4e6e8;--muted:#9aa3ac;--rule:#2c3137;--ground:#1f2328;\
--c0:#79aee0;--c1:#f08a70;--c2:#5fc493;--c3:#c094d6;--c4:#d3b04b;--c5:#5cc0d3;--c6:#e583bd;--c7:#a7b0b9}}\
svg text{font:12px system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif;fill:var(--ink);\
font-variant-numeric:tabular-nums}\
svg .muted{fill:var(--muted)}svg .panel{font-weight:600}svg .title{font-size:15px;font-weight:600}\
svg .in{font-size:11px}svg .on{font-size:11px;fill:var(--paper)}\
svg .halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px}\
.grid,.axis{fill:none;stroke:var(--rule)}.axis{stroke:var(--muted)}.ground{fill:var(--ground)}\
.line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}.faint{stroke-width:.8;stroke-opacity:.38}\
.dashed{stroke-width:1.4;stroke-dasharray:5 4;stroke-linecap:butt}\
.band{stroke:none;fill-opacity:.17}.dot{stroke:var(--paper);stroke-width:1.2}.ring{stroke-width:1.8}\
.whisker,.tick{fill:none;stroke-width:1.6}.tick{stroke-width:2.4}.bars{fill:none}\
.picture{image-rendering:pixelated}\
.line.c0,.whisker.c0,.tick.c0,.ring.c0,.bars.c0{stroke:var(--c0)}.band.c0,.dot.c0,.cell.c0,.swatch.c0{fill:var(--c0)}\
.line.c1,.whisker.c1,.tick.c1,.ring.c1,.bars.c1{stroke:var(--c1)}.band.c1,.dot.c1,.cell.c1,.swatch.c1{fill:var(--c1)}\
.line.c2,.whisker.c2,.tick.c2,.ring.c2,.bars.c2{stroke:var(--c2)}.band.c2,.dot.c2,.cell.c2,.swatch.c2{fill:var(--c2)}\
.line.c3,.whisker.c3,.tick.c3,.ring.c3,.bars.c3{stroke:var(--c3)}.band.c3,.dot.c3,.cell.c3,.swatch.c3{fill:var(--c3)}\
.line.c4,.whisker.c4,.tick.c4,.ring.c4,.bars.c4{stroke:var(--c4)}.band.c4,.dot.c4,.cell.c4,.swatch.c4{fill:var(--c4)}\
.line.c5,.whisker.c5,.tick.c5,.ring.c5,.bars.c5{stroke:var(--c5)}.band.c5,.dot.c5,.cell.c5,.swatch.c5{fill:var(--c5)}\
.line.c6,.whisker.c6,.tick.c6,.ring.c6,.bars.c6{stroke:var(--c6)}.band.c6,.dot.c6,.cell.c6,.swatch.c6{fill:var(--c6)}\
.line.c7,.whisker.c7,.tick.c7,.ring.c7,.bars.c7{stroke:var(--c7)}.band.c7,.dot.c7,.cell.c7,.swatch.c7{fill:var(--c7)}\
.ring{fill:var(--paper)}";

/// Class of names that stand back.
const MUTED: &str = "muted";

fn series_class(series: usize) -> &'static str {
    ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"][series % COLOURS]
}

/// A part of a drawing.
#[derive(Clone, Debug)]
pub enum Panel {
    /// Lines, bands and points.
    Plot(Plot),
    /// A heat map or a confusion matrix.
    HeatMap(HeatMap),
    /// Gates, step by step.
    BarCode(BarCode),
    /// Marks on named lines.
    DotPlot(DotPlot),
    /// Pictures.
    Gallery(Gallery),
}

impl Panel {
    fn height(&self, width: f64) -> f64 {
        match self {
            Self::Plot(plot) => plot.height(width),
            Self::HeatMap(map) => map.height(width),
            Self::BarCode(code) => code.height(),
            Self::DotPlot(plot) => plot.height(),
            Self::Gallery(gallery) => gallery.height(width),
        }
    }

    /// Whether it takes a whole row.
    fn is_wide(&self) -> bool {
        matches!(self, Self::BarCode(_) | Self::Gallery(_))
    }

    fn draw(&self, svg: &mut Svg, width: f64) {
        match self {
            Self::Plot(plot) => plot.draw(svg, width),
            Self::HeatMap(map) => map.draw(svg, width),
            Self::BarCode(code) => code.draw(svg, width),
            Self::DotPlot(plot) => plot.draw(svg, width),
            Self::Gallery(gallery) => gallery.draw(svg, width),
        }
    }
}

/// What a sign means.
#[derive(Clone, Debug)]
pub struct Key {
    /// In which colour.
    pub series: usize,
    /// Its shape.
    pub sign: Sign,
    /// What it means.
    pub name: String,
}

/// Signs of a legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A net's colour.
    Swatch,
    /// A line.
    Line(Stroke),
    /// A mark.
    Mark(Marker),
}

/// Panels under one legend.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// May be empty.
    pub legend: Vec<Key>,
    /// In reading order.
    pub panels: Vec<Panel>,
}

/// Between panels.
const GUTTER: (f64, f64) = (40.0, 18.0);
/// Height of a line of the legend.
const LEGEND_LINE: f64 = 22.0;
/// From this width on, panels stand beside each other.
const TWO_COLUMNS: f64 = 640.0;

impl Drawing {
    /// As an `<svg>` for a page that has [`STYLE`], `width` wide; `class` is the element's, `name` says what it shows.
    pub fn inline(&self, width: f64, class: &str, name: &str) -> String {
        let (shapes, height) = self.shapes(width);
        let (width, height, name) = (Coordinate(width), Coordinate(height), escape(name));
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{name}\">\n\
             {shapes}</svg>\n"
        )
    }

    /// As a file of its own, with a title above it and `below` it.
    pub fn file(&self, title: &str, below: &str) -> String {
        const SIDE: f64 = 20.0;
        const HEAD: f64 = 44.0;
        const FOOT: f64 = 12.0;
        const LINE: f64 = 18.0;
        // Letters below the drawing that surely fit.
        const LETTERS: usize = 125;
        let (shapes, height) = self.shapes(WIDE);
        let lines = wrapped(below, LETTERS);
        let mut baseline = HEAD + height + LINE;
        let (width, height) = (WIDE + 2.0 * SIDE, HEAD + height + FOOT + LINE * lines.len() as f64);
        let mut texts = Svg::default();
        texts.text((SIDE, 28.0), Anchor::Start, "title", title);
        for line in &lines {
            texts.text((SIDE, baseline), Anchor::Start, MUTED, line);
            baseline += LINE;
        }
        let (texts, title) = (texts.into_text(), escape(title));
        let (width, height) = (Coordinate(width), Coordinate(height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect width=\"{width}\" height=\"{height}\" style=\"fill:var(--paper)\"/>\n{texts}\
             <g transform=\"translate({SIDE} {HEAD})\">\n{shapes}</g>\n</svg>\n"
        )
    }

    /// Everything, and the height that it takes.
    fn shapes(&self, width: f64) -> (String, f64) {
        let mut svg = Svg::default();
        let mut y = self.draw_legend(&mut svg, width);
        let half = (width - GUTTER.0) / 2.0;
        let mut rest = self.panels.as_slice();
        while let [first, behind @ ..] = rest {
            let second = behind.first().filter(|_| width >= TWO_COLUMNS).filter(|second| !second.is_wide());
            match second.filter(|_| !first.is_wide()) {
                Some(second) => {
                    svg.moved((0.0, y), |svg| first.draw(svg, half));
                    svg.moved((half + GUTTER.0, y), |svg| second.draw(svg, half));
                    y += first.height(half).max(second.height(half)) + GUTTER.1;
                    rest = &behind[1..];
                }
                None => {
                    svg.moved((0.0, y), |svg| first.draw(svg, width));
                    y += first.height(width) + GUTTER.1;
                    rest = behind;
                }
            }
        }
        (svg.into_text(), y - GUTTER.1)
    }

    /// Draws the legend in lines as wide as `width`; says where it ends.
    fn draw_legend(&self, svg: &mut Svg, width: f64) -> f64 {
        const SIGN: f64 = 26.0;
        const BETWEEN: f64 = 20.0;
        if self.legend.is_empty() {
            return 0.0;
        }
        let (mut x, mut y) = (0.0, 0.0);
        for Key { series, sign, name } in &self.legend {
            let wide = SIGN + text_width(name) + BETWEEN;
            if x > 0.0 && x + wide > width {
                (x, y) = (0.0, y + LEGEND_LINE);
            }
            let (class, middle) = (series_class(*series), y + 9.0);
            match sign {
                Sign::Swatch => svg.rectangle(&format!("swatch {class}"), (x, y + 3.0), (18.0, 12.0), 1.0),
                Sign::Line(stroke) => {
                    let kind = match stroke {
                        Stroke::Strong => "line",
                        Stroke::Faint => "line faint",
                        Stroke::Dashed => "line dashed",
                    };
                    svg.line(&format!("{kind} {class}"), &[(x, middle), (x + 18.0, middle)]);
                }
                Sign::Mark(Marker::Dot) => svg.circle(&format!("dot {class}"), (x + 9.0, middle), 4.5),
                Sign::Mark(Marker::Ring) => svg.circle(&format!("ring {class}"), (x + 9.0, middle), 4.5),
                Sign::Mark(Marker::Tick) => {
                    svg.line(&format!("tick {class}"), &[(x + 9.0, middle - 7.0), (x + 9.0, middle + 7.0)]);
                }
            }
            svg.text((x + SIGN, y + 13.0), Anchor::Start, "", name);
            x += wide;
        }
        y + LEGEND_LINE + 10.0
    }
}

/// At most about `most` of `points`, in their order: of each stretch the lowest and the highest, so that no peak is
/// lost, and the ends.
pub fn thin(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let stretches = (most / 2).max(1);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    if points.len() <= most.max(2) {
        return points.to_vec();
    }
    let mut kept = vec![*first];
    for stretch in points[1..points.len() - 1].chunks(points.len().div_ceil(stretches)) {
        let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let ends = [stretch.iter().min_by(by_height), stretch.iter().max_by(by_height)];
        let mut ends: Vec<(f64, f64)> = ends.into_iter().flatten().copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.dedup();
        kept.extend(ends);
    }
    kept.push(*last);
    kept
}

/// `text` in lines of at most `letters`, but for words that are longer.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= letters) {
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("a bc def ghijkl m", 6), ["a bc", "def", "ghijkl", "m"]);
        assert_eq!(wrapped("a bc", 4), ["a bc"]);
        assert_eq!(wrapped("abcdefgh", 4), ["abcdefgh"]);
    }
}
