//! `nomoat trace`: convert, check, describe, show, cut, overlay, export, record, make.

mod describe;
mod record;
mod target;

use crate::args::{Input, TraceArgs, TraceCommand};
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use crate::replay::{import_options, policy};
use nomoat_core::trace::Trace;
use nomoat_workloads::{
    Both, CanonicalWriter, ClassShare, EXPORTERS, GENERATORS, IMPORTERS, Overlay, SharingOptions, Sink, StatsSink, Survey, exporter,
    generate, open, read, write_canonical,
};
use std::fmt::Write as _;
use std::path::Path;
use target::Target;

/// Runs the subcommand.
pub fn trace(args: &TraceArgs) -> Result<Exit, Failure> {
    match &args.command {
        TraceCommand::Import { input, output } => import(input, output.as_deref())?,
        TraceCommand::Check { input } => {
            let (mut counted, mut survey) = (Counted::default(), Survey::default());
            let head = pass(input, &mut Both(&mut counted, &mut survey))?;
            losses(&head);
            line(&format!("{}: {} requests, no fault found", input.path.display(), counted.0));
        }
        TraceCommand::Stats { input, block, cache, format } => {
            let options = SharingOptions { engine_blocks: block.clone(), caches: cache.clone(), ..SharingOptions::default() };
            let mut stats = StatsSink::new(options);
            let head = pass(input, &mut stats)?;
            match format.as_str() {
                "table" => put(&describe::table(&head, &stats.finish())),
                "json" => line(&describe::json(&head, &stats.finish()).to_string()),
                other => return Err(Failure::usage(format!("--format is table or json, not `{other}`"))),
            }
            losses(&head);
        }
        TraceCommand::Show { input, first, limit } => {
            let trace = whole(input)?;
            put(&describe::requests(&trace, *first, *limit));
        }
        TraceCommand::Slice { input, replay, output } => {
            let trace = whole(input)?;
            let replayed = policy(replay, input.seed)?.apply(&trace).map_err(Failure::usage)?;
            losses(&replayed);
            write(&replayed, output.as_deref())?;
        }
        TraceCommand::Export { input, to, output } => {
            let exporter = exporter(to).map_err(Failure::usage_of)?;
            let trace = whole(input)?;
            let mut target = Target::open(output.as_deref())?;
            let lost = exporter.export(&trace, &mut target).map_err(Failure::usage_of)?;
            target.close()?;
            losses(&trace);
            lost.iter().for_each(|loss| eprintln!("lost: {loss}"));
        }
        TraceCommand::Record { to, listen, output, session_header, block, keep_text, span } => {
            let asked = record::Asked {
                to,
                listen,
                output,
                session_header: session_header.as_deref(),
                block: *block,
                keep_text: *keep_text,
                span: span.as_deref(),
            };
            return record::record(&asked);
        }
        TraceCommand::Formats => put(&formats()),
        TraceCommand::Generators => put(&generators()),
        TraceCommand::Overlay { input, classes, adapters, zipf, cancel_hazard, cancel_share, output } => {
            let overlay = Overlay {
                classes: classes.iter().map(|text| class(text)).collect::<Result<_, _>>()?,
                adapters: adapters.clone(),
                zipf: *zipf,
                cancel_hazard_per_s: cancel_hazard.as_deref().map(hazard).transpose()?.unwrap_or_default(),
                cancel_share: *cancel_share,
                seed: input.seed,
            };
            if overlay == (Overlay { seed: input.seed, ..Overlay::default() }) {
                return Err(Failure::usage("nothing is put over the trace; give --classes, --adapters or --cancel-hazard"));
            }
            let mut trace = whole(input)?;
            overlay.apply(&mut trace).map_err(Failure::usage)?;
            losses(&trace);
            write(&trace, output.as_deref())?;
        }
        TraceCommand::Make { name, set, seed, requests, output } => {
            let mut set = set.clone();
            set.extend(requests.map(|n| format!("requests={n}")));
            let trace = generate(name, *seed, &set).map_err(Failure::usage_of)?;
            losses(&trace);
            write(&trace, output.as_deref())?;
        }
    }
    Ok(Exit::Ok)
}

/// Twice through the source: what the head says is known after the first time, and no request has to be held.
fn import(input: &Input, output: Option<&Path>) -> Result<(), Failure> {
    let mut survey = Survey::default();
    let head = pass(input, &mut survey)?;
    losses(&head);
    let mut target = Target::open(output)?;
    let mut writer = CanonicalWriter::new(&head, survey, &mut target).map_err(Failure::usage_of)?;
    pass(input, &mut writer)?;
    writer.finish().map_err(Failure::usage_of)?;
    target.close()
}

#[derive(Default)]
struct Counted(usize);

impl Sink for Counted {
    fn request(&mut self, _: nomoat_core::trace::TraceRequest) -> Result<(), nomoat_workloads::TraceError> {
        self.0 += 1;
        Ok(())
    }
}

fn pass(input: &Input, sink: &mut dyn Sink) -> Result<Trace, Failure> {
    read(&input.path, input.from.as_deref(), &import_options(input)?, sink).map_err(Failure::usage_of)
}

fn whole(input: &Input) -> Result<Trace, Failure> {
    open(&input.path, input.from.as_deref(), &import_options(input)?).map_err(Failure::usage_of)
}

fn losses(trace: &Trace) {
    for loss in &trace.losses {
        eprintln!("note: {loss}");
    }
}

fn write(trace: &Trace, output: Option<&Path>) -> Result<(), Failure> {
    written(trace, Target::open(output)?)
}

fn written(trace: &Trace, mut target: Target) -> Result<(), Failure> {
    write_canonical(trace, &mut target).map_err(Failure::usage_of)?;
    target.close()
}

/// A class as it is typed: `critical:0.2:100`.
fn class(text: &str) -> Result<ClassShare, Failure> {
    let parsed = || {
        let (rest, priority) = text.rsplit_once(':')?;
        let (name, share) = rest.rsplit_once(':')?;
        Some(ClassShare { name: name.trim().into(), share: share.trim().parse().ok()?, priority: priority.trim().parse().ok()? })
    };
    parsed().ok_or_else(|| Failure::usage(format!("--classes `{text}` is not NAME:SHARE:PRIORITY; write critical:0.2:100")))
}

/// A rate as it is typed: `0.01/s`.
fn hazard(text: &str) -> Result<f64, Failure> {
    let number = text.trim().strip_suffix("/s").and_then(|number| number.trim().parse().ok()).filter(|rate: &f64| *rate > 0.0);
    number.ok_or_else(|| Failure::usage(format!("--cancel-hazard `{text}` is not a rate above 0 per second; write 0.01/s")))
}

fn generators() -> String {
    let mut text = String::new();
    for generator in GENERATORS {
        let _ = writeln!(text, "{:<16}{}", generator.name(), generator.about());
        for option in generator.options() {
            let default = if option.default.is_empty() { "–" } else { option.default };
            let _ = writeln!(text, "  {:<14}{:<18}{default:<12}{}", option.name, option.unit, option.about);
        }
    }
    text
}

fn formats() -> String {
    let mut text = String::from("read (--from, --trace-format)\n");
    for importer in IMPORTERS {
        let _ = writeln!(text, "  {:<16}{}", importer.name(), importer.about());
    }
    text.push_str("written (trace export --to)\n");
    for exporter in EXPORTERS {
        let _ = writeln!(text, "  {:<16}{}", exporter.name(), exporter.about());
    }
    text
}
