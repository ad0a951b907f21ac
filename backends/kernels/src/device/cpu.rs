//! The host's processor as a device: native functions over memory of this process.

use super::{Api, DeviceInfo};
use std::sync::OnceLock;

/// What the host's processor is.
pub fn info(threads: usize) -> DeviceInfo {
    static NAME: OnceLock<(String, usize, usize)> = OnceLock::new();
    let (name, cache, memory) = NAME.get_or_init(|| (model(), last_cache(), memory())).clone();
    DeviceInfo {
        api: Api::Cpu,
        index: 0,
        name,
        arch: std::env::consts::ARCH.into(),
        compute: 0,
        units: threads as u32,
        warp: 1,
        cache,
        memory,
        shared: 0,
        driver: "none".into(),
        compiler: concat!("rustc, nomoat ", env!("CARGO_PKG_VERSION")).into(),
    }
}

fn model() -> String {
    let page = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = page.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split_once(':'));
    named.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// Bytes of the largest cache that the first core sees; 32 MiB where the system does not tell, so that working sets stay beyond it.
fn last_cache() -> usize {
    let sizes = (0..8).filter_map(|index| std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok());
    sizes.filter_map(|text| size(text.trim())).max().unwrap_or(32 << 20)
}

/// `1024K` or `32M` in bytes.
fn size(text: &str) -> Option<usize> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let scale = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok().map(|count| count * scale)
}

fn memory() -> usize {
    let page = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = page.lines().find_map(|line| line.strip_prefix("MemTotal:")).and_then(|rest| rest.trim().strip_suffix("kB"));
    total.and_then(|text| text.trim().parse::<usize>().ok()).map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_caches_are_read() {
        for (text, bytes) in [("32768K", Some(32 << 20)), ("1M", Some(1 << 20)), ("512", Some(512)), ("many", None), ("12X", None)] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }
}
