//! Conversations of users with one assistant: a system prompt that all share, a beginning of each one's own, and turns whose prompts hold
//! everything said before, with answers of the recorded length. A user reads and types between turns.

use super::law::{Lognormal, RATES, arrivals, by_moments, micros};
use super::settings::option;
use super::{Generator, MOST_REQUESTS, OptionDef, Settings, made};
use crate::error::TraceError;
use crate::import::MAX_TOKENS;
use nomoat_core::prompt::{Part, PartPrompt, Prompt};
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Cause, Edge, Trace, TraceRequest};
use nomoat_core::units::Nanos;

/// The generator.
pub(crate) struct MultiTurn;

impl Generator for MultiTurn {
    fn name(&self) -> &'static str {
        "multi-turn"
    }

    fn about(&self) -> &'static str {
        "conversations that grow: a shared system prompt, an own one, turns with pauses between them"
    }

    fn options(&self) -> &'static [OptionDef] {
        const OPTIONS: &[OptionDef] = &[
            option("sessions", "sessions", "200", "how many conversations"),
            option("turns", "requests/session", "4", "turns of each"),
            option("system", "tokens", "1000", "system prompt that all share; 0 for none"),
            option("own", "tokens", "4000", "mean of what each conversation begins with besides; 0 for none"),
            option("own-sd", "tokens", "2000", "its standard deviation (lognormal)"),
            option("input", "tokens", "50", "what the user says in a turn"),
            option("output", "tokens", "300", "what the assistant answers"),
            option("gap", "time", "45s", "mean pause between an answer and the next turn (lognormal)"),
            option("gap-sd", "time", "45s", "its standard deviation"),
            option("gap-min", "time", "1s", "shortest pause"),
            option("gap-max", "time", "10m", "longest pause"),
            option("rate", "sessions/s", "", "Poisson arrivals of conversations; without it there are none"),
        ];
        OPTIONS
    }

    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError> {
        let sessions = settings.whole("sessions", 1..=MOST_REQUESTS)? as u32;
        let turns = settings.whole("turns", 1..=4_096)? as u16;
        if u64::from(sessions) * u64::from(turns) > MOST_REQUESTS {
            return Err(settings.wrong("turns", &format!("so many that all conversations have at most {MOST_REQUESTS} in all")));
        }
        let (system, own) = (settings.tokens("system", 0)?, settings.tokens("own", 0)?);
        let own_sd = settings.number("own-sd", 0.0..=1e7)?;
        let (input, output) = (settings.tokens("input", 1)?, settings.tokens("output", 1)?);
        let longest = u64::from(system) + u64::from(turns) * (u64::from(input) + u64::from(output));
        if longest >= MAX_TOKENS {
            return Err(settings.wrong("turns", &format!("so few that a prompt is shorter than {MAX_TOKENS} tokens")));
        }
        let own = (own > 0).then(|| Lognormal::of_mean(own.into(), own_sd, 1, (MAX_TOKENS - longest) as u32));
        let gaps = Gaps::read(settings)?;
        let mut at = arrivals(settings.number_if_given("rate", RATES)?, Stream::new(seed, "gen/multi-turn/arrivals"));
        let (mut owns, mut pauses) = (Stream::new(seed, "gen/multi-turn/own"), Stream::new(seed, "gen/multi-turn/gaps"));
        let mut requests: Vec<TraceRequest> = Vec::with_capacity(sessions as usize * usize::from(turns));
        // Identity 0 is the system prompt; every other piece has one of its own.
        let mut next_id = 1..;
        for session in 0..sessions {
            let mut piece = |tokens| next_id.next().map(|id| Part { id, tokens });
            let mut parts = vec![Part { id: 0, tokens: system }];
            parts.extend(own.as_ref().and_then(|law| piece(law.draw(&mut owns))));
            parts.retain(|part| part.tokens > 0);
            let begin = at.next().flatten();
            for turn in 0..turns {
                parts.extend(piece(input));
                let prompt = PartPrompt { namespace: 0, parts: parts.as_slice().into() };
                let tokens = prompt.tokens() as u32;
                let before = RequestId(requests.len().saturating_sub(1) as u32);
                let after = (turn > 0).then(|| Edge::after_end(before, gaps.draw(&mut pauses), Cause::Think));
                requests.push(TraceRequest {
                    at: begin.filter(|_| turn == 0),
                    after: after.into_iter().collect(),
                    session: Some(SessionId(session)),
                    turn,
                    ..TraceRequest::new(Prompt::Parts(prompt), tokens, output)
                });
                parts.extend(piece(output));
            }
        }
        Ok(Trace { requests, ..made(settings, 1, seed) })
    }
}

/// Lognormal pauses.
struct Gaps {
    median: f64,
    sigma: f64,
    min: Nanos,
    max: Nanos,
}

impl Gaps {
    fn read(settings: &Settings) -> Result<Self, TraceError> {
        let (mean, sd) = (settings.time("gap")?, settings.time("gap-sd")?);
        let (min, max) = (settings.time("gap-min")?, settings.time("gap-max")?);
        if min > max {
            return Err(settings.wrong("gap-max", &format!("at least gap-min, {min}")));
        }
        // A pause of nothing has no logarithm.
        let (median, sigma) = if mean == Nanos::ZERO { (0.0, 0.0) } else { by_moments(mean.as_secs_f64(), sd.as_secs_f64()) };
        Ok(Self { median, sigma, min, max })
    }

    fn draw(&self, stream: &mut Stream) -> Nanos {
        let seconds = self.median * libm::exp(self.sigma * stream.normal());
        micros(Nanos::from_secs_f64(seconds.min(self.max.as_secs_f64())).clamp(self.min, self.max))
    }
}

#[cfg(test)]
mod tests {
    use crate::generate::generate;
    use crate::{SharingOptions, stats};

    #[test]
    fn prompts_hold_everything_said_before() {
        let trace = generate("multi-turn", 3, &["sessions=2", "turns=3", "system=100", "own=0"]).unwrap();
        let rows: Vec<_> = trace.requests.iter().map(|r| (r.session.unwrap().0, r.turn, r.input_tokens, r.after.len())).collect();
        assert_eq!(rows, [(0, 0, 150, 0), (0, 1, 500, 1), (0, 2, 850, 1), (1, 0, 150, 0), (1, 1, 500, 1), (1, 2, 850, 1)]);
        let options = SharingOptions { engine_blocks: vec![1], ..SharingOptions::default() };
        let found = stats(&trace, &options).sharing.unwrap().engine[0].1;
        // A later turn finds the prompt before it, and the second conversation the system prompt.
        assert_eq!(found, 2 * (150 + 500) + 100);
    }

    #[test]
    fn pauses_and_beginnings_follow_their_laws() {
        let trace = generate("multi-turn", 3, &["sessions=8000", "turns=2", "gap-sd=20s", "gap-min=0s", "gap-max=1h"]).unwrap();
        let gaps: Vec<f64> = trace.requests.iter().flat_map(|r| &r.after).map(|edge| edge.gap.as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let sd = (gaps.iter().map(|g| (g - mean) * (g - mean)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean - 45.0).abs() < 1.0 && (sd - 20.0).abs() < 1.0, "{mean} {sd}");
        let firsts: Vec<f64> = trace.requests.iter().filter(|r| r.turn == 0).map(|r| f64::from(r.input_tokens) - 1_050.0).collect();
        let mean = firsts.iter().sum::<f64>() / firsts.len() as f64;
        assert!((mean - 4_000.0).abs() < 80.0, "{mean}");
    }
}
