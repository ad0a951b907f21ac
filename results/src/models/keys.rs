//! The keys of a configuration, each read as what it must be.

use serde_json::Value;

/// Wider than any model is, in heads or in dimensions.
pub(super) const WIDEST: u32 = 1 << 20;

/// Numbers, words and lists of a configuration by their keys.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a>(pub(super) &'a Value);

impl<'a> Keys<'a> {
    /// What stands at `key`, `None` where it is absent or null, by `read`.
    ///
    /// # Errors
    /// It is something else than `kind`: it is never taken as absent, for its family's default would then be a wrong figure.
    fn typed<T>(self, key: &str, kind: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| format!("has `{key}` = {}, which is no {kind}", brief(value))),
        }
    }

    /// A whole number below 2³².
    pub(super) fn get(self, key: &str) -> Result<Option<u32>, String> {
        self.typed(key, "whole number below 2³²", |value| value.as_u64().and_then(|n| u32::try_from(n).ok()))
    }

    pub(super) fn need(self, key: &str) -> Result<u32, String> {
        self.get(key)?.ok_or_else(|| format!("lacks `{key}`"))
    }

    /// A count or a dimension that a model can have.
    pub(super) fn size_or_none(self, key: &str) -> Result<Option<u32>, String> {
        match self.get(key)? {
            Some(n) if !(1..=WIDEST).contains(&n) => Err(format!("has `{key}` = {n}, which is not 1 to {WIDEST}")),
            n => Ok(n),
        }
    }

    pub(super) fn size(self, key: &str) -> Result<u32, String> {
        self.size_or_none(key)?.ok_or_else(|| format!("lacks `{key}`"))
    }

    pub(super) fn word(self, key: &str) -> Result<Option<&'a str>, String> {
        self.typed(key, "text", Value::as_str)
    }

    pub(super) fn flag(self, key: &str) -> Result<Option<bool>, String> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(super) fn list(self, key: &str) -> Result<Option<&'a Vec<Value>>, String> {
        self.typed(key, "list", Value::as_array)
    }

    /// Whether `key` says that something is there: absent, null, false, 0 and an empty list say that it is not.
    pub(super) fn on(self, key: &str) -> bool {
        match self.0.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(value) => value.as_u64() != Some(0),
        }
    }

    /// A key of experts that nobody reads the number of: `moe_num_experts` and its like.
    pub(super) fn other_experts(self) -> Option<&'a str> {
        let mut keys = self.0.as_object()?.keys().map(String::as_str);
        keys.find(|key| (key.starts_with("moe_") || key.contains("experts")) && self.on(key))
    }

    pub(super) fn has(self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !value.is_null())
    }
}

/// A value in a message, cut where it is long.
pub(super) fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 { format!("{}…", text.chars().take(40).collect::<String>()) } else { text }
}
