//! The published agentic sessions, where they are at hand: sizes, prefix reuse and sub-agents are as their catalogue says.

use nomoat_core::prompt::Prompt;
use nomoat_core::request::SessionId;
use nomoat_core::trace::{Moment, Trace};
use nomoat_core::units::Nanos;
use nomoat_workloads::{Gaps, ImportOptions, from_bytes, open, write_canonical};
use std::collections::HashSet;
use std::path::PathBuf;

fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces/weka-agentic"));
    if !folder.exists() {
        eprintln!("skipped: {} is not here", folder.display());
        return None;
    }
    Some(folder)
}

/// Rows of the catalogue's table: file, digest, requests, sub-agents, their requests, longest prompt, last `t`, leading-block hit.
fn catalogue(folder: &std::path::Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder.join("README.md")).expect("a catalogue beside them");
    let rows = text.lines().filter(|line| line.starts_with("| trace_"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Tokens of leading blocks that an earlier prompt had, over all tokens: what a prefix cache without limit can use.
fn share(trace: &Trace) -> f64 {
    let (mut seen, mut reused, mut tokens) = (HashSet::new(), 0, 0);
    for request in &trace.requests {
        let Prompt::Blocks(prompt) = &request.prompt else { panic!("blocks") };
        let ids = || prompt.blocks.iter().flat_map(|range| range.first..range.first + u64::from(range.count));
        reused += 64 * ids().take_while(|id| seen.contains(id)).count();
        tokens += prompt.tokens as usize;
        seen.extend(ids());
    }
    reused as f64 / tokens as f64
}

#[test]
fn every_session_is_as_its_catalogue_says() {
    let Some(folder) = folder() else { return };
    let rows = catalogue(&folder);
    assert_eq!(rows.len(), 58);
    let (mut requests, mut agents) = (0, 0);
    for row in rows {
        let name = &row[0];
        let trace = open(&folder.join(name), None, &ImportOptions::default()).unwrap();
        assert_eq!(trace.source.to_string(), row[1], "{name}");
        assert_eq!(trace.origin.licence.as_deref(), Some("Apache-2.0"), "{name}");
        let whole = |cell: usize| row[cell].parse::<usize>().unwrap();
        let of_agents = trace.requests.iter().filter(|r| trace.classes[usize::from(r.class)] != "main").count();
        // The table's column of requests counts sub-agents' and, for those, is told apart by the next columns.
        assert_eq!((trace.requests.len(), of_agents), (whole(3), whole(5)), "{name}");
        assert_eq!(trace.requests.iter().map(|r| r.input_tokens as usize).max(), Some(whole(6)), "{name}");
        let last_t: f64 = row[7].parse().unwrap();
        let last = trace.requests.iter().filter(|r| r.class == 0).filter_map(|r| r.at).max().unwrap();
        assert!((last.as_secs_f64() - last_t).abs() < 0.001, "{name}: {last} and {last_t}");
        let hit: f64 = row[8].parse().unwrap();
        assert!((share(&trace) - hit).abs() <= 0.00005 + 1e-9, "{name}: {} and {hit}", share(&trace));
        assert_eq!(trace.requests[0].at, Some(Nanos::ZERO));
        assert!(trace.requests.iter().all(|r| r.session == Some(SessionId(0))));
        assert!(trace.requests.windows(2).all(|pair| pair[0].turn + 1 == pair[1].turn));
        // One root a session; everybody else waits for earlier requests only, never for a negative time.
        for (index, request) in trace.requests.iter().enumerate() {
            assert_eq!(request.after.is_empty(), index == 0, "{name} {index}");
            assert!(request.after.iter().all(|e| (e.request.0 as usize) < index && e.gap >= Nanos::ZERO), "{name} {index}");
        }
        let told = |what: &str| trace.losses.iter().find(|loss| loss.contains(what)).map(|loss| loss.split(' ').next().unwrap().to_owned());
        if row[4] != "0" {
            assert_eq!(told("sub-agents began their duration before"), Some(row[4].clone()), "{name}: {:?}", trace.losses);
        }
        assert_eq!((told("sub-agents ended after"), told("are waited for by nobody")), (None, None), "{name}");
        requests += trace.requests.len();
        agents += whole(4);
    }
    assert_eq!((requests, agents), (2_576, 17));
}

#[test]
fn sub_agents_of_a_session() {
    let Some(folder) = folder() else { return };
    let path = folder.join("trace_0291.json.gz");
    let trace = open(&path, None, &ImportOptions::default()).unwrap();
    // The sixteenth request, which ended at 1100.64, spawns two sub-agents of 5 and 7 requests; the next of its own reads both results.
    let edges =
        |index: usize| -> Vec<(u32, f64)> { trace.requests[index].after.iter().map(|e| (e.request.0, e.gap.as_secs_f64())).collect() };
    let close = |edges: Vec<(u32, f64)>, expect: &[(u32, f64)]| {
        assert_eq!(edges.len(), expect.len());
        assert!(edges.iter().zip(expect).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-6), "{edges:?}, not {expect:?}");
    };
    close(edges(15), &[(14, 182.0)]);
    close(edges(16), &[(15, 0.717)]);
    close(edges(17), &[(16, 3.0)]);
    close(edges(21), &[(15, 0.729)]);
    // The second ended at 1180.553 − 79.184 + 54 + 21.6 = 1176.969; the parent went on at 1209.
    close(edges(28), &[(15, 0.717), (20, 32.031), (27, 32.031)]);
    close(edges(29), &[(28, 11.0)]);
    let recorded = open(&path, None, &ImportOptions { gaps: Gaps::Recorded, ..ImportOptions::default() }).unwrap();
    for request in &recorded.requests {
        for edge in &request.after {
            assert_eq!(edge.on, Moment::Start);
            assert_eq!(Some(recorded.requests[edge.request.0 as usize].at.unwrap() + edge.gap), request.at);
        }
    }
}

#[test]
fn the_folder_is_one_trace() {
    let Some(folder) = folder() else { return };
    let trace = open(&folder, None, &ImportOptions::default()).unwrap();
    assert_eq!(trace.requests.len(), 2_576);
    assert_eq!(trace.requests.iter().filter(|r| r.after.is_empty()).count(), 58);
    assert!(trace.requests.iter().all(|r| r.at.is_none()));
    assert_eq!(trace.requests.last().unwrap().session, Some(SessionId(57)));
    assert_eq!(trace.origin.licence.as_deref(), Some("Apache-2.0"));
    assert_eq!(trace.requests.iter().map(|r| r.input_tokens).max(), Some(571_069));

    // What is megabytes of ids is a few runs a request.
    let mut written = vec![];
    write_canonical(&trace, &mut written).unwrap();
    let original: usize = catalogue(&folder).iter().map(|row| row[2].parse::<usize>().unwrap()).sum();
    eprintln!("{} bytes of {original}", written.len());
    assert!(written.len() * 10 < original, "{} bytes of {original}", written.len());
    assert!(from_bytes("copy", &written, None, &ImportOptions::default()).unwrap() == trace, "the canonical copy reads back the same");
}
