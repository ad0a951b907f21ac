//! Why a line of JSON is not a record: the slow path behind a failed parse, which names the field and what it should be.
//!
//! Records are parsed by `serde` into typed structs at full speed. When that fails, the line is parsed again as a value and
//! compared with the record's list of fields. The list is also where a format's bounds are written down.

use crate::error::{Place, TraceError};
use crate::import::decimal::Seconds;
use nomoat_core::suggest::nearest;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// One key of a record.
pub(crate) struct Field {
    name: &'static str,
    required: bool,
    shape: Shape,
}

impl Field {
    pub const fn required(name: &'static str, shape: Shape) -> Self {
        Self { name, required: true, shape }
    }

    pub const fn optional(name: &'static str, shape: Shape) -> Self {
        Self { name, required: false, shape }
    }

    /// Whether it is the field of that key.
    pub fn is(&self, key: &[u8]) -> bool {
        self.name.as_bytes() == key
    }
}

/// What a value may be.
pub(crate) enum Shape {
    /// A whole number in a range; `of` names its unit.
    Whole { min: u64, max: u64, of: &'static str },
    /// A whole number of 32 bits with a sign.
    Signed,
    /// True or false.
    Bool,
    /// A number of seconds from 0 to a century.
    Seconds,
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// One of some words.
    Word(&'static [&'static str]),
    /// An object with these keys.
    Object(&'static [Field]),
    /// A list of objects with these keys.
    Objects(&'static [Field]),
    /// A list of whole numbers up to `max`.
    Wholes { max: u64, of: &'static str },
    /// A list of `[first, count]`.
    Ranges { max_first: u64, max_count: u64 },
    /// Anything.
    Any,
}

/// What is wrong with a value.
pub(crate) struct Complaint {
    pub field: String,
    pub problem: String,
    pub should: String,
}

impl Complaint {
    pub fn at(self, place: Place<'_>) -> TraceError {
        place.field(self.field, self.problem, self.should)
    }
}

/// Explains why `line` did not parse as a record with `fields`; `error` is what the fast path said.
pub(crate) fn explain_line(line: &[u8], fields: &[Field], place: Place<'_>, error: &serde_json::Error) -> TraceError {
    match parse(line, place) {
        Err(explained) => explained,
        Ok(value) => match explain(&value, fields) {
            Some(complaint) => complaint.at(place),
            None => place.line(format!("the record cannot be read: {error}"), "compare it with a line of a file that can"),
        },
    }
}

/// Parses a line into an object; a repeated key is an error, where a plain value would keep the last.
pub(crate) fn parse(line: &[u8], place: Place<'_>) -> Result<Map<String, Value>, TraceError> {
    let remedy = "write one JSON object on one line";
    match serde_json::from_slice::<Strict>(line) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        Ok(_) => Err(place.line("the line is JSON but not an object", remedy)),
        Err(error) if error.is_data() => Err(place.line(format!("the record is ambiguous: {error}"), "keep one of the two")),
        Err(error) => Err(place.line(format!("the line is not JSON: {error}"), remedy)),
    }
}

/// The first thing wrong with `object`, or `None`.
pub(crate) fn explain(object: &Map<String, Value>, fields: &[Field]) -> Option<Complaint> {
    object_complaint(object, fields, "")
}

fn object_complaint(object: &Map<String, Value>, fields: &[Field], path: &str) -> Option<Complaint> {
    let full = |name: &str| format!("{path}{name}");
    for (key, value) in object {
        match fields.iter().find(|f| f.name == key) {
            None => {
                let known = fields.iter().map(|f| f.name);
                let nearest = nearest(key, known).unwrap_or_default();
                let should = format!("a known key (`{nearest}` is the nearest), or start with `x-` where the format allows remarks");
                return Some(Complaint { field: full(&clip(key)), problem: "is unknown".into(), should });
            }
            Some(field) => {
                if let Some(complaint) = value_complaint(value, &field.shape, &full(field.name)) {
                    return Some(complaint);
                }
            }
        }
    }
    let missing = fields.iter().find(|f| f.required && !object.contains_key(f.name))?;
    Some(Complaint { field: full(missing.name), problem: "is missing".into(), should: should(&missing.shape) })
}

fn value_complaint(value: &Value, shape: &Shape, path: &str) -> Option<Complaint> {
    let complain = || Some(Complaint { field: path.into(), problem: format!("is {}", clip(&value.to_string())), should: should(shape) });
    let check = |fine: bool| if fine { None } else { complain() };
    let whole = |value: &Value, min: u64, max: u64| value.as_u64().is_some_and(|n| (min..=max).contains(&n));
    match shape {
        Shape::Whole { min, max, .. } => check(whole(value, *min, *max)),
        Shape::Signed => check(value.as_i64().is_some_and(|n| i32::try_from(n).is_ok())),
        Shape::Bool => check(value.is_boolean()),
        Shape::Seconds => check(serde_json::from_value::<Seconds>(value.clone()).is_ok()),
        Shape::Text => check(value.is_string()),
        Shape::Texts => check(value.as_array().is_some_and(|list| list.iter().all(Value::is_string))),
        Shape::Word(words) => check(value.as_str().is_some_and(|word| words.contains(&word))),
        Shape::Wholes { max, .. } => {
            let Some(list) = value.as_array() else { return complain() };
            let (index, wrong) = list.iter().enumerate().find(|(_, id)| !whole(id, 0, *max))?;
            let problem = format!("has {} at position {index}", clip(&wrong.to_string()));
            Some(Complaint { field: path.into(), problem, should: should(shape) })
        }
        Shape::Ranges { max_first, max_count } => {
            let Some(list) = value.as_array() else { return complain() };
            let fine = |range: &Value| {
                range.as_array().is_some_and(|pair| pair.len() == 2 && whole(&pair[0], 0, *max_first) && whole(&pair[1], 1, *max_count))
            };
            let (index, wrong) = list.iter().enumerate().find(|(_, range)| !fine(range))?;
            let problem = format!("has {} at position {index}", clip(&wrong.to_string()));
            Some(Complaint { field: path.into(), problem, should: should(shape) })
        }
        Shape::Object(fields) => match value {
            Value::Object(object) => object_complaint(object, fields, &format!("{path}.")),
            _ => complain(),
        },
        Shape::Objects(fields) => {
            let Some(list) = value.as_array() else { return complain() };
            list.iter().enumerate().find_map(|(index, item)| match item {
                Value::Object(object) => object_complaint(object, fields, &format!("{path}[{index}].")),
                _ => complain(),
            })
        }
        Shape::Any => None,
    }
}

fn should(shape: &Shape) -> String {
    match shape {
        Shape::Whole { min, max, of } if min == max => format!("{min}: other {of} are not read"),
        Shape::Whole { min, max, of } => format!("a whole number of {of} from {min} to {max}"),
        Shape::Signed => "a whole number of 32 bits".into(),
        Shape::Bool => "true or false".into(),
        Shape::Seconds => "a number of seconds from 0 to a century".into(),
        Shape::Text => "a text".into(),
        Shape::Texts => "a list of texts".into(),
        Shape::Word(words) => format!("one of {}", words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", ")),
        Shape::Object(fields) => format!("an object with {}", names(fields)),
        Shape::Objects(fields) => format!("a list of objects with {}", names(fields)),
        Shape::Wholes { max, of } => format!("a list of {of} from 0 to {max}"),
        Shape::Ranges { .. } => "a list of [first, count], whole numbers, the count at least 1".into(),
        Shape::Any => "left out".into(),
    }
}

fn names(fields: &[Field]) -> String {
    fields.iter().map(|f| format!("`{}`", f.name)).collect::<Vec<_>>().join(", ")
}

/// A value for a message, cut to a readable length.
fn clip(text: &str) -> String {
    if text.chars().count() > 60 { format!("{}…", text.chars().take(60).collect::<String>()) } else { text.into() }
}

/// A JSON value in which no object repeats a key.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = vec![];
        while let Some(Strict(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("key `{}` stands twice", clip(&key))));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
