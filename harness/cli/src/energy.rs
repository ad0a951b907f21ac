//! Energy of a run: which meters are read beside it, and what is read after it.
//!
//! A meter that is not there is a line with its reason and no failure: the run is measured all the same. Meters of this host are read
//! where the engine runs here or the user names them; of an engine elsewhere they say nothing.

use crate::args::EnergyArgs;
use crate::exit::Failure;
use crate::setup::Setup;
use crate::target::{self, Engine};
use crate::wait::block_on;
use nomoat_core::energy::{Absent, EnergyFacts, MAX_GAP, Meter, Scope};
use nomoat_core::report::Window;
use nomoat_core::sample::Sample;
use nomoat_core::units::Nanos;
use nomoat_drive::power::{HOST_METERS, Meters, NoMeter, PowerPlaces, find};
use nomoat_drive::{HostFacts, MonotonicClock, Outcome};
use nomoat_http::PowerPage;
use nomoat_results::manifest::WallAnchor;
use nomoat_results::power::{MOST_BYTES, PowerTable, WallClock, job, table};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a file that is still written is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Which meters of this host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Which {
    /// Those that speak of the engine.
    #[default]
    Auto,
    /// These, by the user's word.
    Named(Vec<Meter>),
}

/// What the user says of energy, checked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct EnergyPlan {
    which: Which,
    devices: Vec<String>,
    table: Option<PathBuf>,
    urls: Vec<String>,
    job: Option<PathBuf>,
    /// What the fold must know of it.
    facts: EnergyFacts,
}

/// The meters of the runs of a command.
pub struct Watch {
    /// Read beside each run.
    pub meters: Meters,
    /// What the fold must know, as far as it is known before a run.
    pub facts: EnergyFacts,
    table: Option<PathBuf>,
    job: Option<PathBuf>,
}

impl EnergyPlan {
    /// Checks `args`.
    pub fn new(args: &EnergyArgs) -> Result<Self, Failure> {
        let list = |text: &str| text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect::<Vec<_>>();
        let which = match args.energy.as_deref().map(str::trim) {
            None | Some("auto") => Which::Auto,
            Some("off") => Which::Named(vec![]),
            Some(text) => {
                let names: Vec<&str> = HOST_METERS.iter().map(|meter| meter.name()).collect();
                let known = [names.as_slice(), &["auto", "off"]].concat();
                let word = |word: &String| {
                    let name = crate::config::choose("--energy", word, &known)?;
                    Meter::find(name).ok_or_else(|| Failure::usage(format!("--energy {name} stands alone; it is no meter")))
                };
                Which::Named(list(text).iter().map(word).collect::<Result<_, _>>()?)
            }
        };
        let scopes = Scope::ALL.map(Scope::name);
        let scope = args.energy_scope.as_deref().map(|word| crate::config::choose("--energy-scope", word, &scopes)).transpose()?;
        let scope = scope.and_then(Scope::find);
        if args.power.is_some() && scope.is_none_or(|scope| scope == Scope::Provisioned) {
            return Err(Failure::usage(
                "--power FILE.csv needs --energy-scope board, package, node or wall: what its meter counts is not in the file",
            ));
        }
        if scope == Some(Scope::Provisioned) && args.provisioned_watts.is_none() {
            return Err(Failure::usage("--energy-scope provisioned needs --provisioned-watts W"));
        }
        let amount = |flag: &str, value: Option<f64>, least: f64, what: &str| match value {
            Some(value) if !(value.is_finite() && value >= least) => Err(Failure::usage(format!("{flag} must be {what}, not {value}"))),
            value => Ok(value),
        };
        if args.pue.is_some() && args.usd_per_kwh.is_none() {
            return Err(Failure::usage("--pue multiplies what energy costs; it needs --usd-per-kwh"));
        }
        if args.power_url.iter().any(|url| url.contains(['?', '#', '@'])) {
            // Not shown: it may be a key, and it would stand in the manifest.
            return Err(Failure::usage("--power-url takes no query and no credentials; pages are asked for without any"));
        }
        if let Some((_, twice)) = args.power_url.iter().enumerate().find(|(i, url)| args.power_url[..*i].contains(url)) {
            return Err(Failure::usage(format!("--power-url {twice} is there twice, and what it tells would count twice")));
        }
        let asked = *args != EnergyArgs::default() && args.energy.as_deref() != Some("off")
            || EnergyArgs { energy: None, ..args.clone() } != EnergyArgs::default();
        Ok(Self {
            which,
            devices: list(args.energy_devices.as_deref().unwrap_or_default()),
            table: args.power.clone(),
            urls: args.power_url.clone(),
            job: args.power_slurm.clone(),
            facts: EnergyFacts {
                asked,
                scope,
                provisioned_w: amount("--provisioned-watts", args.provisioned_watts, 0.0, "a number of watts")?,
                usd_per_kwh: amount("--usd-per-kwh", args.usd_per_kwh, 0.0, "an amount in USD")?,
                pue: amount("--pue", args.pue, 1.0, "at least 1")?,
                ..EnergyFacts::default()
            },
        })
    }

    /// Meters of this host that speak of `engine`, or why none does.
    fn host_meters(&self, setup: &Setup, engine: &Engine) -> Result<Vec<Meter>, Absent> {
        match &self.which {
            Which::Named(meters) => Ok(meters.clone()),
            // It computes on the processor: boards that idle beside it are none of its energy.
            Which::Auto if setup.is_local() => Ok(vec![Meter::Rapl]),
            // An adapter runs here, and says nothing of where its engine does.
            Which::Auto if setup.adapter.is_some() => Err(Absent {
                what: "this host's meters".into(),
                why: "where the engine behind an adapter runs is not known; name them with --energy if it is this host".into(),
            }),
            Which::Auto if engine.info.shares_host => Ok(HOST_METERS.to_vec()),
            Which::Auto => Err(Absent {
                what: "this host's meters".into(),
                why: "the engine is not on this host by its address; name them with --energy if it is".into(),
            }),
        }
    }

    /// Looks for the meters.
    ///
    /// # Errors
    /// Our own failures only.
    pub fn find(&self, setup: &Setup, engine: &Engine) -> Result<Watch, Failure> {
        let mut facts = self.facts.clone();
        let mut meters = vec![];
        let places = PowerPlaces { devices: self.devices.clone(), ..PowerPlaces::default() };
        match self.host_meters(setup, engine) {
            Err(absent) => facts.absent.push(absent),
            Ok(names) => {
                facts.by_address = self.which == Which::Auto && !setup.is_local() && setup.launch.is_none();
                for (meter, found) in find(&names, &places) {
                    match found {
                        Ok(found) => {
                            if found.scope == Scope::Package {
                                facts.packages = packages(HostFacts::read().make.sockets, &found.devices);
                            }
                            meters.push(found.telemetry);
                        }
                        Err(none) => facts.absent.push(Absent { what: meter.name().into(), why: why(&none) }),
                    }
                }
            }
        }
        for (index, url) in self.urls.iter().enumerate() {
            let index = (self.urls.len() > 1).then_some(index);
            let config = target::http_config(setup, url);
            match block_on(PowerPage::open(config, Arc::new(MonotonicClock), index, self.devices.clone()))? {
                Ok(page) => meters.push(Box::new(page)),
                Err(why) => facts.absent.push(Absent { what: "--power-url".into(), why }),
            }
        }
        if facts.asked && !setup.args.quiet {
            for Absent { what, why } in &facts.absent {
                eprintln!("nomoat: energy: {what}: {why}");
            }
        }
        Ok(Watch { meters: Meters::new(meters), facts, table: self.table.clone(), job: self.job.clone() })
    }
}

/// A reason and its remedy in one line.
fn why(none: &NoMeter) -> String {
    if none.remedy.is_empty() { none.why.clone() } else { format!("{}; {}", none.why, none.remedy) }
}

/// How many packages there should be readings of: one for each socket, or for each die where a package is told die by die, as many of
/// every package as the one has of which most are there.
fn packages(sockets: Option<u32>, devices: &[String]) -> Option<u32> {
    let mut dies: BTreeMap<&str, u32> = BTreeMap::new();
    for name in devices {
        *dies.entry(name.split("-die-").next().unwrap_or(name)).or_default() += 1;
    }
    sockets.map(|sockets| sockets * dies.into_values().max().unwrap_or(1))
}

impl Watch {
    /// Reads what is there only after a run, puts its readings to those of `outcome`, and gives what the fold must know. `window` is
    /// the longest that the measured window can be. That a file cannot be read is a reason of its own, not a failure of the run.
    pub fn after(&self, outcome: &mut Outcome, window: Window, quiet: bool) -> EnergyFacts {
        let mut facts = self.facts.clone();
        let anchors = outcome.anchors.map(|anchor| WallAnchor { mono_ns: anchor.monotonic.0, unix_ns: anchor.unix_ns as i64 });
        let mut absent = |what: &str, path: &Path, why: String| {
            let why = format!("reading {}: {why}", path.display());
            if !quiet {
                eprintln!("nomoat: energy: {what}: {why}");
            }
            facts.absent.push(Absent { what: what.into(), why });
        };
        if let (Some(path), Some(scope)) = (&self.table, self.facts.scope) {
            match WallClock::new(&anchors).and_then(|clock| Ok(written(path, &clock, window)?.samples(scope, &clock, window))) {
                Ok(samples) => outcome.samples.extend(samples),
                Err(why) => absent("--power", path, why),
            }
        }
        if let Some(path) = &self.job {
            match WallClock::new(&anchors).and_then(|clock| Ok(job(&text(path)?)?.placed(&clock))) {
                Ok(job) => facts.job = Some(job),
                Err(why) => absent("--power-slurm", path, why),
            }
        }
        // In the order in which they were taken, whoever took them.
        outcome.samples.sort_by_key(|sample: &Sample| sample.at);
        facts
    }
}

/// The text of a file of the user's.
fn text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if bytes > MOST_BYTES {
        return Err(format!("it has {bytes} bytes, and {MOST_BYTES} are read at most; keep the rows around the run"));
    }
    std::fs::read_to_string(path).map_err(|e| e.to_string())
}

/// A table that may still be written: its logger has until [`MAX_GAP`] after the window for its next row, and for the rest of its last line.
fn written(path: &Path, clock: &WallClock, window: Window) -> Result<PowerTable, String> {
    use nomoat_core::clock::Clock as _;
    let begun = Instant::now();
    loop {
        let text = text(path)?;
        let read = table(&text);
        let whole = text.ends_with('\n');
        let until = read.as_ref().ok().and_then(|table| table.told_until(clock));
        // A logger that stopped long before will write no more.
        let lives = until.is_none_or(|until| until >= window.end - MAX_GAP);
        let enough = whole && until.is_some_and(|until| until >= window.end);
        let over = MonotonicClock.now() > window.end + MAX_GAP || begun.elapsed() > MAX_GAP.to_std();
        if enough || over || (whole && !lives) || (whole && read.is_err()) {
            return read;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The longest that the measured window of a run can be: to its end by its duration, or else to the last record.
pub fn longest(start: Nanos, stop: Nanos, warmup: nomoat_core::schedule::Warmup, duration: Option<Nanos>) -> Window {
    let opens = match warmup {
        nomoat_core::schedule::Warmup::Time(time) => start + time,
        nomoat_core::schedule::Warmup::Requests(_) => start,
    };
    let end = duration.map_or(stop, |duration| (opens + duration).max(stop));
    Window { start, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_make_a_plan_or_say_what_is_missing() {
        let check = |args: EnergyArgs, expect: Result<(bool, Option<Scope>), &str>| match (EnergyPlan::new(&args), expect) {
            (Ok(plan), Ok(expect)) => assert_eq!((plan.facts.asked, plan.facts.scope), expect, "{args:?}"),
            (Err(failure), Err(says)) => assert!(failure.message.contains(says), "{}", failure.message),
            (got, _) => panic!("{args:?}: {:?}", got.map_err(|e| e.message)),
        };
        let of = EnergyArgs::default;
        let energy = |text: &str| EnergyArgs { energy: Some(text.into()), ..of() };
        let scope = |text: &str| Some(text.to_owned());
        check(of(), Ok((false, None)));
        check(energy("off"), Ok((false, None)));
        check(energy("auto"), Ok((true, None)));
        check(energy("rapl, nvml"), Ok((true, None)));
        check(energy("rapl,off"), Err("stands alone"));
        check(energy("rapel"), Err("did you mean `rapl`?"));
        check(energy("csv"), Err("is not one of nvml, amdsmi, hwmon, rapl, auto, off"));
        check(EnergyArgs { energy_scope: scope("wall"), power: Some("p.csv".into()), ..energy("off") }, Ok((true, Some(Scope::Wall))));
        check(EnergyArgs { power: Some("p.csv".into()), ..of() }, Err("needs --energy-scope"));
        check(EnergyArgs { power: Some("p.csv".into()), energy_scope: scope("provisioned"), ..of() }, Err("needs --energy-scope board"));
        check(EnergyArgs { energy_scope: scope("provisioned"), ..of() }, Err("needs --provisioned-watts"));
        check(EnergyArgs { energy_scope: scope("board"), ..of() }, Ok((true, Some(Scope::Board))));
        check(EnergyArgs { energy_scope: scope("bord"), ..of() }, Err("did you mean `board`?"));
        check(EnergyArgs { provisioned_watts: Some(-1.0), ..of() }, Err("--provisioned-watts must be a number of watts, not -1"));
        check(EnergyArgs { pue: Some(1.2), ..of() }, Err("needs --usd-per-kwh"));
        check(EnergyArgs { pue: Some(0.9), usd_per_kwh: Some(0.1), ..of() }, Err("--pue must be at least 1, not 0.9"));
        check(EnergyArgs { usd_per_kwh: Some(f64::NAN), ..of() }, Err("--usd-per-kwh must be an amount"));
        let leaky = EnergyArgs { power_url: vec!["http://u:sesame@h/metrics".into()], ..of() };
        let pages = |urls: &[&str]| EnergyArgs { power_url: urls.iter().map(|url| (*url).to_owned()).collect(), ..of() };
        check(pages(&["http://a:1/metrics", "http://b:1/metrics"]), Ok((true, None)));
        check(pages(&["http://a:1/m", "http://b:1/m", "http://a:1/m"]), Err("--power-url http://a:1/m is there twice"));
        let query = EnergyArgs { power_url: vec!["http://h/metrics?token=sesame".into()], ..of() };
        for leaky in [leaky, query] {
            check(leaky.clone(), Err("--power-url takes no query and no credentials"));
            assert!(!EnergyPlan::new(&leaky).unwrap_err().message.contains("sesame"));
        }
    }

    #[test]
    fn packages_are_counted_by_socket_or_by_die() {
        for (sockets, devices, expect) in [
            (Some(2), &["package-0", "package-1"][..], Some(2)),
            (Some(2), &["package-0"], Some(2)),
            (Some(1), &["package-0-die-0", "package-0-die-1"], Some(2)),
            (Some(2), &["package-0-die-0", "package-0-die-1"], Some(4)),
            (Some(2), &["package-0-die-0", "package-0-die-1", "package-1-die-0"], Some(4)),
            (Some(2), &["package-0-die-0", "package-0-die-1", "package-1-die-0", "package-1-die-1"], Some(4)),
            (None, &["package-0"], None),
        ] {
            let devices: Vec<String> = devices.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(packages(sockets, &devices), expect, "{devices:?}");
        }
    }

    #[test]
    fn a_table_that_ended_long_before_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("power.csv");
        let clock = WallClock::new(&[WallAnchor { mono_ns: 0, unix_ns: 0 }]).unwrap();
        let window = Window { start: Nanos::from_secs(5), end: Nanos::MAX - Nanos::from_secs(100) };
        std::fs::write(&path, "time,device,watts\n1,a,5\n").unwrap();
        let begun = Instant::now();
        assert_eq!(written(&path, &clock, window).unwrap().told_until(&clock), Some(Nanos::from_secs(1)));
        std::fs::write(&path, "time,device,watts\n1,a\n").unwrap();
        assert!(written(&path, &clock, window).unwrap_err().contains("line 2"));
        assert!(written(&dir.path().join("none.csv"), &clock, window).is_err());
        assert!(begun.elapsed() < MAX_GAP.to_std());
    }
}
