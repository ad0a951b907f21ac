//! When a request's bytes arrived: by the kernel's receive stamp where there is one, so that the server's own waking is not taken for
//! the client's error. Own code, own clock readings: nothing here is shared with the measuring side.

use crate::clock::{now, wall_ahead};
use nomoat_core::units::Nanos;
use std::io;
use std::os::fd::AsFd;

/// Asks the kernel to stamp what this socket receives. Refused, arrivals are returns of reads.
pub fn ask_for_stamps(socket: &impl AsFd) {
    #[cfg(target_os = "linux")]
    linux::ask(socket.as_fd());
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// One read, and when its last bytes arrived.
pub fn read_stamped(socket: &impl AsFd, room: &mut [u8]) -> io::Result<(usize, Nanos)> {
    #[cfg(target_os = "linux")]
    let (n, wall) = linux::receive(socket.as_fd(), room)?;
    #[cfg(not(target_os = "linux"))]
    let (n, wall) = (rustix::io::read(socket.as_fd(), room)?, None);
    let returned = now();
    Ok((n, of_wall(wall, wall_ahead(), returned)))
}

/// A stamp on this server's clock. One from the future or of more than a minute ago comes from a wall clock that was set.
fn of_wall(wall: Option<Nanos>, ahead: Nanos, returned: Nanos) -> Nanos {
    let at = wall.map(|wall| wall - ahead).filter(|at| *at > returned - Nanos::from_secs(60) && *at < returned + Nanos::from_micros(20));
    at.map_or(returned, |at| at.min(returned))
}

#[cfg(target_os = "linux")]
mod linux {
    use nomoat_core::units::Nanos;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, BorrowedFd};

    pub fn ask(socket: BorrowedFd<'_>) {
        let yes = 1_i32;
        // SAFETY: an open descriptor, and an option whose value is an int that outlives the call.
        let _ = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, (&raw const yes).cast(), 4) };
    }

    pub fn receive(socket: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<(usize, Option<Nanos>)> {
        // Eight-byte words, because control messages want that alignment.
        let mut control = [0_u64; 16];
        let mut whole = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        // SAFETY: zero is a value of every field of `msghdr`.
        let mut header = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
        header.msg_iov = &raw mut whole;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the descriptor is open; room and control are writable for their stated lengths and outlive the call.
        let read = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
        let n = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
        let mut wall = None;
        // SAFETY: walked with the system's own macros over a header it filled, its control buffer still alive. Messages of this type hold
        // a `timespec`; nothing is assumed of where it lies.
        unsafe {
            let mut each = libc::CMSG_FIRSTHDR(&raw const header);
            while !each.is_null() {
                if ((*each).cmsg_level, (*each).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
                    let at = std::ptr::read_unaligned(libc::CMSG_DATA(each).cast::<libc::timespec>());
                    wall = Some(Nanos::from_secs(at.tv_sec) + Nanos(at.tv_nsec));
                }
                each = libc::CMSG_NXTHDR(&raw const header, each);
            }
        }
        Ok((n, wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_from_a_clock_that_was_set_are_not_believed() {
        let s = Nanos::from_secs;
        let check = |wall: Option<i64>, expect: i64| assert_eq!(of_wall(wall.map(s), s(1_000), s(100)), s(expect), "{wall:?}");
        check(None, 100);
        check(Some(1_099), 99);
        check(Some(1_100), 100);
        check(Some(1_101), 100);
        check(Some(1_030), 100);
        check(Some(5), 100);
    }
}
