//! A server that answers as it is told, whatever it is asked, and what its clients need.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

/// What happens to a connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Keep,
    Close,
    /// Whatever is still to come is waited for until the peer closes.
    AwaitClose,
}

/// The answer to one request.
#[derive(Clone)]
pub struct Reply {
    /// Written when the request's head is there.
    before_body: Vec<u8>,
    bytes: Vec<u8>,
    /// So many bytes are written first, and the others in a segment of their own.
    cut: usize,
    then: Then,
}

impl Reply {
    pub fn say(bytes: impl Into<Vec<u8>>) -> Self {
        Self { before_body: vec![], bytes: bytes.into(), cut: usize::MAX, then: Then::Keep }
    }

    pub fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub fn cut(self, cut: usize) -> Self {
        Self { cut, ..self }
    }

    pub fn before_body(self, bytes: &[u8]) -> Self {
        Self { before_body: bytes.to_vec(), ..self }
    }
}

pub struct Server {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    asked: mpsc::Receiver<Vec<u8>>,
    closed: mpsc::Receiver<()>,
}

/// What all connections share.
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    asked: mpsc::Sender<Vec<u8>>,
    closed: mpsc::Sender<()>,
}

impl Server {
    /// Gives these answers to the next requests, in their order.
    pub fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let ((asked, was_asked), (closed, was_closed)) = (mpsc::channel(), mpsc::channel());
        let script = Arc::new(Script { replies: Mutex::new(replies.into()), asked, closed });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::Relaxed);
                let (stream, script) = (stream.unwrap(), script.clone());
                std::thread::spawn(move || script.serve(stream));
            }
        });
        Self { addr, connections, asked: was_asked, closed: was_closed }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The next request, once it is there.
    pub fn asked(&self) -> String {
        String::from_utf8(self.asked.recv().unwrap()).unwrap()
    }

    /// Waits until a client has closed a connection that was not to be kept.
    pub fn wait_closed(&self) {
        self.closed.recv().unwrap();
    }
}

impl Script {
    fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut read = vec![];
        loop {
            let Some(head) = more(&mut stream, &mut read, |read| read.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)) else {
                return;
            };
            let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
            let reply = self.replies.lock().unwrap().pop_front().expect("nothing was scripted for this request");
            stream.write_all(&reply.before_body).unwrap();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).map(|n| n.trim().parse::<usize>().unwrap());
            let is_chunked = text.contains("transfer-encoding: chunked");
            let end = more(&mut stream, &mut read, |read| match length {
                Some(length) => (read.len() >= head + length).then_some(head + length),
                None if is_chunked => (read.len() > head && read.ends_with(b"\r\n\r\n")).then_some(read.len()),
                None => Some(head),
            });
            let Some(end) = end else { return };
            let _ = self.asked.send(read.drain(..end).collect());
            let (first, rest) = reply.bytes.split_at(reply.cut.min(reply.bytes.len()));
            for part in [first, rest] {
                // A client that has gone is what some tests are about.
                let _ = stream.write_all(part);
            }
            match reply.then {
                Then::Keep => {}
                Then::Close => return,
                Then::AwaitClose => {
                    while stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
                    let _ = self.closed.send(());
                    return;
                }
            }
        }
    }
}

/// Reads on until `end` knows where something ends; `None` when the peer closed before.
fn more(stream: &mut TcpStream, read: &mut Vec<u8>, end: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    loop {
        if let Some(end) = end(read) {
            return Some(end);
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => read.extend_from_slice(&buffer[..n]),
        }
    }
}

/// A POST with a body of known length.
pub fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Everything until the peer closes or resets.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = vec![];
    let _ = stream.read_to_end(&mut all);
    all
}

/// Everything up to and with `end`.
pub fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let (mut all, mut byte) = (vec![], [0]);
    while !all.ends_with(end) {
        stream.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    all
}
