//! What the load host is.

use super::calls;
use super::group::CpuGroups;
use super::pages::{cpuinfo, listed};
use super::{Read, read_file};
use std::collections::BTreeSet;
use std::path::Path;
use sysinfo::{MemoryRefreshKind, System};

/// What the load host is. What this system does not tell is absent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HostFacts {
    /// Operating system and its version.
    pub os: String,
    /// Kernel version.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// Logical cores this process may use.
    pub cores: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// One-minute load average now.
    pub load1: f64,
    /// How the processor and the system around it are set up.
    pub make: Make,
}

/// How a host is set up, as far as it changes what is measured on it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Make {
    /// Logical cores that are online.
    pub logical_cores: Option<u32>,
    /// Processor packages.
    pub sockets: Option<u32>,
    /// Logical cores per core, the most of any.
    pub threads_per_core: Option<u32>,
    /// Whether several threads share a core.
    pub smt: Option<bool>,
    /// What decides the clock rate; several where cores differ.
    pub governor: Option<String>,
    /// Cores that the narrowest CPU quota around this process comes to; `None` where there is none.
    pub quota_cores: Option<f64>,
    /// The hypervisor underneath, or `none`.
    pub virtualisation: Option<String>,
    /// Nodes of memory.
    pub numa_nodes: Option<u32>,
    /// What the kernel takes the time from.
    pub clocksource: Option<String>,
    /// Whether the wall clock is kept by NTP or PTP.
    pub ntp_synchronised: Option<bool>,
}

impl HostFacts {
    /// Reads them.
    pub fn read() -> Self {
        let mut system = System::new();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        Self {
            os: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.into()),
            kernel: System::kernel_version().unwrap_or_default(),
            cpu: cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            memory_bytes: system.total_memory(),
            load1: Self::load1(),
            make: Make { ntp_synchronised: calls::clock_is_synchronised(), ..Make::read(&read_file) },
        }
    }

    /// One-minute load average now.
    pub fn load1() -> f64 {
        System::load_average().one
    }
}

/// The model's name. Read directly on Linux: the library walks every core's frequency for it, which costs milliseconds at start.
fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if let Some(model) = cpuinfo(&info, "model name") {
        return model.to_owned();
    }
    let mut system = System::new();
    system.refresh_cpu_all();
    system.cpus().first().map(|c| c.brand().trim().to_owned()).unwrap_or_default()
}

impl Make {
    /// Reads all that stands in files.
    fn read(read: Read<'_>) -> Self {
        let text = |path: &str| read(Path::new(path)).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let count = |path: &str| text(path).and_then(|t| listed(&t)).map(|all| all.len() as u32);
        let online = text("/sys/devices/system/cpu/online").and_then(|t| listed(&t)).unwrap_or_default();
        let of_cores = |file: &str| -> Vec<String> {
            online.iter().filter_map(|core| text(&format!("/sys/devices/system/cpu/cpu{core}/{file}"))).collect()
        };
        let governors: BTreeSet<String> = of_cores("cpufreq/scaling_governor").into_iter().collect();
        let packages: BTreeSet<String> = of_cores("topology/physical_package_id").into_iter().collect();
        let siblings = of_cores("topology/thread_siblings_list");
        let threads_per_core = siblings.iter().filter_map(|list| listed(list).map(|all| all.len() as u32)).max();
        let active = text("/sys/devices/system/cpu/smt/active").and_then(|t| match t.as_str() {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        });
        Self {
            logical_cores: (!online.is_empty()).then_some(online.len() as u32),
            sockets: (!packages.is_empty()).then_some(packages.len() as u32),
            threads_per_core,
            smt: active.or(threads_per_core.map(|n| n > 1)),
            governor: (!governors.is_empty()).then(|| governors.into_iter().collect::<Vec<_>>().join(", ")),
            quota_cores: CpuGroups::find(read).quota_cores(),
            virtualisation: virtualisation(&text),
            numa_nodes: count("/sys/devices/system/node/online"),
            clocksource: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            ntp_synchronised: None,
        }
    }
}

/// What makers of virtual machines write where the maker of a machine stands, and what they are called here.
const MAKERS: [(&str, &str); 10] = [
    ("Amazon EC2", "amazon ec2"),
    ("Google", "google compute engine"),
    ("Microsoft", "hyper-v"),
    ("VMware", "vmware"),
    ("innotek", "virtualbox"),
    ("Xen", "xen"),
    ("Parallels", "parallels"),
    ("OpenStack", "kvm"),
    ("QEMU", "kvm"),
    ("KVM", "kvm"),
];
/// Clocks that only a hypervisor offers.
const CLOCKS: [(&str, &str); 3] = [("kvm-clock", "kvm"), ("hyperv_clocksource", "hyper-v"), ("xen", "xen")];

/// The hypervisor underneath, `none`, or nothing where that cannot be told.
fn virtualisation(text: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let info = text("/proc/cpuinfo").unwrap_or_default();
    // A bit of x86 that every hypervisor sets and no hardware does. Other processors have none, and there only a maker's name tells.
    let told = cpuinfo(&info, "flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    if told == Some(false) {
        return Some("none".into());
    }
    let find = |page: Option<String>, table: &[(&str, &'static str)]| {
        let page = page?;
        table.iter().find(|(word, _)| page.contains(word)).map(|(_, name)| (*name).to_owned())
    };
    // Clouds rent out whole machines too, and say so in the name of the kind.
    if told.is_none() && text("/sys/class/dmi/id/product_name").is_some_and(|name| name.contains("metal")) {
        return Some("none".into());
    }
    ["sys_vendor", "product_name", "board_vendor"]
        .iter()
        .find_map(|file| find(text(&format!("/sys/class/dmi/id/{file}")), &MAKERS))
        .or_else(|| find(text("/sys/devices/system/clocksource/clocksource0/available_clocksource"), &CLOCKS))
        .or_else(|| told.map(|_| "a hypervisor without a name".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: &str = "/sys/devices/system/cpu";
    const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0";

    fn files(files: &[(String, &str)]) -> Make {
        Make::read(&|path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn nothing_is_told_and_nothing_is_zero() {
        assert_eq!(files(&[]), Make::default());
    }

    #[test]
    fn a_server_with_two_sockets() {
        let mut all: Vec<(String, &str)> = vec![
            (format!("{CPU}/online"), "0-3\n"),
            (format!("{CPU}/smt/active"), "1\n"),
            (format!("{CLOCK}/current_clocksource"), "tsc\n"),
            ("/sys/devices/system/node/online".into(), "0-1\n"),
            ("/proc/cpuinfo".into(), "model name\t: Some CPU\nflags\t\t: fpu sse2\n"),
            ("/sys/class/dmi/id/sys_vendor".into(), "Amazon EC2\n"),
        ];
        for core in 0..4 {
            all.push((format!("{CPU}/cpu{core}/topology/physical_package_id"), if core % 2 == 0 { "0" } else { "1" }));
            all.push((format!("{CPU}/cpu{core}/topology/thread_siblings_list"), if core % 2 == 0 { "0,2" } else { "1,3" }));
            all.push((format!("{CPU}/cpu{core}/cpufreq/scaling_governor"), if core == 3 { "powersave\n" } else { "performance\n" }));
        }
        let expect = Make {
            logical_cores: Some(4),
            sockets: Some(2),
            threads_per_core: Some(2),
            smt: Some(true),
            governor: Some("performance, powersave".into()),
            virtualisation: Some("none".into()),
            numa_nodes: Some(2),
            clocksource: Some("tsc".into()),
            ..Make::default()
        };
        assert_eq!(files(&all), expect);
    }

    #[test]
    fn who_is_underneath() {
        let check = |cpuinfo: &'static str, maker: &'static str, clocks: &'static str, expect: Option<&str>| {
            let (maker, kind) = maker.split_once('/').unwrap_or((maker, ""));
            let pages = [
                ("/proc/cpuinfo".to_owned(), cpuinfo),
                ("/sys/class/dmi/id/sys_vendor".to_owned(), maker),
                ("/sys/class/dmi/id/product_name".to_owned(), kind),
                (format!("{CLOCK}/available_clocksource"), clocks),
            ];
            assert_eq!(files(&pages).virtualisation.as_deref(), expect, "{cpuinfo} {maker} {clocks}");
        };
        let (guest, metal, arm) = ("flags\t: fpu hypervisor sse2\n", "flags\t: fpu sse2\n", "Features\t: fp asimd\n");
        check(guest, "QEMU\n", "tsc kvm-clock\n", Some("kvm"));
        check(guest, "", "tsc kvm-clock\n", Some("kvm"));
        check(guest, "Microsoft Corporation\n", "hyperv_clocksource_tsc_page\n", Some("hyper-v"));
        check(guest, "Somebody\n", "tsc\n", Some("a hypervisor without a name"));
        check(metal, "Google\n", "tsc hpet\n", Some("none"));
        check(arm, "Amazon EC2\n", "arch_sys_counter\n", Some("amazon ec2"));
        check(arm, "Amazon EC2/c7g.metal", "arch_sys_counter\n", Some("none"));
        check(arm, "Ampere\n", "arch_sys_counter\n", None);
    }
}
