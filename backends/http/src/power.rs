//! Power and energy from pages in the Prometheus text format: exporters of accelerators and of processors.
//!
//! An exporter reads its devices at a pace of its own, DCGM's every 30 s unless told otherwise, and shows the same numbers in between. A
//! device whose power and counter have not moved since the page before is therefore the reading before, and gives no sample, whatever
//! moves beside it: how far readings are apart is then seen by whoever judges them.

use crate::backend::{HttpBackend, HttpConfig};
use crate::metrics::{Series, series};
use crate::scrape::{scrape, split_path};
use crate::version::HttpVersion;
use nomoat_core::backend::{BackendError, BoxFuture, Telemetry};
use nomoat_core::clock::Clock;
use nomoat_core::energy::{Meter, Scope};
use nomoat_core::sample::{Sample, SampleSource, label_value, names};
use nomoat_core::units::Nanos;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A series that tells power or energy.
struct Known {
    name: &'static str,
    scope: Scope,
    /// Whether it is a counter of energy; else it is power.
    counts: bool,
    /// How much of its unit is a watt or a joule.
    per_unit: f64,
}

/// The series that are known, those of NVIDIA's DCGM exporter, of `nvidia_gpu_exporter`, of AMD's device-metrics-exporter, of the node
/// exporter and of the IPMI exporter (the whole node, by its management controller; a version before 1.7.0 tells 0 where there is none).
///
/// Not among them is `gpu_energy_consumed` of AMD's exporter. It is in µJ (ROCm/device-metrics-exporter, `docs/configuration/metricslist.md`;
/// its value is that of ROCm/gpu-agent, `api/smi/amdsmi/smi_api.cc`: the driver's accumulator times the resolution in µJ that
/// `amdsmi_get_energy_count` gives, or 15.3). But that product is of single precision, and counts from when the driver was loaded: after a
/// month at 700 W its steps are of 134 J, after a year of 2 kJ. Being a counter it would be told before the power beside it, and be the worse.
const KNOWN: &[Known] = {
    const fn power(name: &'static str, scope: Scope) -> Known {
        Known { name, scope, counts: false, per_unit: 1.0 }
    }
    const fn energy(name: &'static str, scope: Scope, per_unit: f64) -> Known {
        Known { name, scope, counts: true, per_unit }
    }
    &[
        power("DCGM_FI_DEV_POWER_USAGE", Scope::Board),
        energy("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", Scope::Board, 1e3),
        power("nvidia_smi_power_draw_watts", Scope::Board),
        energy("nvidia_smi_energy_joules_total", Scope::Board, 1.0),
        power("gpu_package_power", Scope::Board),
        power("gpu_average_package_power", Scope::Board),
        energy("node_rapl_package_joules_total", Scope::Package, 1.0),
        power("ipmi_dcmi_power_consumption_watts", Scope::Node),
    ]
};

/// Labels that name a device wherever it is, the first that is there.
const IDENTITIES: [&str; 3] = ["UUID", "uuid", "serial_number"];
/// Labels that name it on its host.
const NUMBERS: [&str; 4] = ["gpu", "gpu_id", "path", "index"];
/// In a label `path`: another way to the counters of a package, which its own path tells already. The node exporter has a series for each.
const TWIN: &str = "intel-rapl-mmio";
/// Labels that name the host.
const HOSTS: [&str; 2] = ["Hostname", "hostname"];

/// For how long the first and the last page are asked for again until all of their devices have moved, and after which pause.
const MOVING: (Nanos, Duration) = (Nanos::from_millis(1500), Duration::from_millis(100));

/// A page that is read over and over.
pub struct PowerPage {
    backend: Arc<HttpBackend>,
    path: String,
    url: String,
    /// What stands before names that only a host knows, where there are several pages.
    prefix: String,
    /// Devices to keep; all where there is none.
    only: Vec<String>,
    clock: Arc<dyn Clock>,
    /// What each device last said in this run; `None` before its first reading.
    before: Option<Readings>,
    /// Whether the next reading is the last.
    closing: bool,
}

/// Watts and joules by scope and device.
type Readings = BTreeMap<(Scope, String), (Option<f64>, Option<f64>)>;

impl PowerPage {
    /// Asks for the page of `config.url` once. `index` tells it from others, where there are several; `only` are devices to keep, by
    /// identity or number. No key and no header of the engine is sent.
    ///
    /// # Errors
    /// It is not there, tells neither power nor energy, or has a query or credentials, which would stand in files.
    pub async fn open(config: HttpConfig, clock: Arc<dyn Clock>, index: Option<usize>, only: Vec<String>) -> Result<Self, String> {
        if config.url.contains(['?', '#', '@']) {
            // Not shown: it may be a key.
            return Err(
                "a page of power takes no query and no credentials, which would stand in the manifest; give its bare address".into()
            );
        }
        let url = config.url.clone();
        let (server, path) = split_path(&url);
        let config = HttpConfig { url: server, api_key: None, headers: vec![], path: None, engine: None, http: HttpVersion::One, ..config };
        let backend = HttpBackend::new(config, clock.clone()).await.map_err(|e| e.to_string())?;
        let prefix = index.map_or_else(String::new, |index| format!("page{index}/"));
        let page = Self { backend, path, url, prefix, only, clock, before: None, closing: false };
        if page.ask().await?.is_empty() {
            let known: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            let of = if page.only.is_empty() { String::new() } else { format!(" of {}", page.only.join(", ")) };
            return Err(format!("{} has no series{of} that tells power or energy; known are {}", page.url, known.join(", ")));
        }
        Ok(page)
    }

    async fn ask(&self) -> Result<Readings, String> {
        let text = scrape(self.backend.route(), &self.path, &self.backend.settled()).await;
        let text = text.map_err(|why| format!("reading {}: {why}", self.url))?;
        Ok(readings(&text, &self.prefix, &self.only))
    }
}

impl Telemetry for PowerPage {
    fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
        Box::pin(async move {
            // After the last reading of a run the next is the first of another, and knows nothing of this one's devices.
            let closing = std::mem::take(&mut self.closing);
            let before = if closing { self.before.take() } else { self.before.clone() };
            let ends = closing || before.is_none();
            let mut now = self.ask().await.map_err(BackendError::Unreachable)?;
            let mut samples = vec![];
            // How old the first page is cannot be seen, so it only tells what has moved on the next.
            let mut before = before.unwrap_or_else(|| now.clone());
            if ends {
                // A device has just been read when it moves. The first reading is then fresh, and the last from after the window.
                let mut still: BTreeSet<_> = before.keys().cloned().collect();
                let begun = self.clock.now();
                loop {
                    let fresh = moved(&before, &now);
                    still.retain(|device| !fresh.contains_key(device));
                    // Each at its own moment: others are still waited for.
                    let at = self.clock.now();
                    samples.extend(self::samples(&fresh).into_iter().map(|sample| Sample { at, ..sample }));
                    before.extend(fresh);
                    if still.is_empty() || at - begun >= MOVING.0 {
                        break;
                    }
                    tokio::time::sleep(MOVING.1).await;
                    now = self.ask().await.map_err(BackendError::Unreachable)?;
                }
            } else {
                let fresh = moved(&before, &now);
                samples = self::samples(&fresh);
                before.extend(fresh);
            }
            self.before = (!closing).then_some(before);
            Ok(samples)
        })
    }

    fn closing(&mut self) {
        self.closing = true;
    }
}

/// The devices of `now` whose power or counter is not what it was.
fn moved(before: &Readings, now: &Readings) -> Readings {
    now.iter().filter(|(device, told)| before.get(*device) != Some(*told)).map(|(device, told)| (device.clone(), *told)).collect()
}

/// What a page tells. A device that is told of twice (by slice of a board, by container) is one: what a board draws is told of the board.
fn readings(text: &str, prefix: &str, only: &[String]) -> Readings {
    let mut found = Readings::new();
    for (series, known) in series(text).filter_map(|s| Some((s, KNOWN.iter().find(|known| known.name == s.name)?))) {
        if series.label("path").is_some_and(|path| path.contains(TWIN)) {
            continue;
        }
        let device = device(&series, prefix);
        let is = |want: &String| *want == device || NUMBERS.iter().any(|label| series.label(label).is_some_and(|v| *v == **want));
        if known.scope == Scope::Board && !only.is_empty() && !only.iter().any(is) {
            continue;
        }
        let (watts, joules) = found.entry((known.scope, device)).or_default();
        let place = if known.counts { joules } else { watts };
        place.get_or_insert(series.value / known.per_unit);
    }
    found
}

/// The name of the device that a series is about.
fn device(series: &Series<'_>, prefix: &str) -> String {
    let of = |labels: &[&str]| labels.iter().find_map(|label| series.label(label)).filter(|value| !value.is_empty());
    if let Some(identity) = of(&IDENTITIES) {
        return identity.into_owned();
    }
    let number = of(&NUMBERS).map_or_else(|| "0".to_owned(), std::borrow::Cow::into_owned);
    of(&HOSTS).map_or_else(|| format!("{prefix}{number}"), |host| format!("{host}/{number}"))
}

fn samples(readings: &Readings) -> Vec<Sample> {
    let mut samples = vec![];
    for ((scope, device), (watts, joules)) in readings {
        let labels = format!(
            "{}={},{}={},{}={}",
            names::POWER_SCOPE,
            scope.name(),
            names::POWER_METER,
            Meter::Exporter.name(),
            names::POWER_DEVICE,
            label_value(device)
        );
        for (metric, value) in [(names::POWER_WATTS, watts), (names::POWER_ENERGY, joules)] {
            samples.extend(value.map(|value| Sample {
                at: Nanos::ZERO,
                source: SampleSource::Power,
                metric: metric.into(),
                labels: labels.clone(),
                value,
            }));
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up page of a DCGM exporter with a board that is told of twice, and of others on the same page.
    const PAGE: &str = r#"# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="Made Up",Hostname="n1"} 312.456
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-b",device="nvidia1",GPU_I_ID="3",Hostname="n1"} 88.5
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-b",device="nvidia1",GPU_I_ID="4",Hostname="n1"} 88.5
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-a",device="nvidia0",Hostname="n1"} 15152422938
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="1",UUID="GPU-b",device="nvidia1",Hostname="n1"} NaN
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 61
gpu_package_power{gpu_id="2",hostname="n2"} 748
node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0"} 1234.5
node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl-mmio:0"} 1234.5
gpu_energy_consumed{gpu_id="2",hostname="n2"} 5e+12
ipmi_dcmi_power_consumption_watts 5417
"#;

    #[test]
    fn a_page_is_read_device_by_device() {
        let shown = |text: &str, prefix: &str, only: &[&str]| {
            let only: Vec<String> = only.iter().map(|want| (*want).to_owned()).collect();
            let found = readings(text, prefix, &only);
            found.into_iter().map(|((scope, device), (w, j))| (scope.name(), device, w, j)).collect::<Vec<_>>()
        };
        let s = str::to_owned;
        let a = ("board", s("GPU-a"), Some(312.456), Some(15_152_422.938));
        let b = ("board", s("GPU-b"), Some(88.5), None);
        let package = ("package", s("/sys/class/powercap/intel-rapl:0"), None, Some(1234.5));
        let node = ("node", s("0"), Some(5417.0), None);
        assert_eq!(shown(PAGE, "", &[]), [a.clone(), b.clone(), ("board", s("n2/2"), Some(748.0), None), package.clone(), node]);
        assert_eq!(shown(PAGE, "page1/", &["GPU-b"]).len(), 3, "packages and nodes are no boards to choose from");
        assert_eq!(shown(PAGE, "", &["0"])[0], a);
        assert_eq!(shown("gpu_package_power 5\nnode_load1 1\n", "page1/", &[]), [("board", s("page1/0"), Some(5.0), None)]);
        assert_eq!(shown("", "", &[]), []);
        let samples = samples(&readings(PAGE, "", &[]));
        assert_eq!(samples.len(), 6, "a package once, however many ways lead to it");
        assert_eq!(samples[0].labels, "scope=board,meter=exporter,device=GPU-a");
        assert!(samples[4].labels.ends_with("device=/sys/class/powercap/intel-rapl:0"), "{}", samples[4].labels);
    }

    #[test]
    fn series_are_known_once() {
        for (i, known) in KNOWN.iter().enumerate() {
            assert!(KNOWN[i + 1..].iter().all(|other| other.name != known.name), "{}", known.name);
        }
    }
}
