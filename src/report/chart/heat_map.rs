//! Rows and columns of cells: heat maps and confusion matrices.

use super::svg::{Anchor, Svg, text_width};
use super::{MUTED, series_class};

/// A cell.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// How much of the colour is seen, from 0 to 1.
    pub shade: f64,
    /// In which colour.
    pub series: usize,
    /// What stands in it; may be empty.
    pub text: String,
}

/// Cells with the names of rows and columns.
#[derive(Clone, Debug)]
pub struct HeatMap {
    /// Above it; may be empty.
    pub title: String,
    /// What the columns are.
    pub columns: String,
    /// What the rows are.
    pub rows: String,
    /// Name of each column; may be empty.
    pub column_names: Vec<String>,
    /// Name of each row; may be empty.
    pub row_names: Vec<String>,
    /// `[rows][columns]`
    pub cells: Vec<Vec<Option<Cell>>>,
}

const HEAD: f64 = 44.0;
const FOOT: f64 = 40.0;
const GAP: f64 = 8.0;
/// Between cells.
const SEAM: f64 = 2.0;
/// Cells are no higher, and no lower where they hold text.
const HIGHEST: f64 = 40.0;
/// A cell that is darker than this has light text.
const DARK: f64 = 0.55;

impl HeatMap {
    fn left(&self) -> f64 {
        self.row_names.iter().map(|name| text_width(name)).fold(0.0, f64::max) + GAP
    }

    /// Height of a row at `width`.
    fn row_height(&self, width: f64) -> f64 {
        let columns = self.column_names.len().max(1) as f64;
        ((width - self.left()) / columns).clamp(18.0, HIGHEST)
    }

    /// Height at `width`.
    pub fn height(&self, width: f64) -> f64 {
        HEAD + FOOT + self.row_height(width) * self.cells.len() as f64
    }

    /// Draws it `width` wide.
    pub fn draw(&self, svg: &mut Svg, width: f64) {
        if !self.title.is_empty() {
            svg.text((0.0, 13.0), Anchor::Start, "panel", &self.title);
        }
        svg.text((0.0, HEAD - 14.0), Anchor::Start, MUTED, &self.rows);
        let (left, high) = (self.left(), self.row_height(width));
        let columns = self.column_names.len().max(1) as f64;
        let wide = ((width - left) / columns).min(2.5 * HIGHEST);
        for (row, cells) in self.cells.iter().enumerate() {
            let top = HEAD + high * row as f64;
            if let Some(name) = self.row_names.get(row) {
                svg.text((left - GAP, top + high / 2.0 + 4.0), Anchor::End, MUTED, name);
            }
            for (column, cell) in cells.iter().enumerate() {
                let Some(cell) = cell else { continue };
                let x = left + wide * column as f64;
                let class = format!("cell {}", series_class(cell.series));
                svg.rectangle("ground", (x, top), (wide - SEAM, high - SEAM), 1.0);
                if cell.shade > 0.0 {
                    svg.rectangle(&class, (x, top), (wide - SEAM, high - SEAM), cell.shade.min(1.0));
                }
                if !cell.text.is_empty() {
                    let class = if cell.shade > DARK { "on" } else { "in" };
                    let middle = (x + (wide - SEAM) / 2.0, top + high / 2.0 + 3.0);
                    svg.text(middle, Anchor::Middle, class, &cell.text);
                }
            }
        }
        let bottom = HEAD + high * self.cells.len() as f64;
        for (column, name) in self.column_names.iter().enumerate() {
            let x = left + wide * (column as f64 + 0.5) - SEAM / 2.0;
            svg.text((x, bottom + 14.0), Anchor::Middle, MUTED, name);
        }
        svg.text((left + wide * columns - SEAM, bottom + 31.0), Anchor::End, MUTED, &self.columns);
    }
}
