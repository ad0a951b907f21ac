//! What a page of an engine shows of its state: that it is ready, that it sleeps.

use serde::Deserialize;
use serde_json::Value;

/// A page, and what it must say. An answer of another status than 200 shows nothing.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// The page, from the server's root.
    pub get: String,
    /// A JSON pointer into it, in which `*` stands for every member; without one the page's text is looked at.
    #[serde(default)]
    pub json: Option<String>,
    /// Something there is exactly this.
    #[serde(default)]
    pub is: Option<String>,
    /// Nothing there is this.
    #[serde(default)]
    pub lacks: Option<String>,
}

impl Sign {
    /// Whether an answer shows it. A pointer that leads nowhere shows that something is lacking, and nothing else.
    pub fn shows(&self, status: u16, body: &[u8]) -> bool {
        if status != 200 {
            return false;
        }
        let found: Vec<String> = match &self.json {
            None => vec![String::from_utf8_lossy(body).trim().to_owned()],
            Some(pointer) => match serde_json::from_slice::<Value>(body) {
                Ok(page) => at(&page, pointer).into_iter().map(text).collect(),
                // What cannot be read shows neither that something is there nor that it is not.
                Err(_) => return false,
            },
        };
        let is = self.is.as_ref().is_none_or(|is| found.iter().any(|f| f == is));
        let lacks = self.lacks.as_ref().is_none_or(|lacks| !found.iter().any(|f| f == lacks));
        let there = self.lacks.is_some() || !found.is_empty();
        is && lacks && there
    }

    /// Itself with `fill` applied to everything that may hold a placeholder.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn filled(&self, fill: impl Fn(&str) -> Result<String, String>) -> Result<Self, String> {
        let maybe = |text: &Option<String>| text.as_deref().map(&fill).transpose();
        Ok(Self { get: fill(&self.get)?, json: maybe(&self.json)?, is: maybe(&self.is)?, lacks: maybe(&self.lacks)? })
    }

    /// It in words.
    pub fn words(&self) -> String {
        let place = self.json.as_ref().map_or(String::new(), |json| format!(" at {json}"));
        match (&self.is, &self.lacks) {
            (Some(is), _) => format!("GET {}{place} is `{is}`", self.get),
            (None, Some(lacks)) => format!("GET {}{place} lacks `{lacks}`", self.get),
            (None, None) => format!("GET {}{place}", self.get),
        }
    }
}

/// Everything that a pointer with `*` leads to.
fn at<'a>(value: &'a Value, pointer: &str) -> Vec<&'a Value> {
    let Some((before, after)) = pointer.split_once("/*") else { return value.pointer(pointer).into_iter().collect() };
    let members: Vec<&Value> = match value.pointer(before) {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(Value::Object(map)) => map.values().collect(),
        _ => vec![],
    };
    members.into_iter().flat_map(|member| at(member, after)).collect()
}

/// A value as a description writes it: texts without quotes.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_show_it_or_not() {
        let check = |sign: &str, status: u16, body: &str, shows: bool| {
            let sign: Sign = toml::from_str(sign).unwrap();
            assert_eq!(sign.shows(status, body.as_bytes()), shows, "{sign:?} {status} {body}");
        };
        check("get = \"/health\"", 200, "", true);
        check("get = \"/health\"", 503, "", false);
        let sleeping = "get = \"/is_sleeping\"\njson = \"/is_sleeping\"\nis = \"true\"";
        check(sleeping, 200, r#"{"is_sleeping":true}"#, true);
        check(sleeping, 200, r#"{"is_sleeping":false}"#, false);
        check(sleeping, 200, r#"{"other":true}"#, false);
        check(sleeping, 200, "<html>", false);
        let listed = "get = \"/v1/models\"\njson = \"/data/*/id\"\nis = \"a\"";
        check(listed, 200, r#"{"data":[{"id":"b"},{"id":"a"}]}"#, true);
        check(listed, 200, r#"{"data":[]}"#, false);
        let unlisted = "get = \"/v1/models\"\njson = \"/data/*/id\"\nlacks = \"a\"";
        check(unlisted, 200, r#"{"data":[{"id":"b"},{"id":"a"}]}"#, false);
        check(unlisted, 200, r#"{"data":[]}"#, true);
        check(unlisted, 200, "no json", false);
        check("get = \"/m\"\njson = \"/*/s\"\nis = \"up\"", 200, r#"{"x":{"s":"up"}}"#, true);
        check("get = \"/v1/models\"\njson = \"/data/*\"", 200, r#"{"data":[]}"#, false);
    }

    #[test]
    fn words_name_the_page() {
        let sign: Sign = toml::from_str("get = \"/is_sleeping\"\njson = \"/is_sleeping\"\nis = \"true\"").unwrap();
        assert_eq!(sign.words(), "GET /is_sleeping at /is_sleeping is `true`");
    }
}
