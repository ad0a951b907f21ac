//! What holds of every generator, and the digests that the same seed must give on every platform.

use super::*;
use crate::{ImportOptions, from_bytes, write_canonical};
use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::schedule::{Limit, Load, Rule, Schedule, Source, Warmup};
use nomoat_core::units::Nanos;
use std::collections::HashSet;
use std::sync::Arc;

/// By generator, with its default options under seed 42: the digest of the trace's content, and that of its schedule under Poisson arrivals of
/// 5/s for 60 s. A change of a law is a change of these, and a new version of the generator.
const GOLDEN: &[(&str, &str, &str)] = &[
    (
        "chat",
        "f8759ce6fe79c310b1d116cfb9f5428a7d82af1215e0182d6457b9f32d69139a",
        "4438307022fe4cb2daa767acad40fbff485ab41d90b922882f7a327cceac6717",
    ),
    (
        "random",
        "8208d67ecac87eefa8d7baa6c5562c5b23ceacd287aed7f156a4d4af4dbf10cc",
        "3532fa8619134fa22386f47ae00c793c14d5a7c405f187cc2412d7b352dec463",
    ),
    (
        "shared-prefix",
        "39a67bd826cff75aeb6fe000fe32bdccdd671e2cd70bde6d0e194d9943dfb8fe",
        "435d614c778a25ee9caf4eecb93323042d8faba6227cb45042566043d13ce9c0",
    ),
    (
        "multi-turn",
        "76a03b8cb962ff55b4c0b59028851d3fa3deb95ec586e54d3b03d7d68334d11b",
        "c81741b34999bd075aa1b31d73308c971f46e762deed54b4dac8a77224adab85",
    ),
    (
        "agentic",
        "2693925f6860528043f7460da5bf07b0f74570ba8677d7b316763dcf8fb47a36",
        "39ada30772c33246ac60a70de27f2996a5a795600fe679466589e40fcc4f58df",
    ),
    (
        "mlperf",
        "4a87625daa00588caf79cfd7b52b5862ac1865e8355197a99a5ee0da0a842681",
        "b00f901a5dcf7f54f8aab75bbddf18cba68a9779e0b66bfe924f90815f3e23e1",
    ),
    (
        "resample",
        "67894269754bc912da200f9bd8726a3d06728b39cdde1adeee918b4d85e5b513",
        "fbf2b4c2af1854a91930453059fd995ce5e6d22e37ab6eca1ea80a8be40316ed",
    ),
    (
        "project-text",
        "838f33c4a3b039083ea239ee8072d62f331e7b8e19410d188dc189395cf289df",
        "4af9eff459b75d3ce897460ef902abc0b377d72ee198e8e4685d2b5640dcacd1",
    ),
];

/// Generators that need a file have no default trace.
fn has_default(name: &str) -> bool {
    name != "servegen"
}

fn schedule(trace: &Trace) -> Schedule {
    let rule = Rule {
        source: Source::Trace(Arc::new(trace.clone())),
        load: Load::Arrivals { process: ArrivalProcess::Poisson, rate_per_s: 5.0 },
        speed: 1.0,
        warmup: Warmup::Time(Nanos::ZERO),
        limit: Limit { duration: Some(Nanos::from_secs(60)), requests: None },
        repeat: false,
        length: None,
        seed: 42,
    };
    Schedule::new(rule).unwrap()
}

#[test]
fn the_same_seed_gives_the_committed_digests() {
    let made: Vec<(String, String, String)> = GENERATORS
        .iter()
        .filter(|generator| has_default(generator.name()))
        .map(|generator| {
            let trace = generate(generator.name(), 42, &[] as &[&str]).unwrap();
            (generator.name().to_owned(), trace.content_digest().to_string(), schedule(&trace).digest().to_string())
        })
        .collect();
    let golden: Vec<_> = GOLDEN.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect();
    let lines: Vec<String> = made.iter().map(|(a, b, c)| format!("    (\"{a}\", \"{b}\", \"{c}\"),")).collect();
    assert!(made == golden, "another trace than the committed one; if a law was changed on purpose, write\n{}", lines.join("\n"));
}

#[test]
fn every_trace_is_sound_repeats_and_is_written_and_read_again() {
    for generator in GENERATORS.iter().filter(|generator| has_default(generator.name())) {
        let name = generator.name();
        let make = |seed| generate(name, seed, &[] as &[&str]).unwrap();
        let trace = make(7);
        assert!(trace == make(7), "{name} does not repeat");
        let other = make(8);
        assert_ne!(trace.content_digest(), other.content_digest(), "{name} does not look at its seed");
        assert_ne!(trace.source, other.source, "{name}");
        let mut latest = Nanos::ZERO;
        for (index, r) in trace.requests.iter().enumerate() {
            assert!(r.input_tokens > 0 && r.output_tokens > 0, "{name} {index}");
            assert!(usize::from(r.class) < trace.classes.len(), "{name} {index}");
            assert!(r.after.iter().all(|edge| (edge.request.0 as usize) < index && edge.gap.0 % 1_000 == 0), "{name} {index}");
            assert!(r.at.is_none_or(|at| at >= Nanos::ZERO && at.0 % 1_000 == 0), "{name} {index}");
            if r.after.is_empty() {
                assert!(r.at.is_none_or(|at| at >= latest), "{name} {index}");
                latest = r.at.unwrap_or(latest);
            }
        }
        let mut bytes = vec![];
        write_canonical(&trace, &mut bytes).unwrap();
        let read = from_bytes(name, &bytes, None, &ImportOptions::default()).unwrap();
        assert!(read.requests == trace.requests, "{name} is another trace when it is read again");
        assert_eq!((&read.name, &read.classes, &read.losses), (&trace.name, &trace.classes, &trace.losses));
    }
}

#[test]
fn options_are_declared_once_and_described() {
    for generator in GENERATORS {
        let names: HashSet<_> = generator.options().iter().map(|option| option.name).collect();
        assert_eq!(names.len(), generator.options().len(), "{}", generator.name());
        for option in generator.options() {
            assert!(!option.about.is_empty() && !option.unit.is_empty(), "{} {}", generator.name(), option.name);
            assert!(option.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{} {}", generator.name(), option.name);
        }
    }
}

#[test]
fn the_document_names_everything() {
    let document = include_str!("../../GENERATORS.md");
    for generator in GENERATORS {
        assert!(document.contains(&format!("\n## {}\n", generator.name())), "{}", generator.name());
        for option in generator.options() {
            let default = if option.default.is_empty() { "–" } else { option.default };
            let row = format!("| `{}` | {} | {default} | {} |", option.name, option.unit.replace('|', "&#124;"), option.about);
            assert!(document.contains(&row), "GENERATORS.md has no row\n{row}");
        }
    }
    for suite in crate::suites().unwrap() {
        assert!(document.contains(&format!("| `{}` | {} |", suite.name, suite.generator)), "{}", suite.name);
    }
}
