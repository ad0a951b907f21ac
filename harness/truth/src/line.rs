//! The socket of an accepted connection, and TLS over it: every read says when its bytes arrived, every write when it began.

use crate::arrival::{ask_for_stamps, read_stamped};
use crate::clock::now;
use nomoat_core::units::Nanos;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A TCP stream that keeps the moments of its reads and writes.
pub struct Socket {
    stream: TcpStream,
    /// Arrival of the last bytes read.
    read_at: Nanos,
    /// Immediately before the first write since this was last taken.
    wrote_at: Option<Nanos>,
}

impl Socket {
    /// Keeps the moments of `stream`, accepted at `accepted`.
    pub fn new(stream: TcpStream, accepted: Nanos) -> Self {
        ask_for_stamps(&stream);
        Self { stream, read_at: accepted, wrote_at: None }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_io(Interest::READABLE, || read_stamped(&self.stream, buffer.initialize_unfilled())) {
                Ok((n, at)) => {
                    buffer.advance(n);
                    self.read_at = at;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let at = now();
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    if done.is_ok() {
                        self.wrote_at.get_or_insert(at);
                    }
                    return Poll::Ready(done);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A socket, plain or under TLS.
pub enum Line {
    /// Plain.
    Plain(Socket),
    /// Under TLS: the moments are those of the ciphertext.
    Tls(Box<TlsStream<Socket>>),
}

impl Line {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    /// Arrival of the last bytes read.
    pub fn read_at(&mut self) -> Nanos {
        self.socket().read_at
    }

    /// Immediately before the first write to the socket since the last call, if there was one.
    pub fn wrote_at(&mut self) -> Option<Nanos> {
        self.socket().wrote_at.take()
    }

    /// Makes the coming drop reset the connection instead of closing it.
    pub fn reset(&mut self) {
        // Should the option be refused, it is a plain close, which is a fault too.
        let _ = self.socket().stream.set_zero_linger();
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
