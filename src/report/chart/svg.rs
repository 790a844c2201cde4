//! SVG, written as text. What a shape looks like is said by classes, so that a page can be light or dark.

use std::fmt::{self, Write};

/// Where a text stands from its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// To its right.
    Start,
    /// Around it.
    Middle,
    /// To its left.
    End,
}

/// The inside of an `<svg>`, as it grows.
#[derive(Default)]
pub struct Svg(String);

impl Svg {
    /// The shapes so far.
    pub fn into_text(self) -> String {
        self.0
    }

    /// Adds `content` at a point.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, content: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (x, y, content) = (Coordinate(x), Coordinate(y), escape(content));
        self.write(format_args!("<text{} x=\"{x}\" y=\"{y}\"{anchor}>{content}</text>\n", Class(class)));
    }

    /// Adds a path by its `data`.
    pub fn path(&mut self, class: &str, data: &str) {
        if !data.is_empty() {
            self.write(format_args!("<path{} d=\"{data}\"/>\n", Class(class)));
        }
    }

    /// Adds a line through `points`.
    pub fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        self.path(class, &through(points));
    }

    /// Adds the area that `edge` goes around.
    pub fn area(&mut self, class: &str, edge: &[(f64, f64)]) {
        if !edge.is_empty() {
            self.path(class, &format!("{}z", through(edge)));
        }
    }

    /// Adds a rectangle, `opacity` of which is seen, between 0 and 1.
    pub fn rectangle(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), opacity: f64) {
        let [x, y, width, height] = [x, y, width, height].map(Coordinate);
        let opacity = if opacity < 1.0 { format!(" fill-opacity=\"{opacity:.2}\"") } else { String::new() };
        self.write(format_args!(
            "<rect{} x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"{opacity}/>\n",
            Class(class)
        ));
    }

    /// Adds a circle.
    pub fn circle(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let [x, y, radius] = [x, y, radius].map(Coordinate);
        self.write(format_args!("<circle{} cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>\n", Class(class)));
    }

    /// Adds strokes by their path's `data`, `height` high.
    pub fn bars(&mut self, class: &str, height: f64, data: &str) {
        if !data.is_empty() {
            self.write(format_args!("<path class=\"bars {class}\" stroke-width=\"{height:.1}\" d=\"{data}\"/>\n"));
        }
    }

    /// Adds a square picture, whose pixels stay sharp.
    pub fn picture(&mut self, (x, y): (f64, f64), side: f64, source: &str) {
        let [x, y, side] = [x, y, side].map(Coordinate);
        self.write(format_args!(
            "<image class=\"picture\" x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" href=\"{source}\"/>\n"
        ));
    }

    /// Adds what `draw` draws, moved by `(x, y)`.
    pub fn moved(&mut self, (x, y): (f64, f64), draw: impl FnOnce(&mut Self)) {
        self.write(format_args!("<g transform=\"translate({} {})\">\n", Coordinate(x), Coordinate(y)));
        draw(self);
        self.0.push_str("</g>\n");
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(text);
    }
}

struct Class<'a>(&'a str);

impl fmt::Display for Class<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " class=\"{}\"", self.0) }
    }
}

/// A number of pixels, to a tenth.
pub struct Coordinate(pub f64);

impl fmt::Display for Coordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No -0.
        let tenths = (10.0 * self.0).round() as i64;
        if tenths % 10 == 0 { write!(f, "{}", tenths / 10) } else { write!(f, "{:.1}", tenths as f64 / 10.0) }
    }
}

fn through(points: &[(f64, f64)]) -> String {
    let mut data = String::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let before = if index == 0 { "M" } else { " " };
        let _ = write!(data, "{before}{} {}", Coordinate(x), Coordinate(y));
    }
    data
}

/// `text` as it stands between tags and in attributes of XML and HTML; what these can't hold is replaced.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() && control != '\n' => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// About how wide `text` is at a font size of 12 pixels, in pixels: in wide fonts, so that nothing is cut off in any.
pub fn text_width(text: &str) -> f64 {
    const OF_A_LETTER: f64 = 7.4;
    OF_A_LETTER * text.chars().count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short() {
        let text = |x: f64| Coordinate(x).to_string();
        assert_eq!([text(12.0), text(-0.01), text(3.149), text(-2.25)], ["12", "0", "3.1", "-2.3"]);
    }

    #[test]
    fn texts_stay_texts() {
        let mut svg = Svg::default();
        svg.text((1.0, 2.0), Anchor::End, "label", "a<b & \"c\"\u{1b}");
        let expected =
            "<text class=\"label\" x=\"1\" y=\"2\" text-anchor=\"end\">a&lt;b &amp; &quot;c&quot;\u{fffd}</text>\n";
        assert_eq!(svg.into_text(), expected);
    }
}
