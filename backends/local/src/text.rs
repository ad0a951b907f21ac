//! Tokens as text and text as tokens. The engine has no tokenizer: its words are made up.
//!
//! A token is handed over as one character of the supplementary private use area, four bytes of UTF-8. Text that the
//! sink keeps for a later turn of a conversation is therefore text, and reads back as exactly the tokens that were generated. Any other
//! text is hashed, one token per word.

use nomoat_core::prompt::Alphabet;
use nomoat_core::rng::mix;

/// First character of the supplementary private use area A.
const FIRST: u32 = 0xF_0000;

/// Most ids that have a character: the area without the two noncharacters at its end.
pub const MOST_IDS: u32 = 0xFFFE;

/// Token ids below this stay out of prompts: a tokenizer would keep control tokens there, and 0 ends an answer.
const CONTROL: u32 = 16;

/// The ids that prompts are made of.
pub fn alphabet(vocab: usize) -> Alphabet {
    Alphabet { first: CONTROL, size: vocab as u32 - CONTROL }
}

/// The text of a token.
pub fn token_text(token: u32) -> [u8; 4] {
    let mut text = [0; 4];
    let character = char::from_u32(FIRST + token.min(MOST_IDS - 1)).expect("private use characters are characters");
    character.encode_utf8(&mut text);
    text
}

/// Appends the tokens of a text: those of [`token_text`] as they were, every other word as one token by its hash.
pub fn tokens_of(text: &str, vocab: usize, out: &mut Vec<u32>) {
    let alphabet = alphabet(vocab);
    let generated = |c: char| (FIRST..FIRST + vocab as u32).contains(&(c as u32));
    for word in text.split_whitespace() {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            if generated(first) {
                out.push(first as u32 - FIRST);
                rest = &rest[first.len_utf8()..];
            } else {
                let end = rest.find(generated).unwrap_or(rest.len());
                let hash = rest[..end].bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
                out.push(alphabet.first + (hash % u64::from(alphabet.size)) as u32);
                rest = &rest[end..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::PRESETS;

    #[test]
    fn every_vocabulary_has_characters_and_an_alphabet() {
        assert!(PRESETS.iter().all(|preset| preset.vocab > CONTROL as usize && preset.vocab <= MOST_IDS as usize));
    }

    #[test]
    fn generated_text_reads_back_as_it_was() {
        let ids: Vec<u32> = (0..2048).collect();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| token_text(*id)).collect();
        let mut back = vec![];
        tokens_of(std::str::from_utf8(&bytes).unwrap(), 2048, &mut back);
        assert_eq!(back, ids);
    }

    #[test]
    fn words_are_tokens() {
        let tokens = |text: &str| {
            let mut out = vec![];
            tokens_of(text, 144, &mut out);
            out
        };
        for (text, count) in [("", 0), (" \n ", 0), ("the quick brown fox", 4), ("ünï cødé", 2), ("a\u{F0007}b", 3)] {
            let ids = tokens(text);
            assert_eq!(ids.len(), count, "{text}");
            assert!(ids.iter().all(|id| *id < 144), "{text}");
        }
        assert_eq!(tokens("fox the")[0], tokens("the fox")[1]);
        assert_ne!(tokens("fox"), tokens("xof"));
        assert_eq!(tokens("a\u{F0007}b")[1], 7);
    }
}
