//! A connection on which the adapter has said hello.

use crate::frame::{Frames, MAX_FRAME};
use crate::message::{Hello, Said};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// How often a full queue of the listener is tried again. Linux refuses a non-blocking connect to it at once instead of waiting.
const AGAIN: Duration = Duration::from_millis(1);

/// Why a link gives nothing.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Nobody listens, or the system refuses.
    Connect(io::Error),
    /// Nothing came in time.
    Late,
    /// The connection ended.
    Closed,
    /// A length over the bound.
    TooLarge(usize),
    /// Bytes that are no message, or a message that is not due.
    Bad(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "connecting: {error}"),
            Self::Late => write!(f, "nothing came in time"),
            Self::Closed => write!(f, "the adapter closed the connection"),
            Self::TooLarge(n) => write!(f, "a frame of {n} bytes, over the bound of {MAX_FRAME}"),
            Self::Bad(why) => write!(f, "{why}"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    pub stream: UnixStream,
    pub frames: Frames,
    pub hello: Hello,
}

impl Link {
    /// Connects and waits for the hello, `within` that time.
    pub async fn open(socket: &Path, within: Duration) -> Result<Self, Broken> {
        tokio::time::timeout(within, Self::greet(socket)).await.unwrap_or(Err(Broken::Late))
    }

    async fn greet(socket: &Path) -> Result<Self, Broken> {
        let mut stream = loop {
            match UnixStream::connect(socket).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(AGAIN).await,
                other => break other.map_err(Broken::Connect)?,
            }
        };
        let mut frames = Frames::default();
        match next(&mut stream, &mut frames).await? {
            Said::Hello(hello) => {
                hello.check().map_err(Broken::Bad)?;
                Ok(Self { stream, frames, hello })
            }
            _ => Err(Broken::Bad("the first message is no hello".into())),
        }
    }

    /// Whether nothing came since the last answer, so that a request may go out.
    pub fn is_idle(&self) -> bool {
        let nothing = |e: io::Error| e.kind() == io::ErrorKind::WouldBlock;
        self.frames.is_empty() && self.stream.try_read(&mut [0]).is_err_and(nothing)
    }

    /// Sends a frame and waits for one message, `within` that time.
    pub async fn ask(&mut self, frame: &[u8], within: Duration) -> Result<Said, Broken> {
        let exchange = async {
            self.stream.write_all(frame).await.map_err(|_| Broken::Closed)?;
            next(&mut self.stream, &mut self.frames).await
        };
        tokio::time::timeout(within, exchange).await.unwrap_or(Err(Broken::Late))
    }

    /// Waits for one message, `within` that time.
    pub async fn hear(&mut self, within: Duration) -> Result<Said, Broken> {
        self.ask(&[], within).await
    }
}

/// The next message, whenever it comes. Off the measured path.
async fn next(stream: &mut UnixStream, frames: &mut Frames) -> Result<Said, Broken> {
    loop {
        if let Some(at) = frames.take().map_err(|e| Broken::TooLarge(e.0))? {
            return parse(frames.body(at));
        }
        match stream.read(frames.room()).await {
            Ok(0) | Err(_) => return Err(Broken::Closed),
            Ok(n) => frames.filled(n),
        }
    }
}

pub(crate) fn parse(body: &[u8]) -> Result<Said, Broken> {
    serde_json::from_slice(body).map_err(|e| Broken::Bad(format!("no message of the protocol: {e}")))
}
