//! Values that several dialects read alike: texts, counts, errors in all shapes, and the numbers of vendors.

use super::{MAX_VENDOR, Pieces};
use crate::sse::Frame;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The longest message kept of an error.
const MAX_MESSAGE: usize = 500;
/// The deepest vendor number kept.
const MAX_VENDOR_DEPTH: usize = 8;

/// Reads what a frame says without its object: the terminator, an error by name, a sign of life. Tells whether there is an object to
/// read on.
pub(super) fn opens(frame: Frame<'_>, pieces: &mut Pieces) -> bool {
    let data = frame.data.trim_ascii();
    if data == b"[DONE]" {
        pieces.done = true;
        return false;
    }
    if frame.event == b"error" {
        pieces.error = Some(error_message(data).unwrap_or_else(|| shorten(&String::from_utf8_lossy(data))));
        return false;
    }
    // Keep-alives with empty data, and named annotations that are no JSON object.
    !data.is_empty() && (frame.event.is_empty() || data[0] == b'{')
}

/// A JSON string that stays a slice of the input where it has no escapes. (`Option<Cow<str>>` alone would always copy.)
pub(super) struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// Counts the elements of an array.
pub(super) struct Length(pub u32);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Length;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Length, A::Error> {
                let mut n = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    n += 1;
                }
                Ok(Length(n))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// A count; anything that is no whole number of 32 bits is not one.
pub(super) fn count(raw: &RawValue) -> Option<u32> {
    raw.get().parse().ok()
}

/// The words of an error: a text, the `message` of an object, or the JSON itself.
pub(super) fn message_of(raw: &RawValue) -> String {
    let words = match serde_json::from_str(raw.get()) {
        Ok(Value::String(text)) => Some(text),
        Ok(Value::Object(mut object)) => match object.remove("message") {
            Some(Value::String(text)) => Some(text),
            _ => None,
        },
        _ => None,
    };
    shorten(words.as_deref().unwrap_or(raw.get()))
}

/// What an error body says, in the shapes of the known engines: `error` (an object with a `message`, or a text), a bare
/// `message`, or FastAPI's `detail`. Nothing if it is none of them. For people: free text never enters a record.
pub fn error_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
        message: Option<&'a RawValue>,
        detail: Option<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_slice(body.trim_ascii()).ok()?;
    body.error.or(body.message).or(body.detail).map(message_of)
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
}

/// An object whose values are not looked into yet; of two of one name the later counts.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = vec![];
                while let Some((Text(key), value)) = map.next_entry()? {
                    members.retain(|(k, _)| *k != key);
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Appends the numbers of a value in their places, with the digits they came with; nothing if it has none, or none that another
/// reader can hold. Texts of a vendor do not enter a record.
fn numbers(raw: &RawValue, depth: usize, out: &mut String) -> Result<(), serde_json::Error> {
    let json = raw.get();
    let before = out.len();
    match json.as_bytes()[0] {
        b'-' | b'0'..=b'9' if json.parse().is_ok_and(f64::is_finite) => out.push_str(json),
        b'{' if depth > 0 => {
            let Members(members) = serde_json::from_str(json)?;
            for (key, value) in members {
                let start = out.len();
                out.push(if start == before { '{' } else { ',' });
                out.push_str(&serde_json::to_string(&key)?);
                out.push(':');
                let colon = out.len();
                numbers(value, depth - 1, out)?;
                if out.len() == colon {
                    out.truncate(start);
                }
            }
            out.push_str(if out.len() == before { "" } else { "}" });
        }
        b'[' if depth > 0 => {
            let values: Vec<&RawValue> = serde_json::from_str(json)?;
            for value in values {
                let start = out.len();
                out.push(if start == before { '[' } else { ',' });
                let comma = out.len();
                numbers(value, depth - 1, out)?;
                if out.len() == comma {
                    out.truncate(start);
                }
            }
            out.push_str(if out.len() == before { "" } else { "]" });
        }
        _ => {}
    }
    Ok(())
}

/// The members of an object that are an error instead of an answer.
pub(super) struct Failure<'a> {
    pub error: Option<&'a RawValue>,
    pub object: Option<&'a RawValue>,
    pub message: Option<&'a RawValue>,
    pub code: Option<&'a RawValue>,
}

impl Failure<'_> {
    /// The words of the error, if it is one; `is_answer` tells whether the object also holds what an answer holds.
    pub fn words(&self, is_answer: bool) -> Option<String> {
        if let Some(error) = self.error {
            return Some(message_of(error));
        }
        // vLLM and SGLang: {"object":"error","message":…}; Dynamo: {"message":…,"code":…}.
        let named = self.object.is_some_and(|o| o.get() == "\"error\"");
        if named || (!is_answer && self.code.is_some()) {
            return self.message.map(message_of).or_else(|| named.then(|| "an error without a message".to_owned()));
        }
        None
    }
}

/// Keeps the numbers of a vendor's object under `key`.
pub(super) fn keep(key: &'static str, raw: Option<&RawValue>, pieces: &mut Pieces) -> Result<(), serde_json::Error> {
    if let Some(raw) = raw
        && raw.get().len() <= MAX_VENDOR
    {
        let mut kept = String::new();
        numbers(raw, MAX_VENDOR_DEPTH, &mut kept)?;
        if !kept.is_empty() {
            pieces.vendor.push((key, kept));
        }
    }
    Ok(())
}

/// The same without the members that `unwanted` names: lists that grow with the answer.
pub(super) fn keep_but(
    key: &'static str,
    raw: &RawValue,
    unwanted: fn(&str) -> bool,
    pieces: &mut Pieces,
) -> Result<(), serde_json::Error> {
    let Members(members) = serde_json::from_str(raw.get())?;
    let mut kept = String::new();
    for (name, value) in members.iter().filter(|(name, _)| !unwanted(name)) {
        let start = kept.len();
        kept.push(if start == 0 { '{' } else { ',' });
        kept.push_str(&serde_json::to_string(name)?);
        kept.push(':');
        let colon = kept.len();
        numbers(value, MAX_VENDOR_DEPTH - 1, &mut kept)?;
        if kept.len() == colon {
            kept.truncate(start);
        }
    }
    if !kept.is_empty() && kept.len() < MAX_VENDOR {
        kept.push('}');
        pieces.vendor.push((key, kept));
    }
    Ok(())
}
