//! Devices, links and nodes as data: what their makers or a measurement say of them, each with its source and date.
//!
//! Files are `results/profiles/*.toml`; a file of the user's own has the same form and is given by its path. Figures are dense ones: a maker's
//! number with structured sparsity is halved when it is written down, and the row says so.

use nomoat_core::suggest::nearest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// What computes.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Short name, lower case: `h200`.
    pub name: String,
    /// Whole name.
    pub title: String,
    /// Memory beside the compute, GiB; `None` where nobody says.
    pub memory_gib: Option<f64>,
    /// Bandwidth of that memory, GB/s (10⁹).
    pub bandwidth_gb_s: Option<f64>,
    /// Dense peak in bf16, TFLOP/s.
    pub bf16_tflops: Option<f64>,
    /// Dense peak in fp8, TFLOP/s.
    pub fp8_tflops: Option<f64>,
    /// Dense peak in fp4, TFLOP/s.
    pub fp4_tflops: Option<f64>,
    /// Power of the board or package, W.
    pub power_w: Option<f64>,
    /// Whose word it is.
    pub evidence: Evidence,
    /// Where it was read.
    pub source: String,
    /// When, `YYYY-MM-DD`.
    pub date: String,
}

/// Whose word a profile is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Its maker's.
    Datasheet,
    /// A measurement's.
    Measured,
    /// A recollection that nobody checked against its source.
    Recalled,
}

/// What moves bytes between two places, in one direction.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Short name, lower case: `400g`.
    pub name: String,
    /// Whole name.
    pub title: String,
    /// Rate in one direction, Gbit/s (10⁹).
    pub gbit_s: f64,
    /// Time before the first byte arrives, µs; `None` where nobody says.
    pub latency_us: Option<f64>,
    /// Whose word it is.
    pub evidence: Evidence,
    /// Where it was read.
    pub source: String,
    /// When, `YYYY-MM-DD`.
    pub date: String,
}

impl Link {
    /// Bytes per second.
    pub fn bytes_per_s(&self) -> f64 {
        self.gbit_s * 1e9 / 8.0
    }
}

/// A place at the edge or in a radio access network where inference may run.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Short name, lower case.
    pub name: String,
    /// Whole name.
    pub title: String,
    /// Memory that weights and caches share, GiB.
    pub memory_gib: f64,
    /// Its bandwidth, GB/s (10⁹).
    pub bandwidth_gb_s: Option<f64>,
    /// Power, W.
    pub power_w: Option<f64>,
    /// Whose word it is.
    pub evidence: Evidence,
    /// Where it was read.
    pub source: String,
    /// When, `YYYY-MM-DD`.
    pub date: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Devices {
    device: Vec<Device>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Links {
    link: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nodes {
    node: Vec<Node>,
}

/// Every device that ships with nomoat.
pub fn devices() -> Vec<Device> {
    shipped::<Devices>(include_str!("../profiles/devices.toml")).device
}

/// Every link that ships with nomoat.
pub fn links() -> Vec<Link> {
    shipped::<Links>(include_str!("../profiles/links.toml")).link
}

/// Every node that ships with nomoat.
pub fn nodes() -> Vec<Node> {
    shipped::<Nodes>(include_str!("../profiles/nodes.toml")).node
}

/// A device by its name, or the one in a file of the user's.
///
/// # Errors
/// There is none of that name, or the file is no profile, with what to give.
pub fn device(what: &str) -> Result<Device, String> {
    find(what, "device", devices(), |file: Devices| file.device, |device| &device.name)
}

/// A link by its name, or the one in a file of the user's.
///
/// # Errors
/// There is none of that name, or the file is no profile, with what to give.
pub fn link(what: &str) -> Result<Link, String> {
    find(what, "link", links(), |file: Links| file.link, |link| &link.name)
}

/// A node by its name, or the one in a file of the user's.
///
/// # Errors
/// There is none of that name, or the file is no profile, with what to give.
pub fn node(what: &str) -> Result<Node, String> {
    find(what, "node", nodes(), |file: Nodes| file.node, |node| &node.name)
}

fn shipped<T: DeserializeOwned>(text: &str) -> T {
    toml::from_str(text).expect("a test reads every shipped file")
}

fn find<T, F: DeserializeOwned>(
    what: &str,
    kind: &str,
    known: Vec<T>,
    rows: fn(F) -> Vec<T>,
    name: fn(&T) -> &String,
) -> Result<T, String> {
    let mut of = if Path::new(what).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
        let text = std::fs::read_to_string(Path::new(what)).map_err(|e| format!("reading {what}: {e}; give a file with one [[{kind}]]"))?;
        let mut rows = rows(toml::from_str(&text).map_err(|e| format!("reading {what}: {e}"))?);
        return match (rows.pop(), rows.len()) {
            (Some(row), 0) => Ok(row),
            _ => Err(format!("{what} has not exactly one [[{kind}]]; give a file with one")),
        };
    } else {
        known
    };
    match of.iter().position(|row| name(row).eq_ignore_ascii_case(what)) {
        Some(index) => Ok(of.swap_remove(index)),
        None => {
            let near =
                nearest(what, of.iter().map(|row| name(row).as_str())).map_or(String::new(), |near| format!(" (`{near}` is the nearest)"));
            Err(format!("no {kind} is called `{what}`{near}; `nomoat profiles` lists them, or give a .toml file with one [[{kind}]]"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_profiles_read() {
        assert!(!devices().is_empty() && !links().is_empty() && !nodes().is_empty());
        assert_eq!(device("H200").unwrap().memory_gib, Some(131.3));
        assert_eq!(link("400g").unwrap().bytes_per_s(), 50e9);
        let error = device("h20").unwrap_err();
        assert!(error.contains("nearest") && error.contains("nomoat profiles"), "{error}");
    }
}
