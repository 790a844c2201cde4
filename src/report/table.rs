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

    /// Rows for columns, under `head`.
    pub fn transposed(self, head: &str) -> Self {
        let names = self.rows.iter().map(|row| row[0].clone());
        let head = [head.to_string()].into_iter().chain(names).collect();
        let row = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].clone());
            [self.head[column].clone()].into_iter().chain(cells).collect()
        };
        Self { head, rows: (1..self.head.len()).map(row).collect() }
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
    fn rows_become_columns() {
        let rows = [["a", "1", "2"], ["b", "3", "4"]].map(|row| row.map(String::from));
        let table = Table::new(["net", "x", "y"], rows.into_iter()).transposed("setting");
        assert_eq!(
            (table.head, table.rows),
            (
                ["setting", "a", "b"].map(String::from).into(),
                vec![["x", "1", "3"].map(String::from).to_vec(), ["y", "2", "4"].map(String::from).to_vec(),]
            )
        );
    }

    #[test]
    fn columns_without_figures_go() {
        let rows = [["a", "1", NONE], [NONE, NONE, NONE]].map(|row| row.map(String::from));
        let table = Table::new(["net", "loss", "best"], rows.into_iter()).dense();
        assert_eq!((table.head, table.rows[1].len()), (vec!["net".to_string(), "loss".into()], 2));
    }
}
