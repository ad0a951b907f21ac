//! Prompts as the canonical format writes them: by blocks, pieces, messages, texts or token ids, mostly as what they add to an earlier one.

use super::MAX_RANGES;
use super::blocks::{check_count, count, extend, leading};
use super::wire::{self, Blocks, Chunk, Input, Piece, Scope, Text};
use crate::error::{Place, TraceError};
use crate::import::{MAX_BLOCK_ID, MAX_TOKENS};
use nomoat_core::digest::Digest;
use nomoat_core::prompt::{BlockPrompt, BlockRange, Messages, Part, PartPrompt, Prompt};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Record ids of the requests so far, increasing: their position is the id in memory.
#[derive(Default)]
pub(super) struct Ids(Vec<u64>);

impl Ids {
    pub fn last(&self) -> Option<u64> {
        self.0.last().copied()
    }

    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// The position of the earlier request with the record id `id`.
    pub fn position(&self, id: u64, field: &str, place: Place<'_>) -> Result<u32, TraceError> {
        // Ids mostly count up from zero: then the position is the id.
        if usize::try_from(id).is_ok_and(|index| self.0.get(index) == Some(&id)) {
            return Ok(id as u32);
        }
        let found = self.0.binary_search(&id).map(|index| index as u32);
        found.map_err(|_| place.field(field, format!("is {id}, which is no earlier request"), "the id of an earlier request"))
    }
}

/// What prompts may refer to.
pub(super) struct Inputs {
    pub ids: Ids,
    blocks: Option<Blocks>,
    texts: HashMap<String, Value>,
    /// Messages and tools as they are sent, made of `texts` once.
    spelled: HashMap<String, Arc<str>>,
    chunks: HashMap<u64, u32>,
    /// By position: prompts that a later one may continue.
    prompts: HashMap<u32, Prompt>,
    ranges: usize,
}

impl Inputs {
    pub fn new(blocks: Option<Blocks>) -> Self {
        Self {
            ids: Ids::default(),
            blocks,
            texts: HashMap::new(),
            spelled: HashMap::new(),
            chunks: HashMap::new(),
            prompts: HashMap::new(),
            ranges: 0,
        }
    }

    pub fn texts(&self) -> u64 {
        self.texts.len() as u64
    }

    pub fn chunks(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// Keeps of a request what later ones may refer to.
    pub fn note(&mut self, id: u64, prompt: &Prompt) {
        let is_plain = matches!(prompt, Prompt::Blocks(prompt) if prompt.blocks.is_empty());
        if !is_plain && !matches!(prompt, Prompt::Ids(_) | Prompt::Text(_)) {
            self.prompts.insert(self.ids.len() as u32, prompt.clone());
        }
        self.ids.0.push(id);
    }

    pub fn text(&mut self, text: Text, place: Place<'_>) -> Result<(), TraceError> {
        let digest = text_digest(&text.json.to_string());
        if digest != text.h {
            let problem = format!("is {}, but the text's digest is {digest}", text.h);
            return Err(place.field("h", problem, "the first 32 hexadecimal digits of the SHA-256 of `json` without spaces"));
        }
        match self.texts.insert(text.h, text.json) {
            None => Ok(()),
            Some(_) => Err(place.field("h", "was defined before", "defined once")),
        }
    }

    pub fn chunk(&mut self, chunk: &Chunk, place: Place<'_>) -> Result<(), TraceError> {
        match self.chunks.insert(chunk.id, tokens("n", chunk.n, place)?) {
            None => Ok(()),
            Some(_) => Err(place.field("id", format!("{} was defined before", chunk.id), "defined once")),
        }
    }

    /// The prompt that `input` describes, and its length.
    pub fn prompt(&mut self, input: Input, id: u64, session: Option<u32>, place: Place<'_>) -> Result<(Prompt, u32), TraceError> {
        let forms = [
            ("ids", input.ids.is_some()),
            ("text", input.text.is_some()),
            ("m", input.m.is_some()),
            ("append", input.append.is_some()),
            ("c", input.c.is_some()),
            ("keep", input.keep.is_some() || input.add.is_some()),
            ("b", input.b.is_some()),
        ];
        let mut given = forms.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name);
        let form = given.next().unwrap_or("n");
        if let Some(second) = given.next() {
            return Err(place.field("in", format!("has `{form}` and `{second}`"), "one way to say what the prompt is"));
        }
        if input.of.is_some() && !matches!(form, "append" | "keep") {
            return Err(place.field("in.of", "continues nothing", "beside `append`, or `keep` and `add`"));
        }
        if input.tools.is_some() && !matches!(form, "m" | "append") {
            return Err(place.field("in.tools", "has no messages", "beside `m` or `append`"));
        }
        match form {
            "ids" => ids(&input, place),
            "text" | "m" | "append" => self.recorded(&input, place),
            "c" | "keep" => self.pieces(&input, id, session, place),
            _ => self.blocks(input, id, session, place),
        }
    }

    fn length(input: &Input, place: Place<'_>) -> Result<u32, TraceError> {
        let n = input.n.ok_or_else(|| place.field("in.n", "is missing", format!("a whole number of tokens from 1 to {MAX_TOKENS}")))?;
        tokens("in.n", n, place)
    }

    fn recorded(&mut self, input: &Input, place: Place<'_>) -> Result<(Prompt, u32), TraceError> {
        let n = Self::length(input, place)?;
        if input.size.or(input.u.map(|_| 0)).is_some() || input.space.is_some() {
            return Err(place.field("in", "has keys of blocks beside a recorded text", "without `size`, `space` and `u`"));
        }
        if let Some(h) = &input.text {
            return match self.texts.get(h) {
                Some(Value::String(text)) => Ok((Prompt::Text(text.as_str().into()), n)),
                Some(_) => Err(place.field("in.text", "names a text that is no JSON text", "the digest of a `text` record with a text")),
                None => Err(undefined("in.text", h, place)),
            };
        }
        let mut messages: Vec<Arc<str>> = vec![];
        let mut tools = None;
        let (field, added) = match (&input.m, &input.append) {
            (_, Some(added)) => {
                let of = input.of.ok_or_else(|| place.field("in.of", "is missing", "the request whose messages stay"))?;
                let before = self.ids.position(of, "in.of", place)?;
                let Some(Prompt::Messages(before)) = self.prompts.get(&before) else {
                    return Err(place.field("in.of", format!("is {of}, which has no messages"), "an earlier request with messages"));
                };
                messages.extend(before.messages.iter().cloned());
                tools.clone_from(&before.tools);
                ("in.append", added)
            }
            (Some(all), _) => ("in.m", all),
            (None, None) => return Err(place.field("in.m", "is missing", "the digests of the messages")),
        };
        for h in added {
            messages.push(self.spelled(h, field, Value::is_object, "an object: a message", place)?);
        }
        if let Some(h) = &input.tools {
            tools = Some(self.spelled(h, "in.tools", Value::is_array, "an array: tools", place)?);
        }
        if messages.is_empty() {
            return Err(place.field(field, "is empty", "at least one message"));
        }
        Ok((Prompt::Messages(Messages { messages: messages.into(), tools }), n))
    }

    /// A defined text as it is sent.
    fn spelled(&mut self, h: &str, field: &str, is: impl Fn(&Value) -> bool, what: &str, place: Place<'_>) -> Result<Arc<str>, TraceError> {
        if let Some(spelled) = self.spelled.get(h) {
            return Ok(spelled.clone());
        }
        let value = self.texts.get(h).ok_or_else(|| undefined(field, h, place))?;
        if !is(value) {
            return Err(place.field(field, format!("names {h}, which is something else"), what));
        }
        let spelled: Arc<str> = value.to_string().into();
        self.spelled.insert(h.to_owned(), spelled.clone());
        Ok(spelled)
    }

    fn pieces(&mut self, input: &Input, id: u64, session: Option<u32>, place: Place<'_>) -> Result<(Prompt, u32), TraceError> {
        if input.size.is_some() || input.u.is_some() {
            return Err(place.field("in", "has keys of blocks beside pieces", "without `size` and `u`"));
        }
        let parts: Vec<Part> = if let Some(list) = &input.c {
            let mut parts = Vec::with_capacity(list.len());
            for piece in list {
                let (id, n) = match *piece {
                    Piece::Whole(id) => (id, self.chunks.get(&id).copied()),
                    Piece::First(id, n) => (id, self.chunks.get(&id).and(Some(n))),
                };
                let n = n.ok_or_else(|| {
                    place.field("in.c", format!("has {id}, which no `chunk` record defines"), "ids of earlier `chunk` records")
                })?;
                parts.push(Part { id, tokens: tokens("in.c", n, place)? });
            }
            parts
        } else {
            let keep = input.keep.ok_or_else(|| place.field("in.keep", "is missing", "how many tokens of `of` stay"))?;
            let add = input.add.ok_or_else(|| place.field("in.add", "is missing", "how many tokens are new"))?;
            let mut kept = PartPrompt { namespace: 0, parts: Arc::new([]) };
            if keep > 0 {
                let of = input.of.ok_or_else(|| place.field("in.of", "is missing", "the request whose first tokens stay"))?;
                let before = self.ids.position(of, "in.of", place)?;
                let Some(Prompt::Parts(before)) = self.prompts.get(&before) else {
                    return Err(place.field("in.of", format!("is {of}, which has no pieces"), "an earlier request with pieces"));
                };
                if u64::from(keep) > before.tokens() {
                    let problem = format!("is {keep}, but request {of} has {} tokens", before.tokens());
                    return Err(place.field("in.keep", problem, "at most as many"));
                }
                kept = before.clone();
                kept.cut(keep);
            }
            kept.parts.iter().copied().chain([Part { id, tokens: tokens("in.add", add, place)? }]).collect()
        };
        let total: u64 = parts.iter().map(|part| u64::from(part.tokens)).sum();
        let n = tokens("in", u32::try_from(total).unwrap_or(u32::MAX), place)?;
        if input.n.is_some_and(|given| given != n) {
            return Err(place.field("in.n", format!("is not the sum of the pieces, {n}"), "left out, or that sum"));
        }
        self.count(parts.len(), place)?;
        let of_session = input.keep.is_some();
        let namespace = input.space.unwrap_or(if of_session { session.map_or(0, session_space) } else { 0 });
        Ok((Prompt::Parts(PartPrompt { namespace, parts: parts.into() }), n))
    }

    fn count(&mut self, ranges: usize, place: Place<'_>) -> Result<(), TraceError> {
        self.ranges += ranges;
        if self.ranges > MAX_RANGES {
            return Err(place.line(format!("the prompts have more than {MAX_RANGES} ranges of blocks and pieces"), "split the trace"));
        }
        Ok(())
    }

    fn blocks(&mut self, input: Input, id: u64, session: Option<u32>, place: Place<'_>) -> Result<(Prompt, u32), TraceError> {
        let n = Self::length(&input, place)?;
        let scope = self.blocks.map_or(Scope::Trace, |b| b.scope);
        let namespace = match (input.space, scope, session) {
            (Some(space), _, _) => space,
            (None, Scope::Trace, _) => 0,
            (None, Scope::Session, Some(s)) => session_space(s),
            (None, Scope::Session, None) if input.b.is_none() => 0,
            (None, Scope::Session, None) => {
                return Err(place.field("in.b", "has block ids of a session, but the request has none", "in a request with `s`"));
            }
        };
        let unshared = input.u.unwrap_or(id);
        let Some(list) = input.b else {
            if input.size.is_some() {
                return Err(place.field("in.size", "has no blocks", "left out, or beside `b`"));
            }
            return Ok((Prompt::Blocks(BlockPrompt::unique(namespace, unshared, n)), n));
        };
        let Some(blocks) = self.blocks else {
            return Err(place.field("in.b", "has block ids, but the head does not describe blocks", "in a file whose head has `blocks`"));
        };
        let block_tokens = tokens("in.size", input.size.unwrap_or(blocks.size), place)?;
        let mut ranges = self.kept(&list, namespace, block_tokens, place)?;
        for (i, &(first, count)) in list.add.iter().enumerate() {
            if first > MAX_BLOCK_ID || count == 0 || u64::from(count) > MAX_TOKENS {
                let should = format!("[first up to {MAX_BLOCK_ID}, count from 1 to {MAX_TOKENS}]");
                return Err(place.field(format!("in.b.add[{i}]"), format!("is [{first},{count}]"), should));
            }
        }
        extend(&mut ranges, list.add.iter().map(|&(first, count)| BlockRange { first, count }));
        self.count(ranges.len(), place)?;
        check_count(&mut ranges, n, block_tokens, blocks.tail, place)?;
        Ok((Prompt::Blocks(BlockPrompt { namespace, block_tokens, blocks: ranges.into(), tokens: n, unshared }), n))
    }

    /// The leading runs that a prompt takes over from an earlier one.
    fn kept(&self, list: &wire::BlockList, namespace: u64, block_tokens: u32, place: Place<'_>) -> Result<Vec<BlockRange>, TraceError> {
        let (of, keep) = match (list.of, list.keep) {
            (None, None) => return Ok(vec![]),
            (Some(of), Some(keep)) => (of, keep),
            (Some(_), None) => return Err(place.field("in.b.keep", "is missing", "how many leading blocks of `of` stay")),
            (None, Some(_)) => return Err(place.field("in.b.of", "is missing", "the request whose leading blocks stay")),
        };
        let parent = self.ids.position(of, "in.b.of", place)?;
        let Some(Prompt::Blocks(parent)) = self.prompts.get(&parent) else {
            return Err(place.field("in.b.of", format!("is {of}, which has no blocks"), "an earlier request with blocks"));
        };
        if parent.namespace != namespace || parent.block_tokens != block_tokens {
            return Err(place.field(
                "in.b.of",
                format!("is {of}, whose blocks are of another size or space"),
                "a request with blocks of the same kind",
            ));
        }
        leading(&parent.blocks, keep).ok_or_else(|| {
            let has = count(&parent.blocks);
            place.field("in.b.keep", format!("is {keep}, but request {of} has {has} blocks"), format!("at most {has}"))
        })
    }
}

fn ids(input: &Input, place: Place<'_>) -> Result<(Prompt, u32), TraceError> {
    if input.n.is_some() || input.size.is_some() || input.space.is_some() || input.u.is_some() {
        return Err(place.field("in", "has more than `ids`", "either `ids` alone, or `n` with or without `b`"));
    }
    let ids = input.ids.as_deref().unwrap_or_default();
    let n = tokens("in.ids", u32::try_from(ids.len()).unwrap_or(u32::MAX), place)?;
    Ok((Prompt::Ids(ids.into()), n))
}

fn undefined(field: &str, h: &str, place: Place<'_>) -> TraceError {
    place.field(field, format!("names {h}, which no `text` record before defines"), "the digest of an earlier `text` record")
}

/// Namespace of a session's own block ids: apart from the trace's own, which is 0.
pub(super) fn session_space(session: u32) -> u64 {
    u64::from(session) + 1
}

/// How a text is named: the first half of its SHA-256.
pub(super) fn text_digest(json: &str) -> String {
    Digest::of(json.as_bytes()).to_string()[..32].to_owned()
}

pub(super) fn tokens(field: &str, value: u32, place: Place<'_>) -> Result<u32, TraceError> {
    match u64::from(value) {
        1..=MAX_TOKENS => Ok(value),
        _ => Err(place.field(field, format!("is {value}"), format!("a whole number of tokens from 1 to {MAX_TOKENS}"))),
    }
}
