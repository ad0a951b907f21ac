//! JSON objects, one a line or as the elements of one list: files of either kind are read one object at a time, whatever their size.

use super::ImportOptions;
use crate::error::{Place, TraceError};
use crate::lines::{Line, MAX_LINE_BYTES, Rows, Skips};
use crate::source::Source;
use nomoat_core::digest::Digest;
use sha2::{Digest as _, Sha256};
use std::io::BufRead;

/// The objects of a file.
pub(crate) enum Records<'a> {
    Rows(Rows<'a>),
    List(List<'a>),
}

impl<'a> Records<'a> {
    pub fn new(source: &'a mut Source<'_>, options: &ImportOptions) -> Result<Self, TraceError> {
        let is_list = start(source.head()?).first() == Some(&b'[');
        if is_list { Ok(Self::List(List::new(source, options))) } else { Ok(Self::Rows(Rows::new(source, options))) }
    }

    /// The bytes of the next object, and where it begins.
    pub fn next(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        match self {
            Self::Rows(rows) => rows.next(),
            Self::List(list) => list.next(),
        }
    }

    /// What became of an object: a wrong one is an error, or is counted and left out.
    pub fn take<T>(&mut self, record: Result<T, TraceError>) -> Result<Option<T>, TraceError> {
        match self {
            Self::Rows(rows) => rows.take(record),
            Self::List(list) => list.skips.take(record),
        }
    }

    /// SHA-256 of all bytes read, and what is to be said of objects that were left out.
    pub fn finish(self) -> (Digest, Option<String>) {
        match self {
            Self::Rows(rows) => rows.finish(),
            Self::List(list) => (Digest(list.hash.finalize().into()), list.skips.finish()),
        }
    }
}

/// The elements of a list of objects, which are cut out of it before they are parsed.
pub(crate) struct List<'a> {
    input: &'a mut dyn BufRead,
    file: &'a str,
    element: Vec<u8>,
    begins: u64,
    scan: Scan,
    hash: Sha256,
    skips: Skips,
}

impl<'a> List<'a> {
    fn new(source: &'a mut Source<'_>, options: &ImportOptions) -> Self {
        let (input, file) = source.reader();
        let scan = Scan { state: State::Open, line: 1, depth: 0 };
        Self { input, file, element: vec![], begins: 1, scan, hash: Sha256::new(), skips: Skips::new(options) }
    }

    fn next(&mut self) -> Result<Option<Line<'_>>, TraceError> {
        self.element.clear();
        loop {
            let chunk = self.input.fill_buf().map_err(|source| TraceError::Read { file: self.file.into(), source })?;
            if chunk.is_empty() {
                if self.scan.state == State::Closed {
                    return Ok(None);
                }
                let remedy = "the file is truncated: fetch or export it again";
                return Err(Place { file: self.file, line: self.scan.line }.line("the file ends inside its list", remedy));
            }
            let (mut used, mut from, mut finished) = (chunk.len(), 0, false);
            for (index, byte) in chunk.iter().enumerate() {
                match self.scan.step(*byte) {
                    Step::On => {}
                    Step::Begin => (from, self.begins) = (index, self.scan.line),
                    Step::Finish => {
                        (used, finished) = (index + 1, true);
                        break;
                    }
                    Step::Wrong(should) => {
                        let problem = format!("there is `{}` where {should} should be", byte.escape_ascii());
                        return Err(Place { file: self.file, line: self.scan.line }.line(problem, "write one JSON list of objects"));
                    }
                }
            }
            if finished || self.scan.depth > 0 {
                self.element.extend_from_slice(&chunk[from..used]);
            }
            self.hash.update(&chunk[..used]);
            self.input.consume(used);
            let place = Place { file: self.file, line: self.begins };
            if self.element.len() as u64 > MAX_LINE_BYTES {
                return Err(place.line(format!("the object is longer than {MAX_LINE_BYTES} bytes"), "split it"));
            }
            if finished {
                return Ok(Some(Line { place, bytes: &self.element }));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Before the list.
    Open,
    /// Before the first element.
    First,
    /// Before another element.
    Next,
    /// In an element.
    Inside,
    /// In a string of an element.
    Text,
    /// After a backslash.
    Escaped,
    /// After an element.
    After,
    /// After the list.
    Closed,
}

struct Scan {
    state: State,
    line: u64,
    depth: u32,
}

enum Step {
    On,
    Begin,
    Finish,
    Wrong(&'static str),
}

impl Scan {
    fn step(&mut self, byte: u8) -> Step {
        self.line += u64::from(byte == b'\n');
        let blank = byte.is_ascii_whitespace();
        self.state = match (self.state, byte) {
            (State::Text, b'\\') => State::Escaped,
            (State::Text, b'"') => State::Inside,
            (State::Text | State::Escaped, _) => State::Text,
            (State::Inside, b'"') => State::Text,
            (State::Inside, b'{' | b'[') => {
                self.depth = self.depth.saturating_add(1);
                State::Inside
            }
            (State::Inside, b'}' | b']') => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.state = State::After;
                    return Step::Finish;
                }
                State::Inside
            }
            (State::Inside, _) => State::Inside,
            // A byte-order mark may stand before the list.
            (State::Open, 0xef | 0xbb | 0xbf) => State::Open,
            (State::Open, b'[') => State::First,
            (State::First | State::Next, b'{') => {
                (self.state, self.depth) = (State::Inside, 1);
                return Step::Begin;
            }
            (State::First | State::After, b']') => State::Closed,
            (State::After, b',') => State::Next,
            (state, _) if blank => state,
            (State::Open, _) => return Step::Wrong("`[`"),
            (State::First | State::Next, _) => return Step::Wrong("an object"),
            (State::After, _) => return Step::Wrong("`,` or `]`"),
            (State::Closed, _) => return Step::Wrong("the end of the file"),
        };
        Step::On
    }
}

/// A file's beginning without a byte-order mark and blanks.
fn start(head: &[u8]) -> &[u8] {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start()
}

/// The keys of the first object of a file, as far as its beginning goes; none where it begins with no object. Keys with escapes are as they
/// are written.
pub(crate) fn keys(head: &[u8]) -> Vec<&[u8]> {
    let head = start(head);
    let head = head.strip_prefix(b"[").map_or(head, <[u8]>::trim_ascii_start);
    let (mut keys, mut depth, mut index, mut key) = (vec![], 0_u32, 0, false);
    while index < head.len() {
        match head[index] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let from = index + 1;
                index = from;
                while index < head.len() && head[index] != b'"' {
                    index += if head[index] == b'\\' { 2 } else { 1 };
                }
                if key && depth == 1 && index < head.len() {
                    keys.push(&head[from..index]);
                }
            }
            _ => {}
        }
        // A text is a key after `{` or `,`, which are the only such bytes of the outermost object.
        key = match head.get(index) {
            Some(b'{' | b',') => depth == 1,
            Some(byte) if byte.is_ascii_whitespace() => key,
            _ => false,
        };
        index += 1;
        if depth == 0 {
            break;
        }
    }
    keys
}

/// Whether `keys` has `key`.
pub(crate) fn has(keys: &[&[u8]], key: &str) -> bool {
    keys.contains(&key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// Elements with their lines, read `at_once` bytes at a time.
    fn read(text: &str, at_once: usize) -> Result<Vec<(u64, String)>, String> {
        let mut input = BufReader::with_capacity(at_once, text.as_bytes());
        let scan = Scan { state: State::Open, line: 1, depth: 0 };
        let skips = Skips::new(&ImportOptions::default());
        let mut list = List { input: &mut input, file: "f", element: vec![], begins: 1, scan, hash: Sha256::new(), skips };
        let mut seen = vec![];
        while let Some(line) = list.next().map_err(|e| e.to_string())? {
            seen.push((line.place.line, String::from_utf8(line.bytes.to_vec()).unwrap()));
        }
        assert_eq!(Digest(list.hash.finalize().into()), Digest::of(text.as_bytes()));
        Ok(seen)
    }

    #[test]
    fn elements_are_cut_out_wherever_reads_end() {
        let text = "\u{feff}[\n {\"a\": \"}]\\\"\"},\n\n {\"b\": [1, {\"c\": \"\\\\\"}]} , {} ]\n\n";
        let expect =
            [(2, "{\"a\": \"}]\\\"\"}"), (4, "{\"b\": [1, {\"c\": \"\\\\\"}]}"), (4, "{}")].map(|(line, text)| (line, text.to_owned()));
        for at_once in 1..=text.len() {
            assert_eq!(read(text, at_once).unwrap(), expect, "{at_once}");
        }
        assert_eq!(read(" [ ] ", 64), Ok(vec![]));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expect) in [
            ("[\n{}\n{}]", "f:3: there is `{` where `,` or `]` should be"),
            ("[{},\n]", "f:2: there is `]` where an object should be"),
            ("[1]", "an object"),
            ("[{}] x", "the end of the file"),
            ("[\n{\"a\":", "f:2: the file ends inside its list; the file is truncated"),
            ("[{}", "truncated"),
        ] {
            let error = read(text, 64).unwrap_err();
            assert!(error.contains(expect), "{error}");
        }
    }

    #[test]
    fn first_keys() {
        let check = |head: &str, expect: &[&str]| {
            let seen: Vec<_> = keys(head.as_bytes()).into_iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
            assert_eq!(seen, expect, "{head}");
        };
        check("{\"a\": 1, \"b\" : {\"c\": \"d\"}, \"e\": [\"f\", {\"g\": 1}], \"h\": \"i, \\\"j\"}\n{\"k\": 1}", &["a", "b", "e", "h"]);
        check(" [ {\"a\": \"x\", \"b\"", &["a", "b"]);
        check("{\"a\": [1, 2], \"b", &["a"]);
        check("[1, {\"a\": 1}]", &[]);
        check("a,b", &[]);
        check("\"a\"", &[]);
        check("", &[]);
    }
}
