//! The identity of what a trace asks for, whatever file it came from.

use super::Trace;
use crate::digest::{Digest, Digester};
use crate::prompt::Prompt;
use crate::request::Cancel;

impl Trace {
    /// Identity of everything a schedule takes from this trace.
    pub fn content_digest(&self) -> Digest {
        let mut d = Digester::new("trace-content/1");
        for r in &self.requests {
            d.int(r.at.map_or(-1, |at| at.0)).int(r.after.len() as i64).int(r.join as i64);
            for e in &r.after {
                d.int(e.request.0.into()).int(e.on as i64).int(e.gap.0).int(e.kind as i64);
            }
            d.int(r.session.map_or(-1, |s| s.0.into())).int(r.turn.into()).int(r.class.into()).int(r.priority.into());
            d.int(r.input_tokens.into()).int(r.output_tokens.into()).int(r.length as i64);
            digest_prompt(&r.prompt, &mut d);
            // Only where there is one: what older traces had keeps its identity.
            match r.cancel {
                None => {}
                Some(Cancel::After(t)) => _ = d.text("cancel after").int(t.0),
                Some(Cancel::FirstToken) => _ = d.text("cancel at first token"),
                Some(Cancel::Tokens(n)) => _ = d.text("cancel at token").int(n.into()),
            }
            if r.adapter > 0 {
                d.text(self.adapters.get(usize::from(r.adapter) - 1).map_or("", String::as_str));
            }
        }
        d.finish()
    }
}

fn digest_prompt(prompt: &Prompt, d: &mut Digester) {
    match prompt {
        Prompt::Blocks(b) => {
            d.int(0)
                .int(b.namespace as i64)
                .int(b.block_tokens.into())
                .int(b.tokens.into())
                .int(b.unshared as i64)
                .int(b.blocks.len() as i64);
            for range in b.blocks.iter() {
                d.int(range.first as i64).int(range.count.into());
            }
        }
        Prompt::Text(text) => {
            d.int(1).text(text);
        }
        Prompt::Ids(ids) => {
            d.int(2).int(ids.len() as i64);
            for id in ids.iter() {
                d.int((*id).into());
            }
        }
        Prompt::Parts(p) => {
            d.int(4).int(p.namespace as i64).int(p.parts.len() as i64);
            for part in p.parts.iter() {
                d.int(part.id as i64).int(part.tokens.into());
            }
        }
        Prompt::Messages(m) => {
            d.int(5).int(m.messages.len() as i64).text(m.tools.as_deref().unwrap_or_default());
            for message in m.messages.iter() {
                d.text(message);
            }
        }
        Prompt::Live { of, add } => {
            d.int(3).int(of.0.into());
            digest_prompt(add, d);
        }
    }
}
