//! The CPU quota of the control groups this process is in, both versions, and how often it was used up. Not here: limits of memory, and
//! groups without a quota, which hold nobody back.

use super::Read;
use std::path::{Path, PathBuf};

/// The groups around this process that have a quota of CPU time, innermost first.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct CpuGroups {
    /// Each one's folder, and the cores its quota comes to.
    limited: Vec<(PathBuf, f64)>,
}

impl CpuGroups {
    /// Finds them.
    pub fn find(read: Read<'_>) -> Self {
        let page = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let levels: Vec<PathBuf> = folders(&page).into_iter().flat_map(|(mount, path)| levels(mount, path)).collect();
        let limited = levels.into_iter().filter_map(|folder| quota(read, &folder).map(|cores| (folder, cores)));
        Self { limited: limited.collect() }
    }

    /// The cores that the narrowest quota comes to; `None` where there is none.
    pub fn quota_cores(&self) -> Option<f64> {
        self.limited.iter().map(|(_, cores)| *cores).min_by(f64::total_cmp)
    }

    /// Periods in which a quota was used up and the group was stopped until the next one, since the groups were made. `None` where there is
    /// no quota.
    pub fn throttled_periods(&self, read: Read<'_>) -> Option<u64> {
        let counts = self.limited.iter().filter_map(|(folder, _)| throttled(&read(&folder.join("cpu.stat"))?));
        counts.reduce(|a, b| a + b)
    }
}

/// Where the groups that share out CPU time are mounted, and this process's path below: of version 1 if a line of /proc/self/cgroup names
/// that controller, else of version 2. Mounts are where every distribution has them; one that is not there has no file to read.
fn folders(page: &str) -> Vec<(&'static str, &str)> {
    let lines: Vec<(&str, &str)> = page.lines().filter_map(|l| l.split_once(':')?.1.split_once(':')).collect();
    if let Some((_, path)) = lines.iter().find(|(controllers, _)| controllers.split(',').any(|c| c == "cpu")) {
        return vec![("/sys/fs/cgroup/cpu", path)];
    }
    lines.iter().filter(|(controllers, _)| controllers.is_empty()).map(|(_, path)| ("/sys/fs/cgroup", *path)).collect()
}

/// A group's folder and those around it. A path that leads out of what is visible here leaves its top.
fn levels(mount: &str, path: &str) -> Vec<PathBuf> {
    let path = if path.contains("..") { "" } else { path.trim_matches('/') };
    let folder = Path::new(mount).join(path);
    folder.ancestors().take_while(|f| f.starts_with(mount)).map(Path::to_path_buf).collect()
}

/// The cores a group's quota comes to.
fn quota(read: Read<'_>, folder: &Path) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| *n > 0.0);
    if let Some(text) = read(&folder.join("cpu.max")) {
        let (quota, period) = text.trim().split_once(' ')?;
        return Some(number(quota)? / number(period)?);
    }
    // Version 1 writes -1 for none.
    Some(number(&read(&folder.join("cpu.cfs_quota_us"))?)? / number(&read(&folder.join("cpu.cfs_period_us"))?)?)
}

/// Throttled periods, from cpu.stat.
fn throttled(page: &str) -> Option<u64> {
    page.lines().find_map(|l| l.strip_prefix("nr_throttled ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas() {
        let check = |files: &[(&str, &str)], quota: Option<f64>, throttled: Option<u64>| {
            let read = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
            let groups = CpuGroups::find(&read);
            assert_eq!((groups.quota_cores(), groups.throttled_periods(&read)), (quota, throttled), "{files:?}");
        };
        check(&[], None, None);
        // Version 2, as a container sees it.
        let v2 = ("/proc/self/cgroup", "0::/\n");
        let stat = ("/sys/fs/cgroup/cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 4\nthrottled_usec 77\n");
        check(&[v2, ("/sys/fs/cgroup/cpu.max", "max 100000\n"), stat], None, None);
        check(&[v2, ("/sys/fs/cgroup/cpu.max", "250000 100000\n"), stat], Some(2.5), Some(4));
        check(&[v2, ("/sys/fs/cgroup/cpu.max", "250000 100000\n")], Some(2.5), None);
        check(&[v2, ("/sys/fs/cgroup/cpu.max", "nonsense\n"), stat], None, None);
        // As a host sees it: the narrowest of the groups around it counts, and each may have thrown it out.
        let nested = [
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/b/cpu.max", "max 100000"),
            ("/sys/fs/cgroup/a/cpu.max", "50000 100000"),
            ("/sys/fs/cgroup/a/cpu.stat", "nr_throttled 2"),
            ("/sys/fs/cgroup/cpu.max", "400000 100000"),
            ("/sys/fs/cgroup/cpu.stat", "nr_throttled 1"),
        ];
        check(&nested, Some(0.5), Some(3));
        // Version 1; the second hierarchy has no say in CPU time.
        let v1 = ("/proc/self/cgroup", "9:name=systemd:/x\n1:cpu,cpuacct:/box\n0::/\n");
        let period = ("/sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n");
        let stat = ("/sys/fs/cgroup/cpu/box/cpu.stat", "nr_periods 1\nnr_throttled 0\nthrottled_time 0\n");
        check(&[v1, ("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "150000\n"), period, stat], Some(1.5), Some(0));
        check(&[v1, ("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1\n"), period, stat], None, None);
        check(&[v1, ("/sys/fs/cgroup/cpu.max", "100000 100000")], None, None);
    }

    #[test]
    fn paths() {
        let check = |path: &str, expect: &[&str]| assert_eq!(levels("/m", path), expect.iter().map(PathBuf::from).collect::<Vec<_>>());
        check("/", &["/m"]);
        check("/a/b", &["/m/a/b", "/m/a", "/m"]);
        check("/../../x", &["/m"]);
    }
}
