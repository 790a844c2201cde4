//! Tables of a report.

/// Head and rows: the first column has names, the others have figures.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// Each as long as the head.
    pub rows: Vec<Vec<String>>,
}

/// What stands where there is no figure.
pub const NONE: &str = "\u{2013}";

impl Table {
    /// Under `head`.
    pub fn new<const COLUMNS: usize>(head: [&str; COLUMNS], rows: impl Iterator<Item = [String; COLUMNS]>) -> Self {
        Self { head: head.map(String::from).into(), rows: rows.map(Vec::from).collect() }
    }

    /// Without the columns that have no figure at all.
    pub fn dense(self) -> Self {
        let has = |column: usize| column == 0 || self.rows.iter().any(|row| row[column] != NONE);
        let kept: Vec<usize> = (0..self.head.len()).filter(|&column| has(column)).collect();
        let pick = |cells: &Vec<String>| kept.iter().map(|&column| cells[column].clone()).collect();
        Self { head: pick(&self.head), rows: self.rows.iter().map(pick).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_figures_go() {
        let rows = [["a", "1", NONE], [NONE, NONE, NONE]].map(|row| row.map(String::from));
        let table = Table::new(["net", "loss", "best"], rows.into_iter()).dense();
        assert_eq!((table.head, table.rows[1].len()), (vec!["net".to_string(), "loss".into()], 2));
    }
}
