//! Pages of /proc and /sys as numbers. Pure: text in, numbers out. What a page does not say is absent, never zero.

/// CPU time since the system started, in the ticks of /proc.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct CpuTime {
    /// Spent at work, that of guests of this host included.
    pub busy: u64,
    /// Given to others by the hypervisor while somebody here had work.
    pub stolen: u64,
    /// All of it, idle time included.
    pub all: u64,
}

impl CpuTime {
    /// Shares of the time since `before`: at work, and stolen. `None` where no tick has passed.
    pub fn since(self, before: Self) -> Option<(f64, f64)> {
        // The kernel's idle and I/O-wait counters may step back by a tick: less than nothing counts as nothing.
        let all = self.all.saturating_sub(before.all);
        let of = |now: u64, before: u64| (now.saturating_sub(before) as f64 / all as f64).min(1.0);
        (all > 0).then(|| (of(self.busy, before.busy), of(self.stolen, before.stolen)))
    }
}

/// CPU time of all cores together and of each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct CpuTimes {
    /// All cores.
    pub all: Option<CpuTime>,
    /// Each core that is online, with its number.
    pub cores: Vec<(u32, CpuTime)>,
}

/// Reads /proc/stat.
pub(super) fn cpu_times(page: &str) -> CpuTimes {
    let mut times = CpuTimes::default();
    for line in page.lines().filter_map(|l| l.strip_prefix("cpu")) {
        let (core, rest) = line.split_once(' ').unwrap_or((line, ""));
        let ticks: Option<Vec<u64>> = rest.split_whitespace().map(|t| t.parse().ok()).collect();
        // What follows, time of guests, is in user time already.
        let Some([user, nice, system, idle, io, irq, soft, stolen, ..]) = ticks.as_deref() else { continue };
        let busy = user + nice + system + irq + soft;
        let time = CpuTime { busy, stolen: *stolen, all: busy + idle + io + stolen };
        match core.parse() {
            Ok(core) => times.cores.push((core, time)),
            Err(_) if core.is_empty() => times.all = Some(time),
            Err(_) => {}
        }
    }
    times
}

/// Microseconds in which at least one task waited for the resource, from a page of /proc/pressure.
pub(super) fn stalled_us(page: &str) -> Option<u64> {
    let some = page.lines().find_map(|l| l.strip_prefix("some "))?;
    some.split(' ').find_map(|field| field.strip_prefix("total=")?.parse().ok())
}

/// Bytes received and sent by each interface, from /proc/net/dev.
pub(super) fn interfaces(page: &str) -> Vec<(&str, [u64; 2])> {
    page.lines()
        .filter_map(|line| {
            let (name, counts) = line.split_once(':')?;
            let mut counts = counts.split_whitespace().map(str::parse);
            Some((name.trim(), [counts.next()?.ok()?, counts.nth(7)?.ok()?]))
        })
        .collect()
}

/// TCP segments sent again, from /proc/net/snmp: a line of names, then a line of numbers.
pub(super) fn retransmits(page: &str) -> Option<u64> {
    let mut lines = page.lines().filter_map(|l| l.strip_prefix("Tcp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|n| n == "RetransSegs")?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// The numbers in a list such as `0-3,8`. `None` where it is no such list or names more than anybody has.
pub(super) fn listed(list: &str) -> Option<Vec<u32>> {
    const MOST: u32 = 1 << 16;
    let mut all = vec![];
    for part in list.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.parse::<u32>().ok()?, to.parse::<u32>().ok()?);
        (from <= to && to < MOST).then(|| all.extend(from..=to))?;
    }
    Some(all)
}

/// The value of a key in /proc/cpuinfo, of the first processor that has it.
pub(super) fn cpuinfo<'a>(page: &'a str, key: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_all_and_of_each() {
        let page = "cpu  10 1 5 80 3 1 1 4 2 0\ncpu0 6 1 2 40 2 1 0 3 2 0\ncpu11 4 0 3 40 1 0 1 1 0 0\nintr 99 1 2\nctxt 7\nbtime 1\n";
        let times = cpu_times(page);
        assert_eq!(times.all, Some(CpuTime { busy: 18, stolen: 4, all: 105 }), "guest time is in user time already");
        assert_eq!(times.cores, [(0, CpuTime { busy: 10, stolen: 3, all: 55 }), (11, CpuTime { busy: 8, stolen: 1, all: 50 })]);
        for odd in ["", "cpu", "cpu 1 2 3", "cpu x 1 5 80 3 1 1 4", "cpufreq 1 2 3 4 5 6 7 8"] {
            assert_eq!(cpu_times(odd), CpuTimes::default(), "{odd}");
        }
    }

    #[test]
    fn shares_of_the_time_since() {
        let time = |busy, stolen, all| CpuTime { busy, stolen, all };
        for (before, now, expect) in [
            (time(10, 0, 100), time(60, 5, 200), Some((0.5, 0.05))),
            (time(10, 0, 100), time(10, 0, 200), Some((0.0, 0.0))),
            (time(10, 0, 100), time(10, 0, 100), None),
            (time(10, 3, 100), time(9, 2, 110), Some((0.0, 0.0))),
            (time(10, 0, 100), time(9, 0, 90), None),
        ] {
            assert_eq!(now.since(before), expect, "{before:?} {now:?}");
        }
    }

    #[test]
    fn pressure() {
        for (page, expect) in [
            ("some avg10=0.98 avg60=2.48 avg300=1.43 total=2126094839\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", Some(2126094839)),
            ("full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", None),
            ("some avg10=0.98\n", None),
            ("", None),
        ] {
            assert_eq!(stalled_us(page), expect, "{page}");
        }
    }

    #[test]
    fn bytes_by_interface() {
        let page = "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes packets\n\
                    \x20   lo: 811 37 0 0 0 0 0 0 812 37 0 0 0 0 0 0\n  eth0:80 1 0 0 0 0 0 0 69 8 0 0 0 0 0 0\n  odd: 1 2 3\n";
        assert_eq!(interfaces(page), [("lo", [811, 812]), ("eth0", [80, 69])]);
        assert_eq!(interfaces(""), []);
    }

    #[test]
    fn segments_sent_again() {
        let page = "Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: RtoAlgorithm MaxConn OutSegs RetransSegs InErrs\nTcp: 1 -1 37730460 2348 0\nUdp: NoPorts\nUdp: 0\n";
        for (page, expect) in [(page, Some(2348)), ("Tcp: RtoAlgorithm\nTcp: 1\n", None), ("Tcp: RetransSegs\n", None), ("", None)] {
            assert_eq!(retransmits(page), expect, "{page}");
        }
    }

    #[test]
    fn lists() {
        for (list, expect) in
            [("0\n", Some(vec![0])), ("0-2,8", Some(vec![0, 1, 2, 8])), ("", None), ("3-1", None), ("0-4294967295", None), ("a", None)]
        {
            assert_eq!(listed(list), expect, "{list}");
        }
    }

    #[test]
    fn keys_of_cpuinfo() {
        let page = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\nmodel name\t: other\n";
        assert_eq!((cpuinfo(page, "model name"), cpuinfo(page, "flags")), (Some("AMD EPYC"), Some("fpu hypervisor")));
        assert_eq!(cpuinfo(page, "Features"), None);
    }
}
