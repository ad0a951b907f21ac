//! `nomoat calibrate`: the instrument's own error and its ceiling on this host, printed as a certificate.

mod adapter;

use crate::args::CalibrateArgs;
use crate::certify::{Case, Certificate, Server, Volume, Way, Whom, certify, load};
use crate::config::choose;
use crate::ctrl_c;
use crate::exit::{Exit, Failure};
use crate::folder::Folder;
use crate::output::{line, put};
use nomoat_core::units::Nanos;
use nomoat_drive::{HostFacts, Stop, StopHandle};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// The loads of the certificate: name, rate, lanes, tokens of prompt and answer, script, seconds.
type Row = (&'static str, Option<f64>, u32, (u32, u32), &'static str, i64);
const CASES: &[Row] = &[
    ("20 requests/s × 32", Some(20.0), 0, (64, 32), "ttft=50ms,itl=10ms", 10),
    ("150 requests/s × 64", Some(150.0), 0, (64, 64), "ttft=50ms,itl=10ms", 10),
    ("500 requests/s × 64", Some(500.0), 0, (64, 64), "ttft=50ms,itl=10ms", 10),
    ("1,000 streams × 100 tokens/s", None, 1_000, (16, 400), "ttft=50ms,itl=10ms,jitter=uniform:0.5", 8),
];
/// Ten thousand streams of a token a second: memory and descriptors.
const SLOW: Row = ("10,000 slow streams", None, 10_000, (16, 8), "ttft=1s,itl=1s,jitter=uniform:0.9", 12);
/// The ceilings: name, how the server writes, connections, tokens of an answer.
const CEILINGS: &[(&str, &str, u32, u32)] = &[
    ("closed loop 128, answer in one write", "whole", 128, 128),
    ("closed loop 128, one write per token", "token", 128, 128),
    ("closed loop 1, 16 tokens in one write", "whole", 1, 16),
];
/// How long a ceiling is taken, by each of the two clients.
const CEILING_LASTS: Nanos = Nanos::from_secs(4);

/// The instrument beside a client that only counts.
struct Ceiling {
    name: String,
    /// Tokens and answers per second of the client that only counts.
    raw: (f64, f64),
    ours: Volume,
}

/// Runs the subcommand.
pub fn calibrate(args: &CalibrateArgs) -> Result<Exit, Failure> {
    let format = choose("--format", &args.format, &["table", "markdown", "json"])?;
    if args.exec.is_some() || args.exec_socket.is_some() {
        return adapter::calibrate(args, format);
    }
    if args.wait_ready.is_some() {
        return Err(Failure::usage("--wait-ready is how long an adapter may take to listen; it goes with --exec or --exec-socket"));
    }
    let (cases, ceilings) = chosen(args, CASES)?;
    let (handle, stop) = ctrl_c::install()?;
    let say = |what: &str| {
        if !args.quiet {
            eprintln!("calibrating: {what}");
        }
    };
    let mut certificates = vec![];
    for case in &cases {
        say(&case.name);
        certificates.push(certify(case, &handle, &stop)?);
    }
    let mut taken = vec![];
    for ceiling in ceilings {
        say(ceiling.0);
        taken.push(measure(*ceiling, args.shards, &handle, &stop)?);
    }
    match format {
        "json" => line(&serde_json::to_string_pretty(&to_json(&certificates, &taken)).map_err(Failure::internal)?),
        "markdown" => put(&text(&certificates, &taken, true)),
        _ => put(&text(&certificates, &taken, false)),
    }
    let broken = certificates.iter().any(|c| !c.broken.is_empty() || c.errors.matched == 0);
    Ok(if broken { Exit::Invalid } else { Exit::Ok })
}

type Ceilings = &'static [(&'static str, &'static str, u32, u32)];

/// The loads that are asked for, else the `standard` ones.
fn chosen(args: &CalibrateArgs, standard: &[Row]) -> Result<(Vec<Case>, Ceilings), Failure> {
    let nanos = |flag: &str, text: &str| Nanos::parse(text).map_err(|e| Failure::usage(format!("{flag} {e}")));
    let http = choose("--http", args.http.as_deref().unwrap_or("1"), &["1", "2"])?.to_owned();
    let way = Way { tls: args.tls, http: Some(http), connections: None };
    let lasts = args.duration.as_deref().map(|t| nanos("--duration", t)).transpose()?;
    let of = |row: &Row| Case {
        name: row.0.into(),
        rate: row.1,
        concurrency: row.2,
        tokens: row.3,
        script: row.4.into(),
        lasts: lasts.unwrap_or(Nanos::from_secs(row.5)),
        shards: args.shards,
        way: way.clone(),
    };
    if args.rate.is_none() && args.concurrency.is_none() {
        let mut cases: Vec<Case> = standard.iter().map(of).collect();
        if args.streams {
            cases.push(of(&SLOW));
        }
        return Ok((cases, CEILINGS));
    }
    if args.rate.is_some_and(|r| !r.is_finite() || r <= 0.0) || args.concurrency == Some(0) {
        return Err(Failure::usage("--rate and --concurrency must be positive"));
    }
    let name = match (args.rate, args.concurrency) {
        (Some(_), Some(_)) => return Err(Failure::usage("--rate is an open loop and --concurrency a closed one; give one")),
        (Some(rate), None) => format!("{rate} requests/s × {}", args.output_tokens),
        (None, c) => format!("closed loop {} × {}", c.unwrap_or(1), args.output_tokens),
    };
    let case = Case {
        name,
        rate: args.rate,
        concurrency: args.concurrency.unwrap_or(1),
        tokens: (args.input_tokens, args.output_tokens),
        script: args.script.clone(),
        lasts: lasts.unwrap_or(Nanos::from_secs(10)),
        shards: args.shards,
        way,
    };
    Ok((vec![case], if args.ceiling { CEILINGS } else { &[] }))
}

/// Both clients against one server, one after the other.
fn measure(ceiling: (&str, &str, u32, u32), shards: Option<u16>, handle: &StopHandle, stop: &Stop) -> Result<Ceiling, Failure> {
    let (name, writes, connections, tokens) = ceiling;
    let server = Server::start(&["--instant", writes, "--tokens", &tokens.to_string()])?;
    let address = server.url.trim_start_matches("http://").parse().map_err(Failure::internal)?;
    let raw = raw(address, tokens, connections)?;
    let folder = Folder::new(None)?;
    let case = Case {
        name: name.into(),
        rate: None,
        concurrency: connections,
        tokens: (16, tokens),
        script: String::new(),
        lasts: CEILING_LASTS,
        shards,
        way: Way::default(),
    };
    Ok(Ceiling { name: name.into(), raw, ours: load(&case, Whom::Server(&server.url), folder.path(), (handle, stop))?.volume() })
}

/// Tokens and answers per second of the client that only counts.
#[cfg(target_os = "linux")]
fn raw(server: std::net::SocketAddr, tokens: u32, connections: u32) -> Result<(f64, f64), Failure> {
    let ids: Vec<String> = (0..16).map(|i| (1_000 + i).to_string()).collect();
    let body = format!(
        r#"{{"model":"truth","prompt":[{}],"max_tokens":{tokens},"min_tokens":{tokens},"ignore_eos":true,"stream":true,"stream_options":{{"include_usage":true}}}}"#,
        ids.join(",")
    );
    let lasts = Duration::from_nanos(CEILING_LASTS.0 as u64);
    let count = nomoat_truth::take(server, "/v1/completions", &body, connections as usize, lasts)
        .map_err(|e| Failure::internal(format!("counting with the plain client: {e}")))?;
    // Of an answer's events two are no tokens: usage and the terminator.
    let tokens = count.events as f64 * f64::from(tokens) / f64::from(tokens + 2);
    Ok((tokens / count.seconds, count.answers as f64 / count.seconds))
}

#[cfg(not(target_os = "linux"))]
fn raw(_: std::net::SocketAddr, _: u32, _: u32) -> Result<(f64, f64), Failure> {
    Err(Failure::usage("the plain client that a ceiling is held against needs epoll; give --rate or --concurrency without --ceiling"))
}

fn to_json(certificates: &[Certificate], ceilings: &[Ceiling]) -> Value {
    let ceilings: Vec<Value> = ceilings
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "raw_tokens_per_s": c.raw.0, "raw_requests_per_s": c.raw.1, "tokens_per_s": c.ours.events_per_s,
                "requests_per_s": c.ours.requests_per_s, "cpu_s_per_million_tokens": c.ours.cpu_s_per_million, "failed": c.ours.failed,
            })
        })
        .collect();
    json!({"certificates": certificates.iter().map(Certificate::json).collect::<Vec<_>>(), "ceilings": ceilings})
}

fn text(certificates: &[Certificate], ceilings: &[Ceiling], markdown: bool) -> String {
    let host = HostFacts::read();
    let mut out = String::from("Instrument error: ours minus what the scripted server logged, same host, one clock\n\n");
    for certificate in certificates {
        let c = certificate;
        let e = &c.errors;
        let rows = [
            ("TTFT", e.ttft.all),
            ("  first token alone in its read", e.ttft.separate),
            ("  first token merged with another event", e.ttft.coalesced),
            ("ITL", e.itl),
            ("TPOT", e.tpot),
            ("E2E", e.e2e),
            ("dispatch lag (start − due)", c.lag),
        ];
        let title = format!("{}, {} + {} tokens, {}, {}", c.case.name, c.case.tokens.0, c.case.tokens.1, c.case.script, c.case.lasts);
        table(
            &mut out,
            &title,
            &["", "n", "mean", "p50", "p99", "largest"],
            markdown,
            rows.iter().filter_map(|(name, errors)| {
                let e = (*errors)?;
                let times = [Nanos(e.mean_ns as i64), e.p50, e.p99, e.max_abs].map(|t| t.to_string());
                Some([(*name).to_owned(), e.n.to_string()].into_iter().chain(times).collect())
            }),
        );
        let _ = writeln!(
            out,
            "{} of {} requests sent, {} failed · {:.0} tokens/s, {:.0} requests/s · {:.2} CPU s per million tokens ({:.0} % of a core) · \
             {:.2} % of chunks merged{}",
            c.sent,
            c.scheduled,
            c.volume.failed,
            c.volume.events_per_s,
            c.volume.requests_per_s,
            c.volume.cpu_s_per_million,
            c.volume.cpu_cores * 100.0,
            c.coalesced * 100.0,
            c.resident_bytes.map_or(String::new(), |b| format!(" · {:.0} MB resident at most", b as f64 / 1e6))
        );
        for broken in &c.broken {
            let _ = writeln!(out, "INVALID {broken}");
        }
        out.push('\n');
    }
    if !ceilings.is_empty() {
        let head = ["", "tokens/s", "plain client", "of it", "requests/s", "plain client", "of it", "CPU s/M tokens"];
        table(
            &mut out,
            "Ceilings: against a server that answers at once, beside a client on epoll that only counts events",
            &head,
            markdown,
            ceilings.iter().map(|c| {
                let share = |a: f64, b: f64| if b > 0.0 { format!("{:.0} %", a / b * 100.0) } else { "–".into() };
                vec![
                    c.name.clone(),
                    format!("{:.0}", c.ours.events_per_s),
                    format!("{:.0}", c.raw.0),
                    share(c.ours.events_per_s, c.raw.0),
                    format!("{:.0}", c.ours.requests_per_s),
                    format!("{:.0}", c.raw.1),
                    share(c.ours.requests_per_s, c.raw.1),
                    format!("{:.3}", c.ours.cpu_s_per_million),
                ]
            }),
        );
        let failed: u64 = ceilings.iter().map(|c| c.ours.failed).sum();
        let _ = writeln!(out, "{failed} requests failed\n");
    }
    let _ = writeln!(out, "host: {} cores, {}, {}, kernel {}; load average {:.2}", host.cores, host.cpu, host.os, host.kernel, host.load1);
    let _ = writeln!(out, "client and server share these cores; errors contain the server's path from its stamp to the socket");
    out
}

/// A table with a title: columns lined up for a terminal, or Markdown.
fn table(out: &mut String, title: &str, head: &[&str], markdown: bool, rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<Vec<String>> = rows.collect();
    if markdown {
        let _ = writeln!(out, "**{title}**\n\n| {} |\n|---|{}", head.join(" | "), "---:|".repeat(head.len() - 1));
        rows.iter().for_each(|row| {
            let _ = writeln!(out, "| {} |", row.iter().map(|c| c.trim()).collect::<Vec<_>>().join(" | "));
        });
        out.push('\n');
        return;
    }
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).chain([head[i].chars().count()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let _ = writeln!(out, "{title}");
    let mut put = |cells: &[String]| {
        let parts = cells
            .iter()
            .enumerate()
            .map(|(i, c)| if i == 0 { format!("  {c:<w$}", w = widths[0]) } else { format!("{c:>w$}", w = widths[i]) });
        let _ = writeln!(out, "{}", parts.collect::<Vec<_>>().join("  ").trim_end());
    };
    put(&head.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| put(row));
}
