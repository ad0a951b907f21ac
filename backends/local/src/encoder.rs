//! Prompts as token ids of the built-in model.

use crate::text::{alphabet, tokens_of};
use nomoat_core::backend::{Encoder, LiveTurn, Payload};
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::request::Request;

/// Makes prompts for a vocabulary.
#[derive(Clone, Copy, Debug)]
pub struct LocalEncoder {
    seed: u64,
    vocab: usize,
    /// Longest prompt that is expanded; beyond it the request cannot run.
    context: usize,
}

impl LocalEncoder {
    /// An encoder for ids below `vocab` and prompts of at most `context` tokens. `seed` keys prompts that are given by block identity.
    pub fn new(seed: u64, vocab: usize, context: usize) -> Self {
        Self { seed, vocab, context }
    }

    fn expand(&self, prompt: &Prompt, history: &[LiveTurn], out: &mut Vec<u32>) -> Result<(), String> {
        match prompt {
            Prompt::Blocks(BlockPrompt { tokens, .. }) => {
                self.check(*tokens as usize)?;
                prompt.expand(self.seed, alphabet(self.vocab), out);
            }
            Prompt::Parts(parts) => {
                self.check(usize::try_from(parts.tokens()).unwrap_or(usize::MAX))?;
                prompt.expand(self.seed, alphabet(self.vocab), out);
            }
            // This engine has no template: what was said, one message after the other.
            Prompt::Messages(messages) => messages.messages.iter().for_each(|message| tokens_of(message, self.vocab, out)),
            // Recorded ids belong to another vocabulary. Taken modulo ours, equal ids stay equal.
            Prompt::Ids(ids) => {
                self.check(ids.len())?;
                out.extend(ids.iter().map(|id| id % self.vocab as u32));
            }
            Prompt::Text(text) => tokens_of(text, self.vocab, out),
            Prompt::Live { add, .. } => {
                for turn in history {
                    tokens_of(&turn.prompt, self.vocab, out);
                    tokens_of(&turn.answer, self.vocab, out);
                }
                // One level only: the history already holds everything before.
                self.expand(add, &[], out)?;
            }
        }
        self.check(out.len())
    }

    fn check(&self, tokens: usize) -> Result<(), String> {
        if tokens > self.context {
            return Err(format!(
                "a prompt of {tokens} tokens does not fit the built-in model's context of {}; see --overlong",
                self.context
            ));
        }
        Ok(())
    }
}

impl Encoder for LocalEncoder {
    fn encode(&self, request: &Request, history: &[LiveTurn]) -> Result<Payload, String> {
        let mut ids = vec![];
        self.expand(&request.prompt, history, &mut ids)?;
        if ids.is_empty() {
            return Err("the prompt has no token; give it at least one word or id".into());
        }
        Ok(Payload::Ids(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::token_text;
    use nomoat_core::prompt::BlockPrompt;
    use nomoat_core::request::RequestId;

    fn encode(prompt: Prompt, history: &[LiveTurn]) -> Result<Vec<u32>, String> {
        let request = Request::new(RequestId(0), prompt, 0, 1);
        match LocalEncoder::new(1, 144, 256).encode(&request, history)? {
            Payload::Ids(ids) => Ok(ids),
            Payload::Wire { .. } => panic!("ids were asked for"),
        }
    }

    #[test]
    fn every_kind_of_prompt() {
        let blocks = encode(Prompt::Blocks(BlockPrompt::unique(1, 2, 40)), &[]).unwrap();
        assert_eq!(blocks.len(), 40);
        assert!(blocks.iter().all(|id| (16..144).contains(id)));
        assert_eq!(encode(Prompt::Ids([5, 144, 300].into()), &[]), Ok(vec![5, 0, 12]));
        let hello = encode(Prompt::Text("hello world".into()), &[]).unwrap();
        assert_eq!(hello.len(), 2);
        let answer = String::from_utf8([token_text(3), token_text(99)].concat()).unwrap();
        let history = [LiveTurn { prompt: "hello world".into(), answer }];
        let live = |add| Prompt::Live { of: RequestId(0), add: Box::new(add) };
        let next = encode(live(Prompt::Ids([7].into())), &history).unwrap();
        assert_eq!(next, [&hello[..], &[3, 99, 7]].concat());
    }

    #[test]
    fn what_cannot_be_a_prompt_is_said() {
        for (prompt, says) in [
            (Prompt::Text("  ".into()), "no token"),
            (Prompt::Blocks(BlockPrompt::unique(1, 2, 257)), "257 tokens"),
            (Prompt::Blocks(BlockPrompt::unique(1, 2, u32::MAX)), "context of 256"),
            (Prompt::Ids(vec![1; 300].into()), "300 tokens"),
        ] {
            let message = encode(prompt, &[]).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }
}
