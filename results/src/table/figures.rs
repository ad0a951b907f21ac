//! Rows of figures: on a terminal as they are best read, in data as they are.

use super::Format;
use super::grid::{Col, Side, WIDTH, grid, wrap};
use serde_json::{Map, Value};

/// A column of figures or words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figure {
    /// Its name in CSV and JSON, with its unit.
    pub key: &'static str,
    /// Its name on a terminal and in Markdown.
    pub header: &'static str,
    /// Whether its cells stand at the right, as numbers do.
    pub number: bool,
}

/// A cell: what a person reads, and the value with all its digits; null where there is none.
#[derive(Clone, PartialEq, Debug)]
pub struct Cell {
    /// For a terminal and Markdown.
    pub shown: String,
    /// For CSV and JSON.
    pub value: Value,
}

impl Cell {
    /// A word, the same for both.
    pub fn word(text: impl Into<String>) -> Self {
        let shown: String = text.into();
        Self { value: Value::from(shown.as_str()), shown }
    }

    /// A number and how it is shown; `None` is a dash and null. So is what is no number, which JSON cannot hold.
    pub fn number(value: Option<f64>, show: impl FnOnce(f64) -> String) -> Self {
        match value.filter(|value| value.is_finite()) {
            Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => Self { shown: show(value), value: Value::from(value as i64) },
            Some(value) => Self { shown: show(value), value: Value::from(value) },
            None => Self { shown: "–".into(), value: Value::Null },
        }
    }
}

/// A table of figures.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Figures {
    /// Its columns.
    pub columns: Vec<Figure>,
    /// Its rows, as many cells as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Figures {
    /// As text for a terminal, Markdown, CSV, or a JSON array of objects.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(),
            Format::Markdown => self.markdown(),
            Format::Csv => self.csv(),
            Format::Json => serde_json::to_string_pretty(&self.objects()).expect("values serialize") + "\n",
        }
    }

    /// The rows as JSON objects.
    pub fn objects(&self) -> Vec<Value> {
        let object = |row: &Vec<Cell>| -> Value {
            self.columns.iter().zip(row).map(|(column, cell)| (column.key.to_owned(), cell.value.clone())).collect::<Map<_, _>>().into()
        };
        self.rows.iter().map(object).collect()
    }

    /// Columns are as wide as their content; where that is more than a line, the widest column of words is broken.
    fn table(&self) -> String {
        let words = |text: &str| text.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
        let cells = |index: usize| self.rows.iter().map(move |row| row[index].shown.chars().count()).max().unwrap_or(0);
        let mut widths: Vec<usize> =
            self.columns.iter().enumerate().map(|(index, column)| cells(index).max(words(column.header))).collect();
        // A space between columns, and a second one before words.
        let gaps: usize = self.columns.iter().skip(1).map(|column| if column.number { 1 } else { 2 }).sum();
        let too_wide = (widths.iter().sum::<usize>() + gaps).saturating_sub(WIDTH);
        let widest = (0..widths.len()).filter(|index| !self.columns[*index].number).max_by_key(|index| widths[*index]);
        if let Some(widest) = widest {
            widths[widest] = widths[widest].saturating_sub(too_wide).max(8);
        }
        let columns: Vec<Col> = self
            .columns
            .iter()
            .zip(&widths)
            .map(|(column, width)| Col(u16::try_from(*width).unwrap_or(WIDTH as u16), if column.number { Side::Right } else { Side::Left }))
            .collect();
        let header: Vec<&str> = self.columns.iter().map(|column| column.header).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(|cell| cell.shown.clone()).collect()).collect();
        grid(&columns, &header, &rows)
    }

    fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule: String = self.columns.iter().map(|column| if column.number { "---:|" } else { "---|" }).collect();
        let safe = |cell: &Cell| cell.shown.replace('|', "\\|").replace('\n', " ");
        let rows = self.rows.iter().map(|row| line(row.iter().map(safe).collect()));
        std::iter::once(line(self.columns.iter().map(|column| column.header.to_owned()).collect()))
            .chain([format!("|{rule}\n")])
            .chain(rows)
            .collect()
    }

    fn csv(&self) -> String {
        let quoted = |text: &str| {
            if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
        };
        let cell = |cell: &Cell| match &cell.value {
            Value::Null => String::new(),
            Value::String(text) => quoted(text),
            other => other.to_string(),
        };
        let rows = self.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\n");
        std::iter::once(self.columns.iter().map(|column| column.key).collect::<Vec<_>>().join(",") + "\n").chain(rows).collect()
    }
}

/// A note under a table, broken into lines; those after the first are indented.
pub fn note(text: &str) -> String {
    wrap(text, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let column = |key, header, number| Figure { key, header, number };
        Figures {
            columns: vec![column("name", "name", false), column("size_bytes", "size", true), column("rate", "rate of it", true)],
            rows: vec![
                vec![
                    Cell::word("a|b, c"),
                    Cell::number(Some(1_536.0), |n| format!("{} KiB", n / 1_024.0)),
                    Cell::number(None, |_| String::new()),
                ],
                vec![Cell::word("d"), Cell::number(Some(8.0), |n| format!("{n} B")), Cell::number(Some(0.5), |n| format!("{n:.1}"))],
            ],
        }
    }

    #[test]
    fn every_format() {
        for (format, expect) in [
            (Format::Markdown, "| name | size | rate of it |\n|---|---:|---:|\n| a\\|b, c | 1.5 KiB | – |\n| d | 8 B | 0.5 |\n"),
            (Format::Csv, "name,size_bytes,rate\n\"a|b, c\",1536,\nd,8,0.5\n"),
            (
                Format::Table,
                "name        size rate\n                   of\n                   it\n─────────────────────\na|b, c   1.5 KiB    –\nd            8 B  0.5\n",
            ),
        ] {
            assert_eq!(figures().render(format), expect, "{}", figures().render(format));
        }
        let json: Value = serde_json::from_str(&figures().render(Format::Json)).unwrap();
        assert_eq!(json[0]["size_bytes"], 1_536);
        assert_eq!(json[0]["rate"], Value::Null);
    }

    #[test]
    fn no_line_is_too_long() {
        let mut wide = figures();
        wide.rows[0][0] = Cell::word("word ".repeat(60));
        let text = wide.render(Format::Table);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(note(&"word ".repeat(60)).lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(Cell::number(Some(f64::NAN), |n| n.to_string()).value, Value::Null);
    }
}
