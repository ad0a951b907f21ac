//! Placeholders of an engine's file: `{name}`, and `{port:NAME}`, a free port that stays the same for a name.

use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::TcpListener;

/// Where ports are looked for.
const PORTS: std::ops::Range<u16> = 18_000..30_000;

/// What stands for what.
#[derive(Default)]
pub struct Names {
    known: BTreeMap<String, String>,
    ports: RefCell<BTreeMap<String, u16>>,
}

impl Names {
    /// Adds a name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.known.insert(name.into(), value.into());
    }

    /// `text` with everything filled in.
    ///
    /// # Errors
    /// A name is not known: it is not left in a command for the engine to wonder about.
    pub fn fill(&self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').with_context(|| format!("`{text}` opens a brace and does not close it"))?;
            out.push_str(before);
            out.push_str(&self.value(name).with_context(|| format!("filling in `{text}`"))?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Every word filled in.
    pub fn fill_all(&self, words: &[String]) -> Result<Vec<String>> {
        words.iter().map(|word| self.fill(word)).collect()
    }

    fn value(&self, name: &str) -> Result<String> {
        if let Some(port) = name.strip_prefix("port:") {
            return self.port(port).map(|port| port.to_string());
        }
        match self.known.get(name) {
            Some(value) => Ok(value.clone()),
            None => {
                bail!("`{{{name}}}` is not known; there are {} and port:NAME", self.known.keys().cloned().collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn port(&self, name: &str) -> Result<u16> {
        let mut ports = self.ports.borrow_mut();
        if let Some(port) = ports.get(name) {
            return Ok(*port);
        }
        // Below the ephemeral range, which other programs are given ports from at any time; one of these engines reads ports as numbers of
        // 16 bits with a sign besides. Who else takes it in the meantime makes the engine end with its reason in its log.
        let first = std::process::id() as u16 % PORTS.len() as u16;
        let candidates = (0..PORTS.len() as u16).map(|n| PORTS.start + (first + n) % PORTS.len() as u16);
        let is_free = |port: &u16| ports.values().all(|taken| taken != port) && TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = candidates.into_iter().find(is_free).context("no port of loopback is free")?;
        ports.insert(name.into(), port);
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in() {
        let mut names = Names::default();
        names.set("env", "/e");
        let check = |text: &str, expect: Result<&str, &str>| match (names.fill(text), expect) {
            (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
            (Err(error), Err(says)) => assert!(format!("{error:#}").contains(says), "{error:#}"),
            (got, _) => panic!("{text}: {got:?}"),
        };
        check("", Ok(""));
        check("{env}/bin:{env}", Ok("/e/bin:/e"));
        check("{evn}", Err("`{evn}` is not known; there are env"));
        check("{env", Err("does not close it"));
    }

    #[test]
    fn a_port_keeps_its_name() {
        let names = Names::default();
        let [a, b, again] = ["{port:a}", "{port:b}", "{port:a}"].map(|text| names.fill(text).unwrap());
        assert_eq!(a, again);
        assert_ne!(a, b);
        assert!(a.parse::<u16>().is_ok());
    }
}
