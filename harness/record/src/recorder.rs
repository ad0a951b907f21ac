//! The thread that makes rows of what goes by.

use crate::answer::Answer;
use crate::ask::{Ask, Content, Kind, Unread};
use crate::finish::{Recording, Tally, recording};
use crate::identity::{Identity, Key};
use crate::row::Row;
use crate::sessions::Sessions;
use crate::tap::{Event, Loss, Shared, What};
use nomoat_core::prompt::{Messages, Prompt};
use nomoat_core::units::Nanos;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

/// How often it looks when there is nothing. A receiver that sleeps in the channel would have to be woken by the thread that
/// forwards, which costs that thread more than the copy.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A request that goes by.
struct Open {
    kind: Kind,
    arrived: Nanos,
    session: Option<Vec<u8>>,
    body: Vec<u8>,
    /// Its row, once its question was read.
    row: Option<usize>,
    /// The answer's beginning, where it came before the question's end.
    early: Option<Box<Answer>>,
}

pub struct Recorder {
    identity: Identity,
    shared: Arc<Shared>,
    keep_text: bool,
    open: HashMap<u64, Open>,
    rows: Vec<Row>,
    sessions: Sessions,
    lost: BTreeMap<Loss, u64>,
    models: HashSet<Key>,
    /// Messages that are kept, each once.
    kept: HashMap<Key, Arc<str>>,
}

impl Recorder {
    pub fn new(salt: [u8; 32], block: u32, keep_text: bool, shared: Arc<Shared>) -> Self {
        Self {
            identity: Identity::new(salt, block),
            shared,
            keep_text,
            open: HashMap::new(),
            rows: vec![],
            sessions: Sessions::default(),
            lost: BTreeMap::new(),
            models: HashSet::new(),
            kept: HashMap::new(),
        }
    }

    /// Records until nobody can send any more.
    pub fn run(mut self, events: &Receiver<Event>, name: &str) -> Recording {
        loop {
            match events.try_recv() {
                Ok(Event(id, what)) => self.take(id, what),
                Err(TryRecvError::Empty) => std::thread::sleep(LOOK_EVERY),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        let tally = Tally { lost: self.lost, models: self.models.len(), keep_text: self.keep_text };
        recording(name, self.rows, tally, &self.identity, &self.shared)
    }

    fn take(&mut self, id: u64, what: What) {
        if let What::Begins { kind, arrived, session } = what {
            self.open.insert(id, Open { kind, arrived, session, body: vec![], row: None, early: None });
            return;
        }
        let Some(open) = self.open.get_mut(&id) else {
            // What comes after a request was lost.
            if let What::Asks(bytes) | What::Answers(_, bytes) = what {
                self.shared.release(bytes.len());
            }
            return;
        };
        let answer = match open.row {
            Some(index) => &mut self.rows[index].answer,
            None => open.early.get_or_insert_default(),
        };
        match what {
            What::Begins { .. } => {}
            What::Asks(bytes) => open.body.extend_from_slice(&bytes),
            What::Sent(at) => self.sent(id, at),
            What::Answered { status, is_stream, is_encoded } => answer.head(status, is_stream, is_encoded),
            What::Answers(at, bytes) => {
                answer.feed(at, &bytes);
                self.shared.release(bytes.len());
            }
            What::Ended(at, outcome) => {
                if let Some(index) = open.row {
                    answer.finish();
                    self.rows[index].ended = Some((at, outcome));
                    self.forget(id);
                } else {
                    self.lose(id, Loss::Unasked);
                }
            }
            What::Lost(loss) => self.lose(id, loss),
        }
    }

    fn sent(&mut self, id: u64, sent: Nanos) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let ask = match Ask::read(open.kind, &open.body) {
            Ok(ask) => ask,
            Err(Unread::Batch) => return self.lose(id, Loss::Batch),
            Err(Unread::Unknown) => return self.lose(id, Loss::Unknown),
        };
        let outline = self.identity.outline(&ask.content);
        let place = self.sessions.place(&self.identity, &self.rows, open.arrived, open.session.as_deref(), &ask.content);
        let mut row = Row::new(open.kind, open.arrived, sent, outline, &ask);
        if let Some(place) = place {
            (row.session, row.turn, row.parent) = (Some(place.session), place.turn, place.parent);
            if let Some(parent) = place.parent {
                self.rows[parent as usize].has_child = true;
            }
        }
        row.after_tool = matches!(&ask.content, Content::Chat { messages, .. } if messages.last().is_some_and(|last| last.role == crate::ask::Role::Tool));
        row.answer = open.early.take().unwrap_or_default();
        self.shared.release(std::mem::take(&mut open.body).len());
        open.row = Some(self.rows.len());
        if let Some(model) = &ask.model {
            self.models.insert(self.identity.key("model", Key::default(), model.as_bytes()));
        }
        if self.keep_text {
            row.kept = Some(self.keep(ask.content));
        }
        self.rows.push(row);
    }

    fn keep(&mut self, content: Content) -> Prompt {
        match content {
            Content::Text(text) => Prompt::Text(text.into()),
            Content::Ids(ids) => Prompt::Ids(ids.into()),
            Content::Chat { tools, messages } => {
                let mut one = |json: String| {
                    let key = self.identity.key("kept", Key::default(), json.as_bytes());
                    self.kept.entry(key).or_insert_with(|| json.into()).clone()
                };
                let messages = messages.into_iter().map(|message| one(message.json)).collect();
                Prompt::Messages(Messages { messages, tools: tools.map(one) })
            }
        }
    }

    fn lose(&mut self, id: u64, loss: Loss) {
        *self.lost.entry(loss).or_default() += 1;
        self.forget(id);
    }

    fn forget(&mut self, id: u64) {
        let Some(open) = self.open.remove(&id) else { return };
        self.shared.release(open.body.len());
        if let Some(index) = open.row {
            let row = &mut self.rows[index];
            row.is_lost = row.ended.is_none();
        }
    }
}
