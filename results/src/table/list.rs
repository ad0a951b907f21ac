//! A plain list in every output format: columns of text, no numbers to compare.

use super::grid::{Col, Side, grid};
use crate::table::Format;
use serde_json::{Map, Value};

/// Columns and rows of text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// Of each column its name and, on a terminal, its width; together at most 100 with a space between.
    pub columns: Vec<(&'static str, u16)>,
    /// The rows, as many cells as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl List {
    /// As text for a terminal, Markdown, CSV, or a JSON array of objects.
    pub fn render(&self, format: Format) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        match format {
            Format::Table => {
                let columns: Vec<Col> = self.columns.iter().map(|(_, width)| Col(*width, Side::Left)).collect();
                grid(&columns, &names, &self.rows)
            }
            Format::Markdown => {
                let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
                let rule = format!("|{}\n", "---|".repeat(names.len()));
                let safe = |cell: &String| cell.replace('|', "\\|").replace('\n', " ");
                let rows = self.rows.iter().map(|row| line(row.iter().map(safe).collect()));
                std::iter::once(line(names.iter().map(|n| (*n).to_owned()).collect())).chain([rule]).chain(rows).collect()
            }
            Format::Csv => {
                let quoted = |cell: &str| {
                    if cell.contains([',', '"', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
                };
                let line = |cells: Vec<String>| cells.join(",") + "\n";
                let rows = self.rows.iter().map(|row| line(row.iter().map(|cell| quoted(cell)).collect()));
                std::iter::once(line(names.iter().map(|n| quoted(n)).collect())).chain(rows).collect()
            }
            Format::Json => {
                let object = |row: &Vec<String>| -> Value {
                    names.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), Value::from(cell.as_str()))).collect::<Map<_, _>>().into()
                };
                let rows: Vec<Value> = self.rows.iter().map(object).collect();
                serde_json::to_string_pretty(&rows).expect("texts serialize") + "\n"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_keeps_every_cell() {
        let list = List { columns: vec![("name", 8), ("what", 20)], rows: vec![vec!["a|b".into(), "x, \"y\"".into()]] };
        for (format, expect) in [
            (Format::Markdown, "| name | what |\n|---|---|\n| a\\|b | x, \"y\" |\n"),
            (Format::Csv, "name,what\na|b,\"x, \"\"y\"\"\"\n"),
            (Format::Json, "[\n  {\n    \"name\": \"a|b\",\n    \"what\": \"x, \\\"y\\\"\"\n  }\n]\n"),
        ] {
            assert_eq!(list.render(format), expect);
        }
        let text = list.render(Format::Table);
        assert!(text.contains("a|b") && text.contains("x, \"y\""), "{text}");
    }
}
