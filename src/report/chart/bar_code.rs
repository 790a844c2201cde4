//! Bar codes: which gates were on, step by step.

use super::svg::{Anchor, Coordinate, Svg, text_width};
use super::{MUTED, series_class};

/// Cells that are on or off, in a colour: rows from the top.
#[derive(Clone, Debug)]
pub struct BarCode {
    /// Above it.
    pub title: String,
    /// Label of the columns.
    pub columns: String,
    /// Label of the rows.
    pub rows: String,
    /// In which colour.
    pub series: usize,
    /// `[columns][rows]`, the first column being number 1.
    pub bars: Vec<Vec<bool>>,
}

const HEAD: f64 = 44.0;
const FOOT: f64 = 40.0;
const GAP: f64 = 8.0;

impl BarCode {
    fn left(&self) -> f64 {
        text_width(&self.rows_count().to_string()) + GAP
    }

    fn rows_count(&self) -> usize {
        self.bars.first().map_or(0, Vec::len)
    }

    /// Height of a row.
    fn row_height(&self) -> f64 {
        (220.0 / self.rows_count().max(1) as f64).clamp(2.0, 14.0)
    }

    /// Height at any width.
    pub fn height(&self) -> f64 {
        HEAD + FOOT + self.row_height() * self.rows_count() as f64
    }

    /// Draws it `width` wide; as many columns as a narrow one has room for.
    pub fn draw(&self, svg: &mut Svg, width: f64) {
        svg.text((0.0, 13.0), Anchor::Start, "panel", &self.title);
        svg.text((0.0, HEAD - 14.0), Anchor::Start, MUTED, &self.rows);
        let (left, high) = (self.left(), self.row_height());
        let room = ((width - left) / 3.0) as usize;
        let shown = self.bars.len().min(room.max(1));
        let wide = ((width - left) / shown as f64).min(8.0);
        let (bottom, rows) = (HEAD + high * self.rows_count() as f64, self.rows_count());
        let mut data = String::new();
        for row in 0..rows {
            let middle = HEAD + high * (row as f64 + 0.5);
            let mut column = 0;
            while column < shown {
                let run = self.bars[column..shown].iter().take_while(|bars| bars[row]).count();
                if run > 0 {
                    let (x, length) = (left + wide * column as f64, wide * run as f64);
                    data += &format!("M{} {}h{}", Coordinate(x), Coordinate(middle), Coordinate(length));
                }
                column += run.max(1);
            }
        }
        svg.rectangle("ground", (left, HEAD), (wide * shown as f64, bottom - HEAD), 1.0);
        // Strokes of a row's height, all in one path, are far smaller than rectangles.
        svg.bars(series_class(self.series), (high - 0.8).max(0.6 * high), &data);
        for (row, name) in [(0, "1".to_string()), (rows.saturating_sub(1), rows.to_string())] {
            let middle = HEAD + high * (row as f64 + 0.5);
            svg.text((left - GAP, middle + 4.0), Anchor::End, MUTED, &name);
        }
        let end = left + wide * shown as f64;
        svg.text((left, bottom + 17.0), Anchor::Start, MUTED, "1");
        svg.text((end, bottom + 17.0), Anchor::End, MUTED, &shown.to_string());
        svg.text((end, bottom + 34.0), Anchor::End, MUTED, &self.columns);
    }
}
