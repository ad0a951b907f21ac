//! A relay that stands between nomoat and an engine and keeps every byte that passes: a second witness of what was asked and answered,
//! with a decoder of its own. It adds some delay, which is why no latency is judged here.

use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// One connection: what was sent and what came back.
#[derive(Default)]
pub struct Talk {
    pub asked: Vec<u8>,
    pub answered: Vec<u8>,
}

type Shared = Arc<Mutex<Talk>>;

/// A relay that listens.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    talks: Arc<Mutex<Vec<Shared>>>,
}

impl Relay {
    /// Listens on a free port of loopback and passes everything to `target`. Its threads end with the program.
    pub fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("opening the relay's port")?;
        let address = listener.local_addr().context("asking for the relay's port")?;
        let talks = Arc::new(Mutex::new(Vec::new()));
        let (kept, target) = (Arc::clone(&talks), target.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let talk = Shared::default();
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&talk));
                // An engine that takes no connection shows as a connection that is closed at once.
                if let Ok(server) = TcpStream::connect(&target) {
                    let _ = join(&client, &server, &talk);
                }
            }
        });
        Ok(Self { address, talks })
    }

    /// Takes out what has passed so far.
    pub fn take(&self) -> Vec<Talk> {
        let talks = std::mem::take(&mut *self.talks.lock().unwrap_or_else(PoisonError::into_inner));
        talks.iter().map(|talk| std::mem::take(&mut *talk.lock().unwrap_or_else(PoisonError::into_inner))).collect()
    }
}

fn join(client: &TcpStream, server: &TcpStream, talk: &Shared) -> std::io::Result<()> {
    for stream in [client, server] {
        stream.set_nodelay(true)?;
    }
    let (from, to, kept) = (client.try_clone()?, server.try_clone()?, Arc::clone(talk));
    thread::spawn(move || pass(from, to, |bytes| kept.lock().unwrap_or_else(PoisonError::into_inner).asked.extend_from_slice(bytes)));
    let (from, to, kept) = (server.try_clone()?, client.try_clone()?, Arc::clone(talk));
    thread::spawn(move || pass(from, to, |bytes| kept.lock().unwrap_or_else(PoisonError::into_inner).answered.extend_from_slice(bytes)));
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            // Kept before it is passed on: whoever has received an answer finds it kept.
            Ok(n) => {
                keep(&buffer[..n]);
                if to.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_both_ways_and_are_kept() {
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let relay = Relay::start(&server.local_addr().unwrap().to_string()).unwrap();
        let mut client = TcpStream::connect(relay.address).unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        let mut heard = vec![];
        accepted.read_to_end(&mut heard).unwrap();
        accepted.write_all(b"answer").unwrap();
        drop(accepted);
        let mut answer = vec![];
        client.read_to_end(&mut answer).unwrap();
        assert_eq!((heard.as_slice(), answer.as_slice()), (&b"question"[..], &b"answer"[..]));
        let talks = relay.take();
        assert_eq!(talks.len(), 1);
        assert_eq!((talks[0].asked.as_slice(), talks[0].answered.as_slice()), (&b"question"[..], &b"answer"[..]));
        assert!(relay.take().is_empty());
    }
}
