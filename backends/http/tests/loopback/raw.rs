//! A peer of HTTP/2 that is written frame by frame: what it sends, when, and in how many writes is the test's choice.
#![expect(clippy::unwrap_used, reason = "a helper of tests: what fails here fails the test")]

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

pub struct Listener(TcpListener);

/// One connection, greeted.
pub struct Raw(TcpStream);

/// A frame as it goes over the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The head of a good answer: HPACK's eighth entry is `:status: 200`.
pub fn head(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &[0x88])
}

/// An event of a completion that has `text`, a word.
pub fn token(stream: u32, text: &str) -> Vec<u8> {
    let finish = r#""index":0,"finish_reason":null"#;
    frame(DATA, 0, stream, format!("data: {{\"choices\":[{{{finish},\"text\":\" {text}\"}}]}}\n\n").as_bytes())
}

/// How an answer ends.
pub fn done(stream: u32, tokens: u32) -> Vec<u8> {
    let usage = format!(r#"{{"prompt_tokens":20,"completion_tokens":{tokens}}}"#);
    let text = format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n");
    frame(DATA, END_STREAM, stream, text.as_bytes())
}

impl Listener {
    pub async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next connection, whatever it speaks.
    pub async fn accept_any(&self) -> TcpStream {
        self.0.accept().await.unwrap().0
    }

    /// The next connection, after its first words.
    pub async fn accept(&self) -> Raw {
        let (mut stream, _) = self.0.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut raw = Raw(stream);
        raw.write(&frame(SETTINGS, 0, 0, &[])).await;
        raw
    }
}

impl Raw {
    /// Writes, in one write.
    pub async fn write(&mut self, bytes: &[u8]) {
        assert_eq!(self.0.write(bytes).await.unwrap(), bytes.len(), "small writes are taken whole");
    }

    async fn read(&mut self) -> (u8, u8, u32, Vec<u8>) {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.unwrap();
        if (head[3], head[4]) == (SETTINGS, 0) {
            self.write(&frame(SETTINGS, ACK, 0, &[])).await;
        }
        (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload)
    }

    /// Reads up to the end of the next request; its stream.
    pub async fn request(&mut self) -> u32 {
        loop {
            let (kind, flags, stream, _) = self.read().await;
            if kind == DATA && flags & END_STREAM != 0 {
                return stream;
            }
        }
    }

    /// Waits until the client has read all that was written: it answers a ping in its turn.
    pub async fn settle(&mut self) {
        self.write(&frame(PING, 0, 0, b"settled?")).await;
        loop {
            if let (PING, ACK, _, payload) = self.read().await {
                return assert_eq!(payload, b"settled?");
            }
        }
    }

    /// Reads until the client resets a stream; which, and why.
    pub async fn reset(&mut self) -> (u32, u32) {
        loop {
            if let (RST_STREAM, _, stream, reason) = self.read().await {
                return (stream, u32::from_be_bytes(reason.try_into().unwrap()));
            }
        }
    }
}
