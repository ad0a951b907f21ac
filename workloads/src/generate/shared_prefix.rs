//! Groups of prompts behind one long beginning: assistants with long instructions, or questions about the same document.

use super::law::{RATES, Zipf, arrivals};
use super::settings::option;
use super::{Generator, MOST_REQUESTS, OptionDef, Settings, made};
use crate::error::TraceError;
use crate::import::MAX_TOKENS;
use nomoat_core::prompt::{Part, PartPrompt, Prompt};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Trace, TraceRequest};

/// The generator.
pub(crate) struct SharedPrefix;

impl Generator for SharedPrefix {
    fn name(&self) -> &'static str {
        "shared-prefix"
    }

    fn about(&self) -> &'static str {
        "groups of prompts that begin with the same text and end with a question of their own"
    }

    fn options(&self) -> &'static [OptionDef] {
        const OPTIONS: &[OptionDef] = &[
            option("groups", "groups", "32", "how many beginnings there are"),
            option("prompts", "requests/group", "32", "prompts of each group, on average where zipf is not 0"),
            option("system", "tokens", "2048", "length of each beginning"),
            option("question", "tokens", "256", "length of what is asked behind it"),
            option("output", "tokens", "256", "length of answers"),
            option("zipf", "exponent", "0", "how unequal groups are; 0: each has the same number of prompts"),
            option("rate", "requests/s", "", "Poisson arrivals; without it there are none, for a closed loop"),
        ];
        OPTIONS
    }

    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError> {
        let groups = settings.whole("groups", 1..=1_000_000)?;
        let each = settings.whole("prompts", 1..=MOST_REQUESTS)?;
        let Some(all) = groups.checked_mul(each).filter(|all| *all <= MOST_REQUESTS) else {
            return Err(settings.wrong("prompts", &format!("so many that all groups have at most {MOST_REQUESTS} in all")));
        };
        let (system, question) = (settings.tokens("system", 1)?, settings.tokens("question", 1)?);
        if u64::from(system) + u64::from(question) > MAX_TOKENS {
            return Err(settings.wrong("question", &format!("so short that a prompt has at most {MAX_TOKENS} tokens")));
        }
        let output = settings.tokens("output", 1)?;
        let zipf = settings.number("zipf", 0.0..=10.0)?;
        let mut at = arrivals(settings.number_if_given("rate", RATES)?, Stream::new(seed, "gen/shared-prefix/arrivals"));
        let mut draws = Stream::new(seed, "gen/shared-prefix/groups");
        let of_group: Vec<u64> = if zipf > 0.0 {
            let zipf = Zipf::new(groups as usize, zipf);
            (0..all).map(|_| zipf.draw(&mut draws) as u64).collect()
        } else {
            // As many of each, in an order that is drawn: Fisher and Yates.
            let mut order: Vec<u64> = (0..all).map(|index| index % groups).collect();
            for last in (1..order.len()).rev() {
                order.swap(last, draws.below(last as u64 + 1) as usize);
            }
            order
        };
        let requests = of_group.into_iter().enumerate().map(|(index, group)| {
            let parts = [Part { id: group, tokens: system }, Part { id: groups + index as u64, tokens: question }];
            let prompt = Prompt::Parts(PartPrompt { namespace: 0, parts: parts.into() });
            TraceRequest { at: at.next().flatten(), ..TraceRequest::new(prompt, system + question, output) }
        });
        let requests = requests.collect();
        Ok(Trace { requests, ..made(settings, 1, seed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;
    use crate::{SharingOptions, stats};
    use std::collections::HashMap;

    fn sizes(trace: &Trace) -> Vec<u32> {
        let mut sizes: HashMap<u64, u32> = HashMap::new();
        for request in &trace.requests {
            let Prompt::Parts(p) = &request.prompt else { panic!("parts") };
            *sizes.entry(p.parts[0].id).or_default() += 1;
        }
        let mut sizes: Vec<u32> = sizes.into_values().collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes
    }

    #[test]
    fn a_cache_finds_every_beginning_but_the_first_of_a_group() {
        let trace = generate("shared-prefix", 3, &[] as &[&str]).unwrap();
        assert_eq!(sizes(&trace), [32; 32]);
        let sharing = stats(&trace, &SharingOptions::default()).sharing.unwrap();
        assert_eq!(sharing.engine, [(16, 31 * 32 * 2_048)]);
        assert_eq!(sharing.cold, 32);
        let first: Vec<_> = trace.requests.iter().take(64).map(|r| r.prompt.clone()).collect();
        assert_ne!(
            generate("shared-prefix", 4, &[] as &[&str]).unwrap().requests[..64].iter().map(|r| r.prompt.clone()).collect::<Vec<_>>(),
            first
        );
    }

    #[test]
    fn groups_may_be_unequal() {
        let sizes = sizes(&generate("shared-prefix", 3, &["zipf=1", "prompts=1000", "groups=10"]).unwrap());
        // 1/k over their sum, 2.929.
        for (size, k) in sizes.iter().zip(1..) {
            let expect = 10_000.0 / f64::from(k) / 2.929;
            assert!((f64::from(*size) / expect - 1.0).abs() < 0.12, "{sizes:?}");
        }
    }
}
