//! Devices, links and nodes as data: what their makers or a measurement say of them, each with its source and date.
//!
//! Files are `results/profiles/*.toml`; a file of the user's own has the same form and is given by its path, and may hold all three kinds.
//! Figures are dense ones: a maker's number with structured sparsity is halved when it is written down, and the row says so. What nobody
//! states is absent.

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
    /// Whose figure that is; `None` where nobody says.
    pub memory_by: Option<MemoryBy>,
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
    /// Its maker's, read in its own pages.
    Datasheet,
    /// Its maker's, read in somebody else's pages that repeat it.
    SecondHand,
    /// A measurement's.
    Measured,
    /// A recollection that nobody checked against its source.
    Recalled,
}

impl Evidence {
    /// As a file and a table write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Datasheet => "datasheet",
            Self::SecondHand => "second_hand",
            Self::Measured => "measured",
            Self::Recalled => "recalled",
        }
    }
}

/// Whose figure a device's memory is: they differ by a few hundredths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryBy {
    /// What programs may allocate, as CUDA or its like tells them.
    Programs,
    /// What the driver's own tool lists, of which it keeps some.
    Driver,
    /// Its maker's GiB, of which a driver keeps some.
    MakerGib,
    /// Its maker's GB, taken as 10⁹ bytes.
    MakerGb,
}

impl MemoryBy {
    /// As a file writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Programs => "programs",
            Self::Driver => "driver",
            Self::MakerGib => "maker_gib",
            Self::MakerGb => "maker_gb",
        }
    }

    /// As a sentence goes on with it.
    pub fn said(self) -> &'static str {
        match self {
            Self::Programs => "what programs may allocate on it",
            Self::Driver => "what its driver's tool lists; the driver keeps some of it, often about 1 %",
            Self::MakerGib => "what its maker states; a driver keeps some of it, often about 1 %",
            Self::MakerGb => "its maker's GB as 10⁹ bytes; a driver may tell more",
        }
    }
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

    /// Seconds that `bytes` take: the latency, where one is known, and the bytes at the link's rate.
    pub fn seconds(&self, bytes: f64) -> f64 {
        self.latency_us.unwrap_or(0.0) * 1e-6 + bytes / self.bytes_per_s()
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

/// What all three kinds have, so that one finder and one check serve them.
trait Profile: DeserializeOwned {
    /// The name of its tables in a file.
    const KIND: &'static str;
    fn name(&self) -> &str;
    fn source(&self) -> &str;
    fn date(&self) -> &str;
    /// Its numbers by their keys; all of them are positive where they are there.
    fn numbers(&self) -> Vec<(&'static str, Option<f64>)>;
}

impl Profile for Device {
    const KIND: &'static str = "device";

    fn name(&self) -> &str {
        &self.name
    }

    fn source(&self) -> &str {
        &self.source
    }

    fn date(&self) -> &str {
        &self.date
    }

    fn numbers(&self) -> Vec<(&'static str, Option<f64>)> {
        vec![
            ("memory_gib", self.memory_gib),
            ("bandwidth_gb_s", self.bandwidth_gb_s),
            ("bf16_tflops", self.bf16_tflops),
            ("fp8_tflops", self.fp8_tflops),
            ("fp4_tflops", self.fp4_tflops),
            ("power_w", self.power_w),
        ]
    }
}

impl Profile for Link {
    const KIND: &'static str = "link";

    fn name(&self) -> &str {
        &self.name
    }

    fn source(&self) -> &str {
        &self.source
    }

    fn date(&self) -> &str {
        &self.date
    }

    fn numbers(&self) -> Vec<(&'static str, Option<f64>)> {
        vec![("gbit_s", Some(self.gbit_s)), ("latency_us", self.latency_us)]
    }
}

impl Profile for Node {
    const KIND: &'static str = "node";

    fn name(&self) -> &str {
        &self.name
    }

    fn source(&self) -> &str {
        &self.source
    }

    fn date(&self) -> &str {
        &self.date
    }

    fn numbers(&self) -> Vec<(&'static str, Option<f64>)> {
        vec![("memory_gib", Some(self.memory_gib)), ("bandwidth_gb_s", self.bandwidth_gb_s), ("power_w", self.power_w)]
    }
}

/// Every device that ships with nomoat.
pub fn devices() -> Vec<Device> {
    shipped(include_str!("../profiles/devices.toml"))
}

/// Every link that ships with nomoat.
pub fn links() -> Vec<Link> {
    shipped(include_str!("../profiles/links.toml"))
}

/// Every node that ships with nomoat.
pub fn nodes() -> Vec<Node> {
    shipped(include_str!("../profiles/nodes.toml"))
}

/// A device by its name, or the one in a file of the user's: `FILE.toml`, or `FILE.toml#NAME` where it holds several.
///
/// # Errors
/// There is none of that name, or the file is no profile, with what to give.
pub fn device(what: &str) -> Result<Device, String> {
    find(what, devices)
}

/// A link by its name, or the one in a file of the user's: `FILE.toml`, or `FILE.toml#NAME` where it holds several.
///
/// # Errors
/// There is none of that name, or the file is no profile, with what to give.
pub fn link(what: &str) -> Result<Link, String> {
    find(what, links)
}

/// A node by its name, or the one in a file of the user's: `FILE.toml`, or `FILE.toml#NAME` where it holds several.
///
/// # Errors
/// There is none of that name, or the file is no profile, with what to give.
pub fn node(what: &str) -> Result<Node, String> {
    find(what, nodes)
}

/// What a text holds, and everything that is wrong with it: the figures of whoever writes a profile go into verdicts, so all faults are
/// named at once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Checked {
    /// Rows that are right, of each kind: devices, links, nodes.
    pub right: [usize; 3],
    /// Faults, each with its row.
    pub faults: Vec<String>,
}

/// Checks a file of profiles.
pub fn check(text: &str) -> Checked {
    let mut checked = Checked::default();
    match toml::from_str::<toml::Table>(text) {
        Err(e) => checked.faults.push(format!("is no TOML: {e}")),
        Ok(table) => {
            let devices = rows::<Device>(&table);
            let links = rows::<Link>(&table);
            let nodes = rows::<Node>(&table);
            checked.right = [devices.0.len(), links.0.len(), nodes.0.len()];
            checked.faults.extend([devices.1, links.1, nodes.1].concat());
            checked.faults.extend(unknown(&table));
            if checked.right == [0; 3] && checked.faults.is_empty() {
                checked.faults.push("holds no [[device]], [[link]] or [[node]]".into());
            }
        }
    }
    checked
}

fn unknown(table: &toml::Table) -> Option<String> {
    let key = table.keys().find(|key| !["device", "link", "node"].contains(&key.as_str()))?;
    Some(format!("has `{key}`; known are [[device]], [[link]] and [[node]]"))
}

/// The right rows of one kind, and what is wrong with the others.
fn rows<T: Profile>(table: &toml::Table) -> (Vec<T>, Vec<String>) {
    let (mut right, mut faults) = (Vec::<T>::new(), vec![]);
    let Some(all) = table.get(T::KIND) else { return (right, faults) };
    let Some(all) = all.as_array() else { return (right, vec![format!("has a `{0}` that is no [[{0}]]", T::KIND)]) };
    for (index, row) in all.iter().enumerate() {
        let shown = row.get("name").and_then(toml::Value::as_str).map_or_else(|| format!("{}", index + 1), |name| format!("`{name}`"));
        let mut wrong = vec![];
        // The reader names one missing key; whoever fills a row in wants all of them.
        for key in ["name", "title", "evidence", "source", "date"] {
            match row.get(key).map(|value| value.as_str().is_some_and(|text| !text.trim().is_empty())) {
                None => wrong.push(format!("lacks `{key}`")),
                Some(false) => wrong.push(format!("has a `{key}` that is no text")),
                Some(true) => {}
            }
        }
        if wrong.is_empty() {
            match row.clone().try_into::<T>() {
                Err(e) => wrong.push(e.to_string().trim().replace('\n', " ")),
                Ok(profile) => {
                    wrong.extend(amiss(&profile));
                    if right.iter().any(|other: &T| other.name().eq_ignore_ascii_case(profile.name())) {
                        wrong.push("has the name of another row".into());
                    }
                    if wrong.is_empty() {
                        right.push(profile);
                    }
                }
            }
        }
        faults.extend(wrong.into_iter().map(|fault| format!("{} {shown} {fault}", T::KIND)));
    }
    (right, faults)
}

fn amiss<T: Profile>(profile: &T) -> Vec<String> {
    let bad = |(key, value): &(&'static str, Option<f64>)| {
        let value = (*value)?;
        (!(value > 0.0 && value.is_finite()))
            .then(|| format!("has {key} = {value}; it must be positive, and is left out where nobody says"))
    };
    let mut wrong: Vec<String> = profile.numbers().iter().filter_map(bad).collect();
    if !is_date(profile.date()) {
        wrong.push(format!("has date = \"{}\"; write YYYY-MM-DD", profile.date()));
    }
    if profile.source().trim().is_empty() {
        wrong.push("has an empty `source`".into());
    }
    wrong
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str, digits: usize, range: std::ops::RangeInclusive<u32>| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()) && part.parse().is_ok_and(|n| range.contains(&n))
    };
    matches!(parts[..], [year, month, day] if number(year, 4, 1990..=9999) && number(month, 2, 1..=12) && number(day, 2, 1..=31))
}

fn shipped<T: Profile>(text: &str) -> Vec<T> {
    let table = toml::from_str(text).expect("a test reads every shipped file");
    rows(&table).0
}

fn find<T: Profile>(what: &str, known: fn() -> Vec<T>) -> Result<T, String> {
    let kind = T::KIND;
    let (path, name) = what.split_once('#').map_or((what, None), |(path, name)| (path, Some(name)));
    if Path::new(path).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
        return of_file(path, name);
    }
    let mut of = known();
    match of.iter().position(|row| row.name().eq_ignore_ascii_case(what)) {
        Some(index) => Ok(of.swap_remove(index)),
        None => {
            let near = nearest(&what.to_lowercase(), of.iter().map(T::name))
                .map_or_else(String::new, |near| format!(" (`{near}` is the nearest)"));
            Err(format!("no {kind} is called `{what}`{near}; `nomoat profiles` lists them, or give a .toml file with one [[{kind}]]"))
        }
    }
}

fn of_file<T: Profile>(path: &str, name: Option<&str>) -> Result<T, String> {
    let kind = T::KIND;
    let text = std::fs::read_to_string(Path::new(path)).map_err(|e| format!("reading {path}: {e}; give a file with one [[{kind}]]"))?;
    let table: toml::Table = toml::from_str(&text).map_err(|e| format!("reading {path}: {e}"))?;
    let (mut right, mut faults) = rows::<T>(&table);
    faults.extend(unknown(&table));
    if let Some(fault) = faults.first() {
        return Err(format!("{path}: {fault}; `nomoat profiles check {path}` names every fault"));
    }
    if let Some(name) = name {
        let at = right.iter().position(|row| row.name().eq_ignore_ascii_case(name));
        return at.map(|at| right.swap_remove(at)).ok_or_else(|| format!("{path} has no [[{kind}]] called `{name}`"));
    }
    match (right.pop(), right.len()) {
        (Some(row), 0) => Ok(row),
        (None, _) => Err(format!("{path} has no [[{kind}]]; give a file with one")),
        (Some(row), more) => Err(format!("{path} has {} [[{kind}]]; say which with {path}#{}", more + 1, row.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_profiles_are_right() {
        let texts =
            [include_str!("../profiles/devices.toml"), include_str!("../profiles/links.toml"), include_str!("../profiles/nodes.toml")];
        for (kind, text) in texts.iter().enumerate() {
            let checked = check(text);
            assert_eq!(checked.faults, Vec::<String>::new());
            // Nothing stands in the file of another kind.
            assert_eq!(checked.right.iter().sum::<usize>(), checked.right[kind]);
            assert_eq!(checked.right[kind], text.lines().filter(|line| line.starts_with("[[")).count());
        }
        assert_eq!(device("H200").unwrap().memory_gib, Some(139.8));
        // Memory is what programs may allocate: less than nvidia-smi lists, and never the maker's GB where a driver tells.
        for (name, programs, lists_mib) in
            [("h100-pcie", 79.1, 81_559.0), ("b200", 178.3, 183_359.0), ("b300", 267.6, 275_040.0), ("gb200", 184.3, 189_471.0)]
        {
            let device = device(name).unwrap();
            assert_eq!((device.memory_gib, device.memory_by), (Some(programs), Some(MemoryBy::Programs)));
            assert!((0.99..1.0).contains(&(programs * 1024.0 / lists_mib)), "{name}");
        }
        assert_eq!(link("400g").unwrap().bytes_per_s(), 50e9);
        assert_eq!(node("edge-128").unwrap().memory_gib, 128.0);
        let error = device("h20").unwrap_err();
        assert!(error.contains("nearest") && error.contains("nomoat profiles"), "{error}");
    }

    #[test]
    fn peaks_of_the_shipped_devices_rise_as_numbers_shrink() {
        for device in devices() {
            let peaks: Vec<f64> = [device.bf16_tflops, device.fp8_tflops, device.fp4_tflops].into_iter().flatten().collect();
            assert!(peaks.windows(2).all(|pair| pair[0] <= pair[1]), "{}", device.name);
            assert_eq!(device.memory_gib.is_some(), device.memory_by.is_some(), "{}", device.name);
            assert!(device.memory_gib.is_some() || device.source.contains("plugged in"), "{}", device.name);
        }
    }

    #[test]
    fn the_measured_device_is_what_its_files_say() {
        let page = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let run = page(include_str!("../published/2026-11-27-h200/full/kernels.json"));
        let torch = page(include_str!("../published/2026-11-27-h200/yardstick.json"));
        let best = torch["rows"].as_array().unwrap().iter().filter(|row| row["kernel"] == "gemm").map(|row| row["flops_per_s"].as_f64());
        let best = best.map(Option::unwrap).fold(0.0, f64::max);
        let device = device("h200-measured").unwrap();
        let near = |value: Option<f64>, expect: f64| (value.unwrap() / expect - 1.0).abs() < 0.001;
        assert!(near(device.bf16_tflops, best / 1e12), "{best}");
        assert!(near(device.bandwidth_gb_s, run["ceilings"]["read"]["per_s"].as_f64().unwrap() / 1e9));
        assert!(near(device.memory_gib, run["device"]["memory_bytes"].as_f64().unwrap() / f64::from(1 << 30)));
    }

    #[test]
    fn latency_counts_once() {
        let fibre = link("optical-1000km").unwrap();
        assert!((fibre.seconds(50e9) - 1.0049).abs() < 1e-9);
    }

    const GOOD: &str = "name = \"x\"\ntitle = \"X\"\nmemory_gib = 8\nevidence = \"measured\"\nsource = \"a test\"\ndate = \"2026-11-28\"\n";

    #[test]
    fn faults_are_named() {
        let cases = [
            (format!("[[node]]\n{GOOD}"), vec![]),
            (
                format!("[[node]]\n{}", GOOD.replace("source = \"a test\"\ndate = \"2026-11-28\"\n", "")),
                vec!["lacks `source`", "lacks `date`"],
            ),
            (format!("[[node]]\n{}", GOOD.replace("= 8", "= 0")), vec!["node `x` has memory_gib = 0"]),
            (format!("[[node]]\n{}", GOOD.replace("= 8", "= nan")), vec!["memory_gib = NaN"]),
            (format!("[[node]]\n{}", GOOD.replace("a test", "  ")), vec!["`source` that is no text"]),
            (format!("[[node]]\n{}", GOOD.replace("11-28", "13-28")), vec!["YYYY-MM-DD"]),
            (format!("[[node]]\n{}", GOOD.replace("measured", "hearsay")), vec!["hearsay"]),
            (format!("[[node]]\n{GOOD}speed = 3\n"), vec!["speed"]),
            (format!("[[node]]\n{GOOD}[[node]]\n{GOOD}"), vec!["name of another row"]),
            (format!("[[nodes]]\n{GOOD}"), vec!["has `nodes`"]),
            ("node = 3".into(), vec!["no [[node]]"]),
            ("node =".into(), vec!["no TOML"]),
            (String::new(), vec!["holds no [[device]]"]),
        ];
        for (text, expect) in cases {
            let faults = check(&text).faults;
            assert_eq!(faults.len(), expect.len(), "{text}: {faults:?}");
            for (fault, expect) in faults.iter().zip(expect) {
                assert!(fault.contains(expect), "{fault}");
            }
        }
    }

    #[test]
    fn files_of_the_users() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let at = path.display().to_string();
        let device = format!("[[device]]\n{GOOD}");
        std::fs::write(&path, format!("{device}[[node]]\n{GOOD}[[node]]\n{}", GOOD.replace("\"x\"", "\"y\""))).unwrap();
        assert_eq!(super::device(&at).unwrap().memory_gib, Some(8.0));
        assert_eq!(node(&format!("{at}#Y")).unwrap().name, "y");
        for (what, expect) in
            [(at.clone(), "say which"), (format!("{at}#z"), "called `z`"), (format!("{at}.none.toml"), "give a file with one")]
        {
            let error = node(&what).unwrap_err();
            assert!(error.contains(expect), "{error}");
        }
        assert!(link(&at).unwrap_err().contains("no [[link]]"));
        std::fs::write(&path, device.replace("= 8", "= -8")).unwrap();
        assert!(super::device(&at).unwrap_err().contains("profiles check"));
    }
}
