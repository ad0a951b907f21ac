//! The yardstick of a ceiling: a client on epoll that sends one fixed request on every connection and counts events, and does nothing
//! else. No parsing, no records, no stamps. What it takes from a server is what a client on this host could take at best.

use rustix::event::epoll;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What it took.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct RawCount {
    /// Answers that ended.
    pub answers: u64,
    /// Events seen (`data:` lines).
    pub events: u64,
    /// How long it took.
    pub seconds: f64,
}

struct Line {
    stream: TcpStream,
    /// The end of the last read, in which the mark of an answer's end may begin.
    tail: [u8; TAIL],
}

/// The end of a chunked body.
const END: &[u8] = b"\r\n0\r\n\r\n";
const TAIL: usize = END.len() - 1;

/// Keeps `connections` requests going for `lasts` and counts what comes back.
///
/// # Errors
/// The server cannot be reached or goes away.
pub fn take(server: SocketAddr, path: &str, body: &str, connections: usize, lasts: Duration) -> io::Result<RawCount> {
    let request =
        format!("POST {path} HTTP/1.1\r\nhost: {server}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut lines = vec![];
    for index in 0..connections {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        lines.push(Line { stream, tail: [0; TAIL] });
    }
    let begun = Instant::now();
    for line in &mut lines {
        line.stream.write_all(request.as_bytes())?;
    }
    let mut count = RawCount::default();
    let mut buffer = vec![0_u8; (256 << 10) + TAIL];
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let marks = counter(b"data: ");
    while begun.elapsed() < lasts {
        events.clear();
        let second = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&second))?;
        for event in &events {
            let line = &mut lines[event.data.u64() as usize];
            buffer[..TAIL].copy_from_slice(&line.tail);
            let n = match line.stream.read(&mut buffer[TAIL..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            count.events += marks(&buffer[TAIL..TAIL + n]);
            line.tail.copy_from_slice(&buffer[n..n + TAIL]);
            // One request at a time on a connection: an answer's end can only be the end of what was read.
            if buffer[..TAIL + n].ends_with(END) {
                count.answers += 1;
                line.tail = [0; TAIL];
                line.stream.write_all(request.as_bytes())?;
            }
        }
    }
    count.seconds = begun.elapsed().as_secs_f64();
    Ok(count)
}

/// Counts a mark; one that a read cuts in two is missed, which errs for the yardstick's disadvantage by less than one in a thousand.
fn counter(mark: &'static [u8]) -> impl Fn(&[u8]) -> u64 {
    let finder = memchr::memmem::Finder::new(mark);
    move |bytes| finder.find_iter(bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instant::{Instant as Server, Writes};
    use std::net::Ipv4Addr;

    #[test]
    fn every_event_of_an_answer_is_counted() {
        for writes in [Writes::Whole, Writes::PerToken] {
            let server = Server::start((Ipv4Addr::LOCALHOST, 0).into(), writes, 10).unwrap();
            let count = take(server.addr(), "/v1/completions", "{}", 2, Duration::from_millis(100)).unwrap();
            assert!(count.answers > 0, "{count:?}");
            // Ten tokens, usage and the terminator; the last answers may be cut off by the end of the time.
            assert!(count.events >= count.answers * 12 && count.events <= (count.answers + 2) * 12, "{count:?}");
        }
    }
}
