//! `nomoat cost`: what finished runs cost under prices of today, without running them again.

use crate::args::CostArgs;
use crate::exit::{Exit, Failure};
use crate::output::put;
use crate::prices;
use crate::setup::{format, name_and_count};
use nomoat_core::cost::AMOUNTS;
use nomoat_core::cost::pool::{BESIDE, Band, Pool};
use nomoat_core::fold::fold;
use nomoat_core::slo::Slo;
use nomoat_core::units::Nanos;
use nomoat_results::cost::{Anchor, ApiCost, Biller, Hosted, RunCost, Served, at_slo, said};
use nomoat_results::prices::{Api, Book, Provenance};
use nomoat_results::table::{CostReport, render_cost};
use nomoat_results::{Manifest, RunDir, Summary, date};

/// Runs the subcommand.
pub fn cost(args: &CostArgs) -> Result<Exit, Failure> {
    let format = format(&args.format)?;
    let slo = args.slo.as_deref().map(Slo::parse).transpose().map_err(|e| Failure::usage(format!("--slo {e}")))?;
    let book = prices::book(&args.book)?;
    let today = prices::today();
    let apis: Vec<&Api> = args.against.iter().map(|id| book.api(id)).collect::<Result<_, _>>().map_err(Failure::usage)?;
    let mut ages = Ages { today, max: args.book.max_price_age, old: vec![] };
    let mut runs = vec![];
    let mut levels: Vec<Slo> = vec![];
    for path in &args.runs {
        let dir = RunDir::open(path).map_err(Failure::usage_of)?;
        let manifest = dir.manifest().map_err(Failure::usage_of)?;
        if runs.iter().any(|run: &RunCost| run.run_id == manifest.run_id) {
            return Err(Failure::usage(format!("run {} is given twice, and twice the same is no repeat", manifest.run_id)));
        }
        let level = slo.unwrap_or(manifest.facts().map_err(Failure::usage_of)?.slo);
        if !levels.contains(&level) {
            levels.push(level);
        }
        runs.push(one(args, &dir, &manifest, slo, &book, &apis, &mut ages)?);
    }
    if levels.len() > 1 {
        return Err(Failure::usage(
            "these runs have different service levels, and their costs are not comparable; give one for all: --slo ttft=…,tpot=…",
        ));
    }
    if args.publish {
        let invalid = runs.iter().find(|run| run.state != "VALID").map(|run| format!("run {} is {}", run.run_id, run.state));
        let why = ages.old.iter().cloned().chain(invalid).collect::<Vec<_>>();
        if !why.is_empty() {
            return Err(Failure::usage(format!("not to be published: {}", why.join("; "))));
        }
    }
    let attainment = share("--attainment", args.attainment)?;
    let mut utilisations = vec![1.0];
    for utilisation in &args.utilisation {
        let share = share("--utilisation", *utilisation)?;
        if !utilisations.contains(&share) {
            utilisations.push(share);
        }
    }
    utilisations.sort_by(|a, b| b.total_cmp(a));
    let mut notes: Vec<String> = ages.old.iter().map(|why| format!("warning: {why}")).collect();
    notes.extend(book.replaced().iter().filter(|id| ages_mention(&runs, id)).map(|id| format!("{id}: the price is from a file of yours")));
    let report = CostReport {
        at_slo: if runs.len() > 1 { at_slo(&runs, attainment) } else { vec![] },
        slo: levels.first().and_then(Slo::words),
        runs,
        utilisations,
        cold_start: cold_start(args)?,
        attainment,
        notes,
    };
    put(&render_cost(&report, format));
    Ok(Exit::Ok)
}

fn ages_mention(runs: &[RunCost], id: &str) -> bool {
    let of = |run: &RunCost| {
        run.hosted.iter().flat_map(|h| h.prices.clone()).chain(run.apis.iter().flat_map(|a| a.prices.clone())).collect::<Vec<_>>()
    };
    runs.iter().flat_map(of).any(|price| price.starts_with(id))
}

/// Which of the prices used are old.
struct Ages {
    today: i64,
    max: i64,
    old: Vec<String>,
}

impl Ages {
    fn see(&mut self, id: &str, row: &Provenance) {
        if let Some(why) = row.stale(self.today, self.max) {
            let line = format!("the price of {id} {why}");
            if !self.old.contains(&line) {
                self.old.push(line);
            }
        }
    }
}

fn share(flag: &str, percent: f64) -> Result<f64, Failure> {
    if percent > 0.0 && percent <= 100.0 {
        Ok(percent / 100.0)
    } else {
        Err(Failure::usage(format!("{flag} is more than 0 and at most 100 per cent, not {percent}")))
    }
}

fn cold_start(args: &CostArgs) -> Result<Option<(f64, f64)>, Failure> {
    let (Some(switch), Some(tokens)) = (&args.switch, &args.tokens_between) else { return Ok(None) };
    let seconds = Nanos::parse(switch).map_err(|e| Failure::usage(format!("--switch {e}")))?.as_secs_f64();
    let (digits, scale) = match tokens.as_bytes().last() {
        Some(b'k' | b'K') => (&tokens[..tokens.len() - 1], 1e3),
        Some(b'm' | b'M') => (&tokens[..tokens.len() - 1], 1e6),
        _ => (tokens.as_str(), 1.0),
    };
    let tokens = digits.parse::<f64>().ok().map(|n| n * scale).filter(|n| *n > 0.0 && n.is_finite());
    let tokens = tokens.ok_or_else(|| Failure::usage("--tokens-between is a number of tokens such as 500k or 5M"))?;
    Ok(Some((seconds, tokens)))
}

/// One run under every price.
fn one(
    args: &CostArgs,
    dir: &RunDir,
    manifest: &Manifest,
    slo: Option<Slo>,
    book: &Book,
    apis: &[&Api],
    ages: &mut Ages,
) -> Result<RunCost, Failure> {
    let (summary, served) = summary(dir, manifest, slo)?;
    let anchor = anchor(args, dir, manifest)?;
    let mut biller = Biller::new(apis.iter().map(|api| &api.tariff), anchor);
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    if apis.is_empty() {
        (first, last) = (summary.window.start_ns, summary.window.end_ns);
    } else {
        for record in dir.billed_records().map_err(Failure::usage_of)? {
            let record = record.map_err(Failure::usage_of)?;
            (first, last) = (first.min(record.at.due.0), last.max(record.at.due.0));
            biller.add(&record);
        }
    }
    let span = (anchor.unix_s(first), anchor.unix_s(last.max(first)));
    let mut priced = vec![];
    for (api, meter) in apis.iter().zip(biller.finish()) {
        meter.bills().keys().for_each(|(period, _)| ages.see(&api.tariff.id, &api.rows[*period]));
        priced.push(ApiCost::new(api, &meter, ages.today));
    }
    let hosted = hosted(args, manifest, book, span.0, &served, ages)?;
    if hosted.is_empty() && priced.is_empty() {
        return Err(Failure::usage(
            "nothing to price by: give --sku h200:8, --usd-per-hour USD (the whole pool) or --against PROVIDER/MODEL; `nomoat prices list` shows what there is",
        ));
    }
    let workload = &manifest.workload;
    let trace = workload.trace.as_ref().map_or_else(
        || "prompts of a fixed length".to_owned(),
        |trace| format!("{} ({})", trace.name, &trace.sha256[..trace.sha256.len().min(12)]),
    );
    let engine = [manifest.backend.engine.as_str(), manifest.backend.engine_version.as_str()].join(" ");
    Ok(RunCost {
        run_id: manifest.run_id.clone(),
        arm: [manifest.backend.model.as_str(), engine.trim(), trace.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" · "),
        load: workload.load.clone(),
        repeat_of: format!("{} {}", workload.schedule_digest, workload.load),
        state: summary.validity.state.clone(),
        span,
        served,
        hosted,
        apis: priced,
    })
}

/// The stored summary, or one folded anew where the service level is another or the summary is older than the numbers that are needed.
fn summary(dir: &RunDir, manifest: &Manifest, slo: Option<Slo>) -> Result<(Summary, Served), Failure> {
    let own = manifest.facts().map_err(Failure::usage_of)?.slo;
    if slo.is_none_or(|slo| slo == own) {
        let stored = dir.summary().map_err(Failure::usage_of)?;
        if let Ok(served) = Served::of(&stored) {
            return Ok((stored, served));
        }
    }
    let finished = dir
        .report(|facts, records, samples, events| {
            let facts = nomoat_core::report::RunFacts { slo: slo.unwrap_or(facts.slo), ..facts.clone() };
            fold(&facts, records, samples, events)
        })
        .map_err(Failure::usage_of)?;
    let summary = Summary::new(dir.run_id(), &finished.report);
    let served = Served::of(&summary).map_err(Failure::internal)?;
    Ok((summary, served))
}

/// Where the run's clock stood in UTC, or where it is to have stood by --at.
fn anchor(args: &CostArgs, dir: &RunDir, manifest: &Manifest) -> Result<Anchor, Failure> {
    if let Some(text) = &args.at {
        let unix = date::unix_seconds(text)
            .ok_or_else(|| Failure::usage(format!("--at `{text}` is no moment in UTC; write 2026-10-28 or 2026-10-28T02:00:00Z")))?;
        return Ok(Anchor { mono_ns: manifest.facts.start_ns, unix_ns: unix.saturating_mul(1_000_000_000) });
    }
    let first = manifest.clock.wall_anchor.first();
    let anchor = first.map(|anchor| Anchor { mono_ns: anchor.mono_ns, unix_ns: anchor.unix_ns });
    anchor.ok_or_else(|| {
        Failure::usage(format!("{} does not tell when it was; give the moment: --at 2026-10-28T02:00:00Z", dir.path().display()))
    })
}

/// A pool as flags name it.
struct Named {
    role: String,
    sku: String,
    devices: u32,
}

fn pools(args: &CostArgs, manifest: &Manifest) -> Result<Vec<Named>, Failure> {
    if args.sku.is_empty() {
        let of = |a: &nomoat_results::manifest::Accelerator| Named { role: String::new(), sku: a.name.clone(), devices: a.count };
        return Ok(manifest.system.accelerators.iter().map(of).collect());
    }
    let parse = |text: &String| {
        let (role, rest) = text.split_once('=').unwrap_or(("", text));
        let (sku, devices) = name_and_count(rest)
            .ok_or_else(|| Failure::usage(format!("--sku `{text}` is not [ROLE=]NAME:COUNT; write h200:8 or prefill=h200:4")))?;
        Ok(Named { role: role.trim().to_owned(), sku, devices })
    };
    args.sku.iter().map(parse).collect()
}

/// The run's hardware at every price that was asked for.
fn hosted(args: &CostArgs, manifest: &Manifest, book: &Book, at: i64, served: &Served, ages: &mut Ages) -> Result<Vec<Hosted>, Failure> {
    let amount = |flag: &str, usd: f64| {
        if AMOUNTS.contains(&usd) {
            Ok(usd)
        } else {
            Err(Failure::usage(format!("{flag} must be an amount in USD, more than none and at most a billion, not {usd}")))
        }
    };
    let beside = args.beside_usd_per_hour.map(|usd| amount("--beside-usd-per-hour", usd)).transpose()?;
    let beside = beside.map(|usd| Pool { role: BESIDE.into(), devices: 1, usd_per_device_hour: Band::of(usd) });
    let named = pools(args, manifest)?;
    if let Some(usd) = args.usd_per_hour {
        if !args.sku.is_empty() || !args.owner.is_empty() {
            return Err(Failure::usage("--usd-per-hour is the price of the whole pool; leave out --sku and --owner, or take it out"));
        }
        let devices: u64 = named.iter().map(|pool| u64::from(pool.devices)).sum();
        let devices = u32::try_from(devices.max(1)).map_err(|_| {
            Failure::usage(format!(
                "the run names {devices} accelerators, more than anybody has; price devices: --sku h200:8 without --usd-per-hour"
            ))
        })?;
        let usd = amount("--usd-per-hour", usd)?;
        let name = if devices == 1 { "your pool".to_owned() } else { format!("your pool of {devices}") };
        let pool = Pool { role: String::new(), devices, usd_per_device_hour: Band::of(usd / f64::from(devices)) };
        return Ok(vec![with(name, vec![pool], vec![], beside, served)]);
    }
    if named.is_empty() {
        return if beside.is_some() || !args.owner.is_empty() {
            Err(Failure::usage("which devices? give --sku h200:8; the run does not tell (--accelerators)"))
        } else {
            Ok(vec![])
        };
    }
    // Without a sku on the command line a run's own accelerators may be none of the book's, and then only an API was asked for.
    let optional = args.sku.is_empty() && args.owner.is_empty() && !args.against.is_empty();
    let owners: Vec<String> = if args.owner.is_empty() {
        let all = |sku: &str| {
            book.hours()
                .filter_map(|(id, _)| id.split_once('@'))
                .filter(|(known, _)| known.eq_ignore_ascii_case(sku))
                .map(|(_, owner)| owner.to_owned())
                .collect::<Vec<_>>()
        };
        let first = all(&named[0].sku);
        // Several kinds of devices are priced for the owners that all of them have.
        first.into_iter().filter(|owner| named.iter().all(|pool| book.hour(&pool.sku, owner, at).is_ok())).collect()
    } else {
        args.owner.clone()
    };
    if owners.is_empty() {
        return match book.hour(&named[0].sku, "", at) {
            Err(_) if optional => Ok(vec![]),
            Err(why) => Err(Failure::usage(why)),
            Ok(_) => Err(Failure::internal("an owner without a name has a price")),
        };
    }
    let mut priced = vec![];
    for owner in owners {
        let (mut pools, mut prices) = (vec![], vec![]);
        for Named { role, sku, devices } in &named {
            let (id, hour) = book.hour(sku, &owner, at).map_err(Failure::usage)?;
            ages.see(&id, &hour.row);
            let mut cite = said(&id, &hour.row, ages.today);
            if hour.midpoint {
                cite.push_str("; the middle is the mean of the ends");
            }
            prices.push(cite);
            pools.push(Pool { role: role.clone(), devices: *devices, usd_per_device_hour: hour.usd });
        }
        let devices: Vec<String> = named.iter().map(|pool| format!("{} × {}", pool.devices, pool.sku)).collect();
        priced.push(with(format!("{} {owner}", devices.join(" + ")), pools, prices, beside.clone(), served));
    }
    Ok(priced)
}

fn with(name: String, mut pools: Vec<Pool>, prices: Vec<String>, beside: Option<Pool>, served: &Served) -> Hosted {
    pools.extend(beside);
    Hosted::new(name, pools, prices, served)
}
