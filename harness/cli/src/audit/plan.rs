//! What an audit was asked for, checked, and the other harness's command line with its names filled in.

use super::seconds;
use crate::args::AuditArgs;
use crate::config::choose;
use crate::exit::Failure;
use crate::setup;
use nomoat_core::suggest::{distance, nearest};
use nomoat_core::units::Nanos;
use nomoat_results::Format;
use nomoat_truth::Script;
use nomoat_truth::audit::{AskedLoad, Reader, named};
use std::path::{Path, PathBuf};

/// The rate where no load is given.
const DEFAULT_RATE: f64 = 20.0;

/// The names that COMMAND may hold.
const NAMES: [&str; 11] =
    ["url", "base_url", "host", "port", "model", "out", "rate", "concurrency", "requests", "input_tokens", "output_tokens"];

/// A checked audit.
pub struct Plan {
    /// What the server plays.
    pub script: Script,
    /// The load both are asked for.
    pub load: AskedLoad,
    /// Requests both are asked for.
    pub requests: u32,
    /// Tokens of prompts.
    pub input_tokens: u32,
    /// Tokens of answers.
    pub output_tokens: u32,
    /// The one reader to ask.
    pub tool: Option<&'static Reader>,
    /// Longest time for the other harness.
    pub timeout: Nanos,
    /// How the table is printed.
    pub format: Format,
}

impl Plan {
    /// Checks the flags.
    pub fn new(args: &AuditArgs) -> Result<Self, Failure> {
        let mut script = Script::parse(&args.script).map_err(|e| Failure::usage(format!("--{e}")))?;
        // A harness that forces no length gets the asked one all the same.
        if !args.script.split(',').any(|pair| pair.trim_start().starts_with("output_tokens=")) {
            script.output_tokens = args.output_tokens;
        }
        for (flag, value) in [("--requests", args.requests), ("--input-tokens", args.input_tokens), ("--output-tokens", args.output_tokens)]
        {
            if value == 0 {
                return Err(Failure::usage(format!("{flag} is 0, and an audit needs at least 1")));
            }
        }
        let rate = args.rate.unwrap_or(DEFAULT_RATE);
        if !(rate.is_finite() && rate > 0.0) {
            return Err(Failure::usage(format!("--rate {rate} is not a number of requests per second above 0")));
        }
        let load = match (args.concurrency, choose("--arrivals", &args.arrivals, &["constant", "poisson"])?) {
            (Some(0), _) => return Err(Failure::usage("--concurrency is 0, and a closed loop has at least 1")),
            (Some(concurrency), _) => AskedLoad::Closed(concurrency),
            (None, "poisson") => AskedLoad::Poisson(rate),
            (None, _) => AskedLoad::Constant(rate),
        };
        let tool = args.tool.as_deref().map(named).transpose().map_err(|e| Failure::usage(format!("--tool: {e}")))?;
        let timeout = Nanos::parse(&args.timeout).map_err(|e| Failure::usage(format!("--timeout: {e}")))?;
        Ok(Self {
            script,
            load,
            requests: args.requests,
            input_tokens: args.input_tokens,
            output_tokens: args.output_tokens,
            tool,
            timeout,
            format: setup::format(&args.format)?,
        })
    }

    /// The load in words.
    pub fn words_of_load(&self) -> String {
        let load = match self.load {
            AskedLoad::Constant(rate) => format!("{rate} requests/s at a constant rate"),
            AskedLoad::Poisson(rate) => format!("{rate} requests/s, a Poisson process"),
            AskedLoad::Closed(concurrency) => format!("closed loop of {concurrency}"),
        };
        format!("{load} · {} requests · {} tokens in, {} out", self.requests, self.input_tokens, self.output_tokens)
    }

    /// The other harness's command line.
    pub fn words(&self, args: &AuditArgs, address: &str, out: &Path) -> Result<Vec<String>, Failure> {
        args.command.iter().map(|word| self.fill(word, address, out)).collect()
    }

    /// The path of its result.
    pub fn path(&self, file: &str, address: &str, out: &Path) -> Result<PathBuf, Failure> {
        self.fill(file, address, out).map(PathBuf::from)
    }

    /// Fills the names of a word in. Braces around anything else are left alone, because words may be JSON or a shell's.
    fn fill(&self, word: &str, address: &str, out: &Path) -> Result<String, Failure> {
        let mut filled = String::with_capacity(word.len());
        let mut rest = word;
        while let Some(open) = rest.find('{') {
            let (before, behind) = rest.split_at(open);
            filled.push_str(before);
            let name = behind[1..].split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let Some(name) = name.filter(|_| !before.ends_with('$')) else {
                filled.push('{');
                rest = &behind[1..];
                continue;
            };
            match self.value(name, address, out)? {
                Some(value) => filled.push_str(&value),
                None => filled.extend(["{", name, "}"]),
            }
            rest = &behind[name.len() + 2..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, name: &str, address: &str, out: &Path) -> Result<Option<String>, Failure> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let absent =
            |other: &str| Failure::usage(format!("COMMAND has {{{name}}}, which this load does not have; give --{name}, or {other}"));
        Ok(Some(match name {
            "url" => format!("http://{address}"),
            "base_url" => format!("http://{address}/v1"),
            "host" => host.to_owned(),
            "port" => port.to_owned(),
            "model" => self.script.model.clone(),
            "out" => out.display().to_string(),
            "rate" => self.load.rate().ok_or_else(|| absent("{concurrency}"))?.to_string(),
            "concurrency" => match self.load {
                AskedLoad::Closed(concurrency) => concurrency.to_string(),
                _ => return Err(absent("{rate}")),
            },
            "requests" => self.requests.to_string(),
            "input_tokens" => self.input_tokens.to_string(),
            "output_tokens" => self.output_tokens.to_string(),
            _ => match nearest(name, NAMES) {
                Some(near) if distance(name, near) <= 2 && name.len() > 3 => {
                    return Err(Failure::usage(format!(
                        "COMMAND has {{{name}}}, which is no name that is filled in; did you mean {{{near}}}? There are {}",
                        NAMES.join(", ")
                    )));
                }
                _ => return Ok(None),
            },
        }))
    }

    /// What is said when the other harness takes too long.
    pub fn too_long(timeout: Nanos) -> String {
        format!("not ended after {}; give a longer --timeout or fewer --requests", seconds(timeout))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(load: AskedLoad) -> Plan {
        Plan {
            script: Script::default(),
            load,
            requests: 7,
            input_tokens: 3,
            output_tokens: 5,
            tool: None,
            timeout: Nanos::from_secs(1),
            format: Format::Table,
        }
    }

    #[test]
    fn names_are_filled_in() {
        let check = |load, word: &str, expect: Result<&str, &str>| {
            let got = plan(load).fill(word, "127.0.0.1:81", Path::new("/o"));
            match (got, expect) {
                (Ok(got), Ok(expect)) => assert_eq!(got, expect, "{word}"),
                (Err(error), Err(says)) => assert!(error.message.contains(says), "{word}: {error}"),
                (got, _) => panic!("{word}: {got:?}"),
            }
        };
        let open = AskedLoad::Constant(2.5);
        check(open, "--url={url}", Ok("--url=http://127.0.0.1:81"));
        check(open, "{base_url},{host},{port},{model},{out}", Ok("http://127.0.0.1:81/v1,127.0.0.1,81,truth,/o"));
        check(open, "{rate} {requests} {input_tokens} {output_tokens}", Ok("2.5 7 3 5"));
        check(AskedLoad::Closed(4), "{concurrency}", Ok("4"));
        check(AskedLoad::Closed(4), "{rate}", Err("give --rate, or {concurrency}"));
        check(open, "{concurrency}", Err("give --concurrency, or {rate}"));
        check(open, "{basurl}", Err("did you mean {base_url}?"));
        check(open, "{\"a\":{\"url\":1}} ${url} {print} {} {URL} {", Ok("{\"a\":{\"url\":1}} ${url} {print} {} {URL} {"));
    }
}
