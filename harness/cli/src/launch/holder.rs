//! Who holds the port that a started engine answers on: its processes, or somebody who took it in between. Read from `/proc`, once, when
//! the engine is ready; where that cannot be read nobody is accused.

use crate::processes::{self, Process};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

/// What the fourth column of `/proc/net/tcp` says of a socket that listens.
const LISTENS: &str = "0A";

/// Who holds a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// The started process or one that belongs to it.
    Ours,
    /// A process that was there before ours was started, and so is not its doing.
    Another(u32),
    /// It cannot be told; why.
    Unknown(String),
}

/// Who holds `address`, which `group` should.
pub fn of(address: SocketAddr, group: u32) -> Holder {
    let pages = ["/proc/net/tcp", "/proc/net/tcp6"].map(|page| std::fs::read_to_string(page).unwrap_or_default());
    judge(&listeners(&pages.concat(), address), &processes::all(), group, sockets)
}

/// The sockets, by inode, that take connections to `address`: those bound to it, else those bound to any address.
fn listeners(pages: &str, address: SocketAddr) -> HashSet<u64> {
    let wanted = addresses(address.ip());
    let (mut exact, mut any) = (HashSet::new(), HashSet::new());
    for line in pages.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, state, .., inode] = &fields[..fields.len().min(10)] else { continue };
        let Some((ip, port)) = local.split_once(':') else { continue };
        if *state != LISTENS || u16::from_str_radix(port, 16) != Ok(address.port()) {
            continue;
        }
        let Ok(inode) = inode.parse() else { continue };
        if wanted.iter().any(|wanted| wanted == ip) {
            exact.insert(inode);
        } else if ip.bytes().all(|digit| digit == b'0') {
            any.insert(inode);
        }
    }
    if exact.is_empty() { any } else { exact }
}

/// `ip` as `/proc` writes it: words of four bytes as this host holds them. One of version 4 may be bound as one of version 6 too.
fn addresses(ip: IpAddr) -> Vec<String> {
    let words = |octets: &[u8]| {
        octets.as_chunks::<4>().0.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect::<Vec<_>>().concat()
    };
    match ip {
        IpAddr::V4(ip) => vec![words(&ip.octets()), words(&ip.to_ipv6_mapped().octets())],
        IpAddr::V6(ip) => vec![words(&ip.octets())],
    }
}

/// The sockets that a process has open, by inode; `None` where that may not be read.
fn sockets(pid: u32) -> Option<HashSet<u64>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    Some(links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect())
}

fn judge(listening: &HashSet<u64>, all: &[Process], group: u32, sockets: impl Fn(u32) -> Option<HashSet<u64>>) -> Holder {
    if listening.is_empty() {
        return Holder::Unknown("nobody seen here listens there".into());
    }
    let members: HashSet<u32> = processes::of_group(all, group).iter().map(|p| p.pid).collect();
    let of = |pid: u32| sockets(pid).map_or(HashSet::new(), |open| &open & listening);
    let ours: HashSet<u64> = members.iter().flat_map(|pid| of(*pid)).collect();
    if ours == *listening {
        return Holder::Ours;
    }
    // Several may share a port, and then the kernel decides who is asked.
    let born = all.iter().find(|p| p.pid == group).map(|p| p.start);
    let foreign: Vec<&Process> =
        all.iter().filter(|p| !members.contains(&p.pid) && !p.ended && of(p.pid).iter().any(|inode| !ours.contains(inode))).collect();
    match (foreign.iter().find(|p| born.is_some_and(|born| p.start < born)), foreign.first()) {
        (Some(older), _) => Holder::Another(older.pid),
        // A daemon may have started it on behalf of ours, as container engines do.
        (None, Some(younger)) => Holder::Unknown(format!("process {} holds it, which is younger and none of its descendants", younger.pid)),
        (None, None) => Holder::Unknown("the files of whoever listens there may not be read".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0000000000000000 100 0 0 10 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0000000000000000 20 4 30 10 -1
   3: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 0000000000000000 100 0 0 10 0
   4: 0200007F:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 15 1 0000000000000000 100 0 0 10 0
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F93 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 16 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:1F94 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F9";

    #[test]
    #[cfg(target_endian = "little")]
    fn who_listens() {
        let check = |port: u16, expect: &[u64]| {
            let found = listeners(PAGE, SocketAddr::from(([127, 0, 0, 1], port)));
            assert_eq!(found, expect.iter().copied().collect(), "{port}");
        };
        check(0x1f90, &[11]);
        check(0x1f91, &[14]);
        check(0x1f92, &[]);
        check(0x1f93, &[16]);
        check(0x1f94, &[17]);
        check(0x1f95, &[]);
    }

    #[test]
    fn whose_it_is() {
        let process = |pid, parent, start| Process { pid, parent, group: pid, ended: false, start };
        // The group is 10; 11 is its child, 5 an elder, 20 somebody younger.
        let all = [process(1, 0, 0), process(5, 1, 50), process(10, 1, 100), process(11, 10, 110), process(20, 1, 120)];
        let check = |listening: &[u64], open: &[(u32, &[u64])], expect: &Holder| {
            let sockets = |pid: u32| open.iter().find(|(p, _)| *p == pid).map(|(_, open)| open.iter().copied().collect());
            let found = judge(&listening.iter().copied().collect(), &all, 10, sockets);
            match (&found, expect) {
                (Holder::Unknown(why), Holder::Unknown(words)) => assert!(why.contains(words.as_str()), "{why}"),
                _ => assert_eq!(&found, expect, "{listening:?} {open:?}"),
            }
        };
        let unknown = |words: &str| Holder::Unknown(words.into());
        check(&[7], &[(10, &[7, 8])], &Holder::Ours);
        check(&[7], &[(11, &[7]), (5, &[9])], &Holder::Ours);
        check(&[7, 8], &[(10, &[7]), (11, &[7, 8])], &Holder::Ours);
        // Both have it open, because one gave it to the other.
        check(&[7], &[(10, &[7]), (5, &[7])], &Holder::Ours);
        check(&[7], &[(5, &[7]), (10, &[])], &Holder::Another(5));
        check(&[7, 8], &[(10, &[7]), (5, &[8])], &Holder::Another(5));
        check(&[7], &[(20, &[7])], &unknown("process 20 holds it"));
        check(&[7], &[(10, &[1])], &unknown("may not be read"));
        check(&[], &[(10, &[7])], &unknown("nobody seen here"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn our_own_port_is_ours() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let group = processes::all().into_iter().find(|p| p.pid == std::process::id()).unwrap().group;
        assert_eq!(of(listener.local_addr().unwrap(), group), Holder::Ours);
    }
}
