//! What to ask an endpoint for, found out by asking: the dialect, token ids or text, forced lengths, usage, further fields.

use super::HttpBackend;
use crate::control::{CONTROL_TIMEOUT, ControlError};
use crate::encoder::{Counting, HttpEncoder};
use crate::engines::{EngineSpec, QuotaHeader};
use crate::preflight::{Answered, Attempt, PROBE_TOKENS, Trial, ask, preflight, trial};
use crate::protocol::{self, COMMON, Input, Protocol};
use nomoat_core::backend::BackendError;
use nomoat_core::quota::Quota;
use std::collections::BTreeMap;
use std::time::Duration;

/// A way to ask.
#[derive(Clone, Copy)]
struct Way {
    protocol: &'static dyn Protocol,
    ids: bool,
}

/// Longest time for the few tokens that show whether a forced length is kept.
const LENGTH_TIMEOUT: Duration = Duration::from_secs(20);

/// What became of a forced length.
enum Length {
    Kept,
    /// This many tokens came, twice.
    Missed(u32),
    Untold(String),
}

/// What was settled, and what was seen on the way.
pub(super) struct Settled {
    pub encoder: HttpEncoder,
    /// What was tried and how it went, by a short name.
    pub probed: BTreeMap<&'static str, String>,
    /// What the endpoint allows, as its answer said.
    pub quotas: Vec<Quota>,
    pub notes: Vec<String>,
}

/// Words of the texts whose tokens are counted before a run: the shorter two give the line, the third its error.
const COUNTED_WORDS: [u32; 3] = [16, 256, 128];
/// A count this near to one token a word, or to the line, is as good as it.
const NEAR: f64 = 0.02;

impl HttpBackend {
    /// Asks for one token after texts of some lengths and draws a line through what the endpoint counts. Where it counts nothing, or
    /// anything but a line, a word stays a token.
    async fn count_words(&self, encoder: &mut HttpEncoder, notes: &mut Vec<String>) {
        let mut counted = vec![];
        for words in COUNTED_WORDS {
            let text = encoder.some_words(words);
            let timeout = self.config.first_answer.unwrap_or(CONTROL_TIMEOUT);
            match ask(&self.route, encoder, Input::Text(&text), Trial { tokens: 1, exact: true }, timeout).await {
                Ok(Attempt::Accepted(answered)) => counted.extend(answered.record.tokens.input),
                // A small context, or somebody who wants no more of it.
                _ => return,
            }
        }
        let ([few, many, between], &[a, b, c]) = (COUNTED_WORDS.map(f64::from), &counted[..]) else { return };
        let [a, b, c] = [a, b, c].map(f64::from);
        let per_word = (b - a) / (many - few);
        let beside = a - per_word * few;
        let off = ((per_word * between + beside) / c - 1.0).abs();
        if !(0.2..=20.0).contains(&per_word) || beside < -per_word * few || beside > 4_096.0 || off > 0.1 {
            notes.push(format!(
                "the endpoint counts {counted:?} tokens for texts of {COUNTED_WORDS:?} words, which is no line: a word is taken for a token"
            ));
            return;
        }
        let plain = (per_word - 1.0).abs() <= NEAR;
        let counting = Counting { per_word: if plain { 1.0 } else { per_word }, beside: beside.round().max(0.0) as u32 };
        encoder.counting = counting;
        if !plain {
            notes.push(format!(
                "the endpoint counts {per_word:.2} tokens for a generated word ({:.1} % off the line): generated prompts have as many words less; --tokenizer FILE makes lengths exact",
                off * 100.0
            ));
        }
        if counting.beside > 0 {
            notes.push(format!(
                "the endpoint counts {} tokens beside the words of a prompt (its template): generated prompts are shorter by as many",
                counting.beside
            ));
        }
    }

    /// Tries one real one-token generation with the richest request first, and settles for what is accepted. Then asks for a few tokens
    /// to see whether a forced length is kept.
    pub(super) async fn settle(&self, model: String, spec: &EngineSpec) -> Result<Settled, BackendError> {
        let mut encoder = self.settled();
        encoder.model = model;
        let (root, asked) = (self.route.endpoint.root.clone(), self.config.exact);
        let mut refusals = vec![];
        for way in self.ways(spec, encoder.protocol) {
            encoder.protocol = way.protocol;
            encoder.token_ids = way.ids;
            encoder.fields = spec.fields(way.protocol);
            // An engine that has no field for it cannot be forced, and need not be asked.
            let forces = spec.can_force(way.protocol);
            let path = self.config.path.clone().unwrap_or_else(|| format!("{root}{}", way.protocol.path()));
            encoder.path = protocol::route(&path, &encoder.model);
            for (exact, usage, dressed) in
                [(asked, true, true), (asked, true, false), (false, true, true), (false, true, false), (false, false, false)]
            {
                if (exact && (!forces || encoder.length_refused())) || (dressed && spec.body.is_empty()) {
                    continue;
                }
                encoder.exact = exact;
                encoder.usage = usage;
                encoder.extra = self.extra(spec, dressed);
                match preflight(&self.route, &encoder, self.config.first_answer.unwrap_or(CONTROL_TIMEOUT)).await {
                    Ok(Attempt::Accepted(answered)) => {
                        self.came(&answered);
                        let mut notes = vec![];
                        if asked && !exact {
                            notes.push(if forces {
                                "the endpoint refused forced answer lengths (ignore_eos, min_tokens): lengths are caps".into()
                            } else {
                                format!(
                                    "{} cannot be made to answer an exact length in {} requests: lengths are caps",
                                    spec.title,
                                    way.protocol.name()
                                )
                            });
                        }
                        if !usage {
                            notes.push("the endpoint refused stream_options: output tokens are counted in events".into());
                        }
                        if !dressed && !spec.body.is_empty() {
                            let names: Vec<_> = spec.body.keys().map(String::as_str).collect();
                            notes.push(format!("the endpoint refused {}: its own timings are not asked for", names.join(", ")));
                        }
                        if !way.ids && answered.record.tokens.input.is_some() {
                            self.count_words(&mut encoder, &mut notes).await;
                        }
                        notes.extend(answered.notes.iter().cloned());
                        return self.try_length(encoder, spec, &answered, notes).await;
                    }
                    Ok(Attempt::Refused { status, said, .. }) => {
                        let prompt = if way.ids { "with token ids" } else { "with text" };
                        refusals.push(format!("{} {prompt}: HTTP {status}{said}", way.protocol.name()));
                        // What no other body will change.
                        if matches!(status, 401 | 403 | 404 | 405 | 429) || status >= 500 {
                            break;
                        }
                    }
                    Err(ControlError::Unreachable(why)) => {
                        return Err(BackendError::Unreachable(format!("asking {} for one token: {why}", self.shown())));
                    }
                    Err(error) => return Err(self.unreachable(error)),
                }
            }
        }
        refusals.dedup();
        Err(BackendError::Unreachable(format!(
            "{} did not generate a single token for model `{}`: {}",
            self.shown(),
            encoder.model,
            refusals.join("; ")
        )))
    }

    /// The ways to ask, in the order to try them: token ids first, because they make prompt lengths exact.
    fn ways(&self, spec: &EngineSpec, protocol: &'static dyn Protocol) -> Vec<Way> {
        let way = |protocol, ids| Way { protocol, ids };
        let mut ways: Vec<Way> = match &self.config.path {
            Some(_) if protocol.takes_ids() => vec![way(protocol, true), way(protocol, false)],
            Some(_) => vec![way(protocol, false)],
            None => {
                let named = spec.protocols.iter().filter_map(|name| protocol::by_name(name));
                let known: Vec<_> = named.collect();
                let known = if known.is_empty() { COMMON.to_vec() } else { known };
                known.into_iter().map(|p| way(p, p.takes_ids())).collect()
            }
        };
        ways.sort_by_key(|way| !way.ids);
        ways
    }

    /// The fields of every body: the engine's where it is `dressed`, and the user's over them.
    fn extra(&self, spec: &EngineSpec, dressed: bool) -> serde_json::Map<String, serde_json::Value> {
        let mut extra = if dressed { spec.body.clone() } else { serde_json::Map::new() };
        extra.extend(self.config.extra_body.clone());
        extra
    }

    /// Asks for a few tokens. An answer that is short once may be a fault of its own; only one that is short twice tells of the endpoint.
    /// Whatever else goes wrong here goes wrong under load too, and is a row there.
    async fn kept_length(&self, encoder: &HttpEncoder) -> Length {
        let timeout = self.config.first_answer.unwrap_or(CONTROL_TIMEOUT).min(LENGTH_TIMEOUT);
        let mut missed = 0;
        for _ in 0..2 {
            match trial(&self.route, encoder, Trial { tokens: PROBE_TOKENS, exact: true }, timeout).await {
                Ok(Attempt::Accepted(answered)) if !answered.counts_by_usage() => return Length::Untold("tokens are not counted".into()),
                Ok(Attempt::Accepted(answered)) => match answered.record.tokens.output {
                    Some(PROBE_TOKENS) => return Length::Kept,
                    got => missed = got.unwrap_or(0),
                },
                Ok(Attempt::Refused { status, said, .. }) => return Length::Untold(format!("HTTP {status}{said}")),
                Err(ControlError::Unreachable(why) | ControlError::Tls(why) | ControlError::Garbled(why)) => return Length::Untold(why),
            }
        }
        Length::Missed(missed)
    }

    /// Whether a forced length is kept, not only accepted.
    async fn try_length(
        &self,
        mut encoder: HttpEncoder,
        spec: &EngineSpec,
        first: &Answered,
        mut notes: Vec<String>,
    ) -> Result<Settled, BackendError> {
        let mut probed = BTreeMap::new();
        let asked = if encoder.token_ids { "token ids" } else { "text" };
        let counted = first.record.tokens.input.map_or_else(|| "not counted".to_owned(), |n| format!("counted as {n} tokens"));
        probed.insert("prompt", format!("{asked}, {counted}"));
        probed.insert("usage", if first.counts_by_usage() { "reported" } else { "not reported" }.into());
        if let Some(cached) = first.record.tokens.cache_read {
            probed.insert("cached_tokens", format!("reported ({cached})"));
        }
        if encoder.exact {
            match self.kept_length(&encoder).await {
                Length::Kept => {
                    probed.insert("forced_length", format!("{PROBE_TOKENS} of {PROBE_TOKENS} tokens"));
                }
                Length::Missed(got) => {
                    encoder.exact = false;
                    probed.insert("forced_length", format!("{got} of {PROBE_TOKENS} tokens"));
                    notes.push(format!(
                        "the endpoint accepts a forced answer length and does not keep it ({got} of {PROBE_TOKENS} tokens): lengths are caps"
                    ));
                }
                Length::Untold(why) => {
                    probed.insert("forced_length", format!("accepted, not seen: {why}"));
                }
            }
        }
        let quotas = quotas(spec, &first.headers);
        for quota in &quotas {
            probed.insert("quota", format!("{} {} in {} s ({})", quota.limit, quota.of.name(), quota.per_s, quota.source));
        }
        Ok(Settled { encoder, probed, quotas, notes })
    }
}

/// What the headers of an answer allow, by the description's word for them. A header that is no whole number says nothing.
fn quotas(spec: &EngineSpec, headers: &[(String, String)]) -> Vec<Quota> {
    let of_header = |q: &QuotaHeader| {
        let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(&q.header))?;
        Some(Quota { of: q.of.into(), per_s: q.per_s, limit: value.trim().parse().ok()?, source: q.header.clone() })
    };
    spec.quota.iter().filter_map(of_header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::Catalog;
    use nomoat_core::quota::QuotaOf;

    #[test]
    fn quotas_are_read_by_the_descriptions_word() {
        let catalog = Catalog::load(None).unwrap();
        let check = |engine: &str, headers: &[(&str, &str)], expect: &[(QuotaOf, u32, u64)]| {
            let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let found = quotas(&catalog.get(engine).unwrap(), &headers);
            let found: Vec<_> = found.iter().map(|q| (q.of, q.per_s, q.limit)).collect();
            assert_eq!(found, expect, "{engine}");
        };
        check("openai", &[("X-RateLimit-Limit-Requests", "500")], &[(QuotaOf::Requests, 60, 500)]);
        // Groq counts requests by the day under the same name.
        check("groq", &[("x-ratelimit-limit-requests", "14400")], &[(QuotaOf::Requests, 86_400, 14_400)]);
        check("anthropic", &[("anthropic-ratelimit-requests-limit", "50"), ("other", "1")], &[(QuotaOf::Requests, 60, 50)]);
        check("openai", &[("x-ratelimit-limit-requests", "unlimited")], &[]);
        check("vllm", &[("x-ratelimit-limit-requests", "5")], &[]);
    }
}
