//! `nomoat engine`: the engines that are known, what one is, and what an endpoint is and can do.

mod conform;

use crate::args::{EngineCommand, EngineListArgs, EngineShowArgs, EngineSuiteArgs, RunArgs};
use crate::ctrl_c;
use crate::exec;
use crate::exit::{Exit, Failure};
use crate::output::put;
use crate::setup::{self, Setup};
use crate::target;
use nomoat_http::engines::{EngineSpec, Look};
use nomoat_http::protocol;
use nomoat_http::suite::TRAPS;
use nomoat_results::table::List;

/// Runs the subcommand.
pub fn engine(command: EngineCommand) -> Result<Exit, Failure> {
    match command {
        EngineCommand::List(args) => list(&args),
        EngineCommand::Show(args) => show(&args),
        EngineCommand::Probe(args) => probe((*args).into()),
        EngineCommand::Suite(args) => suite(&args),
        EngineCommand::Conform(args) => conform::conform(*args),
    }
}

fn list(args: &EngineListArgs) -> Result<Exit, Failure> {
    let catalog = setup::catalog(args.engines.as_deref())?;
    let columns = vec![("name", 17), ("what", 24), ("kind", 8), ("dialects", 22), ("recognised by", 24)];
    let list = List { columns, rows: catalog.specs().iter().map(|spec| row(spec)).collect() };
    put(&list.render(setup::format(args.format.as_deref().unwrap_or("table"))?));
    Ok(Exit::Ok)
}

fn row(spec: &EngineSpec) -> Vec<String> {
    let mut signs: Vec<String> = spec.detect.iter().map(sign).collect();
    signs.dedup();
    let signs = if signs.is_empty() { "–".to_owned() } else { signs.join(", ") };
    vec![spec.name.clone(), spec.title.clone(), spec.kind.name().to_owned(), spec.protocols.join(", "), signs]
}

fn sign(look: &Look) -> String {
    match (&look.host, &look.path) {
        (Some(host), _) => format!("host {host}"),
        (_, Some(path)) => format!("path {path}"),
        _ => look.place(),
    }
}

fn show(args: &EngineShowArgs) -> Result<Exit, Failure> {
    let catalog = setup::catalog(args.engines.as_deref())?;
    let spec = catalog.get(&args.name).map_err(Failure::usage_of)?;
    let mut lines = vec![format!("{} ({}), {}", spec.title, spec.name, spec.kind.name())];
    lines.push(format!("  speaks: {}", if spec.protocols.is_empty() { "no requests".into() } else { spec.protocols.join(", ") }));
    let places = |looks: &[Look]| looks.iter().map(sign).collect::<Vec<_>>().join(", ");
    if !spec.detect.is_empty() {
        lines.push(format!("  recognised by: {}", places(&spec.detect)));
    }
    if !spec.version.is_empty() {
        lines.push(format!("  version from: {}", places(&spec.version)));
    }
    lines.extend(spec.ready.iter().map(|look| format!("  ready when: {} answers", look.place())));
    let forced = |name: &String| protocol::by_name(name).is_some_and(|p| spec.can_force(p));
    let forces: Vec<&str> = spec.protocols.iter().filter(|p| forced(p)).map(String::as_str).collect();
    lines.push(format!("  forced answer lengths: {}", if forces.is_empty() { "no".into() } else { format!("in {}", forces.join(", ")) }));
    if !spec.body.is_empty() {
        lines.push(format!("  asked with every request: {}", serde_json::Value::Object(spec.body.clone())));
    }
    if !spec.fact.is_empty() {
        let names: Vec<_> = spec.fact.iter().map(|f| f.name.as_str()).collect();
        lines.push(format!("  tells of itself: {}", names.join(", ")));
    }
    lines.extend(spec.notes.iter().map(|n| format!("  note: {n}")));
    put(&(lines.join("\n") + "\n"));
    Ok(Exit::Ok)
}

/// The traps of streams: a list, or all of them as files.
fn suite(args: &EngineSuiteArgs) -> Result<Exit, Failure> {
    let Some(folder) = &args.folder else {
        let cases = nomoat_http::suite::cases();
        let row = |(at, trap): (usize, &&str)| {
            let count = cases.iter().filter(|case| case.trap == at + 1).count();
            vec![(at + 1).to_string(), (*trap).to_owned(), count.to_string()]
        };
        let list = List { columns: vec![("trap", 4), ("what", 84), ("cases", 6)], rows: TRAPS.iter().enumerate().map(row).collect() };
        put(&list.render(setup::format(args.format.as_deref().unwrap_or("table"))?));
        return Ok(Exit::Ok);
    };
    let cases = nomoat_http::suite::write(folder).map_err(|e| Failure::usage(format!("writing the suite to {}: {e}", folder.display())))?;
    eprintln!("{cases} cases in {}; nomoat truth --play {} plays them", folder.display(), folder.display());
    Ok(Exit::Ok)
}

/// What the endpoint is and can do, by the same probe that every run begins with.
fn probe(args: RunArgs) -> Result<Exit, Failure> {
    let json = args.format.as_deref() == Some("json");
    let mut setup = Setup::new(RunArgs { concurrency: Some(1), requests: Some(1), ..args })?;
    let (_, stop) = ctrl_c::install()?;
    let adapter = exec::start(&setup, &stop)?;
    let engine = match target::connect(&mut setup, stop) {
        Ok(engine) => engine,
        Err(failure) => return Err(exec::blamed(adapter, failure)),
    };
    let (version, can, info) = (&engine.version, &engine.can, &engine.info);
    if json {
        let told: serde_json::Map<_, _> =
            can.told.iter().map(|(k, t)| (k.clone(), serde_json::json!({"value": t.value, "source": t.source}))).collect();
        let found = serde_json::json!({
            "target": info.target, "engine": version.engine, "version": version.version, "version_source": version.source,
            "dialect": info.dialect, "model": can.model, "context_tokens": can.context_tokens, "exact_length": can.exact_length,
            "token_ids": can.token_ids, "usage": can.usage, "probed": can.probed, "told": told, "notes": can.notes,
        });
        put(&format!("{}\n", serde_json::to_string_pretty(&found).map_err(Failure::internal)?));
        return Ok(Exit::Ok);
    }
    let mut lines = vec![
        format!("{} is {} {} ({})", info.target, version.engine, version.version, version.source),
        format!("  model: {}{}", can.model, can.context_tokens.map_or(String::new(), |n| format!(", context of {n} tokens"))),
        format!("  dialect: {}, prompts as {}", info.dialect, if can.token_ids { "token ids" } else { "text" }),
        format!("  answer lengths: {}", if can.exact_length { "forced" } else { "caps" }),
    ];
    lines.extend(can.probed.iter().map(|(name, words)| format!("  probed {name}: {words}")));
    lines.extend(can.told.iter().map(|(name, t)| format!("  told {name}: {} ({})", t.value, t.source)));
    lines.extend(can.notes.iter().map(|n| format!("  note: {n}")));
    let way = setup.adapter.as_ref().map_or_else(|| format!("--url {}", info.target), exec::Plan::flag);
    lines.push(format!("next: nomoat run {way}"));
    put(&(lines.join("\n") + "\n"));
    Ok(Exit::Ok)
}
