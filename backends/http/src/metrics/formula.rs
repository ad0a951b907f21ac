//! Formulas over series: `vllm:num_requests_running`, `maxserve_itl_milliseconds * ms`, `a{stage="prefill"} + b`.
//!
//! A formula is evaluated once per process of an engine. An operand that a process does not tell makes the whole absent; so does a
//! result that is no number.

/// Names of units, in seconds, bytes and shares.
const UNITS: &[(&str, f64)] = &[
    ("ms", 1e-3),
    ("us", 1e-6),
    ("ns", 1e-9),
    ("percent", 0.01),
    ("KiB", (1_u64 << 10) as f64),
    ("MiB", (1_u64 << 20) as f64),
    ("GiB", (1_u64 << 30) as f64),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
];

/// Deepest nesting of parentheses.
const DEPTH: usize = 32;

/// A formula over series of one process.
#[derive(Clone, PartialEq, Debug)]
pub struct Formula(Expr);

#[derive(Clone, PartialEq, Debug)]
enum Expr {
    Number(f64),
    Series(Selector),
    Of(Box<Expr>, Op, Box<Expr>),
    /// To the nearest whole number.
    Round(Box<Expr>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Add,
    Subtract,
    Multiply,
    Divide,
    /// The left side where the right one is absent.
    Unless,
}

/// Series of one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    /// The metric's name, without `_total` where that is left open.
    pub name: String,
    /// Labels it must have.
    pub filter: Vec<(String, String)>,
    /// The label that holds the value, for what is told in labels; otherwise the value itself is meant.
    pub label: Option<String>,
}

/// Why a text is no formula.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{formula}` is no formula: {reason} at `{at}`")]
pub struct FormulaError {
    formula: String,
    reason: &'static str,
    at: String,
}

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        let mut parser = Parser { rest: text, depth: 0 };
        let wrong =
            |(reason, at): Wrong| FormulaError { formula: text.to_owned(), reason, at: if at.is_empty() { "its end".into() } else { at } };
        let expr = parser.whole().map_err(wrong)?;
        if parser.trimmed().is_empty() { Ok(Self(expr)) } else { Err(wrong(("something is left over", parser.rest.to_owned()))) }
    }

    /// Its value, given that of each series; `None` where one that it needs is absent, or where it is no number.
    pub fn value(&self, of: &mut dyn FnMut(&Selector) -> Option<f64>) -> Option<f64> {
        self.0.value(of).filter(|v| v.is_finite())
    }

    /// Every series in it.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut found = vec![];
        self.0.visit(&mut |selector| found.push(selector));
        found
    }

    /// The one series of a formula that only scales it, and by how much: all that can be said of a histogram.
    pub fn scaled(&self) -> Option<(&Selector, f64)> {
        match &self.0 {
            Expr::Series(selector) => Some((selector, 1.0)),
            Expr::Of(left, Op::Multiply, right) => match (&**left, &**right) {
                (Expr::Series(selector), Expr::Number(by)) | (Expr::Number(by), Expr::Series(selector)) => Some((selector, *by)),
                _ => None,
            },
            _ => None,
        }
        .filter(|(selector, by)| selector.label.is_none() && *by > 0.0)
    }
}

impl Expr {
    fn value(&self, of: &mut dyn FnMut(&Selector) -> Option<f64>) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Series(selector) => of(selector),
            Self::Round(inner) => inner.value(of).map(f64::round),
            Self::Of(left, Op::Unless, right) => left.value(of).filter(|_| right.value(of).is_none()),
            Self::Of(left, op, right) => {
                let (left, right) = (left.value(of)?, right.value(of)?);
                Some(match op {
                    Op::Add => left + right,
                    Op::Subtract => left - right,
                    Op::Multiply => left * right,
                    Op::Divide | Op::Unless => left / right,
                })
            }
        }
    }

    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a Selector)) {
        match self {
            Self::Number(_) => {}
            Self::Series(selector) => see(selector),
            Self::Round(inner) => inner.visit(see),
            Self::Of(left, _, right) => {
                left.visit(see);
                right.visit(see);
            }
        }
    }
}

/// What is wrong, and the text from there on.
type Wrong = (&'static str, String);

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn trimmed(&mut self) -> &str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn wrong<T>(&self, reason: &'static str) -> Result<T, Wrong> {
        Err((reason, self.rest.chars().take(40).collect()))
    }

    fn takes(&mut self, token: &str) -> bool {
        match self.trimmed().strip_prefix(token).map(str::len) {
            Some(left) => {
                self.rest = &self.rest[self.rest.len() - left..];
                true
            }
            None => false,
        }
    }

    fn whole(&mut self) -> Result<Expr, Wrong> {
        let left = self.sum()?;
        if !self.takes("unless") {
            return Ok(left);
        }
        Ok(Expr::Of(Box::new(left), Op::Unless, Box::new(self.sum()?)))
    }

    fn sum(&mut self) -> Result<Expr, Wrong> {
        let mut left = self.product()?;
        loop {
            let op = if self.takes("+") {
                Op::Add
            } else if self.takes("-") {
                Op::Subtract
            } else {
                return Ok(left);
            };
            left = Expr::Of(Box::new(left), op, Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Expr, Wrong> {
        let mut left = self.atom()?;
        loop {
            let op = if self.takes("*") {
                Op::Multiply
            } else if self.takes("/") {
                Op::Divide
            } else {
                return Ok(left);
            };
            left = Expr::Of(Box::new(left), op, Box::new(self.atom()?));
        }
    }

    fn atom(&mut self) -> Result<Expr, Wrong> {
        if self.takes("(") {
            return self.inside();
        }
        let rest = self.trimmed();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.'))).unwrap_or(rest.len());
        let word = rest[..end].to_owned();
        let Some(first) = word.chars().next() else { return self.wrong("a name, a number or a bracket is missing") };
        if first.is_ascii_digit() {
            let Ok(number) = word.parse() else { return self.wrong("a number is no number") };
            self.rest = &self.rest[end..];
            return Ok(Expr::Number(number));
        }
        self.rest = &self.rest[end..];
        if let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == word) {
            return Ok(Expr::Number(*factor));
        }
        if word == "round" {
            return if self.takes("(") { Ok(Expr::Round(Box::new(self.inside()?))) } else { self.wrong("`round` has no bracket") };
        }
        let mut selector = Selector { name: word, filter: vec![], label: None };
        if self.takes("{") {
            loop {
                let name = self.label()?;
                if !self.takes("=") || !self.takes("\"") {
                    return self.wrong("a filter is not NAME=\"VALUE\"");
                }
                let Some(end) = self.rest.find('"') else { return self.wrong("a value has no end") };
                selector.filter.push((name, self.rest[..end].to_owned()));
                self.rest = &self.rest[end + 1..];
                if self.takes("}") {
                    break;
                }
                if !self.takes(",") {
                    return self.wrong("a filter has no end");
                }
            }
        }
        if self.takes("[") {
            selector.label = Some(self.label()?);
            if !self.takes("]") {
                return self.wrong("a label has no end");
            }
        }
        Ok(Expr::Series(selector))
    }

    fn inside(&mut self) -> Result<Expr, Wrong> {
        self.depth += 1;
        if self.depth > DEPTH {
            return self.wrong("brackets are nested too deep");
        }
        let inner = self.sum()?;
        self.depth -= 1;
        if self.takes(")") { Ok(inner) } else { self.wrong("a bracket has no end") }
    }

    fn label(&mut self) -> Result<String, Wrong> {
        let rest = self.trimmed();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let label = rest[..end].to_owned();
        if label.is_empty() {
            return self.wrong("a label's name is missing");
        }
        self.rest = &self.rest[end..];
        Ok(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` is 6, `b` is 2, `b[x]` is 5, `c{k="v"}` is 10, `zero` is 0; nothing else is there.
    fn value(text: &str) -> Option<f64> {
        Formula::parse(text).unwrap_or_else(|e| panic!("{e}")).value(&mut |s| match (s.name.as_str(), s.label.as_deref(), &s.filter[..]) {
            ("a:a", None, []) => Some(6.0),
            ("b", None, []) => Some(2.0),
            ("b", Some("x"), []) => Some(5.0),
            ("c", None, [(k, v)]) if k == "k" && v == "v w" => Some(10.0),
            ("zero", None, []) => Some(0.0),
            _ => None,
        })
    }

    #[test]
    fn values() {
        for (text, expect) in [
            ("a:a", Some(6.0)),
            ("3.5", Some(3.5)),
            ("a:a+b*b", Some(10.0)),
            ("(a:a + b) * b", Some(16.0)),
            ("a:a - b - b", Some(2.0)),
            ("a:a / b / b", Some(1.5)),
            ("a:a * (b - 1) * (b[x] / b)", Some(15.0)),
            ("c{k=\"v w\"} * ms", Some(0.01)),
            ("c{ k = \"v w\" }", Some(10.0)),
            ("c", None),
            ("b * GiB", Some((2_u64 << 30) as f64)),
            ("round(b[x] / b)", Some(3.0)),
            ("a:a unless b", None),
            ("a:a unless nothing", Some(6.0)),
            ("a:a + b unless nothing[x]", Some(8.0)),
            ("a:a + nothing", None),
            ("nothing unless nothing", None),
            ("a:a / zero", None),
            ("zero / zero", None),
        ] {
            assert_eq!(value(text), expect, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, says) in [
            ("", "missing at `its end`"),
            ("a +", "missing at `its end`"),
            ("a b", "left over at `b`"),
            ("(a", "no end at `its end`"),
            ("a{x=1}", "NAME=\"VALUE\" at `1}`"),
            ("a{x=\"1}", "a value has no end"),
            ("a{x=\"1\" y", "a filter has no end at `y`"),
            ("a[", "label's name is missing"),
            ("a[x", "a label has no end"),
            ("1.2.3", "no number at `1.2.3`"),
            ("round a", "no bracket at `a`"),
            ("a unless", "missing at `its end`"),
            ("a unless b unless c", "left over at `unless c`"),
            (&"(".repeat(99), "nested too deep"),
        ] {
            let error = Formula::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn histograms_are_only_scaled() {
        let scaled = |text: &str| Formula::parse(text).unwrap().scaled().map(|(s, by)| (s.name.clone(), by));
        assert_eq!(scaled("a"), Some(("a".into(), 1.0)));
        assert_eq!(scaled("a * ms"), Some(("a".into(), 1e-3)));
        assert_eq!(scaled("1000 * a"), Some(("a".into(), 1000.0)));
        for text in ["a + b", "a / 2", "a[x]", "a * 0", "3", "a * b", "a unless b"] {
            assert_eq!(scaled(text), None, "{text}");
        }
    }
}
