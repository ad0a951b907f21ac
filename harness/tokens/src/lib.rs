//! Text and tokens: a tokenizer from a `tokenizer.json`, how many tokens a text has by it, and words that are one token each wherever they
//! stand, so that a generated text has exactly the tokens it should.
//!
//! Not here: chat templates (endpoints apply their own), downloads, and anything on the measured path.

use nomoat_core::digest::Digest;
use nomoat_core::rng::Stream;
use std::path::Path;

/// Fewest words that make an alphabet: fewer would need too many tokens to tell blocks apart.
const FEWEST: usize = 256;
/// Most words that are taken: their number decides nothing from here on.
const MOST: usize = 4_096;
/// Random texts that must come back as they were made, and their length in words.
const TRIALS: (usize, usize) = (1_000, 48);

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("read tokenizer {file}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no tokenizer.
    #[error("read tokenizer {file}: {problem}; give the tokenizer.json of the model that is served")]
    Parse {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// It has no words that are one token each wherever they stand.
    #[error("tokenizer {file}: {problem}; send token ids (a completions endpoint), or leave --tokenizer out and read lengths as counted")]
    Words {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
}

/// A tokenizer.
pub struct Tokenizer {
    file: String,
    digest: Digest,
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Self, TokenError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| TokenError::Read { file: file.clone(), source })?;
        let inner = tokenizers::Tokenizer::from_bytes(&bytes)
            .map_err(|problem| TokenError::Parse { file: file.clone(), problem: problem.to_string() })?;
        Ok(Self { file, digest: Digest::of(&bytes), inner })
    }

    /// SHA-256 of its file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Tokens of a text, without those that mark its beginning or end.
    ///
    /// # Errors
    /// What the tokenizer says.
    pub fn count(&self, text: &str) -> Result<u32, TokenError> {
        Ok(self.encode(text)?.len() as u32)
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, TokenError> {
        let encoded = self.inner.encode(text, false);
        encoded
            .map(|encoded| encoded.get_ids().to_vec())
            .map_err(|problem| TokenError::Parse { file: self.file.clone(), problem: problem.to_string() })
    }

    /// Words of lower-case letters that are one token each behind a space, in the order of their ids. Any texts made of them, a space
    /// before each, come back as they were made: 1,000 random ones were tried.
    ///
    /// # Errors
    /// There are too few, or some text came back otherwise.
    pub fn words(&self) -> Result<Vec<String>, TokenError> {
        let wrong = |problem: String| TokenError::Words { file: self.file.clone(), problem };
        let mut candidates: Vec<(u32, String)> = self
            .inner
            .get_vocab(false)
            .into_iter()
            .filter_map(|(token, id)| {
                // How byte-level and SentencePiece vocabularies write the space before a word.
                let word = token.strip_prefix('Ġ').or_else(|| token.strip_prefix('▁')).or_else(|| token.strip_prefix(' '))?;
                let plain = (2..=16).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase());
                plain.then(|| (id, word.to_owned()))
            })
            .collect();
        candidates.sort_unstable();
        let mut words: Vec<(u32, String)> = vec![];
        for (id, word) in candidates {
            // Alone, and behind another word: some vocabularies split one and not the other.
            let alone = self.encode(&format!(" {word}"))?;
            let behind = self.encode(&format!(" {word} {word}"))?;
            if alone == [id] && behind == [id, id] {
                words.push((id, word));
            }
            if words.len() == MOST {
                break;
            }
        }
        if words.len() < FEWEST {
            return Err(wrong(format!("only {} of its words are one token behind a space, {FEWEST} are needed", words.len())));
        }
        let mut stream = Stream::new(0, "tokens/trials");
        for _ in 0..TRIALS.0 {
            let drawn: Vec<usize> = (0..TRIALS.1).map(|_| stream.below(words.len() as u64) as usize).collect();
            let mut text = String::new();
            for index in &drawn {
                text.push(' ');
                text.push_str(&words[*index].1);
            }
            let expect: Vec<u32> = drawn.iter().map(|index| words[*index].0).collect();
            if self.encode(&text)? != expect {
                return Err(wrong(format!("`{}…` has other tokens than its words", text.chars().take(40).collect::<String>())));
            }
        }
        Ok(words.into_iter().map(|(_, word)| word).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte-level vocabulary of the GPT-2 family: letters, and words behind a space, made by merges letter by letter.
    fn made_up(words: usize, merge: bool) -> tempfile::NamedTempFile {
        let letters = "abcdefghijklmnopqrstuvwxyz";
        let mut vocab: Vec<String> = letters.chars().map(|c| c.to_string()).collect();
        vocab.push("Ġ".into());
        let mut merges: Vec<[String; 2]> = vec![];
        let mut stream = Stream::new(1, "made up");
        for n in 0..words {
            let mut word = "Ġ".to_owned();
            let base = [n / 676 % 26, n / 26 % 26, n % 26].map(|i| letters.as_bytes()[i] as char);
            for letter in base.into_iter().chain((0..stream.below(3)).map(|_| 'e')) {
                merges.push([word.clone(), letter.to_string()]);
                word.push(letter);
                if !vocab.contains(&word) {
                    vocab.push(word.clone());
                }
            }
        }
        merges.dedup();
        if !merge {
            merges.clear();
        }
        let vocab: serde_json::Map<String, serde_json::Value> =
            vocab.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                      "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": merges},
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json.to_string()).unwrap();
        file
    }

    #[test]
    fn words_come_back_as_they_were_made() {
        let file = made_up(600, true);
        let tokenizer = Tokenizer::open(file.path()).unwrap();
        let words = tokenizer.words().unwrap();
        assert!(words.len() >= FEWEST, "{}", words.len());
        let text = format!(" {}", words[..50].join(" "));
        assert_eq!(tokenizer.count(&text).unwrap(), 50);
        assert_eq!(tokenizer.digest(), Digest::of(&std::fs::read(file.path()).unwrap()));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let check = |result: Result<Vec<String>, TokenError>, expect: &str| {
            let text = result.unwrap_err().to_string();
            assert!(text.contains(expect), "{text}");
        };
        let few = made_up(100, true);
        check(Tokenizer::open(few.path()).unwrap().words(), "256 are needed");
        let split = made_up(600, false);
        check(Tokenizer::open(split.path()).unwrap().words(), "only 0 of its words");
        let none = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(none.path(), "{}").unwrap();
        check(Tokenizer::open(none.path()).and_then(|t| t.words()), "tokenizer.json");
        check(Tokenizer::open(Path::new("/nowhere/tokenizer.json")).and_then(|t| t.words()), "check the path");
    }
}
