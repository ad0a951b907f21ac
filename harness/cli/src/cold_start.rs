//! `nomoat run --cold-start`: an engine is brought to a cold state and back, again and again, and every part of the way back is timed.
//!
//! A state is what a page of the engine shows, never the status of the call that asked for it.

mod cycle;

use crate::exit::{Exit, Failure};
use crate::launch::{self, Running};
use crate::output::put;
use crate::setup::Setup;
use crate::target::{self, Engine};
use crate::wait::block_on;
use cycle::{Cycle, Way};
use nomoat_drive::{HostFacts, Stop, WallAnchor};
use nomoat_http::engines::{ActionSpec, ColdStartSpec, EngineSpec, NoAction};
use nomoat_results::cold_start::{ColdStartRun, CycleWire, EngineWire, SCHEMA};
use nomoat_results::kernels::HostWire;
use nomoat_results::rfc3339_utc;
use nomoat_results::table::render_cold_start;
use std::path::{Path, PathBuf};

/// Cycles when none are given: enough for a least and a most, few enough for engines that take minutes.
const CYCLES: u32 = 3;

/// Runs the cycles and prints their table.
pub fn cold_start(mut setup: Setup, action: &str, stop: &Stop) -> Result<Exit, Failure> {
    let wanted = setup.args.cycles.unwrap_or(CYCLES);
    let folder = launch::folder(&setup, "cold-start")?;
    let mut bench = Bench { folder, stop: stop.clone(), running: None };
    // What is asked of an engine that is not known yet is found out first, while it is warm.
    let done = bench.measure(&mut setup, action, wanted);
    if let Some(ended) = bench.running.take().and_then(Running::stop) {
        eprintln!("nomoat: {ended}");
    }
    let run = match done {
        Ok(run) => run,
        Err(failure) => {
            // A folder without anything in it tells nobody anything.
            let _ = std::fs::remove_dir(&bench.folder);
            return Err(failure);
        }
    };
    put(&render_cold_start(&run, setup.format));
    eprintln!("{}", bench.folder.display());
    Ok(match &run.stopped_because {
        None => Exit::Ok,
        Some(_) if stop.asked() => Exit::Interrupted,
        Some(why) => {
            eprintln!("nomoat: {why}");
            Exit::Unreachable
        }
    })
}

struct Bench {
    folder: PathBuf,
    stop: Stop,
    running: Option<Running>,
}

impl Bench {
    /// Starts the engine, if it is to be started, as often as is asked for.
    fn launch(&mut self, setup: &Setup) -> Result<(), Failure> {
        if let Some(plan) = &setup.launch {
            let before = std::fs::read_dir(&self.folder).map_or(0, Iterator::count);
            let log = self.folder.join(if before == 0 { "engine.log".into() } else { format!("engine-{before}.log") });
            self.running = Some(Running::start(setup, plan, &log, &self.stop)?);
        }
        Ok(())
    }

    fn measure(&mut self, setup: &mut Setup, asked: &str, wanted: u32) -> Result<ColdStartRun, Failure> {
        self.launch(setup)?;
        let engine = target::connect(setup, self.stop.clone()).map_err(|failure| match &self.running {
            Some(running) => running.blamed(failure),
            None => failure,
        })?;
        let url = setup.args.url.first().cloned().unwrap_or_default();
        let backend =
            engine.over_http.first().cloned().ok_or_else(|| Failure::usage("--cold-start is about an endpoint; give --url or --launch"))?;
        let way = if asked == "launch" { Way::Launch } else { Way::Calls(Box::new(self::action(setup, &engine, asked)?)) };
        let mut run = self.begin(setup, &engine, &way, asked, wanted);
        while run.cycles.len() < wanted as usize {
            let cycle = match &way {
                Way::Launch => self.relaunch(setup, &engine),
                Way::Calls(action) => {
                    let group = self.running.as_ref().map(Running::id);
                    let cycle = Cycle::new(setup, &backend, &url, action, group);
                    block_on(cycle.run(self.stop.clone()))?
                }
            };
            match cycle {
                Ok(cycle) => {
                    say(setup, run.cycles.len() + 1, &cycle);
                    run.cycles.push(cycle);
                }
                // What was measured before it is kept.
                Err(failure) if !run.cycles.is_empty() && failure.exit != Exit::Internal => {
                    run.stopped_because = Some(failure.message);
                    break;
                }
                Err(failure) => return Err(failure),
            }
        }
        run.write(&self.folder).map_err(Failure::internal)?;
        Ok(run)
    }

    /// One cycle of a process: it is ended, and started again.
    fn relaunch(&mut self, setup: &mut Setup, engine: &Engine) -> Result<CycleWire, Failure> {
        let warm = self.running.as_ref().and_then(Running::held);
        let begun = cycle::now();
        if let Some(ended) = self.running.take().and_then(Running::stop) {
            return Err(Failure { exit: Exit::Unreachable, message: ended });
        }
        let cool = cycle::now() - begun;
        self.launch(setup)?;
        let running = self.running.as_ref().ok_or_else(|| Failure::usage("--cold-start launch needs --launch NAME"))?;
        let settled = engine.over_http.first().cloned().ok_or_else(|| Failure::internal("an engine that was started is an endpoint"))?;
        let answered = block_on(cycle::answers(setup, &settled, None, self.stop.clone()))??;
        let born = running.cold_start(Some(answered.first_token));
        Ok(CycleWire {
            cool_ns: cool.0,
            api_ns: None,
            port_open_ns: Some(born.port_open_ns),
            ready_ns: Some(born.ready_ns),
            first_token_ns: born.first_token_ns.unwrap_or_default(),
            refused: answered.refused,
            lost: answered.lost,
            warm_token_ns: answered.warm.0,
            resident_warm_bytes: warm.map(|held| held.resident_bytes),
            // A process that is gone holds nothing: that it is gone was seen.
            resident_cold_bytes: warm.map(|_| 0),
        })
    }

    fn begin(&self, setup: &Setup, engine: &Engine, way: &Way, asked: &str, wanted: u32) -> ColdStartRun {
        let host = HostFacts::read();
        let launched = self.running.as_ref().map(|running| running.launched(&setup.out));
        let (cooled_by, cold_by, warmed_by, ready_by) = match way {
            Way::Launch => {
                let start = self.running.as_ref().map(|running| running.cold_start(None));
                let words = |text: &str| vec![text.to_owned()];
                let gone = Some("no process of its group being left".to_owned());
                (words("its processes are ended"), gone, words("it is started again"), start.map_or(vec![], |start| start.ready_by))
            }
            Way::Calls(action) => (
                action.cool.iter().map(cycle::call_words).collect(),
                action.cold.as_ref().map(nomoat_http::engines::Sign::words),
                action.warm.iter().map(cycle::call_words).collect(),
                action.warmed.iter().map(nomoat_http::engines::Sign::words).collect(),
            ),
        };
        ColdStartRun {
            schema: SCHEMA.into(),
            id: name(&self.folder),
            started_at: rfc3339_utc(WallAnchor::now().unix_ns as i64),
            nomoat: env!("CARGO_PKG_VERSION").into(),
            host: HostWire { cpu: host.cpu, cores: host.cores, os: host.os, kernel: host.kernel, load1: host.load1 },
            engine: EngineWire {
                name: engine.version.engine.clone(),
                version: engine.version.version.clone(),
                model: engine.can.model.clone(),
                target: engine.info.target.clone(),
            },
            launched,
            action: asked.to_owned(),
            cooled_by,
            cold_by,
            warmed_by,
            ready_by,
            wanted,
            cycles: vec![],
            stopped_because: None,
        }
    }
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn say(setup: &Setup, number: usize, cycle: &CycleWire) {
    if !setup.args.quiet {
        let first = nomoat_core::units::Nanos(cycle.first_token_ns);
        eprintln!("cycle {number}: first token after {first}, {} refused on the way", cycle.refused.values().sum::<u32>());
    }
}

/// The action that was asked for, of the engine that answered.
fn action(setup: &Setup, engine: &Engine, asked: &str) -> Result<ActionSpec, Failure> {
    let spec = match &setup.engine {
        Some(spec) => spec.clone(),
        None => setup.catalog.get(&engine.version.engine).unwrap_or_else(|_| setup.catalog.generic()),
    };
    let known = ColdStartSpec::read(&spec.cold_start).map_err(|e| Failure::usage(format!("engine `{}`: {e}", spec.name)))?;
    known.action(asked, &engine.can.model).map_err(|e| refused(&spec, &known, asked, e))
}

fn refused(spec: &EngineSpec, known: &ColdStartSpec, asked: &str, why: NoAction) -> Failure {
    let (name, mut can) = (&spec.title, known.names());
    can.push("launch (with --launch NAME)".into());
    Failure::usage(match why {
        NoAction::Unknown if can.len() == 1 => format!(
            "--cold-start {asked}: {name} has no control that nomoat knows of; it can only be started again, by --launch NAME --cold-start launch"
        ),
        NoAction::Unknown => format!("--cold-start {asked}: {name} has no such control; it has {}", can.join(", ")),
        NoAction::Argument(action) => format!("--cold-start {action} needs a name: --cold-start {action}:NAME, or {action}:NAME=PATH"),
        NoAction::Text(why) => format!("--cold-start {asked}: {why}"),
    })
}

/// Whether what is asked for can work at all, as far as it is known before anything is started.
pub fn check(setup: &Setup) -> Result<(), Failure> {
    let args = &setup.args;
    match (&args.cold_start, args.cycles) {
        (None, Some(_)) => Err(Failure::usage("--cycles says how often --cold-start ACTION is done; give that too")),
        (Some(_), Some(0)) => Err(Failure::usage("--cycles must be at least 1")),
        (Some(_), _) if args.url.is_empty() => Err(Failure::usage("--cold-start is about an endpoint; it needs --url or --launch NAME")),
        (Some(_), _) if args.url.len() > 1 => Err(Failure::usage("--cold-start is about one endpoint; give one --url")),
        (Some(_), _) if setup.http != nomoat_http::HttpVersion::One => {
            Err(Failure::usage("--cold-start stamps first tokens over HTTP/1.1; give --http 1"))
        }
        (Some(action), _) if action == "launch" && setup.launch.is_none() => {
            Err(Failure::usage("--cold-start launch starts the engine again and again; it needs --launch NAME"))
        }
        _ => Ok(()),
    }
}
