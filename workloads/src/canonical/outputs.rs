//! How prompts are written: as what they add to an earlier one, where that is shorter.

use super::blocks::{beyond, common, extend, leading};
use super::inputs::{session_space, text_digest};
use super::wire::{BlockList, Blocks, Chunk, Input, Piece, Text};
use nomoat_core::prompt::{BlockPrompt, BlockRange, Messages, PartPrompt, Prompt};
use nomoat_core::request::SessionId;
use nomoat_core::trace::TraceRequest;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Runs that a prompt must share with an earlier one before it is written as `of` and `keep`: below, the ranges are shorter.
const MIN_KEPT_RUNS: usize = 3;

/// Most messages, or sessions, that are held to be recognised when they come again. Beyond that all are forgotten: what comes is the same,
/// only longer.
pub(super) const MOST_HELD: usize = 100_000;

/// What was written so far, as far as later prompts may refer to it.
pub(super) struct Outputs {
    blocks: Option<Blocks>,
    kept: Kept,
    texts: HashSet<String>,
    /// By address: digests of messages that prompts of one conversation share. What has the address is kept, so that nothing else gets it.
    named: HashMap<usize, (Arc<str>, String)>,
    chunks: HashMap<u64, u32>,
    /// The last prompt of each session.
    last: HashMap<Option<SessionId>, (u32, Prompt)>,
    /// Records that must stand before the next request.
    pub new_texts: Vec<Text>,
    /// The same.
    pub new_chunks: Vec<Chunk>,
}

/// Whether a prompt is written by its length alone.
pub(super) fn is_plain(prompt: &BlockPrompt) -> bool {
    prompt.blocks.is_empty() && prompt.block_tokens == prompt.tokens.max(1)
}

impl Outputs {
    pub fn new(blocks: Option<Blocks>) -> Self {
        Self {
            blocks,
            kept: Kept::default(),
            texts: HashSet::new(),
            named: HashMap::new(),
            chunks: HashMap::new(),
            last: HashMap::new(),
            new_texts: vec![],
            new_chunks: vec![],
        }
    }

    pub fn texts(&self) -> u64 {
        self.texts.len() as u64
    }

    pub fn chunks(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// The `in` of the request at `index`. What it needs stands in `new_texts` and `new_chunks`.
    pub fn input(&mut self, index: u32, request: &TraceRequest) -> Input {
        let session = request.session;
        let input = match &request.prompt {
            Prompt::Ids(ids) => Input { ids: Some(ids.to_vec()), ..Input::default() },
            Prompt::Blocks(prompt) => return self.by_blocks(index, prompt),
            Prompt::Text(text) => {
                let h = self.define(Value::String(text.to_string()));
                Input { n: Some(request.input_tokens), text: Some(h), ..Input::default() }
            }
            Prompt::Messages(messages) => Input { n: Some(request.input_tokens), ..self.by_messages(session, messages) },
            Prompt::Parts(prompt) => self.by_pieces(index, session, prompt),
            Prompt::Live { .. } => unreachable!("a survey refuses it before anything is written"),
        };
        if matches!(request.prompt, Prompt::Messages(_) | Prompt::Parts(_)) {
            if self.last.len() > MOST_HELD {
                self.last.clear();
            }
            self.last.insert(session, (index, request.prompt.clone()));
        }
        input
    }

    fn by_blocks(&mut self, index: u32, prompt: &BlockPrompt) -> Input {
        let plain = is_plain(prompt);
        Input {
            n: Some(prompt.tokens),
            b: (!plain).then(|| self.kept.list(index, prompt)),
            size: (!plain && self.blocks.is_none_or(|b| b.size != prompt.block_tokens)).then_some(prompt.block_tokens),
            space: (prompt.namespace != 0).then_some(prompt.namespace),
            u: (prompt.unshared != u64::from(index)).then_some(prompt.unshared),
            ..Input::default()
        }
    }

    /// The digest of a text, which is defined if it is new.
    fn define(&mut self, json: Value) -> String {
        let h = text_digest(&json.to_string());
        if self.texts.insert(h.clone()) {
            self.new_texts.push(Text { k: "text".into(), h: h.clone(), json });
        }
        h
    }

    fn spelled(&mut self, text: &Arc<str>) -> String {
        let address = text.as_ptr().addr();
        if let Some((_, h)) = self.named.get(&address) {
            return h.clone();
        }
        if self.named.len() > MOST_HELD {
            self.named.clear();
        }
        // A survey held it to be JSON.
        let h = self.define(serde_json::from_str(text).unwrap_or(Value::Null));
        self.named.insert(address, (text.clone(), h.clone()));
        h
    }

    fn by_messages(&mut self, session: Option<SessionId>, messages: &Messages) -> Input {
        let all: Vec<String> = messages.messages.iter().map(|message| self.spelled(message)).collect();
        let before = match self.last.get(&session) {
            Some((of, Prompt::Messages(before)))
                if session.is_some() && messages.messages.starts_with(&before.messages) && messages.tools == before.tools =>
            {
                Some((*of, before.messages.len()))
            }
            _ => None,
        };
        match before {
            Some((of, kept)) => Input { of: Some(of.into()), append: Some(all[kept..].to_vec()), ..Input::default() },
            None => {
                let tools = messages.tools.as_ref().map(|tools| self.spelled(tools));
                Input { m: Some(all), tools, ..Input::default() }
            }
        }
    }

    fn by_pieces(&mut self, index: u32, session: Option<SessionId>, prompt: &PartPrompt) -> Input {
        if let Some(continued) = self.continued(index, session, prompt) {
            return continued;
        }
        let mut list = vec![];
        for part in prompt.parts.iter() {
            let whole = *self.chunks.entry(part.id).or_insert_with(|| {
                self.new_chunks.push(Chunk { k: "chunk".into(), id: part.id, n: part.tokens, c: None });
                part.tokens
            });
            list.push(if whole == part.tokens { Piece::Whole(part.id) } else { Piece::First(part.id, part.tokens) });
        }
        Input { c: Some(list), space: (prompt.namespace != 0).then_some(prompt.namespace), ..Input::default() }
    }

    /// A prompt that is the beginning of its session's last one, then something of its own.
    fn continued(&self, index: u32, session: Option<SessionId>, prompt: &PartPrompt) -> Option<Input> {
        let (own, kept) = prompt.parts.split_last()?;
        let own = Some(own).filter(|own| own.id == u64::from(index))?;
        let keep: u64 = kept.iter().map(|part| u64::from(part.tokens)).sum();
        let of = match self.last.get(&session) {
            _ if kept.is_empty() => None,
            Some((of, Prompt::Parts(before))) if before.namespace == prompt.namespace => {
                let mut same = before.clone();
                same.cut(u32::try_from(keep).ok()?);
                (same.parts[..] == *kept).then_some(())?;
                Some(u64::from(*of))
            }
            _ => return None,
        };
        let usual = session.map_or(0, |s| session_space(s.0));
        let space = (prompt.namespace != usual).then_some(prompt.namespace);
        Some(Input { of, keep: Some(keep as u32), add: Some(own.tokens), space, ..Input::default() })
    }
}

/// Which earlier prompt last had a run of blocks begin with an id, so that a long common beginning is written as a reference.
#[derive(Default)]
struct Kept {
    /// By namespace, block size and the run's first id: the prompt, and the position of that run among its runs.
    last: HashMap<(u64, u32, u64), (u32, u32)>,
    /// The runs of prompts that are written by blocks.
    prompts: HashMap<u32, Arc<[BlockRange]>>,
}

impl Kept {
    fn list(&mut self, index: u32, prompt: &BlockPrompt) -> BlockList {
        let list = self.reference(prompt).unwrap_or_else(|| BlockList {
            of: None,
            keep: None,
            add: prompt.blocks.iter().map(|r| (r.first, r.count)).collect(),
        });
        for (position, range) in prompt.blocks.iter().enumerate() {
            self.last.insert((prompt.namespace, prompt.block_tokens, range.first), (index, position as u32));
        }
        self.prompts.insert(index, prompt.blocks.clone());
        list
    }

    /// The prompt as the beginning of an earlier one and what follows, if enough is common.
    fn reference(&self, prompt: &BlockPrompt) -> Option<BlockList> {
        // The deepest run that an earlier prompt has at the same place shows the prompt with most in common, where ids are
        // chained; where they are not, the comparison below finds less or nothing.
        let (of, _) = prompt.blocks.iter().enumerate().rev().find_map(|(position, range)| {
            let seen = self.last.get(&(prompt.namespace, prompt.block_tokens, range.first))?;
            (seen.1 as usize == position).then_some(*seen)
        })?;
        let parent = self.prompts.get(&of)?;
        let (keep, runs) = common(parent, &prompt.blocks);
        if runs < MIN_KEPT_RUNS {
            return None;
        }
        let add = beyond(&prompt.blocks, keep);
        let mut again = leading(parent, keep)?;
        extend(&mut again, add.iter().copied());
        // A list that was not in runs to begin with would read back merged: it is written in full.
        (again[..] == prompt.blocks[..]).then(|| BlockList {
            of: Some(of.into()),
            keep: Some(keep),
            add: add.iter().map(|r| (r.first, r.count)).collect(),
        })
    }
}
