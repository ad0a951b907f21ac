//! A trace in words: its statistics, and its requests.

use nomoat_core::prompt::Prompt;
use nomoat_core::request::{Cancel, OutputLength};
use nomoat_core::trace::{EdgeKind, Join, Moment, Trace, TraceRequest};
use nomoat_core::units::{Nanos, grouped};
use nomoat_workloads::{LengthStats, Sharing, TraceStats};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The statistics as a table.
pub fn table(head: &Trace, s: &TraceStats) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<40}{value}");
    };
    put("trace", head.name.clone());
    if let Some(licence) = &head.origin.licence {
        put("licence", head.origin.attribution.as_ref().map_or_else(|| licence.clone(), |who| format!("{licence}; {who}")));
    }
    put("requests", if s.waiting > 0 { format!("{}, {} of them wait for others", s.rows, s.waiting) } else { s.rows.to_string() });
    if let Some(sessions) = &s.sessions {
        let turns = &sessions.turns;
        put(
            "sessions",
            format!("{}, turns mean {:.2}, p50 {}, p95 {}, max {}", sessions.count, turns.mean, turns.p50, turns.p95, turns.max),
        );
    }
    if s.cancelled > 0 {
        put("users who go away", s.cancelled.to_string());
    }
    let a = &s.arrivals;
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "–".into());
    put("span", or_none(a.span.map(|t| format!("{:.1} s", t.as_secs_f64()))));
    put("rate", or_none(a.rate_per_s.map(|r| format!("{r:.4}/s"))));
    put("busiest minute", or_none(a.peak_per_s.map(|r| format!("{r:.2}/s"))));
    put("coefficient of variation of gaps", or_none(a.gap_cv.map(|cv| format!("{cv:.2}"))));
    put("index of dispersion, 1 s and 60 s", format!("{}, {}", or_none(a.dispersion_1s.map(two)), or_none(a.dispersion_60s.map(two))));
    for (name, l, sum) in [("input tokens", s.input, s.input_tokens), ("output tokens", s.output, s.output_tokens)] {
        put(name, format!("mean {:.1}, p50 {}, p95 {}, p99 {}, max {}; {} in all", l.mean, l.p50, l.p95, l.p99, l.max, grouped(sum)));
    }
    let c = s.contents;
    put(
        "content",
        match (c.synthetic, c.ids, c.text) {
            (_, 0, 0) => "none recorded: prompts are made up with the recorded lengths and sharing".into(),
            (0, _, 0) => "recorded token ids".into(),
            (0, 0, _) => "recorded text".into(),
            (made, ids, text) => format!("{made} made up, {ids} recorded token ids, {text} recorded text"),
        },
    );
    match &s.sharing {
        None => put("prefix reuse", "nothing is known: every prompt is sent as one of its own".into()),
        Some(sharing) => reuse(sharing, &mut put),
    }
    text
}

fn two(value: f64) -> String {
    format!("{value:.2}")
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".into(), |share| format!("{:.2} %", share * 100.0))
}

fn reuse(s: &Sharing, put: &mut dyn FnMut(&str, String)) {
    let unit = s.block_tokens.map_or_else(|| "pieces".to_owned(), |n| format!("blocks of {n}"));
    put("prefix identity", format!("{} {unit}, {} distinct", grouped(s.refs), grouped(s.unique)));
    put("seen before, anywhere", format!("{}, {} of tokens", percent(s.of_refs(s.seen)), percent(s.of_tokens(s.seen_tokens))));
    put(
        "seen before, from the start on",
        format!("{}, {} of tokens", percent(s.of_refs(s.leading)), percent(s.of_tokens(s.leading_tokens))),
    );
    put("requests that find nothing", grouped(s.cold));
    for (size, found) in &s.caches {
        put(
            &format!("  found by a cache of {} {}", grouped((*size).into()), if s.block_tokens.is_some() { "blocks" } else { "pieces" }),
            percent(s.of_refs(*found)),
        );
    }
    for (time, found) in &s.kept {
        put(&format!("  found if kept {time} after use"), format!("{} of tokens", percent(s.of_tokens(*found))));
    }
    for (block, found) in &s.engine {
        put(
            &format!("  found by an engine's blocks of {block}"),
            format!("{} of {} tokens, {}", grouped(*found), grouped(s.tokens), percent(s.of_tokens(*found))),
        );
    }
}

/// The statistics for programs.
pub fn json(head: &Trace, s: &TraceStats) -> Value {
    let lengths = |l: &LengthStats| json!({"mean": l.mean, "p50": l.p50, "p95": l.p95, "p99": l.p99, "max": l.max});
    let a = &s.arrivals;
    json!({
        "schema": "nomoat.trace_stats/1",
        "name": head.name,
        "sha256": head.source.to_string(),
        "licence": head.origin.licence,
        "attribution": head.origin.attribution,
        "losses": head.losses,
        "requests": s.rows,
        "waiting": s.waiting,
        "cancelled": s.cancelled,
        "sessions": s.sessions.as_ref().map(|x| json!({"count": x.count, "turns": lengths(&x.turns)})),
        "arrivals": {
            "roots": a.roots, "span_s": a.span.map(Nanos::as_secs_f64), "rate_per_s": a.rate_per_s, "gap_cv": a.gap_cv,
            "dispersion_1s": a.dispersion_1s, "dispersion_60s": a.dispersion_60s, "peak_per_s": a.peak_per_s,
        },
        "input": lengths(&s.input),
        "output": lengths(&s.output),
        "input_tokens": s.input_tokens,
        "output_tokens": s.output_tokens,
        "contents": {"synthetic": s.contents.synthetic, "ids": s.contents.ids, "text": s.contents.text},
        "sharing": s.sharing.as_ref().map(|x| json!({
            "block_tokens": x.block_tokens, "refs": x.refs, "unique": x.unique, "tokens": x.tokens, "seen": x.seen,
            "seen_tokens": x.seen_tokens, "leading": x.leading, "leading_tokens": x.leading_tokens, "cold": x.cold,
            "caches": x.caches.iter().map(|(size, found)| json!({"blocks": size, "leading": found})).collect::<Vec<_>>(),
            "kept": x.kept.iter().map(|(time, found)| json!({"s": time.as_secs_f64(), "leading_tokens": found})).collect::<Vec<_>>(),
            "engine": x.engine.iter().map(|(block, found)| json!({"block_tokens": block, "cached_tokens": found})).collect::<Vec<_>>(),
        })),
    })
}

/// Requests of a trace, one a line.
pub fn requests(trace: &Trace, first: usize, limit: usize) -> String {
    let mut text =
        format!("{:>8} {:>12} {:>10} {:<12} {:>8} {:>7}  {:<28} waits for\n", "request", "at", "session", "class", "in", "out", "prompt");
    for (index, request) in trace.requests.iter().enumerate().skip(first).take(limit) {
        let session = request.session.map_or_else(|| "–".to_owned(), |s| format!("{}/{}", s.0, request.turn));
        let at = request.at.map_or_else(|| "–".to_owned(), |at| format!("{:.3} s", at.as_secs_f64()));
        let class = trace.classes.get(usize::from(request.class)).map_or("–", String::as_str);
        let out =
            if request.length == OutputLength::Exact { request.output_tokens.to_string() } else { format!("≤{}", request.output_tokens) };
        let _ = writeln!(
            text,
            "{index:>8} {at:>12} {session:>10} {class:<12} {:>8} {out:>7}  {:<28} {}",
            request.input_tokens,
            prompt(&request.prompt),
            waits(request)
        );
    }
    let shown = trace.requests.len().saturating_sub(first).min(limit);
    let _ = writeln!(text, "{shown} of {} requests", trace.requests.len());
    text
}

fn prompt(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Blocks(p) if p.blocks.is_empty() => "its own".into(),
        Prompt::Blocks(p) => {
            let count: u64 = p.blocks.iter().map(|r| u64::from(r.count)).sum();
            format!("{count} blocks of {} in {} runs", p.block_tokens, p.blocks.len())
        }
        Prompt::Parts(p) => format!("{} pieces", p.parts.len()),
        Prompt::Text(text) => format!("text, {} bytes", text.len()),
        Prompt::Messages(m) => format!("{} messages", m.messages.len()),
        Prompt::Ids(_) => "token ids".into(),
        Prompt::Live { of, .. } => format!("continues {}", of.0),
    }
}

fn waits(request: &TraceRequest) -> String {
    let edges = request.after.iter().map(|edge| {
        let on = match edge.on {
            Moment::Start => "start of ",
            Moment::FirstToken => "first token of ",
            Moment::End => "",
        };
        let order = if edge.kind == EdgeKind::Order { " (or its failure)" } else { "" };
        format!("{on}{} + {}{order}", edge.request.0, edge.gap)
    });
    let joined = edges.collect::<Vec<_>>().join(if request.join == Join::All { " and " } else { " or " });
    let leaves = match request.cancel {
        None => String::new(),
        Some(Cancel::After(t)) => format!("; leaves after {t}"),
        Some(Cancel::FirstToken) => "; leaves at its first token".into(),
        Some(Cancel::Tokens(n)) => format!("; leaves after {n} tokens"),
    };
    if joined.is_empty() && !leaves.is_empty() { format!("–{leaves}") } else { format!("{joined}{leaves}") }
}
