//! Requests made ready ahead of their due: expanded and encoded on a thread of their own, bounded in bytes and in number.
//!
//! A shard holds credit with its supply. An open loop is one stream read ahead as far as the bounds allow; a closed loop is one
//! stream per lane, each one request ahead, so that a quick lane never waits for a slow one.

use crate::endpoints::Endpoints;
use nomoat_core::backend::Payload;
use nomoat_core::digest::Digest;
use nomoat_core::prompt::Prompt;
use nomoat_core::schedule::{Entry, EntryStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// Most bytes of prepared bodies that an open loop holds ahead.
pub(crate) const BYTES_AHEAD: usize = 64 << 20;
/// Most requests that an open loop holds ahead.
pub(crate) const REQUESTS_AHEAD: usize = 512;

/// Most requests asked for and not yet made: bounds what one look at the bytes held can overshoot by.
pub(crate) const ASKS_AHEAD: usize = 32;

/// A request made ready, or why it could not be.
pub(crate) struct Ready {
    pub entry: Entry,
    /// Index of the endpoint that it goes to.
    pub endpoint: u16,
    /// `None` for a prompt that continues a live conversation: it is encoded when its history is known.
    pub payload: Option<Result<Payload, String>>,
    /// Digest of the bytes offered.
    pub digest: Option<Digest>,
}

/// What a supply delivers.
pub(crate) enum Item {
    Ready { stream: usize, ready: Box<Ready> },
    End,
}

/// Where a shard gets its requests from.
pub(crate) enum Supply {
    /// A preparer thread.
    Thread {
        credits: std_mpsc::Sender<usize>,
        items: mpsc::UnboundedReceiver<Item>,
        held: Arc<AtomicUsize>,
        thread: Option<JoinHandle<()>>,
    },
    /// On the spot: for simulated time, which another thread would tear.
    #[cfg_attr(not(test), expect(dead_code, reason = "made by simulated runs only"))]
    Inline { maker: Maker, owed: Vec<usize> },
}

/// Pulls entries and encodes them.
pub(crate) struct Maker {
    streams: Vec<Option<EntryStream>>,
    endpoints: Arc<Endpoints>,
}

impl Maker {
    pub fn new(streams: Vec<EntryStream>, endpoints: Arc<Endpoints>) -> Self {
        Self { streams: streams.into_iter().map(Some).collect(), endpoints }
    }

    fn make(&mut self, stream: usize) -> Item {
        let Some(entry) = self.streams[stream].as_mut().and_then(Iterator::next) else {
            self.streams[stream] = None;
            return Item::End;
        };
        let live = matches!(entry.request.prompt, Prompt::Live { .. });
        let endpoint = self.endpoints.of(&entry.request);
        let payload = (!live).then(|| self.endpoints.encode(endpoint, &entry.request, &[]));
        let digest = payload.as_ref().and_then(|p| p.as_ref().ok()).map(Payload::digest);
        Item::Ready { stream, ready: Box::new(Ready { entry, endpoint, payload, digest }) }
    }
}

impl Supply {
    /// A supply with a thread of its own, named after the shard.
    pub fn threaded(shard: u16, mut maker: Maker) -> std::io::Result<Self> {
        let (credits, owed) = std_mpsc::channel::<usize>();
        let (sender, items) = mpsc::unbounded_channel();
        let held = Arc::new(AtomicUsize::new(0));
        let counter = held.clone();
        let thread = std::thread::Builder::new().name(format!("prepare-{shard}")).spawn(move || {
            // Ends when the shard drops its side.
            while let Ok(stream) = owed.recv() {
                let item = maker.make(stream);
                if let Item::Ready { ready, .. } = &item {
                    counter.fetch_add(ready.bytes(), Ordering::Relaxed);
                }
                if sender.send(item).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::Thread { credits, items, held, thread: Some(thread) })
    }

    /// A supply that makes requests when asked.
    #[cfg(test)]
    pub fn inline(maker: Maker) -> Self {
        Self::Inline { maker, owed: vec![] }
    }

    /// Asks for the next request of a stream. Every call is answered by one item, in order per stream.
    pub fn ask(&mut self, stream: usize) {
        match self {
            // A preparer that died has panicked; its panic surfaces when the thread is joined.
            Self::Thread { credits, .. } => drop(credits.send(stream)),
            Self::Inline { owed, .. } => owed.push(stream),
        }
    }

    /// The next item. `None` only if the preparer died.
    pub async fn next(&mut self) -> Option<Item> {
        match self {
            Self::Thread { items, .. } => items.recv().await,
            Self::Inline { maker, owed } => {
                if owed.is_empty() {
                    std::future::pending::<()>().await;
                }
                Some(maker.make(owed.remove(0)))
            }
        }
    }

    /// Bytes made ready and not yet taken.
    pub fn held(&self) -> usize {
        match self {
            Self::Thread { held, .. } => held.load(Ordering::Relaxed),
            Self::Inline { .. } => 0,
        }
    }

    /// The shard has taken a request's bytes.
    pub fn took(&self, bytes: usize) {
        if let Self::Thread { held, .. } = self {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        if let Self::Thread { credits, thread, .. } = self {
            *credits = std_mpsc::channel().0;
            if let Some(thread) = thread.take()
                && let Err(panic) = thread.join()
                && !std::thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Ready {
    pub fn bytes(&self) -> usize {
        self.payload.as_ref().and_then(|p| p.as_ref().ok()).map_or(0, Payload::bytes)
    }
}
