//! Small pictures in rows, each with two lines below it.

use super::MUTED;
use super::svg::{Anchor, Svg};

/// A picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its bytes, as a `data:` address.
    pub source: String,
    /// Below it.
    pub lines: [String; 2],
}

/// Pictures in rows.
#[derive(Clone, Debug)]
pub struct Gallery {
    /// Above them.
    pub title: String,
    /// In their order.
    pub pictures: Vec<Picture>,
}

const HEAD: f64 = 26.0;
const SIDE: f64 = 64.0;
/// A place for a picture, with its lines.
const PLACE: (f64, f64) = (82.0, 112.0);

impl Gallery {
    fn columns(width: f64) -> usize {
        ((width / PLACE.0) as usize).max(1)
    }

    /// Height at `width`.
    pub fn height(&self, width: f64) -> f64 {
        HEAD + PLACE.1 * self.pictures.len().div_ceil(Self::columns(width)) as f64
    }

    /// Draws them `width` wide.
    pub fn draw(&self, svg: &mut Svg, width: f64) {
        svg.text((0.0, 13.0), Anchor::Start, "panel", &self.title);
        let columns = Self::columns(width);
        for (index, picture) in self.pictures.iter().enumerate() {
            let (x, y) = (PLACE.0 * (index % columns) as f64, HEAD + PLACE.1 * (index / columns) as f64);
            svg.picture((x, y), SIDE, &picture.source);
            for (line, text) in picture.lines.iter().enumerate() {
                let class = if line == 0 { "" } else { MUTED };
                svg.text((x, y + SIDE + 15.0 + 14.0 * line as f64), Anchor::Start, class, text);
            }
        }
    }
}
