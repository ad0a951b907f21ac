//! The processes of this host as `/proc` shows them: who belongs to a group, and how much memory a group holds.

use std::collections::{HashMap, HashSet};

/// One process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub group: u32,
    /// Whether it has ended and only waits to be noticed.
    pub ended: bool,
    /// When it started, in ticks since the host did: with the number it is one process, although numbers come again.
    pub start: u64,
}

/// What a group of processes holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub processes: u64,
    /// Resident bytes, pages that several of them share counted in each.
    pub resident_bytes: u64,
}

/// All processes that can be seen; none where there is no `/proc`.
pub fn all() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // One that ends meanwhile is not there.
    pids.filter_map(|pid| parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// A line of `/proc/PID/stat`. The name, in parentheses, may hold anything, parentheses too.
fn parse(line: &str) -> Option<Process> {
    let pid = line.split(' ').next()?.parse().ok()?;
    let rest: Vec<&str> = line[line.rfind(')')? + 1..].split_ascii_whitespace().collect();
    // Behind the name: state, parent, group; the start is field 22 of the line.
    Some(Process {
        pid,
        parent: rest.get(1)?.parse().ok()?,
        group: rest.get(2)?.parse().ok()?,
        ended: matches!(*rest.first()?, "Z" | "X" | "x"),
        start: rest.get(19)?.parse().ok()?,
    })
}

/// The living ones of `group` and all descendants of its members: a worker that made a group of its own still belongs to it.
pub fn of_group(all: &[Process], group: u32) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<&Process>> = HashMap::new();
    all.iter().for_each(|p| children.entry(p.parent).or_default().push(p));
    let mut found: HashSet<u32> = HashSet::new();
    let mut next: Vec<&Process> = all.iter().filter(|p| p.group == group || p.pid == group).collect();
    let mut members = vec![];
    while let Some(process) = next.pop() {
        if found.insert(process.pid) {
            next.extend(children.get(&process.pid).into_iter().flatten());
            if !process.ended {
                members.push(*process);
            }
        }
    }
    members
}

/// What `group` and its descendants hold now; `None` where nothing of it is to be seen.
pub fn held(group: u32) -> Option<Held> {
    let members = of_group(&all(), group);
    let resident = members.iter().filter_map(|p| resident_bytes(&std::fs::read_to_string(format!("/proc/{}/status", p.pid)).ok()?));
    (!members.is_empty()).then(|| Held { processes: members.len() as u64, resident_bytes: resident.sum() })
}

/// Resident memory in a `/proc/PID/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_hostile_name() {
        let tail = "S 7 9 9 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 1000 1048576 42 18446744073709551615";
        assert_eq!(resident_bytes("Name:\te\nVmRSS:\t    172 kB\nThreads:\t1\n"), Some(172 * 1024));
        assert_eq!(resident_bytes("Name:\tkthread\n"), None);
        for name in ["engine", "a) S 1 1 (b", "x y"] {
            let process = parse(&format!("12 ({name}) {tail}")).unwrap();
            assert_eq!(process, Process { pid: 12, parent: 7, group: 9, ended: false, start: 1000 }, "{name}");
        }
        assert!(parse(&format!("12 (e) {}", tail.replacen('S', "Z", 1))).unwrap().ended);
        for line in ["", "12", "12 (e", "12 (e) S", "x (e) S 1 2"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_group_has_its_descendants_and_nobody_else() {
        let process = |pid, parent, group| Process { pid, parent, group, ended: false, start: 1 };
        let gone = Process { ended: true, ..process(14, 10, 10) };
        let all = [
            process(1, 0, 1),
            process(10, 1, 10),
            process(11, 10, 10),
            process(12, 11, 12), // A group of its own.
            process(13, 1, 10),  // Its parent is gone.
            gone,
            process(20, 1, 20),
            process(21, 20, 20),
        ];
        let mut pids: Vec<u32> = of_group(&all, 10).iter().map(|p| p.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [10, 11, 12, 13]);
        assert_eq!(of_group(&all, 99), []);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_seen() {
        let own = all().into_iter().find(|p| p.pid == std::process::id()).unwrap();
        assert!(own.start > 0 && !own.ended);
        assert!(held(own.group).unwrap().resident_bytes > 0);
    }
}
