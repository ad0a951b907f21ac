//! Real text: passages of this project's documentation and source, each behind a question about it. For engines whose speed depends on what
//! is said, such as mixtures of experts and those that speculate.
//!
//! The passages are copies in `samples/text`, made once and left as they are, so that the same words are sent by every version.

use super::law::{RATES, arrivals};
use super::settings::option;
use super::{Generator, OptionDef, Settings, made};
use crate::error::TraceError;
use crate::import::conversation::{ESTIMATED, Said, TOKENIZER, prompt, tokens};
use nomoat_core::request::OutputLength;
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Trace, TraceRequest};

/// The generator.
pub(crate) struct ProjectText;

/// A text: what it is called in a question, and its words.
struct Source {
    name: &'static str,
    text: &'static str,
    is_code: bool,
}

const SOURCES: [Source; 7] = [
    Source { name: "a document on architecture", text: include_str!("../../samples/text/architecture.txt"), is_code: false },
    Source { name: "a document on methods of measurement", text: include_str!("../../samples/text/methodology.txt"), is_code: false },
    Source { name: "a manual", text: include_str!("../../samples/text/readme.txt"), is_code: false },
    Source { name: "random numbers", text: include_str!("../../samples/text/rng.txt"), is_code: true },
    Source { name: "reuse of prefixes", text: include_str!("../../samples/text/reuse.txt"), is_code: true },
    Source { name: "schedules of requests", text: include_str!("../../samples/text/schedule.txt"), is_code: true },
    Source { name: "server-sent events", text: include_str!("../../samples/text/sse.txt"), is_code: true },
];

const ABOUT_TEXT: [&str; 4] = [
    "Summarise this passage of {} in five sentences.",
    "List the decisions in this passage of {}, and the reason given for each.",
    "Write three questions that this passage of {} answers, with their answers.",
    "Explain this passage of {} to somebody who is new to the subject.",
];
const ABOUT_CODE: [&str; 4] = [
    "Explain what this Rust code about {} does, function by function.",
    "Review this Rust code about {}: what could go wrong, and how would you test it?",
    "Write unit tests for this Rust code about {}.",
    "Rewrite the most complicated function of this Rust code about {} so that it is easier to read.",
];

/// Bytes from which a passage ends at the next border, and most bytes of one.
const PASSAGE: (usize, usize) = (2_000, 6_000);

impl Generator for ProjectText {
    fn name(&self) -> &'static str {
        "project-text"
    }

    fn about(&self) -> &'static str {
        "real text: questions about passages of this project's documents and source"
    }

    fn options(&self) -> &'static [OptionDef] {
        const OPTIONS: &[OptionDef] = &[
            option("requests", "requests", "40", "how many, at most as many as there are passages"),
            option("output", "tokens", "256", "longest answer"),
            option("rate", "requests/s", "", "Poisson arrivals; without it there are none, for a closed loop"),
        ];
        OPTIONS
    }

    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError> {
        let asked: Vec<String> = SOURCES.iter().flat_map(Source::questions).collect();
        let requests = settings.whole("requests", 1..=asked.len() as u64)?;
        let output = settings.tokens("output", 1)?;
        let mut at = arrivals(settings.number_if_given("rate", RATES)?, Stream::new(seed, "gen/project-text/arrivals"));
        let mut order: Vec<usize> = (0..asked.len()).collect();
        let mut draws = Stream::new(seed, "gen/project-text/order");
        for last in (1..order.len()).rev() {
            order.swap(last, draws.below(last as u64 + 1) as usize);
        }
        let requests = order.into_iter().take(requests as usize).map(|index| {
            let said = Said::text("user", &asked[index]);
            let input = tokens(said.bytes);
            let (at, length) = (at.next().flatten(), OutputLength::Cap);
            TraceRequest { at, length, ..TraceRequest::new(prompt(&[said], None), input, output) }
        });
        let mut d = settings.digester(1, seed);
        SOURCES.iter().for_each(|source| {
            d.text(source.text);
        });
        let requests = requests.collect();
        Ok(Trace {
            requests,
            source: d.finish(),
            tokenizer: Some(TOKENIZER.into()),
            losses: vec![ESTIMATED.into()],
            ..made(settings, 1, seed)
        })
    }
}

impl Source {
    fn questions(&self) -> impl Iterator<Item = String> {
        let questions = if self.is_code { ABOUT_CODE } else { ABOUT_TEXT };
        let ask = move |(passage, question): (&str, &str)| format!("{}\n\n{passage}", question.replace("{}", self.name));
        self.passages().into_iter().zip(questions.into_iter().cycle()).map(ask)
    }

    /// The text in pieces that begin where something begins: a heading, or an item after one that was closed.
    fn passages(&self) -> Vec<&'static str> {
        let (mut passages, mut begin, mut at) = (vec![], 0, 0);
        let mut closed = true;
        for line in self.text.split_inclusive('\n') {
            let is_border = if self.is_code { closed && line.trim().is_empty() } else { line.starts_with('#') || line == "\n" };
            let long = at - begin;
            if (is_border && long >= PASSAGE.0) || long + line.len() > PASSAGE.1 {
                passages.push(self.text[begin..at].trim());
                begin = at;
            }
            closed = line.starts_with('}');
            at += line.len();
        }
        passages.push(self.text[begin..].trim());
        passages.retain(|passage| passage.len() >= 400);
        passages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;
    use nomoat_core::prompt::Prompt;

    #[test]
    fn every_prompt_is_a_question_and_a_passage() {
        let trace = generate("project-text", 42, &[] as &[&str]).unwrap();
        assert_eq!(trace.requests.len(), 40);
        let mut seen = std::collections::HashSet::new();
        for r in &trace.requests {
            let Prompt::Messages(m) = &r.prompt else { panic!("messages") };
            let [message] = &*m.messages else { panic!("one message") };
            let value: serde_json::Value = serde_json::from_str(message).unwrap();
            let text = value["content"].as_str().unwrap();
            let (question, passage) = text.split_once("\n\n").unwrap();
            assert!(question.ends_with(['.', '?']) && !question.contains("{}"), "{question}");
            assert!(SOURCES.iter().any(|source| source.text.contains(passage)), "{passage}");
            assert!((100..=1_600).contains(&r.input_tokens), "{}", r.input_tokens);
            assert!(seen.insert(text.to_owned()), "asked once");
        }
        let all: usize = SOURCES.iter().map(|source| source.passages().len()).sum();
        assert!((40..=80).contains(&all), "{all} passages");
    }
}
