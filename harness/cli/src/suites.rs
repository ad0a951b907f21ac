//! `nomoat suites`, and what `--suite NAME` puts under the flags of a run.

use crate::args::{RunArgs, SuitesArgs};
use crate::exit::{Exit, Failure};
use crate::output::put;
use crate::setup;
use nomoat_results::table::List;
use nomoat_workloads::{Suite, SuiteLoad, suite, suites as all};

/// Lists them.
pub fn suites(args: &SuitesArgs) -> Result<Exit, Failure> {
    let columns = vec![("name", 16), ("what", 40), ("made by", 14), ("load", 26), ("limits", 20), ("needs", 30)];
    let rows = all().map_err(Failure::internal)?.iter().map(row).collect();
    put(&List { columns, rows }.render(setup::format(args.format.as_deref().unwrap_or("table"))?));
    Ok(Exit::Ok)
}

fn row(suite: &Suite) -> Vec<String> {
    let limits = suite.slo.clone().unwrap_or_else(|| "–".into()).replace(',', ", ");
    vec![suite.name.clone(), suite.about.clone(), suite.generator.clone(), load(&suite.load), limits, needs(suite)]
}

fn load(load: &SuiteLoad) -> String {
    let mut words = vec![match (load.rate, load.concurrency) {
        (Some(rate), _) => match load.cv {
            Some(cv) => format!("{rate}/s, gamma with cv {cv}"),
            None => format!("{rate}/s, {}", load.arrivals.as_deref().unwrap_or("poisson")),
        },
        (None, concurrency) => format!("{} at a time", concurrency.unwrap_or(1)),
    }];
    words.extend(load.duration.clone());
    words.extend(load.requests.map(|n| format!("{n} requests")));
    words.join(", ")
}

fn needs(suite: &Suite) -> String {
    let needs = suite.requires;
    let mut words = vec![format!("{} tokens of context", needs.context)];
    words.extend(needs.exact_length.then(|| "forced lengths".to_owned()));
    words.extend(needs.prefix_caching.then(|| "better with a prefix cache".to_owned()));
    words.extend(needs.recorded_messages.then(|| "a chat route".to_owned()));
    words.join(", ")
}

/// Fills in what the suite says where no flag does. A flag that decides the kind of load, open or closed, decides it whole.
pub fn apply(args: &mut RunArgs) -> Result<Option<Suite>, Failure> {
    let Some(name) = &args.suite else { return Ok(None) };
    let suite = suite(name).map_err(Failure::usage_of)?;
    if args.trace.is_some() || args.input_tokens.is_some() || args.output_tokens.is_some() {
        return Err(Failure::usage("--suite has a workload of its own; it goes without --trace, --input-tokens and --output-tokens"));
    }
    if suite.requires.recorded_messages {
        if args.url.is_empty() {
            return Err(Failure::usage(format!(
                "suite `{}` sends recorded conversations, which only a chat endpoint takes; give --url, or choose another of `nomoat suites`",
                suite.name
            )));
        }
        args.endpoint.get_or_insert_with(|| "/v1/chat/completions".into());
    }
    let load = suite.load.clone();
    let open = args.rate.is_some() || args.arrivals.is_some() || args.cv.is_some() || args.burstiness.is_some();
    let closed = args.concurrency.is_some() || args.ladder.is_some();
    if !closed && (load.rate.is_some() || !open) {
        args.rate = args.rate.or(load.rate);
        if args.arrivals.is_none() && args.cv.is_none() && args.burstiness.is_none() {
            (args.arrivals, args.cv) = (load.arrivals, load.cv);
        }
        args.concurrency = load.concurrency;
    }
    if args.duration.is_none() && args.requests.is_none() {
        (args.duration, args.requests) = (load.duration, load.requests);
        if args.warmup.is_none() {
            args.warmup = load.warmup;
        }
    }
    if args.slo.is_none() && args.goodput.is_empty() {
        args.slo.clone_from(&suite.slo);
    }
    Ok(Some(suite))
}

/// Refuses an engine whose context is too small, unless a flag says what becomes of longer requests.
pub fn check(suite: &Suite, context: u32) -> Result<(), Failure> {
    let needed = suite.requires.context;
    if context >= needed {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "suite `{}` requires a context of {needed} tokens, and this engine has {context}; start it with more, choose another of `nomoat suites`, or say --overlong skip or clip",
        suite.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(args: RunArgs) -> RunArgs {
        let mut args = args;
        apply(&mut args).unwrap();
        args
    }

    fn of(name: &str) -> RunArgs {
        RunArgs { suite: Some(name.into()), url: vec!["http://a".into()], ..RunArgs::default() }
    }

    #[test]
    fn a_suite_fills_in_and_flags_win() {
        let plain = applied(of("chat"));
        assert_eq!((plain.rate, plain.arrivals.as_deref(), plain.duration.as_deref()), (Some(0.5), Some("poisson"), Some("5m")));
        assert_eq!((plain.slo.as_deref(), plain.warmup.as_deref()), (Some("tpot=50ms,ttft=500ms"), Some("1m")));
        let faster = applied(RunArgs { rate: Some(3.0), slo: Some("e2e=1s".into()), ..of("chat") });
        assert_eq!((faster.rate, faster.arrivals.as_deref(), faster.slo.as_deref()), (Some(3.0), Some("poisson"), Some("e2e=1s")));
        let closed = applied(RunArgs { concurrency: Some(2), ..of("chat") });
        assert_eq!((closed.rate, closed.arrivals, closed.concurrency), (None, None, Some(2)));
        let open = applied(RunArgs { rate: Some(3.0), ..of("inferencex-like") });
        assert_eq!((open.rate, open.concurrency, open.requests), (Some(3.0), None, Some(640)));
        let short = applied(RunArgs { duration: Some("9s".into()), ..of("inferencex-like") });
        assert_eq!((short.concurrency, short.requests, short.warmup), (Some(64), None, None));
        let smooth = applied(RunArgs { arrivals: Some("constant".into()), ..of("bursty-edge") });
        assert_eq!((smooth.rate, smooth.cv), (Some(4.0), None));
        // What a manifest holds repeats itself.
        assert_eq!(applied(plain.clone()), plain);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let refused = |mut args: RunArgs, expect: &str| {
            let message = apply(&mut args).unwrap_err().message;
            assert!(message.contains(expect), "{message}");
        };
        refused(of("cat"), "did you mean `chat`?");
        refused(RunArgs { trace: Some("x".into()), ..of("chat") }, "goes without --trace");
        refused(RunArgs { url: vec![], ..of("project-text") }, "give --url");
        assert_eq!(applied(of("project-text")).endpoint.as_deref(), Some("/v1/chat/completions"));
        let suite = suite("long-context").unwrap();
        assert!(check(&suite, 131_072).is_ok());
        assert!(check(&suite, 4_096).unwrap_err().message.contains("requires a context of 131072 tokens"));
    }
}
