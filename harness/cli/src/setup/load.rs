//! What is sent and when: the trace, the load over it, the window.

use super::{Mode, time};
use crate::args::RunArgs;
use crate::config::choose;
use crate::exit::Failure;
use crate::replay;
use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::digest::Digest;
use nomoat_core::schedule::{Limit, Load, Warmup};
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;
use nomoat_http::HttpVersion;
use nomoat_tokens::Tokenizer;
use nomoat_workloads::{ImportOptions, Suite};
use std::borrow::Cow;
use std::sync::Arc;

/// Concurrencies of the ladder.
const LADDER: &str = "1,8,64";
/// Length of one rung.
const RUNG: Nanos = Nanos::from_secs(20);
/// What comes before the window of a rung, and of any closed loop that is limited by time.
const RUNG_WARMUP: Nanos = Nanos::from_secs(2);
/// Measured requests of the embedded default: at its highest rate, about half a minute.
const DEFAULT_REQUESTS: u32 = 540;
/// Warm-up of the embedded default.
const DEFAULT_WARMUP: Nanos = Nanos::from_secs(2);
/// Window of a workload that has no end of its own.
const DEFAULT_DURATION: Nanos = Nanos::from_secs(30);

/// Which HTTP, and the number of connections. Over HTTP/1.1 that bounds the requests in flight, one on each; over HTTP/2 they share them.
pub(super) fn connections(args: &RunArgs) -> Result<(HttpVersion, Option<u32>), Failure> {
    if args.http.is_some() && args.url.is_empty() {
        return Err(Failure::usage("--http is about an endpoint; it needs --url"));
    }
    let http = args.http.as_deref().unwrap_or("1").parse().map_err(|e| Failure::usage(format!("--http {e}")))?;
    let limit = match args.connections.as_deref() {
        None | Some("reuse" | "per-request") => None,
        Some(_) if args.url.is_empty() => return Err(Failure::usage("--connections is about an endpoint; it needs --url")),
        Some(_) if http == HttpVersion::Auto => {
            return Err(Failure::usage(
                "a number of --connections means one thing over HTTP/1.1 and another over HTTP/2; give --http 1 or 2",
            ));
        }
        Some(text) => Some(text.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(|| {
            Failure::usage(format!("--connections `{text}` is neither reuse nor per-request nor a number of connections"))
        })?),
    };
    Ok((http, limit))
}

pub(super) fn shape(args: &RunArgs) -> Result<Option<(u32, u32)>, Failure> {
    match (args.input_tokens, args.output_tokens) {
        (None, None) => Ok(None),
        (Some(_), _) | (_, Some(_)) if args.trace.is_some() => {
            Err(Failure::usage("a trace has lengths of its own; --input-tokens and --output-tokens go without --trace"))
        }
        (Some(0), _) | (_, Some(0)) => Err(Failure::usage("--input-tokens and --output-tokens must be at least 1")),
        (Some(input), Some(output)) => Ok(Some((input, output))),
        (Some(_), None) => Err(Failure::usage("--input-tokens needs --output-tokens beside it")),
        (None, Some(_)) => Err(Failure::usage("--output-tokens needs --input-tokens beside it")),
    }
}

/// Words that are one token each by the tokenizer of the model, where its file is given.
pub(super) fn words(args: &RunArgs) -> Result<(Arc<[String]>, Option<Digest>), Failure> {
    let Some(path) = &args.tokenizer else { return Ok((Arc::new([]), None)) };
    let tokenizer = Tokenizer::open(path).map_err(Failure::usage_of)?;
    Ok((tokenizer.words().map_err(Failure::usage_of)?.into(), Some(tokenizer.digest())))
}

pub(super) fn trace(args: &RunArgs, suite: Option<&Suite>, shape: Option<(u32, u32)>, seed: u64) -> Result<Option<Arc<Trace>>, Failure> {
    if shape.is_some() {
        return Ok(None);
    }
    let trace = match (&args.trace, suite) {
        (_, Some(suite)) => suite.trace(),
        (Some(path), None) => {
            let options =
                ImportOptions { seed, lenient: args.lenient, gaps: replay::gaps(args.gaps.as_deref())?, ..ImportOptions::default() };
            nomoat_workloads::open(path, args.trace_format.as_deref(), &options)
        }
        (None, None) => nomoat_workloads::bundled_chat(),
    };
    let trace = trace.map_err(|e| Failure::usage(e.to_string()))?;
    let policy = replay::policy(&replay::of_run(args), seed)?;
    let replayed = policy.apply(&trace).map_err(Failure::usage)?;
    Ok(Some(Arc::new(match replayed {
        Cow::Owned(replayed) => replayed,
        Cow::Borrowed(_) => trace,
    })))
}

pub(super) fn mode(args: &RunArgs, trace: Option<&Trace>) -> Result<Mode, Failure> {
    let closed = args.concurrency.is_some();
    let open = args.rate.is_some() || args.arrivals.is_some() || args.cv.is_some() || args.burstiness.is_some();
    if closed && open {
        return Err(Failure::usage(
            "--concurrency is a closed loop and --rate, --arrivals, --cv are an open one; choose one, or cap an open loop with --max-concurrency",
        ));
    }
    if args.think.is_some() && !closed {
        return Err(Failure::usage("--think is the pause of a closed loop; it needs --concurrency"));
    }
    if args.max_concurrency == Some(0) {
        return Err(Failure::usage("--max-concurrency must be at least 1"));
    }
    if let Some(concurrency) = args.concurrency {
        return Ok(Mode::Single(Load::Closed { concurrency, think: time("--think", args.think.as_deref())?.unwrap_or_default() }));
    }
    if open {
        return Ok(Mode::Single(open_load(args, trace)?));
    }
    let replay = args.trace.is_some() || args.speed.is_some();
    if args.ladder.is_some() || (!replay && args.backend.as_deref() != Some("local")) {
        let text = args.ladder.as_deref().unwrap_or(LADDER);
        let rungs: Result<Vec<u32>, _> =
            text.split(',').map(|c| c.trim().parse::<u32>().ok().filter(|c| *c > 0)).map(|c| c.ok_or(())).collect();
        let rungs = rungs.map_err(|()| Failure::usage(format!("--ladder `{text}` is not a list of concurrencies; write 1,8,64")))?;
        return Ok(Mode::Ladder(rungs));
    }
    if replay {
        return Ok(Mode::Single(Load::Replay));
    }
    if trace.is_none() {
        return Err(Failure::usage("prompts of one shape have no arrivals of their own; give --rate R or --concurrency C"));
    }
    Ok(Mode::Probed)
}

fn open_load(args: &RunArgs, trace: Option<&Trace>) -> Result<Load, Failure> {
    let cv = match (args.cv, args.burstiness) {
        (Some(_), Some(_)) => return Err(Failure::usage("--cv and --burstiness say the same (burstiness = 1/cv²); give one")),
        (Some(cv), None) => Some(cv),
        (None, Some(b)) if b > 0.0 => Some(1.0 / b.sqrt()),
        (None, Some(b)) => return Err(Failure::usage(format!("--burstiness must be positive, not {b}"))),
        (None, None) => None,
    };
    let law = args.arrivals.as_deref().map(|w| choose("--arrivals", w, &["constant", "poisson", "gamma"])).transpose()?;
    let process = match (law, cv) {
        (Some("gamma") | None, Some(cv)) => Some(ArrivalProcess::Gamma { cv }),
        (Some("gamma"), None) => return Err(Failure::usage("--arrivals gamma needs --cv CV (or --burstiness)")),
        (Some(other), Some(_)) => {
            return Err(Failure::usage(format!("--cv and --burstiness shape gamma gaps; they do not go with --arrivals {other}")));
        }
        (Some("constant"), None) => Some(ArrivalProcess::Constant),
        (Some(_), None) => Some(ArrivalProcess::Poisson),
        (None, None) => None,
    };
    let recorded = trace.and_then(Trace::rate_per_s);
    match (process, args.rate, recorded) {
        (Some(process), Some(rate_per_s), _) => Ok(Load::Arrivals { process, rate_per_s }),
        (Some(process), None, Some(rate)) => Ok(Load::Arrivals { process, rate_per_s: rate * args.speed.unwrap_or(1.0) }),
        (Some(_), None, None) => Err(Failure::usage("--arrivals needs --rate R: there is no recorded rate")),
        (None, Some(rate_per_s), Some(_)) => Ok(Load::Rescaled { rate_per_s }),
        (None, Some(rate_per_s), None) => Ok(Load::Arrivals { process: ArrivalProcess::Poisson, rate_per_s }),
        (None, None, _) => Err(Failure::usage("an open loop needs --rate R")),
    }
}

pub(super) fn window(args: &RunArgs, mode: &Mode, bundled: bool) -> Result<(Warmup, Limit, bool), Failure> {
    let warmup = match args.warmup.as_deref() {
        None => None,
        Some(text) => Some(match text.parse::<u32>() {
            Ok(n) => Warmup::Requests(n),
            Err(_) => Warmup::Time(
                Nanos::parse(text).map_err(|e| Failure::usage(format!("--warmup {e}; a bare number is a number of requests")))?,
            ),
        }),
    };
    if args.requests == Some(0) {
        return Err(Failure::usage("--requests must be at least 1"));
    }
    let mut limit = Limit { duration: time("--duration", args.duration.as_deref())?, requests: args.requests };
    let unlimited = limit == Limit::default();
    let mut repeat = args.repeat;
    let warmup = match mode {
        Mode::Ladder(_) => {
            limit.duration = if unlimited { Some(RUNG) } else { limit.duration };
            repeat |= args.trace.is_none() && args.suite.is_none();
            warmup.unwrap_or(Warmup::Time(RUNG_WARMUP))
        }
        Mode::Probed => {
            limit.requests = if unlimited { Some(DEFAULT_REQUESTS) } else { limit.requests };
            // As a run at a given rate has it, so that repeating this one from its manifest is the same schedule.
            repeat |= bundled;
            warmup.unwrap_or(Warmup::Time(DEFAULT_WARMUP))
        }
        Mode::Single(load) => {
            // A workload without an end of its own gets one, and the bundled sample goes on as long as it is asked to.
            if unlimited && ((args.trace.is_none() && args.suite.is_none()) || load.is_closed() || repeat) {
                limit.duration = Some(DEFAULT_DURATION);
            }
            repeat |= bundled;
            // The lanes of a closed loop all start at once, which is no part of its steady load.
            let default = if load.is_closed() && limit.requests.is_none() { RUNG_WARMUP } else { Nanos::ZERO };
            warmup.unwrap_or(Warmup::Time(default))
        }
    };
    Ok((warmup, limit, repeat))
}
