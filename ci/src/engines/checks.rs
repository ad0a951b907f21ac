//! What is held against each engine, and what came of it.

use super::spec::{Known, Spec};
use serde::{Deserialize, Serialize};

/// Every check, in the order of the tables.
pub const NAMES: [&str; 6] = ["run", "tokens", "dialects", "join", "conform", "version"];

/// What each is, for the page.
pub const MEANINGS: [&str; 6] = [
    "`nomoat run` ends with 0, or INVALID for its own lateness alone (V05, V06), which a small shared host cannot avoid; every request has \
     one record, was answered and counted",
    "prompt and answer tokens of the records equal those that a relay read from the same bytes with a decoder of its own, and these, with \
     the pre-flight's, equal the growth of the engine's own counters to the token; without counters, the first half alone",
    "**run** and **tokens** over the engine's other routes, a few requests each",
    "nomoat's own rule V07 found and read the engine's counter and agrees with it",
    "`nomoat engine conform`",
    "nomoat names the engine and its version in the run's manifest",
];

/// How a check ended.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    Fail,
    /// It does not hold, and its file says why.
    Known,
    /// It could not be asked.
    Unavailable,
}

impl Verdict {
    /// Its word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Known => "known",
            Self::Unavailable => "–",
        }
    }
}

/// One check with its figures.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct Checked {
    pub name: String,
    pub verdict: Verdict,
    pub said: String,
}

/// What came of one engine.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// It did not run, for this reason. That is no success.
    Skipped(String),
    /// It ran.
    Checked {
        /// The revision of nomoat that was run, as its manifest has it.
        nomoat: String,
        checks: Vec<Checked>,
    },
}

/// Puts a result under its name; what the engine's file knows of does not fail.
pub fn judged(spec: &Spec, name: &str, outcome: Result<String, anyhow::Error>) -> Checked {
    let known: Option<&Known> = spec.known.iter().find(|known| known.check == name);
    let (verdict, said) = match (outcome, known) {
        (Ok(said), None) => (Verdict::Pass, said),
        // An exception that is no longer one must go, or it hides the next failure.
        (Ok(said), Some(known)) => (Verdict::Fail, format!("{said}; it holds, so take the exception `{}` out of its file", known.reason)),
        (Err(error), Some(known)) => (Verdict::Known, format!("{} ({error:#})", known.reason)),
        (Err(error), None) => (Verdict::Fail, format!("{error:#}")),
    };
    Checked { name: name.into(), verdict, said }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn an_exception_holds_while_it_is_one() {
        let file = |known: &str| {
            let text = format!(
                "title = 't'\norder = 1\nmodel = {{ name = 'm' }}\ninstall = {{ disk_gb = 1 }}\nversion = '1'\n\
                 start = [{{ name = 's', command = ['a'] }}]\nexpect = {{ engine = 'a', version = '1' }}\n\
                 endpoint = {{ url = 'http://127.0.0.1:{{port:http}}', ready = '/', within_s = 1 }}\n{known}"
            );
            super::super::spec::parse("x", &text).unwrap()
        };
        let (plain, excepted) = (file(""), file("known = [{ check = 'version', reason = 'why' }]"));
        let check = |spec: &Spec, outcome, expect: Verdict, says: &str| {
            let got = judged(spec, "version", outcome);
            assert_eq!(got.verdict, expect, "{got:?}");
            assert!(got.said.contains(says), "{got:?}");
        };
        check(&plain, Ok("yes".into()), Verdict::Pass, "yes");
        check(&plain, Err(anyhow!("no")), Verdict::Fail, "no");
        check(&excepted, Err(anyhow!("no")), Verdict::Known, "why (no)");
        check(&excepted, Ok("yes".into()), Verdict::Fail, "take the exception `why` out");
    }
}
