//! Several endpoints count as one engine only if they are one: the same engine, version, model and dialect, asked in the same way.

use crate::exit::{Exit, Failure};
use nomoat_core::backend::{BackendInfo, Capabilities, EngineVersion};

/// What was found at one endpoint.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// What and where it is.
    pub info: BackendInfo,
    /// The receipt.
    pub version: EngineVersion,
    /// What it can do.
    pub can: Capabilities,
}

/// What several endpoints are together. The first one speaks for all; the context is the shortest of all, and what the probe saw of one
/// alone names it.
///
/// # Errors
/// Two of them differ: both are named. There is none.
pub fn agree(found: &[Found]) -> Result<Found, Failure> {
    let Some(first) = found.first() else { return Err(Failure::internal("nothing was asked")) };
    for other in found.iter().skip(1) {
        if let Some(((verb, a), (_, b))) = words(first).into_iter().zip(words(other)).find(|(a, b)| a != b) {
            let (here, there) = (&first.info.target, &other.info.target);
            let message = format!(
                "the endpoints of one run must be the same engine: {here} {verb} {a}, {there} {verb} {b}; make them the same, or measure them one by one"
            );
            return Err(Failure { exit: Exit::Unreachable, message });
        }
        if other.info.target == first.info.target {
            return Err(Failure::usage(format!("--url {} is given twice", other.info.target)));
        }
    }
    let mut all = first.clone();
    all.info.target = found.iter().map(|f| f.info.target.as_str()).collect::<Vec<_>>().join(", ");
    all.info.shares_host = found.iter().any(|f| f.info.shares_host);
    all.can.context_tokens = found.iter().filter_map(|f| f.can.context_tokens).min();
    // Each endpoint is asked for its part only; whose quota is whose is not told, so that the smallest is kept to.
    all.can.quotas = found.iter().flat_map(|f| f.can.quotas.clone()).collect();
    all.can.notes.clear();
    for f in found {
        for note in &f.can.notes {
            let common = found.iter().all(|other| other.can.notes.contains(note));
            let note = if common { note.clone() } else { format!("{}: {note}", f.info.target) };
            if !all.can.notes.contains(&note) {
                all.can.notes.push(note);
            }
        }
    }
    Ok(all)
}

/// What must be the same, in words with a verb before each.
fn words(found: &Found) -> [(&'static str, String); 5] {
    let Found { info, version, can } = found;
    let lengths = if can.exact_length { "exact" } else { "capped" };
    [
        ("is", format!("{} {}", version.engine, version.version)),
        ("serves", format!("model `{}`", can.model)),
        ("speaks", info.dialect.clone()),
        ("takes prompts as", if can.token_ids { "token ids" } else { "text" }.into()),
        ("offers", format!("{lengths} lengths {} usage", if can.usage { "with" } else { "without" })),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: &str) -> Found {
        Found {
            info: BackendInfo { kind: "http", dialect: "chat".into(), target: url.into(), shares_host: false, stamps: "kernel" },
            version: EngineVersion { engine: "vllm".into(), version: "0.32.0".into(), source: "/version".into() },
            can: Capabilities { model: "m".into(), notes: vec!["both".into()], ..Capabilities::default() },
        }
    }

    #[test]
    fn one_speaks_for_itself() {
        assert_eq!(agree(&[found("http://a")]).unwrap(), found("http://a"));
        assert!(agree(&[]).is_err());
    }

    #[test]
    fn what_they_are_together() {
        let [mut a, mut b] = [found("http://a"), found("http://b")];
        (a.can.context_tokens, b.can.context_tokens) = (Some(100), Some(90));
        b.info.shares_host = true;
        b.can.notes.push("only here".into());
        let all = agree(&[a, b]).unwrap();
        assert_eq!((all.info.target.as_str(), all.info.shares_host), ("http://a, http://b", true));
        assert_eq!(all.can.context_tokens, Some(90));
        assert_eq!(all.can.notes, ["both", "http://b: only here"]);
    }

    #[test]
    fn whoever_differs_is_named() {
        let check = |change: fn(&mut Found), says: &str| {
            let mut other = found("http://c");
            change(&mut other);
            let error = agree(&[found("http://a"), found("http://b"), other]).unwrap_err().message;
            assert!(error.contains(says), "{error}");
        };
        check(|f| f.version.version = "0.31.0".into(), "http://a is vllm 0.32.0, http://c is vllm 0.31.0");
        check(|f| f.can.model = "n".into(), "http://a serves model `m`, http://c serves model `n`");
        check(|f| f.info.dialect = "completions".into(), "http://a speaks chat, http://c speaks completions");
        check(|f| f.can.token_ids = true, "http://a takes prompts as text, http://c takes prompts as token ids");
        check(|f| f.can.usage = true, "http://c offers capped lengths with usage");
        check(|f| f.info.target = "http://a".into(), "--url http://a is given twice");
    }
}
