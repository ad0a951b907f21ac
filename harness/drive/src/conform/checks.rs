//! The checks, in the order they are made. One function and one line in [`CHECKS`] each.

use super::{Heard, Saw, Session, word};
use nomoat_core::backend::BoxFuture;
use nomoat_core::conform::Outcome::{Good, Odd, Skipped, Wrong};
use nomoat_core::record::{Connection, CountSource, Status};
use nomoat_core::request::OutputLength;
use nomoat_core::sample::{Sample, names};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Answer length of most checks: long enough to see gaps, short enough for an engine of a few tokens per second.
const ANSWER: u32 = 16;
/// Prompt length of most.
const PROMPT: u32 = 48;
/// A prompt longer than the blocks of the known prefix caches (16 to 128 tokens).
const LONG: u32 = 300;
/// Answers that may come in one read before it counts.
const STREAMS: u32 = 3;
/// How long the engine's own numbers may take to show what it did.
const SETTLES: Duration = Duration::from_secs(10);
/// How often they are asked for meanwhile.
const LOOKS: Duration = Duration::from_millis(250);

/// A check.
pub(super) struct Check {
    pub name: &'static str,
    pub run: for<'s> fn(&'s mut Session<'_>) -> BoxFuture<'s, Saw>,
}

/// Every check.
pub(super) const CHECKS: &[Check] = &[
    Check { name: "answers stream", run: |s| Box::pin(streams(s)) },
    Check { name: "forced length is kept", run: |s| Box::pin(forced_length(s)) },
    Check { name: "output tokens are counted", run: |s| Box::pin(counted(s)) },
    Check { name: "tokens of each event", run: |s| Box::pin(events(s)) },
    Check { name: "prompt tokens are counted", run: |s| Box::pin(prompts(s)) },
    Check { name: "cached prompt tokens", run: |s| Box::pin(cached(s)) },
    Check { name: "a connection is kept", run: |s| Box::pin(kept(s)) },
    Check { name: "four at a time", run: |s| Box::pin(together(s)) },
    Check { name: "same prompt, same answer", run: |s| Box::pin(same(s)) },
    Check { name: "the engine's own counters", run: |s| Box::pin(counters(s)) },
    Check { name: "a cancelled request ends", run: |s| Box::pin(cancelled(s)) },
];

/// Asks with a fresh prompt; a failed answer is a finding of its own.
async fn ask(s: &mut Session<'_>, input: u32, output: u32) -> Result<Heard, Saw> {
    let prompt = s.fresh(input);
    let heard = s.ask(prompt, input, output).await.map_err(|e| (Wrong, e))?;
    match heard.failure() {
        Some(why) => Err((Wrong, why)),
        None => Ok(heard),
    }
}

/// The value, or the finding that stands instead of it.
macro_rules! heard {
    ($asked:expr) => {
        match $asked {
            Ok(heard) => heard,
            Err(saw) => return saw,
        }
    };
}

/// Tokens come as they are made, in reads of their own.
async fn streams(s: &mut Session<'_>) -> Saw {
    let (mut events, mut apart) = (0, 0);
    // A host that was busy for a moment reads what waited at once: only an answer that never comes in parts does not stream.
    for _ in 0..STREAMS {
        let record = heard!(ask(s, PROMPT, ANSWER).await).record;
        events = record.chunk_gaps.len();
        apart = record.chunk_gaps.iter().skip(1).filter(|gap| **gap > 0).count();
        if apart > 0 {
            break;
        }
    }
    let saw = format!("{events} events in {} reads", apart + 1);
    match (events, apart) {
        (0 | 1, _) => (Wrong, format!("{saw}: the answer comes in one piece, and TTFT is its whole time")),
        (_, 0) => (Wrong, format!("{saw}: something holds tokens back until the end (a proxy that buffers?)")),
        _ => (Good, saw),
    }
}

/// As many tokens as were forced, no fewer and no more.
async fn forced_length(s: &mut Session<'_>) -> Saw {
    if !s.can.exact_length {
        return (Odd, "lengths are caps: answers end where the model ends them".into());
    }
    let record = heard!(ask(s, PROMPT, ANSWER).await).record;
    let got = record.tokens.output.unwrap_or(0);
    let saw = format!("{got} of {ANSWER} tokens, finish {}", record.finish.map_or("not told".into(), word));
    if got == ANSWER { (Good, saw) } else { (Wrong, format!("{saw}: measure with --output-length cap")) }
}

/// The endpoint says how many tokens it made.
async fn counted(s: &mut Session<'_>) -> Saw {
    let record = heard!(ask(s, PROMPT, ANSWER).await).record;
    match (record.tokens.output, record.tokens.output_source) {
        (Some(n), CountSource::Chunks) => (Wrong, format!("{n} events, and no usage: a token is not an event")),
        (Some(n), source) => (Good, format!("{n} by {}", word(source))),
        (None, _) => (Wrong, "not at all".into()),
    }
}

/// Whether the tokens of each event are known, or the total is shared out.
async fn events(s: &mut Session<'_>) -> Saw {
    let record = heard!(ask(s, PROMPT, ANSWER).await).record;
    let (events, tokens) = (record.chunk_gaps.len(), record.tokens.output.unwrap_or(0));
    let saw = format!("{events} events with text for {tokens} tokens");
    match record.tokens.chunk_source {
        CountSource::PerChunk | CountSource::Engine => (Good, format!("{saw}, each with its count")),
        _ if events == tokens as usize => (Good, format!("{saw}, one each")),
        source => (Odd, format!("{saw}, shared out ({}): gaps between tokens are estimates", word(source))),
    }
}

/// Prompts that differ by a known number of tokens are counted so.
async fn prompts(s: &mut Session<'_>) -> Saw {
    let more = 32;
    let first = heard!(ask(s, PROMPT, 1).await).record.tokens.input;
    let second = heard!(ask(s, PROMPT + more, 1).await).record.tokens.input;
    let (Some(first), Some(second)) = (first, second) else {
        return (Wrong, "not at all: give --model-config or read input as asked".into());
    };
    let saw = format!("{PROMPT} counted as {first}, {} as {second}", PROMPT + more);
    let around = i64::from(first) - i64::from(PROMPT);
    match i64::from(second) - i64::from(first) {
        difference if difference == i64::from(more) && around == 0 => (Good, saw),
        difference if difference == i64::from(more) => (Good, format!("{saw}: {around:+} around every prompt")),
        _ if !s.can.token_ids => (Odd, format!("{saw}: its tokenizer splits the synthetic words")),
        _ => (Wrong, format!("{saw}: prompts of token ids are not taken as they are")),
    }
}

/// A prompt sent twice is found in the prefix cache, and that is told.
async fn cached(s: &mut Session<'_>) -> Saw {
    let prompt = s.fresh(LONG);
    let mut seen = vec![];
    for _ in 0..2 {
        let heard = match s.ask(prompt.clone(), LONG, 1).await {
            Ok(heard) => heard,
            Err(why) => return (Skipped, why),
        };
        if let Some(why) = heard.failure() {
            return (Skipped, format!("{why}; {LONG} tokens may be over the context"));
        }
        seen.push(heard.record.tokens.cache_read);
    }
    match seen[..] {
        [_, None] => (Odd, "not told: a prefix cache that is warm would go unseen".into()),
        [cold, Some(0)] => (Good, format!("none found the second time ({} the first)", cold.unwrap_or(0))),
        [None | Some(0), Some(warm)] => (Good, format!("0, then {warm} of {LONG}")),
        _ => (Odd, format!("a prompt nobody had sent was found in the cache: {seen:?}")),
    }
}

/// The next request goes over the same connection.
async fn kept(s: &mut Session<'_>) -> Saw {
    heard!(ask(s, PROMPT, 1).await);
    match heard!(ask(s, PROMPT, 1).await).record.connection {
        Connection::New => (Odd, "no: every TTFT has connecting in it".into()),
        other => (Good, word(other)),
    }
}

/// Answers that are made at the same time are as whole as those made alone.
async fn together(s: &mut Session<'_>) -> Saw {
    let prompts = (0..4).map(|_| (s.fresh(PROMPT), PROMPT)).collect();
    let heard = match s.ask_together(prompts, ANSWER).await {
        Ok(heard) => heard,
        Err(why) => return (Wrong, why),
    };
    if let Some(why) = heard.iter().find_map(Heard::failure) {
        return (Wrong, why);
    }
    let lengths: Vec<u32> = heard.iter().map(|h| h.record.tokens.output.unwrap_or(0)).collect();
    let whole = !s.can.exact_length || lengths.iter().all(|n| *n == ANSWER);
    (if whole { Good } else { Wrong }, format!("{lengths:?} tokens"))
}

/// Greedy sampling gives the same answer twice. Batching may change a near tie, so that it need not.
async fn same(s: &mut Session<'_>) -> Saw {
    let prompt = s.fresh(PROMPT);
    let mut texts = vec![];
    for _ in 0..2 {
        match s.ask(prompt.clone(), PROMPT, ANSWER).await {
            Ok(heard) if heard.failure().is_none() => texts.push((heard.text, heard.record.output_hash)),
            Ok(heard) => return (Wrong, heard.failure().unwrap_or_default()),
            Err(why) => return (Wrong, why),
        }
    }
    if texts[0] == texts[1] { (Good, "yes".into()) } else { (Odd, "no: near ties, or it samples; see --quality".into()) }
}

/// The engine's own counters move by exactly what was asked and answered.
async fn counters(s: &mut Session<'_>) -> Saw {
    let Some(mut telemetry) = s.backend.telemetry() else {
        return (Skipped, "it shows no metrics that are known; see --metrics-url".into());
    };
    let counted = [names::PROMPT_TOKENS, names::GENERATION_TOKENS];
    let read = |samples: Vec<Sample>| counted.map(|name| reading(&samples, name));
    // What came before may still be on its way into them.
    let mut before = [None, None];
    for _ in 0..SETTLES.as_millis() / LOOKS.as_millis() {
        let now = match telemetry.sample().await {
            Ok(samples) => read(samples),
            Err(why) => return (Odd, why.to_string()),
        };
        if now == before && now.iter().any(Option::is_some) {
            break;
        }
        before = now;
        tokio::time::sleep(LOOKS * 2).await;
    }
    if before.iter().all(Option::is_none) {
        return (Skipped, "its metrics hold no counter of tokens".into());
    }
    let record = heard!(ask(s, PROMPT, ANSWER).await).record;
    let asked = [record.tokens.input, record.tokens.output].map(|n| n.map(f64::from));
    let mut moved = [None, None];
    for _ in 0..SETTLES.as_millis() / LOOKS.as_millis() {
        let now = match telemetry.sample().await {
            Ok(samples) => read(samples),
            Err(why) => return (Odd, why.to_string()),
        };
        moved = [0, 1].map(|i| Some(now[i]? - before[i].unwrap_or(0.0)));
        if agrees(moved, asked) {
            break;
        }
        tokio::time::sleep(LOOKS).await;
    }
    let words = |pair: [Option<f64>; 2]| pair.map(|n| n.map_or("–".into(), |n| n.to_string())).join(" + ");
    let saw = format!("moved by {} prompt and output tokens, the answer says {}", words(moved), words(asked));
    if agrees(moved, asked) { (Good, saw) } else { (Wrong, format!("{saw}: is somebody else using it?")) }
}

/// A reading of the whole engine; where only what stands before it has one, that one.
fn reading(samples: &[Sample], name: &str) -> Option<f64> {
    let of = |fits: fn(&str) -> bool| samples.iter().find(|s| s.metric == name && fits(&s.labels)).map(|s| s.value);
    of(str::is_empty).or_else(|| of(|labels| labels.starts_with(names::LAYER) && !labels.contains(',')))
}

/// Whether counters moved by what was counted; what is not told cannot disagree. Some engines leave cached tokens out of prompts; fresh
/// prompts have none.
fn agrees(moved: [Option<f64>; 2], asked: [Option<f64>; 2]) -> bool {
    moved.iter().zip(asked).all(|(m, a)| m.is_none_or(|m| a.is_none_or(|a| m == a)))
}

/// Giving a request up stops it in the engine: else its tokens go on taking the engine's time.
async fn cancelled(s: &mut Session<'_>) -> Saw {
    let room = s.can.context_tokens.map_or(400, |context| context.saturating_sub(PROMPT + 64).min(400));
    let prompt = s.fresh(PROMPT);
    let prepared = match s.prepare(prompt, PROMPT, room, OutputLength::Exact) {
        Ok(prepared) => prepared,
        Err(why) => return (Skipped, why),
    };
    let mut sink = s.sink(&prepared);
    let seen = sink.first_token_flag();
    let gone = tokio::time::timeout(s.patience, async {
        tokio::select! {
            outcome = s.channel.generate(&prepared, &mut sink) => Some(outcome.is_ok()),
            () = first(&seen) => None,
        }
    })
    .await;
    match gone {
        Ok(None) => {}
        Ok(Some(_)) => return (Skipped, format!("an answer of {room} tokens was over before it could be given up")),
        Err(_) => return (Wrong, "no first token in time".into()),
    }
    let _ = sink.finish(Err(nomoat_core::event::RequestError::new(Status::Cancelled, nomoat_core::record::ErrorCode::Stopped)), false);
    let Some(mut telemetry) = s.backend.telemetry() else { return (Skipped, "no metric tells how many requests run".into()) };
    let mut running = None;
    for look in 1..=SETTLES.as_millis() / LOOKS.as_millis() {
        let samples = telemetry.sample().await.unwrap_or_default();
        running = reading(&samples, names::RUNNING);
        match running {
            None => return (Skipped, "no metric tells how many requests run".into()),
            Some(n) if n < 0.5 => return (Good, format!("within {} ms", look * LOOKS.as_millis())),
            Some(_) => tokio::time::sleep(LOOKS).await,
        }
    }
    (Odd, format!("{} still run after {} s: what is given up goes on taking time", running.unwrap_or(0.0), SETTLES.as_secs()))
}

/// Ends at the first token.
async fn first(seen: &std::sync::atomic::AtomicBool) {
    while !seen.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::sample::SampleSource;
    use nomoat_core::units::Nanos;

    #[test]
    fn what_stands_before_an_engine_speaks_where_the_engine_does_not() {
        let sample = |(labels, value): &(&str, f64)| Sample {
            at: Nanos::ZERO,
            source: SampleSource::Engine,
            metric: names::RUNNING.into(),
            labels: (*labels).into(),
            value: *value,
        };
        for (samples, expect) in [
            (&[("layer=gateway", 2.0), ("", 1.0)][..], Some(1.0)),
            (&[("layer=gateway", 2.0)][..], Some(2.0)),
            (&[("le=0.1,layer=gateway", 2.0)][..], None),
            (&[("model=x", 2.0)][..], None),
            (&[][..], None),
        ] {
            let samples: Vec<Sample> = samples.iter().map(sample).collect();
            assert_eq!(reading(&samples, names::RUNNING), expect, "{samples:?}");
        }
    }

    #[test]
    fn what_is_not_told_cannot_disagree() {
        let check = |moved, asked, expect| assert_eq!(agrees(moved, asked), expect, "{moved:?} {asked:?}");
        check([Some(48.0), Some(16.0)], [Some(48.0), Some(16.0)], true);
        check([Some(48.0), Some(15.0)], [Some(48.0), Some(16.0)], false);
        check([None, Some(16.0)], [Some(48.0), Some(16.0)], true);
        check([Some(1.0), Some(16.0)], [None, Some(16.0)], true);
    }
}
