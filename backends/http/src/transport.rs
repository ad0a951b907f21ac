//! A connection: TCP, perhaps through a proxy, perhaps under TLS, whose bytes carry the stamp of the read that brought them.
//!
//! Under TLS the stamp is that of the ciphertext.

use crate::socket::{Socket, Stamping};
use crate::url::Endpoint;
use crate::version::Spoken;
use nomoat_core::clock::Clock;
use nomoat_core::event::{Arrival, RequestError};
use nomoat_core::record::{ErrorCode, Status};
use nomoat_core::units::Nanos;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The last loopback address that connections are spread over.
const SOURCES: u8 = 32;

/// How to reach an endpoint. Addresses are resolved once.
#[derive(Clone)]
pub(crate) struct Route {
    pub endpoint: Endpoint,
    pub addresses: Vec<SocketAddr>,
    /// Whether `addresses` are those of a proxy.
    pub proxied: bool,
    pub tls: Option<Arc<ClientConfig>>,
    /// Which HTTP.
    pub spoken: Arc<Spoken>,
    pub clock: Arc<dyn Clock>,
    /// Held so that the first packet of the run is stamped too.
    pub _stamping: Arc<Stamping>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Refused(String),
    /// This host has no descriptor or no port left: our own limit, not the endpoint's.
    Exhausted(String),
    Tls(String),
}

impl From<ConnectError> for RequestError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Exhausted(_) => Self::new(Status::Client, ErrorCode::Exhausted),
            ConnectError::Refused(_) => Self::new(Status::Connect, ErrorCode::Refused),
            ConnectError::Tls(_) => Self::new(Status::Connect, ErrorCode::Tls),
        }
    }
}

/// A connection to an endpoint.
pub(crate) enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Route {
    /// Opens a connection: TCP without delay, the proxy's tunnel if there is one and TLS is spoken, then TLS.
    pub async fn connect(&self) -> Result<Transport, ConnectError> {
        let mut socket = self
            .socket()
            .await
            .map_err(|e| if is_exhausted(&e) { ConnectError::Exhausted(describe(&e)) } else { ConnectError::Refused(describe(&e)) })?;
        let Some(config) = &self.tls else { return Ok(Transport::Plain(socket)) };
        if self.proxied {
            tunnel(&mut socket, &self.endpoint).await?;
        }
        let name = ServerName::try_from(self.endpoint.host.clone())
            .map_err(|e| ConnectError::Tls(format!("`{}` cannot be a TLS name: {e}", self.endpoint.host)))?;
        let connector = TlsConnector::from(config.clone());
        let connecting = connector.with_alpn(self.spoken.offers()).connect(name, socket);
        let stream = connecting.await.map_err(|e| ConnectError::Tls(e.to_string()))?;
        self.spoken.agreed(stream.get_ref().1.alpn_protocol()).map_err(ConnectError::Tls)?;
        Ok(Transport::Tls(Box::new(stream)))
    }

    /// A socket to the first address that takes one.
    async fn socket(&self) -> io::Result<Socket> {
        let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &self.addresses {
            // A port is taken per pair of addresses: on loopback there are more addresses to come from when the ports of one are used up.
            let local = address.is_ipv4() && address.ip().is_loopback();
            let others = (2..=SOURCES).filter(|_| local).map(|last| Some(Ipv4Addr::new(127, 0, 0, last).into()));
            for source in std::iter::once(None).chain(others) {
                match Socket::connect(*address, source, self.clock.clone()).await {
                    Ok(socket) => return Ok(socket),
                    Err(error) => refused = error,
                }
                if refused.kind() != io::ErrorKind::AddrNotAvailable {
                    break;
                }
            }
        }
        Err(refused)
    }
}

impl Transport {
    /// Reads what there is. Gives the number of bytes (0: the peer closed), when the read that brought them says they arrived, and the
    /// number of that read on the socket.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Arrival, u64)> {
        let n = match self {
            Self::Plain(stream) => stream.read(buffer).await?,
            Self::Tls(stream) => stream.read(buffer).await?,
        };
        let (arrival, read) = self.arrival();
        Ok((n, arrival, read))
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// When the bytes of the last read arrived, and the number of that read.
    pub fn arrival(&self) -> (Arrival, u64) {
        let socket = self.socket();
        (socket.last(), socket.reads())
    }

    /// The moment before the last write to the socket.
    pub fn written(&self) -> Nanos {
        self.socket().written()
    }

    /// Whether written bytes still lie in front of the socket.
    pub fn holds_back(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.wants_write(),
        }
    }

    /// As [`AsyncRead::poll_read`].
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    /// As [`AsyncWrite::poll_write`].
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// As [`AsyncWrite::poll_flush`].
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// As [`AsyncWrite::poll_shutdown`].
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Hands all bytes to the socket. Gives the moment before the write that took the last of them: on return of a write the peer may
    /// have had the bytes for long, because waking it can cost the writer its core.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<Nanos> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await?,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await?;
            }
        }
        Ok(self.socket().written())
    }

    /// Whether an idle connection is still open: nothing may be readable on it, not even its end.
    pub fn is_idle(&self) -> bool {
        // TLS: session tickets may lie there unread; such a connection is given up, at the price of a new one.
        self.socket().is_quiet()
    }
}

/// Asks an HTTP proxy for a tunnel.
async fn tunnel(stream: &mut Socket, endpoint: &Endpoint) -> Result<(), ConnectError> {
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
