//! What an engine is given that no file may hold: keys among its variables and arguments, and those of the endpoint.

use crate::setup::Setup;

/// What stands in their place.
pub const REDACTED: &str = "<redacted>";
/// Shorter ones are no secrets, and taking them out would garble every text.
const SHORTEST: usize = 4;
/// Parts of a name that tell a secret.
const TELLING: [&str; 10] = ["key", "apikey", "token", "secret", "password", "passwd", "passphrase", "credential", "credentials", "pat"];

/// Whether a variable or a flag of this name holds a secret: one of the parts between `_` and `-` tells so. `HF_TOKEN` does,
/// `TOKENIZERS_PARALLELISM` and `--max-num-batched-tokens` do not.
pub fn is_secret(name: &str) -> bool {
    name.split(['_', '-']).any(|part| TELLING.iter().any(|telling| part.eq_ignore_ascii_case(telling)))
}

/// Texts that are taken out of whatever is written.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Those among variables and arguments of an engine, and among our own variables, which it inherits.
    pub fn among(env: &[(String, String)], argv: &[String]) -> Self {
        let own = std::env::vars_os().map(|(n, v)| (n.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()));
        let variables = own.chain(env.iter().cloned()).filter(|(name, _)| is_secret(name)).map(|(_, value)| value);
        let pairs =
            argv.windows(2).filter(|pair| flag(&pair[0]).is_some_and(is_secret) && !pair[0].contains('=')).map(|pair| pair[1].clone());
        let joined = argv.iter().filter_map(|word| word.split_once('=')).filter(|(name, _)| flag(name).is_some_and(is_secret));
        let mut secrets = Self(variables.chain(pairs).chain(joined.map(|(_, value)| value.to_owned())).collect());
        secrets.settle();
        secrets
    }

    /// Those too that requests carry.
    pub fn with_requests(mut self, setup: &Setup) -> Self {
        self.0.extend(setup.api_key.clone());
        // Of `Bearer KEY` the key is a secret of its own.
        self.0.extend(setup.headers.iter().flat_map(|(_, value)| [value.clone(), value.rsplit(' ').next().unwrap_or_default().to_owned()]));
        self.settle();
        self
    }

    /// The longest first: one may be a part of another.
    fn settle(&mut self) {
        self.0.retain(|secret| secret.trim().len() >= SHORTEST);
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.0.dedup();
    }

    /// `text` without any of them.
    pub fn scrub(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| if text.contains(secret) { text.replace(secret, REDACTED) } else { text })
    }

    /// Bytes of the longest.
    pub fn longest(&self) -> usize {
        self.0.first().map_or(0, String::len)
    }
}

/// The name of a flag: a word that begins with a dash.
fn flag(word: &str) -> Option<&str> {
    word.starts_with('-').then(|| word.trim_start_matches('-'))
}

/// `NAME=VALUE` without its value where the name tells a secret.
pub fn redacted(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_tell() {
        for name in ["HF_TOKEN", "VLLM_API_KEY", "api-key", "OPENAI_APIKEY", "DB_PASSWORD", "hf-token", "token"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["TOKENIZERS_PARALLELISM", "max-num-batched-tokens", "KEYBOARD", "OMP_NUM_THREADS", "PATH", ""] {
            assert!(!is_secret(name), "{name}");
        }
        assert_eq!(redacted("HF_TOKEN=abc"), "HF_TOKEN=<redacted>");
        assert_eq!(redacted("OMP_NUM_THREADS=2"), "OMP_NUM_THREADS=2");
    }

    #[test]
    fn they_are_taken_out() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let env = [("A_TOKEN".to_owned(), "planted-1".to_owned()), ("THREADS".to_owned(), "planted-2".to_owned())];
        let secrets = Secrets::among(&env, &words("engine --api-key planted-12 --hf-token=planted-3 --max-tokens planted-4 --key abc"));
        let text = secrets.scrub("planted-1 planted-12 planted-2 planted-3 planted-4 abc");
        assert_eq!(text, "<redacted> <redacted> planted-2 <redacted> planted-4 abc");
        assert!(secrets.longest() >= 10);
    }
}
