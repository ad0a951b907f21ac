//! Recorded answers instead of scripted ones: whole responses, byte for byte as they are, in writes as oddly cut as is wanted.
//!
//! Which one is played is told by the first part of a request's path (`/NAME/v1/…`), so that any client can ask for it by its base
//! address; where that is no name, by the `model` of its body. Nothing here looks into a body: what it means is the business of
//! whoever wrote it.

use crate::answer::Answer;
use crate::conn::{Gone, Incoming};
use crate::error::TruthError;
use crate::generate::Next;
use crate::log::Entry;
use crate::peer::Peer;
use crate::row::Outcome;
use crate::server::Worker;
use nomoat_core::units::Nanos;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Largest response that is played.
const LARGEST: u64 = 64 << 20;
/// Most header lines of one.
const MOST_HEADERS: usize = 128;
/// Largest piece of a random cut.
const LARGEST_PIECE: u64 = 64;

/// Where responses are cut into writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cut {
    /// Nowhere.
    #[default]
    Whole,
    /// Into pieces of so many bytes.
    Each(usize),
    /// Into pieces of 1 to 64 bytes, by this seed and the request's position.
    Random(u64),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Each(bytes) => write!(f, "{bytes}"),
            Self::Random(seed) => write!(f, "random:{seed}"),
        }
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seed = text.strip_prefix("random:").map(str::parse);
        match (text, seed, text.parse()) {
            ("whole", ..) => Ok(Self::Whole),
            (_, Some(Ok(seed)), _) => Ok(Self::Random(seed)),
            (_, None, Ok(bytes)) if bytes > 0 => Ok(Self::Each(bytes)),
            _ => Err(format!("cut `{text}` should be whole, a number of bytes, or random:SEED")),
        }
    }
}

/// A response that can be played.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Recorded {
    bytes: Arc<[u8]>,
    status: u16,
    /// Its end can be told from its framing, and nothing says that the connection ends with it.
    keeps: bool,
}

/// Responses by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Play {
    answers: BTreeMap<String, Recorded>,
    cut: Cut,
}

impl Play {
    /// No response yet, and where those to come are cut. The first piece leaves after the script's TTFT, each further one an ITL later.
    pub fn new(cut: Cut) -> Self {
        Self { answers: BTreeMap::new(), cut }
    }

    /// Reads every file `NAME.http` of a folder.
    ///
    /// # Errors
    /// A [`TruthError::Play`] that names the file.
    pub fn read(folder: &Path, cut: Cut) -> Result<Self, TruthError> {
        let bad = |path: &Path, why: String| TruthError::Play { path: path.to_owned(), why };
        let mut play = Self::new(cut);
        for file in std::fs::read_dir(folder).map_err(|e| bad(folder, e.to_string()))? {
            let path = file.map_err(|e| bad(folder, e.to_string()))?.path();
            if path.extension().is_none_or(|e| e != "http") {
                continue;
            }
            let size = path.metadata().map_err(|e| bad(&path, e.to_string()))?.len();
            if size > LARGEST {
                return Err(bad(&path, format!("it is larger than {} MiB", LARGEST >> 20)));
            }
            let bytes = std::fs::read(&path).map_err(|e| bad(&path, e.to_string()))?;
            let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
            play.add(name, bytes).map_err(|why| bad(&path, why))?;
        }
        if play.answers.is_empty() {
            return Err(bad(folder, "it has no file NAME.http with a response in it".into()));
        }
        Ok(play)
    }

    /// Adds a response: status line, headers, an empty line, and the body as its framing has it.
    ///
    /// # Errors
    /// What is wrong with the name or with the response.
    pub fn add(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), String> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(format!("`{name}` is no name of letters, digits, dots, dashes and underscores"));
        }
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(body_at)) = head.parse(&bytes) else {
            return Err("it does not begin with the head of an HTTP/1.1 response".into());
        };
        let value = |name: &str| {
            let found = head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
            found.map(|h| String::from_utf8_lossy(h.value).trim().to_ascii_lowercase())
        };
        let body = &bytes[body_at..];
        let is_whole = match (value("transfer-encoding"), value("content-length")) {
            (Some(coding), _) => coding == "chunked" && body.ends_with(b"0\r\n\r\n"),
            (None, Some(length)) => length.parse() == Ok(body.len()),
            (None, None) => false,
        };
        let keeps = is_whole && value("connection").is_none_or(|c| c != "close");
        let status = head.code.unwrap_or_default();
        self.answers.insert(name.to_owned(), Recorded { bytes: bytes.into(), status, keeps });
        Ok(())
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.answers.keys().map(String::as_str)
    }

    /// Splits a path into the name it begins with and the rest; no name where it begins with none.
    fn split<'a>(&self, path: &'a str) -> (Option<&'a str>, &'a str) {
        let inner = path.strip_prefix('/').unwrap_or(path);
        let (first, rest) = inner.split_at(inner.find('/').unwrap_or(inner.len()));
        if self.answers.contains_key(first) { (Some(first), rest) } else { (None, path) }
    }

    /// The list of models that a client sees below a path: the one it names, or all.
    pub fn models(&self, path: &str) -> Option<Answer> {
        let (name, rest) = self.split(path);
        (rest == "/v1/models").then(|| {
            let model = |id: &str| serde_json::json!({"id": id, "object": "model", "created": 0, "owned_by": "nomoat-truth"});
            let data: Vec<_> = self.names().filter(|n| name.is_none_or(|name| name == *n)).map(model).collect();
            Answer::json(200, serde_json::json!({"object": "list", "data": data}).to_string())
        })
    }

    /// The recorded response that a request asks for.
    fn find(&self, incoming: &Incoming) -> Option<&Recorded> {
        #[derive(Deserialize)]
        struct Body {
            model: Option<String>,
        }
        let (name, _) = self.split(&incoming.path);
        let model = || serde_json::from_slice::<Body>(&incoming.body).ok()?.model;
        self.answers.get(&name.map(str::to_owned).or_else(model)?)
    }

    /// Plays the response that a request asks for.
    pub async fn answer(&self, worker: &Worker, peer: &mut Peer<'_>, incoming: Incoming) -> Next {
        let ordinal = worker.shared.next_ordinal();
        let mut entry = Entry::new(worker.inbox.clone(), incoming.request_id.clone(), ordinal, peer.accepted(), incoming.complete);
        let unknown = "no recorded response has this name; ask for one by /NAME/… or as the model; GET /v1/models lists them";
        let found = match self.find(&incoming) {
            Some(recorded) if peer.is_chunked() => Ok(recorded),
            Some(_) => Err(Answer::error(400, None, "recorded responses are played over HTTP/1.1 only")),
            None => Err(Answer::error(404, Some("model"), unknown)),
        };
        let recorded = match found {
            Ok(recorded) => recorded,
            Err(answer) => {
                entry.status(answer.status());
                entry.close(Outcome::Refused, crate::clock::now());
                return if peer.answer(&answer).await.is_ok() && !incoming.close { Next::Keep } else { Next::Close };
            }
        };
        match self.write(worker, peer, recorded, &mut entry, ordinal, incoming.complete).await {
            Ok(()) if recorded.keeps && !incoming.close => Next::Keep,
            Ok(()) => Next::Close,
            Err(Gone) => {
                entry.close(Outcome::Disconnected, crate::clock::now());
                Next::Close
            }
        }
    }

    async fn write(
        &self,
        worker: &Worker,
        peer: &mut Peer<'_>,
        recorded: &Recorded,
        entry: &mut Entry,
        ordinal: u64,
        complete: Nanos,
    ) -> Result<(), Gone> {
        let script = &worker.shared.script;
        let outcome = if recorded.status < 400 { Outcome::Complete } else { Outcome::Refused };
        let mut rest = &recorded.bytes[..];
        let mut due = complete + script.ttft;
        let mut pieces = self.cut.pieces(ordinal);
        entry.status(recorded.status);
        loop {
            let (piece, after) = rest.split_at(pieces().min(rest.len()));
            peer.wait(&worker.timers, due).await?;
            if after.is_empty() {
                entry.close(outcome, crate::clock::now());
            }
            peer.send(piece, after.is_empty()).await?;
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
            due += script.itl;
            // Pieces without a gap must not starve other streams, and the client shall have a chance to read one at a time.
            tokio::task::yield_now().await;
        }
    }
}

impl Cut {
    /// Sizes of pieces, one call each.
    fn pieces(self, ordinal: u64) -> impl FnMut() -> usize {
        let mut state = match self {
            Self::Random(seed) => seed ^ ordinal.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            _ => 0,
        };
        move || match self {
            Self::Whole => usize::MAX,
            Self::Each(bytes) => bytes.max(1),
            Self::Random(_) => {
                // SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to cut bytes.
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                ((z ^ (z >> 31)) % LARGEST_PIECE) as usize + 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts() {
        for text in ["whole", "1", "4096", "random:0", "random:18446744073709551615"] {
            assert_eq!(text.parse::<Cut>().map(|cut| cut.to_string()).as_deref(), Ok(text));
        }
        for wrong in ["", "0", "-1", "half", "random", "random:", "random:x", "whole:1"] {
            assert!(wrong.parse::<Cut>().is_err_and(|e| e.contains("random:SEED")), "{wrong}");
        }
        let sizes = |ordinal| {
            let mut next = Cut::Random(7).pieces(ordinal);
            (0..100).map(|_| next()).collect::<Vec<_>>()
        };
        assert!(sizes(0) == sizes(0) && sizes(0) != sizes(1) && sizes(0).iter().all(|n| (1..=64).contains(n)));
    }

    #[test]
    fn responses() {
        let mut play = Play::default();
        let mut keeps = |text: &str| {
            let added = play.add("x", text.replace('\n', "\r\n").into_bytes());
            added.map(|()| (play.answers["x"].status, play.answers["x"].keeps))
        };
        assert_eq!(keeps("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\na\n0\n\n"), Ok((200, true)));
        assert_eq!(keeps("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\na\n"), Ok((200, false)));
        assert_eq!(keeps("HTTP/1.1 429 No\nContent-Length: 2\n\nab"), Ok((429, true)));
        assert_eq!(keeps("HTTP/1.1 429 No\nContent-Length: 3\n\nab"), Ok((429, false)));
        assert_eq!(keeps("HTTP/1.1 200 OK\nConnection: close\nContent-Length: 0\n\n"), Ok((200, false)));
        assert_eq!(keeps("HTTP/1.1 200 OK\n\nuntil the end"), Ok((200, false)));
        assert!(keeps("data: x\n\n").is_err() && keeps("HTTP/1.1 200 OK\n").is_err());
        assert!(play.add("a/b", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).is_err_and(|e| e.contains("`a/b`")));
        assert_eq!(play.split("/x/v1/models"), (Some("x"), "/v1/models"));
        assert_eq!((play.split("/x"), play.split("/y/v1")), ((Some("x"), ""), (None, "/y/v1")));
    }
}
