//! A TCP socket whose reads say when their bytes arrived: by the kernel's own receive stamp where the platform has one, else at the
//! return of the read.
//!
//! The kernel stamps a segment when it comes in, on `CLOCK_REALTIME`; a read of TCP hands over the stamp of the *last* segment it took
//! bytes from, so a stamp is an upper bound for what a read brought (`tcp_recvmsg` in the kernel's `net/ipv4/tcp.c`). Under load this is
//! what keeps a shard's own waking and decoding out of a latency.

use nomoat_core::clock::Clock;
use nomoat_core::event::Arrival;
use nomoat_core::units::Nanos;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How stamps come to be on this platform, in words for manifests and tables.
pub(crate) const STAMPS: &str = if cfg!(target_os = "linux") {
    "the kernel's receive stamps (SO_TIMESTAMPNS), made monotonic"
} else {
    "return of the read, before parsing (no kernel stamps on this platform)"
};

/// A TCP stream that stamps its reads.
pub(crate) struct Socket {
    fd: AsyncFd<TcpStream>,
    clock: Arc<dyn Clock>,
    /// Of the last read.
    last: Arrival,
    reads: u64,
    /// Immediately before the last write.
    written: Nanos,
    /// When the connection was begun. Nothing that is read came before: a stamp that says so comes from a clock that was set.
    begun: Nanos,
}

/// How far into the future a converted stamp may lie: the error of converting it.
const TOLERANCE: Nanos = Nanos::from_micros(20);

impl Socket {
    /// Connects without delay (`TCP_NODELAY`), from `source` where one is given.
    pub async fn connect(to: SocketAddr, source: Option<IpAddr>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let socket = if to.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
        socket.set_nodelay(true)?;
        if let Some(source) = source {
            stamping::bind_late(&socket);
            socket.bind(SocketAddr::new(source, 0))?;
        }
        stamping::enable(&socket);
        let begun = clock.now();
        let stream = socket.connect(to).await?.into_std()?;
        // SAFETY: a `TcpStream` owns a valid descriptor and always gives the same one; nothing here closes or replaces it while the
        // `AsyncFd` holds it.
        let fd = unsafe { AsyncFd::register(stream) }?;
        Ok(Self { fd, last: Arrival::read(begun), clock, reads: 0, written: begun, begun })
    }

    /// When the bytes of the last read arrived.
    pub fn last(&self) -> Arrival {
        self.last
    }

    /// The moment before the last write that the socket took something of.
    pub fn written(&self) -> Nanos {
        self.written
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Whether nothing is readable, not even the end of the stream.
    pub fn is_quiet(&self) -> bool {
        // The runtime's own word first: it costs no system call, and what arrived since its last look makes the write fail, which is
        // handled. Only readiness that nobody has cleared is asked of the kernel.
        if self.fd.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending() {
            return true;
        }
        matches!(self.fd.get_ref().peek(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    fn stamp(&mut self, kernel: Option<Nanos>) {
        let now = self.clock.now();
        let possible = self.begun..=now + TOLERANCE;
        let stamp = kernel.and_then(|unix| self.clock.of_wall(unix)).filter(|at| possible.contains(at));
        // Bytes cannot be had before those in front of them: after a loss, a later segment has the earlier stamp.
        self.last = stamp.map_or(Arrival::read(now), |at| Arrival::kernel(at.min(now).max(self.last.at())));
        self.reads += 1;
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.fd.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            match stamping::read(ready.get_inner(), room) {
                Ok((n, stamp)) => {
                    // A read that did not fill its buffer has emptied the socket; what comes later is a new edge. Saves the read that
                    // would only say so.
                    if n > 0 && n < room.len() {
                        ready.clear_ready();
                    }
                    self.stamp(stamp);
                    buffer.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            // Written before asking whether it can be: a new connection would otherwise wait for a turn of the reactor.
            let at = self.clock.now();
            match self.fd.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.fd.poll_write_ready(cx))?.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(n) => {
                    self.written = at;
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.fd.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

/// Keeps the kernel stamping packets for as long as it lives. The kernel begins when the first socket asks for it, from a work queue;
/// the first packets after that have no stamp.
pub(crate) struct Stamping {
    _socket: Option<std::net::UdpSocket>,
}

impl Stamping {
    /// Begins.
    pub fn begin() -> Self {
        let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).ok();
        socket.iter().for_each(stamping::enable);
        Self { _socket: socket }
    }
}

#[cfg(target_os = "linux")]
mod stamping {
    use nomoat_core::units::Nanos;
    use std::io;
    use std::os::fd::{AsFd, AsRawFd};

    /// Room for one stamp and for a neighbour that somebody else's option may add.
    const CONTROL: usize = 128;

    #[repr(C, align(8))]
    struct Control([u8; CONTROL]);

    fn set(socket: &impl AsFd, level: i32, option: i32) -> bool {
        let on: libc::c_int = 1;
        let (fd, size) = (socket.as_fd().as_raw_fd(), size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: the descriptor is borrowed and therefore open; the option's value is an int that lives for the call.
        unsafe { libc::setsockopt(fd, level, option, (&raw const on).cast(), size) == 0 }
    }

    /// Asks for receive stamps. Refused, reads have none, and their record says so.
    pub fn enable(socket: &impl AsFd) {
        set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
    }

    /// Lets `connect` choose the port, so that one port serves many destinations.
    pub fn bind_late(socket: &impl AsFd) {
        set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    }

    /// One read, with the wall-clock stamp of the last segment it took from.
    pub fn read(socket: &impl AsFd, room: &mut [u8]) -> io::Result<(usize, Option<Nanos>)> {
        let mut control = Control([0; CONTROL]);
        let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        // SAFETY: all-zero is a valid `msghdr`; its padding has no invariant.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.0.as_mut_ptr().cast(), CONTROL as _);
        // SAFETY: the descriptor is borrowed and therefore open; both buffers are exclusively ours, as long as said, and outlive the call.
        let n = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, 0) };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((n as usize, stamp(&message)))
    }

    fn stamp(message: &libc::msghdr) -> Option<Nanos> {
        // SAFETY: `message` was filled by `recvmsg` and its control buffer is alive; the macros walk within `msg_controllen`, and a
        // message of this type carries a `timespec`, read without assuming its alignment.
        unsafe {
            let mut at = libc::CMSG_FIRSTHDR(message);
            while let Some(header) = at.as_ref() {
                if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_TIMESTAMPNS {
                    let time: libc::timespec = libc::CMSG_DATA(at).cast::<libc::timespec>().read_unaligned();
                    return Some(Nanos(time.tv_sec * 1_000_000_000 + time.tv_nsec));
                }
                at = libc::CMSG_NXTHDR(message, at);
            }
        }
        None
    }
}

#[cfg(not(target_os = "linux"))]
mod stamping {
    use nomoat_core::units::Nanos;
    use std::io::{self, Read as _};
    use std::net::TcpStream;

    pub fn enable<T>(_: &T) {}

    pub fn bind_late<T>(_: &T) {}

    pub fn read(mut socket: &TcpStream, room: &mut [u8]) -> io::Result<(usize, Option<Nanos>)> {
        Ok((socket.read(room)?, None))
    }
}
