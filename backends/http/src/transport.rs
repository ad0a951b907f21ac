//! The socket: connecting (through a proxy, under TLS) and stamping every read at its return, before anyone looks at the bytes.
//!
//! Under TLS the stamp is that of the read of the ciphertext.

use crate::url::Endpoint;
use nomoat_core::clock::Clock;
use nomoat_core::units::Nanos;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How to reach an endpoint. Addresses are resolved once.
#[derive(Clone)]
pub(crate) struct Route {
    pub endpoint: Endpoint,
    pub addresses: Vec<SocketAddr>,
    /// Whether `addresses` are those of a proxy.
    pub proxied: bool,
    pub tls: Option<Arc<ClientConfig>>,
    pub clock: Arc<dyn Clock>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Refused(String),
    /// This host has no descriptor or no port left: our own limit, not the endpoint's.
    Exhausted(String),
    Tls(String),
}

/// A TCP stream that stamps its reads.
pub(crate) struct Stamped {
    stream: TcpStream,
    clock: Arc<dyn Clock>,
    last: Nanos,
    reads: u64,
}

impl AsyncRead for Stamped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_ready() {
            self.last = self.clock.now();
            self.reads += 1;
        }
        polled
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection to an endpoint.
pub(crate) enum Transport {
    Plain(Stamped),
    Tls(Box<TlsStream<Stamped>>),
}

impl Route {
    /// Opens a connection: TCP without delay, the proxy's tunnel if there is one and TLS is spoken, then TLS.
    pub async fn connect(&self) -> Result<Transport, ConnectError> {
        let stream = TcpStream::connect(&self.addresses[..])
            .await
            .map_err(|e| if is_exhausted(&e) { ConnectError::Exhausted(describe(&e)) } else { ConnectError::Refused(describe(&e)) })?;
        stream.set_nodelay(true).map_err(|e| ConnectError::Refused(describe(&e)))?;
        let mut stamped = Stamped { stream, clock: self.clock.clone(), last: Nanos::ZERO, reads: 0 };
        let Some(config) = &self.tls else { return Ok(Transport::Plain(stamped)) };
        if self.proxied {
            tunnel(&mut stamped, &self.endpoint).await?;
        }
        let name = ServerName::try_from(self.endpoint.host.clone())
            .map_err(|e| ConnectError::Tls(format!("`{}` cannot be a TLS name: {e}", self.endpoint.host)))?;
        let stream = TlsConnector::from(config.clone()).connect(name, stamped).await.map_err(|e| ConnectError::Tls(e.to_string()))?;
        Ok(Transport::Tls(Box::new(stream)))
    }
}

impl Transport {
    /// Reads what there is. Gives the number of bytes (0: the peer closed), the moment of the read that brought them, and the number
    /// of that read on the socket.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Nanos, u64)> {
        let n = match self {
            Self::Plain(stream) => stream.read(buffer).await?,
            Self::Tls(stream) => stream.read(buffer).await?,
        };
        let stamped = match self {
            Self::Plain(stream) => &*stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        Ok((n, stamped.last, stamped.reads))
    }

    /// Hands all bytes to the socket.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Whether an idle connection is still open: nothing may be readable on it, not even its end.
    pub fn is_idle(&self) -> bool {
        let stream = match self {
            Self::Plain(stream) => &stream.stream,
            Self::Tls(stream) => &stream.get_ref().0.stream,
        };
        let mut byte = [0_u8; 1];
        // TLS: session tickets may lie there unread, which `try_read` would take away from the TLS layer; such a connection is
        // given up, at the price of a new one.
        matches!(stream.try_read(&mut byte), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Asks an HTTP proxy for a tunnel.
async fn tunnel(stream: &mut Stamped, endpoint: &Endpoint) -> Result<(), ConnectError> {
    let refused = |why: String| ConnectError::Refused(format!("the proxy gave no tunnel to {}: {why}", endpoint.authority()));
    let target = if endpoint.host.contains(':') {
        format!("[{}]:{}", endpoint.host, endpoint.port)
    } else {
        format!("{}:{}", endpoint.host, endpoint.port)
    };
    let ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.map_err(|e| refused(describe(&e)))?;
    let mut head = vec![];
    // One byte at a time: what follows the head belongs to TLS. Bounded.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 << 10 {
            return Err(refused("its answer is too long".into()));
        }
        head.push(stream.read_u8().await.map_err(|e| refused(describe(&e)))?);
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    if line.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(refused(format!("it answered `{line}`"))) }
}

/// Whether this host, and not the peer, refused: no descriptors in the process (EMFILE) or in the system (ENFILE), no local port
/// (EADDRNOTAVAIL).
fn is_exhausted(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut => "timed out".into(),
        _ => error.to_string(),
    }
}
