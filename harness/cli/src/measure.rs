//! One measured run, from a load to a finished run directory.

use crate::budget::Budget;
use crate::certify::{Case, Certificate, Way, certify};
use crate::energy::{Watch, longest};
use crate::exit::Failure;
use crate::manifest;
use crate::progress;
use crate::setup::Setup;
use crate::target::Engine;
use nomoat_core::backend::Offer;
use nomoat_core::conform::Repeats;
use nomoat_core::event::Live;
use nomoat_core::fidelity::{Content, Routes};
use nomoat_core::fold::fold;
use nomoat_core::prompt::Prompt;
use nomoat_core::quota::Demand;
use nomoat_core::record::RequestRecord;
use nomoat_core::report::{RunFacts, RunReport};
use nomoat_core::request::{OutputLength, ShardId};
use nomoat_core::sample::Sample;
use nomoat_core::schedule::{Due, Load, Schedule, Source, Warmup};
use nomoat_core::trace::Fitted;
use nomoat_core::units::Nanos;
use nomoat_drive::{Outcome, Plan, Progress, RecordSink, Stop, StopHandle};
use nomoat_results::facts::FactsWire;
use nomoat_results::spool::SpoolWriter;
use nomoat_results::{Format, Manifest, RunDir, TableContext, render};
use std::sync::{Arc, Mutex, PoisonError};

/// How often an endpoint's own metrics are read.
/// Block size of the prediction of what a prefix cache finds: what vLLM and most others have unless told otherwise.
const BLOCK_TOKENS: u32 = 16;
const SCRAPE_EVERY: Nanos = Nanos::from_millis(250);
/// How often those of the engine in this process are: a few atomic loads.
const SAMPLE_EVERY: Nanos = Nanos::from_millis(20);

/// How long the instrument is calibrated before and after a run.
const CALIBRATE_LASTS: Nanos = Nanos::from_secs(3);
/// What the scripted server plays before anything is known of the engine.
const CALIBRATE_TTFT: Nanos = Nanos::from_millis(50);
/// The same, from token to token.
const CALIBRATE_ITL: Nanos = Nanos::from_millis(10);

/// Medians of a run, from its live distributions.
#[derive(Clone, Copy)]
struct Seen {
    ttft: Option<Nanos>,
    tpot: Option<Nanos>,
}

/// Runs loads against one engine.
pub struct Bench<'a> {
    setup: &'a Setup,
    engine: &'a Engine,
    group: String,
    stop_handle: StopHandle,
    stop: Stop,
    /// What all runs together may spend; the collector of the run at hand counts.
    budget: Arc<Mutex<Option<Budget>>>,
    /// How answers repeated before the first run.
    repeats: Option<Repeats>,
    /// Power meters of all runs.
    watch: Watch,
}

/// A finished run.
pub struct Measured {
    /// Its directory.
    pub dir: RunDir,
    /// What it says.
    pub report: RunReport,
    /// What was run.
    pub manifest: Manifest,
    /// CPU time of this process during the load.
    pub cpu: Nanos,
}

impl<'a> Bench<'a> {
    /// A bench for `engine`; its runs share a group.
    ///
    /// # Errors
    /// A budget that cannot be counted.
    pub fn new(setup: &'a Setup, engine: &'a Engine, stop_handle: StopHandle, stop: Stop) -> Result<Self, Failure> {
        let budget = Arc::new(Mutex::new(Budget::new(setup.args.budget_usd, setup.pricing, stop_handle.clone())?));
        let watch = setup.energy.find(setup, engine)?;
        Ok(Self { setup, engine, group: uuid::Uuid::now_v7().to_string(), stop_handle, stop, budget, repeats: None, watch })
    }

    /// The same, with how answers repeated before its first run.
    pub fn with_repeats(self, repeats: Option<Repeats>) -> Self {
        Self { repeats, ..self }
    }

    /// Whether the budget is spent.
    pub fn is_spent(&self) -> bool {
        let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.as_ref().is_some_and(Budget::is_spent)
    }

    /// Measures under one load.
    pub fn measure(&self, load: Load) -> Result<Measured, Failure> {
        let (setup, engine) = (self.setup, self.engine);
        let (schedule, fitted) = setup.schedule(load, engine.can.context_tokens)?;
        let facts = self.facts(&schedule, fitted.as_ref());
        self.fits_quota(&schedule)?;
        // Before the run's folder is made: a calibration that fails leaves nothing behind.
        let rate = match load {
            Load::Closed { .. } => None,
            Load::Rescaled { rate_per_s } | Load::Arrivals { rate_per_s, .. } => Some(rate_per_s),
            Load::Replay => Some(facts.offered_rate_per_s.unwrap_or(1.0)),
        };
        let before = setup.args.calibrate.then(|| self.calibrate(load, &schedule, rate, None)).transpose()?;
        let run_id = uuid::Uuid::now_v7().to_string();
        let dir = RunDir::create(&setup.out, &run_id).map_err(Failure::usage_of)?;
        let words = setup.load_words(load, fitted.as_ref().map(|f| &*f.trace));
        let mut manifest = manifest::begin(setup, engine, &schedule, &words, &run_id, &self.group, &facts);
        // A run's prompts are its own unless asked otherwise: a prefix cache that is still warm from another run would be measured.
        let prompt_seed = if setup.args.same_prompts { setup.seed } else { nomoat_core::rng::stream_key(setup.seed, &run_id) };
        let adapters = fitted.as_ref().map_or_else(|| Arc::new([]) as Arc<[String]>, |f| f.trace.adapters.clone().into());
        let offer = Offer { prompt_seed, id_prefix: run_id[run_id.len() - 12..].to_owned(), adapters, words: setup.words.clone() };
        // As text: a reader that keeps numbers as doubles would round it.
        manifest.ext.insert("prompt_seed".into(), format!("{prompt_seed:016x}").into());
        manifest.ext.insert("x_request_id_prefix".into(), offer.id_prefix.clone().into());
        if let Some(digest) = setup.tokenizer {
            manifest.ext.insert("tokenizer_sha256".into(), digest.to_string().into());
        }
        dir.write_manifest(&manifest).map_err(Failure::internal)?;
        let sink = Spool { writer: dir.spool().map_err(Failure::internal)?, budget: self.budget.clone() };
        let (mut outcome, seen) = self.drive(&schedule, sink, &words, offer, |start| {
            // A run that is killed is folded from this. If it cannot be written now, the end will say so.
            let _ =
                dir.write_manifest(&Manifest { facts: FactsWire::unfinished(&RunFacts { start, ..facts.clone() }), ..manifest.clone() });
        })?;
        // The run is measured: whatever becomes of its second calibration, it is kept.
        let certificates = before.filter(|_| !self.stop.asked()).and_then(|before| {
            let after = self.calibrate(load, &schedule, rate, Some(seen));
            after.map_err(|e| eprintln!("nomoat: {}; the run counts as not calibrated", e.message)).ok().map(|after| [before, after])
        });
        let instrument_error = certificates.as_ref().and_then(|both| both.iter().filter_map(Certificate::ttft_error).max());
        manifest.calibration = certificates.map(|[before, after]| serde_json::json!({"before": before.json(), "after": after.json()}));
        let (start, stop, scheduled, interrupted) = (outcome.start, outcome.stop, outcome.scheduled, outcome.interrupted);
        let energy = self.watch.after(&mut outcome, longest(start, stop, facts.warmup, facts.limit.duration), setup.args.quiet);
        let shared_prefix = schedule.shared_prefix(scheduled);
        let predicted_cache = schedule.predicted_cache(scheduled, BLOCK_TOKENS);
        let facts = RunFacts { start, stop, scheduled, interrupted, instrument_error, shared_prefix, predicted_cache, energy, ..facts };
        manifest::end(&mut manifest, &outcome, &facts);
        let finished = dir.finish(manifest, &outcome.samples, &outcome.events, fold).map_err(Failure::internal)?;
        Ok(Measured { dir, report: finished.report, manifest: finished.manifest, cpu: outcome.cpu })
    }

    fn drive(
        &self,
        schedule: &Schedule,
        sink: Spool,
        words: &str,
        offer: Offer,
        opened: impl FnOnce(Nanos),
    ) -> Result<(Outcome, Seen), Failure> {
        let setup = self.setup;
        let plan = Plan {
            schedule: schedule.clone(),
            shards: setup.shards,
            max_in_flight: setup.max_in_flight,
            max_concurrency: setup.max_concurrency,
            timeouts: setup.timeouts,
            sample_every: if self.engine.local.is_some() { SAMPLE_EVERY } else { SCRAPE_EVERY },
            offer,
            meters: self.watch.meters.clone(),
        };
        let live = Arc::new(Live::default());
        let distributions: Arc<Mutex<Progress>> = Arc::default();
        let shown = progress::start(!setup.args.quiet, words, live.clone(), Arc::clone(&distributions)).map_err(Failure::internal)?;
        let outcome = nomoat_drive::run(
            &plan,
            &self.engine.backends,
            Box::new(sink),
            &live,
            distributions.clone(),
            (&self.stop_handle, self.stop.clone()),
            opened,
        );
        shown.finish();
        let seen = {
            let progress = distributions.lock().unwrap_or_else(PoisonError::into_inner);
            Seen { ttft: progress.ttft.quantile(0.5).map(Nanos), tpot: progress.tpot.quantile(0.5).map(Nanos) }
        };
        outcome.map(|outcome| (outcome, seen)).map_err(Failure::internal)
    }

    /// The instrument at this run's load, lengths and chunk rate: before the run at a guess of the latter, after it at what was seen.
    fn calibrate(&self, load: Load, schedule: &Schedule, rate: Option<f64>, seen: Option<Seen>) -> Result<Certificate, Failure> {
        let totals = schedule.totals(manifest::ASSUMED_TTFT, manifest::ASSUMED_TPOT);
        let mean =
            |sum: u64, most: u32| u32::try_from(sum / totals.as_ref().map_or(1, |t| t.requests.max(1))).unwrap_or(most).clamp(1, most);
        let (input, output) = totals.as_ref().map_or((64, 64), |t| (mean(t.input_tokens, 65_536), mean(t.output_tokens, 4_096)));
        let of = |seen: Option<Nanos>, guess| seen.map_or(guess, |n: Nanos| n.max(Nanos::ZERO));
        let (ttft, tpot) = (seen.and_then(|s| s.ttft), seen.and_then(|s| s.tpot));
        let script = format!("ttft={}ns,itl={}ns", of(ttft, CALIBRATE_TTFT).0, of(tpot, CALIBRATE_ITL).0);
        let concurrency = if let Load::Closed { concurrency, .. } = load { concurrency } else { 1 };
        let when = if seen.is_some() { "after" } else { "before" };
        if !self.setup.args.quiet {
            eprintln!("calibrating {when} the run, {CALIBRATE_LASTS}");
        }
        let case = Case {
            name: format!("{when} the run"),
            rate,
            concurrency,
            tokens: (input, output),
            script,
            lasts: CALIBRATE_LASTS,
            shards: Some(self.setup.shards),
            way: self.way(),
        };
        certify(&case, &self.stop_handle, &self.stop)
    }

    /// The transport of the run, for its calibration.
    fn way(&self) -> Way {
        let args = &self.setup.args;
        Way {
            tls: self.engine.targets.iter().any(|url| url.starts_with("https://")),
            http: args.http.clone(),
            connections: args.connections.clone(),
        }
    }

    /// Whether an open loop fits into what the endpoint allows. A closed loop waits for its answers: it slows down instead.
    fn fits_quota(&self, schedule: &Schedule) -> Result<(), Failure> {
        let open = !schedule.rule().load.is_closed();
        let totals = if open { schedule.totals(manifest::ASSUMED_TTFT, manifest::ASSUMED_TPOT) } else { None };
        let Some(t) = totals else { return Ok(()) };
        let lasts = schedule.rule().limit.duration.unwrap_or(t.last_due);
        let demand = Demand { requests: t.requests, input_tokens: t.input_tokens, output_tokens: t.output_tokens, lasts };
        match self.engine.can.quotas.iter().find_map(|quota| quota.refusal(&demand)) {
            Some(why) => Err(Failure::usage(format!("{why}; lower --rate or --duration, or use a closed loop (--concurrency)"))),
            None => Ok(()),
        }
    }

    /// What the fold must know, as far as it is known before the run.
    fn facts(&self, schedule: &Schedule, fitted: Option<&Fitted>) -> RunFacts {
        let (setup, engine, rule) = (self.setup, self.engine, schedule.rule());
        RunFacts {
            start: Nanos::ZERO,
            stop: Nanos::ZERO,
            warmup: rule.warmup,
            limit: rule.limit,
            concurrency: if let Load::Closed { concurrency, .. } = rule.load { Some(concurrency) } else { None },
            scheduled: 0,
            offered_rate_per_s: offered(schedule),
            exact_length: engine.can.exact_length && setup.length != Some(OutputLength::Cap) && asks_exactly(schedule),
            classes: fitted.map_or_else(|| vec!["default".into()], |f| f.trace.classes.clone()),
            slo: setup.slo,
            pricing: setup.pricing,
            accelerators: setup.accelerators.as_ref().map(|a| a.1),
            geometry: engine.can.geometry,
            clipped: fitted.map_or(0, |f| f.clipped),
            skipped: fitted.map_or(0, |f| f.skipped),
            interrupted: false,
            shares_host: engine.info.shares_host,
            insecure: setup.args.insecure,
            endpoints: u16::try_from(engine.backends.len()).unwrap_or(u16::MAX),
            instrument_error: None,
            shared_prefix: None,
            repeats: self.repeats,
            content: Some(content(schedule, engine.can.token_ids || engine.local.is_some())),
            routes: routes(engine),
            predicted_cache: None,
            energy: self.watch.facts.clone(),
        }
    }
}

/// Requests per second that an open loop offers while it has requests to offer; `None` for closed loops and for schedules of fewer than
/// two roots. A trace that ends before its window offers as much as it did until then: over the window that is too little, and V06 says
/// so.
fn offered(schedule: &Schedule) -> Option<f64> {
    let rule = schedule.rule();
    if rule.load.is_closed() {
        return None;
    }
    let warm = |id: u32, at: Nanos| match rule.warmup {
        Warmup::Time(t) => at < t,
        Warmup::Requests(n) => id < n,
    };
    let (mut n, mut all, mut first, mut last) = (0_u64, 0_usize, None, Nanos::ZERO);
    for entry in schedule.streams(ShardId(0), 1).into_iter().flatten() {
        all += 1;
        if let Due::At(at) = entry.due
            && !warm(entry.request.id.0, at)
        {
            n += 1;
            first.get_or_insert(at);
            last = at;
        }
    }
    let start = match rule.warmup {
        Warmup::Time(t) => t,
        Warmup::Requests(_) => first?,
    };
    let ran_out = matches!(&rule.source, Source::Trace(trace) if !rule.repeat && all == trace.requests.len());
    let end = rule.limit.duration.filter(|_| !ran_out).map_or(last, |d| start + d);
    let seconds = (end - start).as_secs_f64();
    (n > 1 && seconds > 0.0).then(|| n as f64 / seconds)
}

/// What the prompts of a schedule consist of where they are sent.
fn content(schedule: &Schedule, takes_ids: bool) -> Content {
    let made_up = if takes_ids { Content::SyntheticIds } else { Content::SyntheticText };
    fn of(prompt: &Prompt, made_up: Content) -> Content {
        match prompt {
            Prompt::Blocks(_) | Prompt::Parts(_) => made_up,
            Prompt::Ids(_) => Content::RecordedIds,
            Prompt::Text(_) | Prompt::Messages(_) => Content::RecordedText,
            // Its beginning is this run's own.
            Prompt::Live { .. } => Content::Mixed,
        }
    }
    let Source::Trace(trace) = &schedule.rule().source else { return made_up };
    let mut kinds = trace.requests.iter().map(|r| of(&r.prompt, made_up));
    let first = kinds.next().unwrap_or(made_up);
    if kinds.all(|kind| kind == first) { first } else { Content::Mixed }
}

/// Why the words matter to this engine's speed, as far as it tells.
fn routes(engine: &Engine) -> Option<Routes> {
    let told = |name: &str| engine.can.told.get(name).map(|told| told.value.to_lowercase());
    let speculates = told("speculative").is_some_and(|value| !matches!(value.as_str(), "" | "none" | "null" | "false"));
    if speculates { Some(Routes::Speculation) } else { Routes::of_model(&engine.can.model) }
}

fn asks_exactly(schedule: &Schedule) -> bool {
    match &schedule.rule().source {
        Source::Trace(trace) => {
            schedule.rule().length == Some(OutputLength::Exact) || trace.requests.iter().all(|r| r.length == OutputLength::Exact)
        }
        Source::Fixed { .. } => true,
    }
}

impl Measured {
    /// What stands around the report's table.
    pub fn context(&self, next: &str) -> TableContext {
        manifest::context(&self.manifest, self.dir.path(), next)
    }

    /// The report in one of the formats; JSON is `summary.json` itself.
    pub fn render(&self, format: Format, next: &str) -> Result<String, Failure> {
        if format == Format::Json {
            return self.dir.summary_text().map_err(Failure::internal);
        }
        Ok(render(&self.report, &self.context(next), format))
    }
}

/// The spool as the collector's sink.
struct Spool {
    writer: SpoolWriter,
    budget: Arc<Mutex<Option<Budget>>>,
}

impl RecordSink for Spool {
    fn push(&mut self, record: &RequestRecord) -> std::io::Result<()> {
        if let Some(budget) = self.budget.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            budget.count(record);
        }
        self.writer.push(record).map_err(std::io::Error::other)
    }

    fn push_sample(&mut self, sample: &Sample) -> std::io::Result<()> {
        self.writer.push_sample(sample).map_err(std::io::Error::other)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush().map_err(std::io::Error::other)
    }
}
