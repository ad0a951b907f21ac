//! How the body of a request is put together.

use super::{Ask, Fields, Input};
use serde_json::{Map, Value};

/// Writes a body field by field, in order; the ask's extra fields replace those of the same name and come last.
pub(super) struct Body<'a> {
    ask: &'a Ask<'a>,
    own: &'a Fields,
    out: &'a mut Vec<u8>,
    /// What was written, so that no name stands twice: an engine's description may name one in two places.
    names: Vec<&'a str>,
    /// The name of the object whose members are being written, if it is not the body itself.
    inside: Option<&'a str>,
}

impl<'a> Body<'a> {
    /// A body whose fields of length and stream are `own` where the ask says nothing else.
    pub fn new(ask: &'a Ask<'a>, own: &'a Fields, out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { ask, own, out, names: Vec::with_capacity(8), inside: None }
    }

    /// The prompt in the field `key`: a text or token ids. A conversation is its texts, one after the other: there is no template.
    pub fn prompt(&mut self, key: &'a str) {
        let ask = self.ask;
        self.with(key, |out| match ask.prompt {
            Input::Text(text) => json(out, text),
            Input::Ids(ids) => json(out, ids),
            Input::Messages(messages) => json(out, &messages.iter().map(|m| m.text).collect::<String>()),
        });
    }

    /// A field of any JSON value.
    pub fn field<T: serde::Serialize + ?Sized>(&mut self, key: &'a str, value: &T) {
        self.with(key, |out| json(out, value));
    }

    /// A field whose value `write` appends.
    pub fn with(&mut self, key: &'a str, write: impl FnOnce(&mut Vec<u8>)) {
        if self.extra().is_some_and(|extra| extra.contains_key(key)) || self.names.contains(&key) {
            return;
        }
        self.key(key);
        write(self.out);
    }

    /// An object whose members `write` writes. Members of an extra object of this name are put with them, and replace those of the
    /// same name: a sampling parameter that a user adds must not take the length away.
    pub fn nested(&mut self, key: &'a str, write: impl FnOnce(&mut Self)) {
        let given = self.ask.extra.and_then(|extra| extra.get(key));
        if given.is_some_and(|given| !given.is_object()) {
            return;
        }
        self.key(key);
        self.out.push(b'{');
        let outer = (std::mem::take(&mut self.names), self.inside.replace(key));
        write(self);
        self.close();
        (self.names, self.inside) = outer;
    }

    /// The extra fields of the object that is being written.
    fn extra(&self) -> Option<&'a Map<String, Value>> {
        match self.inside {
            None => self.ask.extra,
            Some(key) => self.ask.extra?.get(key)?.as_object(),
        }
    }

    fn key(&mut self, key: &'a str) {
        if !self.names.is_empty() {
            self.out.push(b',');
        }
        self.names.push(key);
        json(self.out, key);
        self.out.push(b':');
    }

    /// What the ask says of a kind of fields, else the dialect.
    fn pick<T>(&self, kind: fn(&Fields) -> &Option<T>) -> Option<&'a T> {
        self.ask.fields.and_then(|given| kind(given).as_ref()).or_else(|| kind(self.own).as_ref())
    }

    /// The length.
    pub fn length(&mut self) {
        let ask = self.ask;
        for name in self.pick(|f| &f.length.most).into_iter().flatten() {
            self.field(name, &ask.max_tokens);
        }
        if ask.exact {
            for name in self.pick(|f| &f.length.least).into_iter().flatten() {
                self.field(name, &ask.max_tokens);
            }
            for (name, value) in self.pick(|f| &f.length.force).into_iter().flatten() {
                self.field(name, value);
            }
        }
    }

    /// The sampling temperature, where one is asked for.
    pub fn temperature(&mut self) {
        if let Some(temperature) = self.ask.temperature {
            self.field("temperature", &temperature);
        }
    }

    /// Whether it is streamed, and what the stream shall report.
    pub fn stream(&mut self) {
        let ask = self.ask;
        self.field("stream", &ask.stream);
        if !ask.stream {
            return;
        }
        let always = self.pick(|f| &f.stream.always);
        let counts = match (ask.include_usage, ask.continuous_usage) {
            (_, true) => self.pick(|f| &f.stream.continuous_usage),
            (true, false) => self.pick(|f| &f.stream.usage),
            (false, false) => None,
        };
        for (name, value) in counts.into_iter().flatten().chain(always.into_iter().flatten()) {
            let (Value::Object(members), Some(Value::Object(more))) = (value, always.and_then(|a| a.get(name))) else {
                self.field(name, value);
                continue;
            };
            // What is asked for always is put behind what is asked for now; of two of one name, that of now counts.
            let behind = more.iter().filter(|(key, _)| !members.contains_key(*key));
            let together: Map<String, Value> = members.iter().chain(behind).map(|(k, v)| (k.clone(), v.clone())).collect();
            self.field(name, &together);
        }
    }

    /// The extra fields, and the end.
    pub fn finish(mut self) {
        self.close();
    }

    fn close(&mut self) {
        for (key, value) in self.extra().into_iter().flatten() {
            // An object that was written member by member has these among its members already.
            if !self.names.contains(&key.as_str()) {
                self.key(key);
                json(self.out, value);
            }
        }
        self.out.push(b'}');
    }
}

/// Appends a value as compact JSON.
pub(super) fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("numbers, texts and JSON values serialize, and a Vec takes any bytes");
}
