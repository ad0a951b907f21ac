//! Comma-separated files whose columns are found by their names in the first line, wherever they stand. Values hold no commas, quotes or
//! line breaks: no format here needs them.

use super::MAX_TOKENS;
use crate::error::{Place, TraceError};
use crate::lines::Line;
use nomoat_core::suggest::nearest;

/// Where the columns of a format stand in one file.
pub(crate) struct Columns<const N: usize> {
    names: [&'static str; N],
    at: [Option<usize>; N],
    count: usize,
}

impl<const N: usize> Columns<N> {
    /// From the line of names: of `names` the first `required` must be there, the others and those of `ignored` may be.
    pub fn new(names: [&'static str; N], required: usize, ignored: &[&'static str], header: &Line<'_>) -> Result<Self, TraceError> {
        let place = header.place;
        let text = std::str::from_utf8(header.bytes).unwrap_or("<not UTF-8>");
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut columns = Self { names, at: [None; N], count: 0 };
        let (mut seen, mut stranger) = (vec![], None);
        for name in text.split(',') {
            columns.count += 1;
            if seen.contains(&name) {
                return Err(place.field(format!("column {}", columns.count), format!("is {} again", shown(name)), "named once"));
            }
            seen.push(name);
            match names.iter().position(|known| *known == name) {
                Some(index) => columns.at[index] = Some(columns.count - 1),
                None if ignored.contains(&name) => {}
                None => stranger = stranger.or(Some((columns.count, name))),
            }
        }
        let missing: Vec<_> = (0..required).filter(|index| columns.at[*index].is_none()).map(|index| names[index]).collect();
        // A column that is misspelt is both missing and unknown: the unknown one says where.
        if let Some((number, name)) = stranger {
            let wanted = if missing.is_empty() { &names[..] } else { &missing[..] };
            let nearest = nearest(name, wanted.iter().copied()).unwrap_or_default();
            let all = || format!("one of {} (`{nearest}` is the nearest)", list(&names));
            let should = if missing.is_empty() { all() } else { format!("`{nearest}`") };
            return Err(place.field(format!("column {number}"), format!("is named {}", shown(name)), should));
        }
        if !missing.is_empty() {
            return Err(place.line(format!("there is no column {}", list(&missing)), "name it in the first line"));
        }
        Ok(columns)
    }

    /// Whether column `index` of the names is there.
    pub fn has(&self, index: usize) -> bool {
        self.at[index].is_some()
    }

    /// The values of a row in the order of the names; those of absent columns are empty.
    pub fn values<'a>(&self, line: &Line<'a>) -> Result<[&'a str; N], TraceError> {
        let place = line.place;
        let remedy = || {
            let named = self.names.iter().zip(&self.at).filter(|(_, at)| at.is_some()).map(|(name, _)| *name).collect::<Vec<_>>();
            format!("write {} values, one for each column of the first line ({} among them)", self.count, list(&named))
        };
        let text = std::str::from_utf8(line.bytes).map_err(|_| place.line("the line is not UTF-8", remedy()))?;
        let (mut values, mut count) = ([""; N], 0);
        for value in text.split(',') {
            if let Some(index) = self.at.iter().position(|at| *at == Some(count)) {
                values[index] = value;
            }
            count += 1;
        }
        if count == self.count { Ok(values) } else { Err(place.line(format!("the line has {count} values"), remedy())) }
    }

    /// What is wrong with the value of column `index`.
    pub fn wrong(&self, index: usize, text: &str, should: impl Into<String>, place: Place<'_>) -> TraceError {
        place.field(self.names[index], format!("is {}", shown(text)), should)
    }

    /// The value of column `index` as tokens, at least `min` of them.
    pub fn tokens(&self, index: usize, text: &str, min: u64, place: Place<'_>) -> Result<u32, TraceError> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(value) if digits && (min..=MAX_TOKENS).contains(&value) => Ok(value as u32),
            _ => Err(self.wrong(index, text, format!("a whole number of tokens from {min} to {MAX_TOKENS}"), place)),
        }
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A value for a message, cut to a readable length.
pub(crate) fn shown(text: &str) -> String {
    if text.chars().count() > 40 { format!("`{}…`", text.chars().take(40).collect::<String>()) } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> Line<'_> {
        Line { place: Place { file: "f", line: 7 }, bytes }
    }

    fn columns(header: &str) -> Result<Columns<3>, TraceError> {
        Columns::new(["when", "in", "out"], 2, &["sum"], &line(header.as_bytes()))
    }

    #[test]
    fn columns_are_found_by_name() {
        for (header, row, expect) in [
            ("when,in,out", "1,2,3", ["1", "2", "3"]),
            ("\u{feff}out,sum,when,in", "3,9,1,2", ["1", "2", "3"]),
            ("in,when", ",1", ["1", "", ""]),
        ] {
            let columns = columns(header).unwrap();
            assert_eq!(columns.values(&line(row.as_bytes())).unwrap(), expect, "{header}");
            assert_eq!(columns.has(2), header.contains("out"));
        }
    }

    #[test]
    fn errors_name_column_and_line() {
        let check = |error: TraceError, expect: &[&str]| {
            let error = error.to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        check(columns("when,inn,out").err().unwrap(), &["f:7:", "column 2", "`inn`", "should be `in`"]);
        check(columns("when,in,ouch").err().unwrap(), &["column 3", "`ouch`", "`out` is the nearest"]);
        check(columns("out,when").err().unwrap(), &["f:7:", "no column `in`"]);
        check(columns("when,in,when").err().unwrap(), &["column 3", "again"]);
        let good = columns("when,in").unwrap();
        check(good.values(&line(b"1")).unwrap_err(), &["1 values", "write 2 values"]);
        check(good.values(&line(b"1,2,3")).unwrap_err(), &["3 values"]);
        check(good.values(&line(b"1,\xff")).unwrap_err(), &["not UTF-8"]);
        for text in ["", "-1", "+1", "1.0", "0", "99999999999999999999"] {
            check(good.tokens(1, text, 1, line(b"").place).unwrap_err(), &["f:7:", "`in`", &format!("is `{text}`"), "from 1"]);
        }
        assert_eq!(good.tokens(1, "0", 0, line(b"").place).unwrap(), 0);
    }
}
