//! Pages of metrics in the Prometheus text format.
//!
//! The reader is lenient: engines repeat `# TYPE` lines, mix two applications on a page, and write lines no grammar allows. What
//! cannot be read is passed over; what is not a number is no reading. Absence is never zero: a value that a page does not tell
//! has no sample.

use nomoat_core::sample::label_value;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The largest page that is read; a larger one gives no readings.
pub const MAX_PAGE: usize = 32 << 20;

/// One line of a page that holds a finite number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Series<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// What stands between the braces.
    labels: &'a str,
    /// The value.
    pub value: f64,
}

/// The series of a page, in its order.
pub fn series(page: &str) -> impl Iterator<Item = Series<'_>> {
    page.lines().filter_map(Series::of)
}

impl<'a> Series<'a> {
    pub(super) fn of(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
        let (name, rest) = line.split_at(end);
        if name.is_empty() || name.starts_with('#') {
            return None;
        }
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => {
                let end = closing_brace(rest)?;
                (&rest[..end], &rest[end + 1..])
            }
            None => ("", rest),
        };
        // A timestamp or an exemplar may follow the value.
        let value: f64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
        value.is_finite().then_some(Self { name, labels, value })
    }

    /// Its labels, in the page's order. Reading stops at the first that is none.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let (name, after) = rest.trim_start_matches([',', ' ', '\t']).split_once('=')?;
            let quoted = after.trim_start().strip_prefix('"')?;
            let end = closing_quote(quoted)?;
            rest = &quoted[end + 1..];
            Some((name.trim(), unescape(&quoted[..end])))
        })
    }

    /// The value of one label.
    pub fn label(&self, name: &str) -> Option<Cow<'a, str>> {
        self.labels().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The value of a label that is a whole number. Engines write `None` for what they do not know.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.label(name)?.parse::<u64>().ok().map(|n| n as f64)
    }

    /// Its labels as a sample has them.
    pub(super) fn sample_labels(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.labels() {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{}={}", label_value(name), label_value(&value));
        }
        text
    }
}

/// What a line of a page is, told without reading all of it.
pub(super) enum Line<'a> {
    /// The declared kind of a metric: its name and the kind.
    Type(&'a str, &'a str),
    /// A series of this name; the line is still to be read.
    Series(&'a str),
    /// Nothing to read.
    Other,
}

impl<'a> Line<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.split_ascii_whitespace();
            return match (words.next(), words.next(), words.next()) {
                (Some("TYPE"), Some(name), Some(kind)) => Self::Type(name, kind),
                _ => Self::Other,
            };
        }
        match line.find(|c: char| c == '{' || c.is_ascii_whitespace()) {
            Some(end) if end > 0 => Self::Series(&line[..end]),
            _ => Self::Other,
        }
    }
}

/// Where a label list ends: at the first `}` outside quotes.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return true,
            _ => {}
        }
        false
    })
}

/// Where a quoted value ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(other)) => out.push(other),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let read = |line: &str| {
            series(line).next().map(|s| {
                let labels: Vec<String> = s.labels().map(|(n, v)| format!("{n}={v}")).collect();
                (s.name.to_owned(), labels.join(";"), s.value)
            })
        };
        let some = |name: &str, labels: &str, value: f64| Some((name.to_owned(), labels.to_owned(), value));
        for (line, expect) in [
            ("a 1", some("a", "", 1.0)),
            ("a:b_c  1.5e3 1700000000", some("a:b_c", "", 1500.0)),
            ("a{} 1", some("a", "", 1.0)),
            ("a{x=\"1\"} 2", some("a", "x=1", 2.0)),
            ("a{x=\"1\",y=\"\",} 2", some("a", "x=1;y=", 2.0)),
            ("a{ x = \"1\" , y=\"2\" } 2 # {t=\"1\"} 3", some("a", "x=1;y=2", 2.0)),
            (r#"a{x="q\"}\\n\n,",y="é"} 2"#, some("a", "x=q\"}\\n\n,;y=é", 2.0)),
            ("a{x=1,y=\"2\"} 2", some("a", "", 2.0)),
            ("\ta -0.5\r", some("a", "", -0.5)),
            ("a NaN", None),
            ("a +Inf", None),
            ("a -inf", None),
            ("a x", None),
            ("a", None),
            ("a{x=\"1 2", None),
            ("# TYPE a counter", None),
            ("#a 1", None),
            ("{x=\"1\"} 2", None),
            ("", None),
        ] {
            assert_eq!(read(line), expect, "{line}");
        }
    }

    #[test]
    fn kinds_and_names_are_told_without_reading_the_line() {
        for (line, expect) in [
            ("# TYPE a counter", "type a counter"),
            ("# TYPE a", "other"),
            ("# HELP a counter", "other"),
            ("#TYPE a gauge extra", "type a gauge"),
            (" a{x=\"1\" 2", "series a"),
            ("a 1", "series a"),
            ("{x=\"1\"} 2", "other"),
            ("", "other"),
        ] {
            let told = match Line::of(line) {
                Line::Type(name, kind) => format!("type {name} {kind}"),
                Line::Series(name) => format!("series {name}"),
                Line::Other => "other".into(),
            };
            assert_eq!(told, expect, "{line}");
        }
    }

    #[test]
    fn labels_of_samples_keep_what_they_said() {
        let line = r#"a{le="+Inf",layers="[1, 2]",path="/a=b%"} 1"#;
        assert_eq!(Series::of(line).unwrap().sample_labels(), "le=+Inf,layers=[1%2C 2],path=/a%3Db%25");
    }
}
