//! An adapter held against the rules of PROTOCOL.md.

use crate::backend::short_prompt;
use crate::echo::Script;
use crate::encoder::generate;
use crate::frame::framed;
use crate::link::{Broken, Link};
use crate::message::{Done, Said};
use nomoat_core::units::Nanos;
use std::path::Path;
use std::time::Duration;

/// One rule, and whether the adapter keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The rule's short name.
    pub rule: &'static str,
    /// Whether it is kept.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

/// Tokens of the answer that is asked for.
const ASKED: u32 = 8;
/// Tokens of the answer that is walked away from.
const LONG: u32 = 4096;
/// What an adapter in echo is asked to play, and for how many tokens: slow enough that a busy host does not make it look unplayed.
const SCRIPT: Script = Script { ttft: Nanos::from_millis(20), itl: Nanos::from_millis(20) };
const SCRIPTED: u32 = 4;

/// An answer, heard to its end.
struct Answer {
    tokens: u64,
    /// `tokens` messages.
    messages: usize,
    done: Done,
}

/// Holds the adapter at `socket` against every rule; each message may take `within`. Without a hello there is one finding.
pub async fn conform(socket: &Path, within: Duration) -> Vec<Finding> {
    let mut link = match Link::open(socket, within).await {
        Ok(link) => link,
        Err(broken) => return vec![finding("hello", Err(broken.to_string()))],
    };
    let hello = link.hello.clone();
    let mut found = vec![finding("hello", Ok(format!("{} {}, model {}", hello.engine, hello.version, hello.model)))];
    match answer(&mut link, ASKED, None, within).await {
        Ok(Answer { tokens, done, .. }) => {
            found.push(finding("answer", Ok(format!("{tokens} tokens"))));
            let exact = !hello.exact_length || tokens == u64::from(ASKED);
            found.push(finding("exact_length", judge(exact && tokens <= u64::from(ASKED), format!("{tokens} of {ASKED} tokens"))));
            let counts = done.usage.output.is_none_or(|output| u64::from(output) == tokens);
            found.push(finding(
                "counts",
                judge(
                    counts,
                    format!("{tokens} told one by one, usage says {}", done.usage.output.map_or("nothing".into(), |n| n.to_string())),
                ),
            ));
            let again = answer(&mut link, 1, None, within).await;
            found.push(finding("reuse", again.map(|_| "a second request on the connection is answered".into())));
            if hello.echo {
                found.push(finding("echo", echo(&mut link, within).await));
            }
        }
        Err(why) => found.push(finding("answer", Err(why))),
    }
    found.push(finding("cancel", cancelled(socket, within).await));
    found.push(finding("errors", errors(socket, within).await));
    found.push(finding("oversized", oversized(socket, within).await));
    found
}

fn finding(rule: &'static str, outcome: Result<String, String>) -> Finding {
    let ok = outcome.is_ok();
    let (Ok(detail) | Err(detail)) = outcome;
    Finding { rule, ok, detail }
}

fn judge(ok: bool, detail: String) -> Result<String, String> {
    if ok { Ok(detail) } else { Err(detail) }
}

async fn answer(link: &mut Link, asked: u32, script: Option<Script>, within: Duration) -> Result<Answer, String> {
    let (frame, _) = generate("conform", &short_prompt(&link.hello), asked, link.hello.exact_length, Some(0.0), script);
    let mut said = link.ask(&frame, within).await;
    let (mut tokens, mut messages) = (0_u64, 0);
    loop {
        match said.map_err(|e| e.to_string())? {
            Said::Tokens(t) if t.ids.as_ref().is_some_and(|ids| ids.len() != t.n as usize) => {
                return Err(format!("{} ids in a message of n = {}", t.ids.map_or(0, |ids| ids.len()), t.n));
            }
            Said::Tokens(t) => {
                tokens += u64::from(t.n);
                messages += 1;
            }
            Said::Done(_) if tokens == 0 => return Err("an answer without a token".into()),
            Said::Done(done) => return Ok(Answer { tokens, messages, done }),
            Said::Error(e) => return Err(format!("{}: {}", e.code, e.message)),
            Said::Hello(_) | Said::Samples { .. } => return Err("a message that is not due inside an answer".into()),
        }
        if tokens > u64::from(LONG) * 4 {
            return Err(format!("asked for {asked} tokens, it does not stop"));
        }
        said = link.hear(within).await;
    }
}

/// A scripted answer must come with the moment of each of its messages, in order and in the rhythm that was asked for.
async fn echo(link: &mut Link, within: Duration) -> Result<String, String> {
    let Answer { messages, done, .. } = answer(link, SCRIPTED, Some(SCRIPT), within).await?;
    let Some(sent) = done.sent_ns else { return Err("a `script` is answered without `sent_ns`".into()) };
    if sent.len() != messages {
        return Err(format!("{} moments in `sent_ns` of {messages} `tokens`", sent.len()));
    }
    if sent.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err("the moments in `sent_ns` go back".into());
    }
    let (Some(first), Some(last)) = (sent.first(), sent.last()) else { return Err("an answer without a token".into()) };
    let (took, asked) = (Nanos(*last) - Nanos(*first), Nanos(SCRIPT.itl.0 * i64::from(SCRIPTED - 1)));
    // A first token that is late makes the rest look fast; half of the time is more than that.
    judge(took >= Nanos(asked.0 / 2), format!("{messages} messages within {took}, {asked} by the script"))
}

/// Walks away from a long answer at its first message; the next connection must be served.
async fn cancelled(socket: &Path, within: Duration) -> Result<String, String> {
    let mut link = Link::open(socket, within).await.map_err(|e| e.to_string())?;
    let (frame, _) = generate("cancel", &short_prompt(&link.hello), LONG, link.hello.exact_length, Some(0.0), None);
    link.ask(&frame, within).await.map_err(|e| e.to_string())?;
    drop(link);
    let mut next = Link::open(socket, within).await.map_err(|e| format!("after a cancelled request: {e}"))?;
    answer(&mut next, 1, None, within).await.map_err(|e| format!("after a cancelled request: {e}"))?;
    Ok("after a cancelled request the next is answered".into())
}

/// A message that nobody knows must be answered by an error.
async fn errors(socket: &Path, within: Duration) -> Result<String, String> {
    let mut link = Link::open(socket, within).await.map_err(|e| e.to_string())?;
    let frame = framed(br#"{"type":"no such message"}"#).unwrap_or_default();
    match link.ask(&frame, within).await {
        Ok(Said::Error(e)) if !e.code.is_empty() && !e.message.is_empty() => Ok(format!("{}: {}", e.code, e.message)),
        Ok(Said::Error(_)) => Err("an error without a code or a message".into()),
        Ok(_) => Err("an unknown message is answered as if it were known".into()),
        Err(broken) => Err(format!("an unknown message is not answered by an error: {broken}")),
    }
}

/// A length beyond any bound must be refused from the length alone, and the adapter must live on.
async fn oversized(socket: &Path, within: Duration) -> Result<String, String> {
    let mut link = Link::open(socket, within).await.map_err(|e| e.to_string())?;
    let how = match link.ask(&[0xff; 4], within).await {
        Ok(Said::Error(e)) => format!("{}: {}", e.code, e.message),
        Err(Broken::Closed) => "closed".into(),
        Ok(_) => return Err("a length of 4 GiB is answered as if it were a request".into()),
        Err(broken) => return Err(format!("a length of 4 GiB is not refused: {broken}")),
    };
    Link::open(socket, within).await.map_err(|e| format!("after a length of 4 GiB: {e}"))?;
    Ok(how)
}
