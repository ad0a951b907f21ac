//! Values that are written as one short text in scripts (`20ms`, `uniform:0.2`, `close_after:3`), for serde.

use nomoat_core::units::Nanos;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};
use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

/// The longest duration a script may hold: beyond a day a stream is not a benchmark, and sums stay far from overflow.
const LONGEST: Nanos = Nanos::from_secs(86_400);

/// Reads a duration with its unit.
pub fn parse_duration(text: &str) -> Result<Nanos, String> {
    let duration = Nanos::parse(text)?;
    if duration > LONGEST { Err(format!("`{text}` is longer than a day")) } else { Ok(duration) }
}

/// Writes a duration without loss, in the largest unit that divides it.
pub fn write_duration(duration: Nanos) -> String {
    let ns = duration.0;
    [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")]
        .into_iter()
        .find(|(unit, _)| ns % unit == 0)
        .map_or_else(|| format!("{ns}ns"), |(unit, name)| format!("{}{name}", ns / unit))
}

/// Splits `a:b`.
pub fn pair<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once(':').ok_or_else(|| format!("`{text}` should look like {form}"))
}

/// For `#[serde(with)]` on durations.
pub mod duration {
    use super::{Cow, Deserialize, Deserializer, Nanos, Serializer, parse_duration, write_duration};
    use serde::de::Error as _;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub fn serialize<S: Serializer>(value: &Nanos, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&write_duration(*value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Nanos, D::Error> {
        parse_duration(&Cow::<str>::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with)]` on types that print and parse.
pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

pub fn deserialize<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Cow::<str>::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// The same for optional ones; `None` is left out or null.
pub mod option {
    use super::{Cow, Deserialize, Deserializer, Display, FromStr, Serializer};
    use serde::de::Error as _;

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        Option::<Cow<'de, str>>::deserialize(from)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}
