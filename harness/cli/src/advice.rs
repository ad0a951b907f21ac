//! The last line of a report: the next command worth typing, given what was just seen.

use crate::measure::Measured;
use crate::setup::Setup;
use crate::target::Engine;
use nomoat_core::report::{Population, Stat};
use nomoat_core::schedule::Load;

/// A rung that brings less than this over the last is no gain.
const GAIN: f64 = 1.1;

/// What to do next.
pub fn next(setup: &Setup, engine: &Engine, measured: &[(Load, Measured)]) -> String {
    let Some((_, last)) = measured.last() else { return String::new() };
    let again = format!("nomoat run -f {}", last.dir.file("manifest.json").display());
    if last.report.counts.ok == 0 {
        return format!("look at {} for what every request ran into", last.dir.path().display());
    }
    if let Some(rule) = last.report.validity.broken(nomoat_core::validity::Severity::Invalid).next() {
        return format!("{} ({}), then {again}", rule.remedy, rule.code);
    }
    if measured.len() > 1 {
        return climb(setup, measured);
    }
    if engine.local.is_some() {
        return "nomoat run --url http://HOST:PORT measures your own endpoint".into();
    }
    if setup.slo.is_empty() {
        return format!("{again} --slo ttft=1s,tpot=50ms");
    }
    format!("{again} repeats this run")
}

/// Where on the ladder to look closer.
fn climb(setup: &Setup, measured: &[(Load, Measured)]) -> String {
    let concurrency = |load: &Load| if let Load::Closed { concurrency, .. } = load { *concurrency } else { 0 };
    let throughput = |m: &Measured| {
        m.report
            .get("output_tput", Stat::Rate, Population::All)
            .or_else(|| m.report.get("output_tput", Stat::Rate, Population::Ok))
            .and_then(|r| r.value)
            .unwrap_or(0.0)
    };
    let engine = match (&setup.adapter, &setup.args.url[..]) {
        (Some(adapter), _) => adapter.flag(),
        (None, []) => "--url URL".to_owned(),
        (None, urls) => format!("--url {}", urls.join(",")),
    };
    let top = measured.last().map_or(0, |(load, _)| concurrency(load));
    for pair in measured.windows(2) {
        if throughput(&pair[1].1) < throughput(&pair[0].1) * GAIN {
            let knee = concurrency(&pair[0].0);
            return format!("throughput stops rising near {knee}: nomoat run {engine} --concurrency {knee} --duration 120s measures there");
        }
    }
    format!("throughput still rises at {top}: nomoat run {engine} --ladder {top},{},{}", top * 2, top * 4)
}
