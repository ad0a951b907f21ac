//! One cycle by calls: to the cold state and back, with the moments of the way back.

use crate::exit::{Exit, Failure};
use crate::launch::{pause, shown};
use crate::live_line::LiveLine;
use crate::processes;
use crate::setup::Setup;
use nomoat_core::clock::Clock as _;
use nomoat_core::units::Nanos;
use nomoat_drive::{MonotonicClock, Stop};
use nomoat_http::engines::{ActionSpec, CallSpec, Sign};
use nomoat_http::{HttpBackend, OneToken};
use nomoat_results::cold_start::CycleWire;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an engine may take to a state, or back to its first token, unless --wait-ready says otherwise.
const WITHIN: Nanos = Nanos::from_secs(600);
/// The longest pause that `retry-after` is believed for.
const RETRY_MOST: Duration = Duration::from_mins(1);

/// How the engine gets cold.
pub enum Way {
    /// Its process ends.
    Launch,
    /// By control calls.
    Calls(Box<ActionSpec>),
}

/// Now, on the run's clock.
pub fn now() -> Nanos {
    MonotonicClock.now()
}

/// A call in words, without its body: that may be long, and is the description's.
pub fn call_words(call: &CallSpec) -> String {
    format!("POST {}", call.post)
}

/// What is done in one cycle.
pub struct Cycle<'a> {
    setup: &'a Setup,
    backend: &'a HttpBackend,
    url: &'a str,
    action: &'a ActionSpec,
    group: Option<u32>,
}

/// How the first answer came.
pub struct Answered {
    pub first_token: Nanos,
    pub refused: BTreeMap<u16, u32>,
    pub lost: u32,
    /// From sending to the first token, once more.
    pub warm: Nanos,
}

impl<'a> Cycle<'a> {
    /// A cycle of the engine behind `backend`, whose processes are `group` where they are ours.
    pub fn new(setup: &'a Setup, backend: &'a HttpBackend, url: &'a str, action: &'a ActionSpec, group: Option<u32>) -> Self {
        Self { setup, backend, url, action, group }
    }

    /// Does it.
    ///
    /// # Errors
    /// It does not get to a state in time, refuses a call, or the user stops it.
    pub async fn run(&self, mut stop: Stop) -> Result<CycleWire, Failure> {
        tokio::select! {
            () = stop.wait() => Err(interrupted()),
            done = self.through() => done,
        }
    }

    async fn through(&self) -> Result<CycleWire, Failure> {
        let action = self.action;
        let resident = || self.group.and_then(processes::held).map(|held| held.resident_bytes);
        let resident_warm_bytes = resident();
        let begun = now();
        self.calls(&action.cool, "to the cold state").await?;
        if let Some(cold) = &action.cold {
            self.until(cold, "be cold").await?;
        }
        let cool = now() - begun;
        let resident_cold_bytes = resident();
        let begun = now();
        self.calls(&action.warm, "back").await?;
        let api_ns = (!action.warm.is_empty()).then(|| (now() - begun).0);
        let mut ready_ns = None;
        if let Some(warmed) = &action.warmed {
            self.until(warmed, "be back").await?;
            ready_ns = Some((now() - begun).0);
        }
        let answered = asked(self.setup, self.backend, action.model.as_deref()).await?;
        Ok(CycleWire {
            cool_ns: cool.0,
            api_ns,
            port_open_ns: None,
            ready_ns,
            first_token_ns: (answered.first_token - begun).0,
            refused: answered.refused,
            lost: answered.lost,
            warm_token_ns: answered.warm.0,
            resident_warm_bytes,
            resident_cold_bytes,
        })
    }

    /// Calls one after the other; each may take as long as a state may.
    async fn calls(&self, calls: &[CallSpec], whereto: &str) -> Result<(), Failure> {
        for call in calls {
            let body = call.body.as_ref().map_or_else(Vec::new, |body| body.to_string().into_bytes());
            let reply = self.backend.call("POST", &call.post, &body, self.within().to_std()).await;
            let why = match reply {
                Ok(reply) if !call.must || (200..300).contains(&reply.status) => continue,
                Ok(reply) => format!("HTTP {}{}", reply.status, reply.said()),
                Err(why) => why,
            };
            let message = format!("asking {} {whereto} by {}: {why}{}", self.url, call_words(call), self.needs());
            return Err(Failure { exit: Exit::Unreachable, message });
        }
        Ok(())
    }

    /// Waits until the state is shown.
    async fn until(&self, sign: &Sign, what: &str) -> Result<(), Failure> {
        let begun = now();
        let mut line = LiveLine::new(!self.setup.args.quiet);
        loop {
            let Err(words) = shown(self.backend, std::slice::from_ref(sign)).await else {
                line.clear();
                return Ok(());
            };
            let waited = now() - begun;
            if waited >= self.within() {
                line.clear();
                let message =
                    format!("{} was asked to {what} and does not show it after {}: {words}{}", self.url, self.within(), self.needs());
                return Err(Failure { exit: Exit::Unreachable, message });
            }
            line.show(|| format!("{:>4.0} s  waiting for it to {what}: {words}", waited.as_secs_f64()));
            tokio::time::sleep(pause(waited.to_std())).await;
        }
    }

    fn within(&self) -> Nanos {
        self.setup.wait_ready.unwrap_or(WITHIN)
    }

    /// What it must have been started with, for messages.
    fn needs(&self) -> String {
        self.action.needs.as_ref().map_or(String::new(), |needs| format!("; it needs {needs}"))
    }
}

fn interrupted() -> Failure {
    Failure { exit: Exit::Interrupted, message: "stopped in the middle of a cycle".into() }
}

/// Asks for one token until it comes: an engine on its way back refuses, and says when to come again. Then once more, for how long that
/// takes when it is warm.
///
/// # Errors
/// It does not come in time, is refused for good, or the user stops it.
pub async fn answers(setup: &Setup, backend: &HttpBackend, model: Option<&str>, mut stop: Stop) -> Result<Answered, Failure> {
    tokio::select! {
        () = stop.wait() => Err(interrupted()),
        answered = asked(setup, backend, model) => answered,
    }
}

async fn asked(setup: &Setup, backend: &HttpBackend, model: Option<&str>) -> Result<Answered, Failure> {
    let within = setup.wait_ready.unwrap_or(WITHIN);
    let timeout = setup.timeouts.first_token.unwrap_or(setup.timeouts.total).to_std();
    let failed = |message: String| Err(Failure { exit: Exit::Unreachable, message });
    let (mut refused, mut lost) = (BTreeMap::new(), 0);
    let begun = now();
    let mut line = LiveLine::new(!setup.args.quiet);
    let first_token = loop {
        let waited = now() - begun;
        let (words, rest) = match backend.one_token(model, timeout).await {
            OneToken::Came { first_token } => break first_token,
            OneToken::Refused { status, said, retry_after } => {
                *refused.entry(status).or_default() += 1;
                // What will not change by waiting. A model that is not listed yet is 404 for a while.
                if status < 500 && ![404, 408, 425, 429].contains(&status) {
                    line.clear();
                    return failed(format!("asking for the first token: HTTP {status}{said}"));
                }
                (format!("HTTP {status}{said}"), retry_after)
            }
            OneToken::Lost(why) => {
                lost += 1;
                (why, None)
            }
        };
        if now() - begun >= within {
            line.clear();
            return failed(format!("no first token within {within}: {words}; --wait-ready TIME waits longer"));
        }
        line.show(|| format!("{:>4.0} s  waiting for the first token: {words}", waited.as_secs_f64()));
        // What the engine asks for, where that is longer.
        let asked = rest.and_then(|text| text.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
        let rest = (within - (now() - begun)).to_std();
        tokio::time::sleep(pause(waited.to_std()).max(asked.min(RETRY_MOST)).min(rest)).await;
    };
    line.clear();
    let sent = now();
    match backend.one_token(model, timeout).await {
        OneToken::Came { first_token: again } => Ok(Answered { first_token, refused, lost, warm: again - sent }),
        OneToken::Refused { status, said, .. } => failed(format!("the engine answered once and then refused: HTTP {status}{said}")),
        OneToken::Lost(why) => failed(format!("the engine answered once and then not: {why}")),
    }
}
