//! How a length and counts are asked for: names of fields, as data.
//!
//! Engines of one dialect disagree here: `max_tokens` or `max_completion_tokens`, `min_tokens` or nothing at all. So every dialect
//! has names of its own ([`super::Protocol::fields`]), and the description of an engine may replace any of them.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Which fields ask for the length of an answer. One that is absent is the dialect's own; an empty one is none.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LengthFields {
    /// Names that take the asked number of tokens.
    pub most: Option<Vec<String>>,
    /// Names that take it only where the length is asked for exactly.
    pub least: Option<Vec<String>>,
    /// Fields with fixed values that are sent only where the length is asked for exactly.
    pub force: Option<Map<String, Value>>,
}

/// Which fields a streamed request has. One that is absent is the dialect's own; an empty one is none. Objects of one name are put
/// together: `stream_options` may stand in all three.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamFields {
    /// Sent with every streamed request.
    pub always: Option<Map<String, Value>>,
    /// Sent where a stream shall report its token counts at the end.
    pub usage: Option<Map<String, Value>>,
    /// Sent instead where it shall report them with every event.
    pub continuous_usage: Option<Map<String, Value>>,
}

/// The fields of a request that engines of one dialect disagree about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// How a length is asked for.
    pub length: LengthFields,
    /// What a stream is asked for.
    pub stream: StreamFields,
}

impl Fields {
    /// A dialect's own names. What is not given is none.
    pub(crate) fn new(most: &[&str], least: &[&str], force: Value) -> Self {
        let names = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
        let length = LengthFields { most: names(most), least: names(least), force: object(force) };
        Self { length, stream: StreamFields::default() }
    }

    /// Adds how counts are asked for.
    pub(crate) fn with_usage(mut self, usage: Value, continuous: Value) -> Self {
        self.stream = StreamFields { always: None, usage: object(usage), continuous_usage: object(continuous) };
        self
    }

    /// These, and `own` where they say nothing.
    pub fn or(&self, own: &Self) -> Self {
        let (length, stream) = (&self.length, &self.stream);
        Self {
            length: LengthFields {
                most: length.most.clone().or_else(|| own.length.most.clone()),
                least: length.least.clone().or_else(|| own.length.least.clone()),
                force: length.force.clone().or_else(|| own.length.force.clone()),
            },
            stream: StreamFields {
                always: stream.always.clone().or_else(|| own.stream.always.clone()),
                usage: stream.usage.clone().or_else(|| own.stream.usage.clone()),
                continuous_usage: stream.continuous_usage.clone().or_else(|| own.stream.continuous_usage.clone()),
            },
        }
    }

    /// Whether there is a way to ask for an exact length: without one, a request is a cap, whatever was asked.
    pub fn can_force(&self) -> bool {
        let has_least = self.length.least.as_ref().is_some_and(|names| !names.is_empty());
        has_least || self.length.force.as_ref().is_some_and(|fields| !fields.is_empty())
    }
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}
