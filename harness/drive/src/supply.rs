//! Requests made ready ahead of their due: expanded and encoded, bounded in bytes and in number.
//!
//! A shard holds credit with its supply. An open loop is one stream read ahead as far as the bounds allow; a closed loop is one
//! stream per lane, each one request ahead, so that a quick lane never waits for a slow one.
//!
//! Where prompts are short, the shard makes its requests itself: waking another thread for each, and fetching what it made from
//! another core, costs more than making it. Others are made on a thread of their own.

use crate::endpoints::Endpoints;
use nomoat_core::backend::Payload;
use nomoat_core::digest::Digest;
use nomoat_core::prompt::Prompt;
use nomoat_core::schedule::{Entry, EntryStream, Schedule, Source};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// Most bytes of prepared bodies that an open loop holds ahead.
pub(crate) const BYTES_AHEAD: usize = 64 << 20;
/// Most requests that an open loop holds ahead.
pub(crate) const REQUESTS_AHEAD: usize = 512;

/// Most requests asked for and not yet made: bounds what one look at the bytes held can overshoot by.
pub(crate) const ASKS_AHEAD: usize = 32;

/// The longest prompt, in bytes or in eighths of a token, that a shard makes itself: a few microseconds of work. A receive stamp is the
/// kernel's and does not wait for them; a dispatch does.
const SMALL: usize = 2 << 10;

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
pub(crate) struct Supply {
    credits: mpsc::UnboundedSender<usize>,
    items: mpsc::UnboundedReceiver<Item>,
    held: Arc<AtomicUsize>,
    made: Made,
}

/// By whom.
enum Made {
    /// By a thread of its own. Nothing once it was joined.
    Thread(Option<JoinHandle<()>>),
    /// By a task beside the shard's flights.
    Task(tokio::task::JoinHandle<()>),
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

/// Whether all prompts of a schedule are short enough for a shard to make them itself.
pub(crate) fn is_small(schedule: &Schedule) -> bool {
    match &schedule.rule().source {
        Source::Fixed { input_tokens, .. } => *input_tokens as usize * 8 <= SMALL,
        Source::Trace(trace) => trace.requests.iter().all(|r| match &r.prompt {
            Prompt::Text(text) => text.len() <= SMALL,
            Prompt::Messages(m) => m.messages.iter().map(|message| message.len()).sum::<usize>() <= SMALL,
            Prompt::Blocks(_) | Prompt::Parts(_) | Prompt::Ids(_) => r.input_tokens as usize * 8 <= SMALL,
            // Encoded when its history is known, by the shard in any case.
            Prompt::Live { .. } => true,
        }),
    }
}

/// The maker's end of a supply.
struct Making {
    maker: Maker,
    owed: mpsc::UnboundedReceiver<usize>,
    items: mpsc::UnboundedSender<Item>,
    held: Arc<AtomicUsize>,
}

impl Making {
    /// Makes the next request of a stream. Tells whether anybody still wants more.
    fn make(&mut self, stream: usize) -> bool {
        let item = self.maker.make(stream);
        if let Item::Ready { ready, .. } = &item {
            self.held.fetch_add(ready.bytes(), Ordering::Relaxed);
        }
        self.items.send(item).is_ok()
    }
}

impl Supply {
    /// A supply with a thread of its own, named after the shard.
    pub fn threaded(shard: u16, maker: Maker) -> std::io::Result<Self> {
        Self::new(maker, |mut making| {
            let thread = std::thread::Builder::new().name(format!("prepare-{shard}")).spawn(move || {
                // Ends when the shard drops its side.
                while let Some(stream) = making.owed.blocking_recv()
                    && making.make(stream)
                {}
            });
            Ok(Made::Thread(Some(thread?)))
        })
    }

    /// A supply whose requests are made by a task of the shard, one at a time between the turns of others.
    pub fn beside(shard: &LocalSet, maker: Maker) -> std::io::Result<Self> {
        Self::new(maker, |mut making| {
            Ok(Made::Task(shard.spawn_local(async move {
                while let Some(stream) = making.owed.recv().await
                    && making.make(stream)
                {
                    turn().await;
                }
            })))
        })
    }

    fn new(maker: Maker, begin: impl FnOnce(Making) -> std::io::Result<Made>) -> std::io::Result<Self> {
        let (credits, owed) = mpsc::unbounded_channel();
        let (sender, items) = mpsc::unbounded_channel();
        let held = Arc::new(AtomicUsize::new(0));
        let made = begin(Making { maker, owed, items: sender, held: held.clone() })?;
        Ok(Self { credits, items, held, made })
    }

    /// Asks for the next request of a stream. Every call is answered by one item, in order per stream.
    pub fn ask(&mut self, stream: usize) {
        // A maker that died has panicked; its panic surfaces where items are taken or the thread is joined.
        let _ = self.credits.send(stream);
    }

    /// The next item. `None` only if the preparer died.
    pub async fn next(&mut self) -> Option<Item> {
        let item = self.items.recv().await;
        if item.is_none()
            && let Made::Task(task) = &mut self.made
            && let Err(died) = task.await
            && died.is_panic()
        {
            std::panic::resume_unwind(died.into_panic());
        }
        item
    }

    /// Bytes made ready and not yet taken.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The shard has taken a request's bytes.
    pub fn took(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.credits = mpsc::unbounded_channel().0;
        if let Made::Thread(thread) = &mut self.made
            && let Some(thread) = thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Goes to the end of this thread's queue. The runtime's own `yield_now` would wait for a look at the sockets as well.
async fn turn() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Ready {
    pub fn bytes(&self) -> usize {
        self.payload.as_ref().and_then(|p| p.as_ref().ok()).map_or(0, Payload::bytes)
    }
}
