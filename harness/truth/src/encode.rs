//! The bytes of a streamed answer: JSON chunks inside server-sent events inside HTTP chunks, each event an HTTP chunk of its own.
//!
//! Chunks are written as text, in the shape vLLM gives them; nothing here is shared with what decodes them.

use crate::answer::error_object;
use crate::ask::{Ask, Endpoint};
use crate::fault::Fault;
use crate::script::Script;
use crate::timeline::Step;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// The words of every answer, one per token. Some are not ASCII, so that bytes of one character can fall into two reads.
const WORDS: [&str; 16] =
    ["one", "clear", "word", "after", "another", "für", "each", "true", "token", "日本", "counted", "by", "its", "own", "naïve", "server"];

/// Encodes the chunks of one answer, in order.
pub struct Encoder<'a> {
    script: &'a Script,
    ask: &'a Ask,
    fault: Option<Fault>,
    /// `"id":…,"object":…,"created":…,"model":…` of every chunk.
    identity: String,
    sent: u32,
    events: u32,
    /// Whether each event is put into an HTTP chunk, as HTTP/1.1 wants it.
    chunked: bool,
}

impl<'a> Encoder<'a> {
    /// An encoder for the answer with this id.
    pub fn new(script: &'a Script, ask: &'a Ask, fault: Option<Fault>, id: &str) -> Self {
        let object = match (ask.endpoint, streams(ask, fault)) {
            (Endpoint::Chat, true) => "chat.completion.chunk",
            (Endpoint::Chat, false) => "chat.completion",
            (Endpoint::Completion, _) => "text_completion",
        };
        let prefix = if ask.endpoint == Endpoint::Chat { "chatcmpl" } else { "cmpl" };
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (id, model) = (quoted(&format!("{prefix}-{id}")), quoted(&script.model));
        let identity = format!("\"id\":{id},\"object\":\"{object}\",\"created\":{created},\"model\":{model}");
        Self { script, ask, fault, identity, sent: 0, events: 0, chunked: true }
    }

    /// Leaves the framing to HTTP/2.
    pub fn unframed(mut self) -> Self {
        self.chunked = false;
        self
    }

    /// Appends the bytes of a step.
    pub fn step(&mut self, step: Step, out: &mut Vec<u8>) {
        match step {
            Step::Comment => self.frame(&format!(": keep-alive{0}{0}", self.line_end()), out),
            Step::Role => {
                let usage = self.running_usage();
                let json =
                    self.chunk("\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null", &usage);
                self.event(&json, out);
            }
            Step::Tokens { count, last } => {
                let json = self.tokens(count, last);
                self.event(&json, out);
            }
            Step::Empty => {
                let (text, usage) = (self.text("", ""), self.running_usage());
                let json = self.chunk(&format!("{text},\"logprobs\":null,\"finish_reason\":null"), &usage);
                self.event(&json, out);
            }
            Step::Error { flat } => {
                let mut error = error_object(500, None, "the scripted error");
                if flat {
                    error["object"] = "error".into();
                } else {
                    error = serde_json::json!({ "error": error });
                }
                self.event(&error.to_string(), out);
            }
            Step::BadJson => self.event("{\"id\":\"broken\",\"choices\":[{", out),
            // What cannot be said over HTTP/2 is left to whoever writes.
            Step::BadChunkSize if !self.chunked => {}
            Step::BadChunkSize => {
                let event = self.lines(&self.chunk(&format!("{},\"finish_reason\":null", self.text(" never", "")), ""));
                out.extend_from_slice(format!("zz\r\n{event}\r\n").as_bytes());
            }
            Step::Usage => {
                let json = format!("{{{},\"choices\":[],\"usage\":{}}}", self.identity, self.usage());
                self.event(&json, out);
            }
            Step::Done => self.event("[DONE]", out),
            Step::AfterDone => {
                let json = self.chunk(&format!("{},\"finish_reason\":null", self.text(" late", "")), "");
                self.event(&json, out);
            }
            Step::End if self.chunked => out.extend_from_slice(b"0\r\n\r\n"),
            Step::End | Step::Close | Step::Reset => {}
        }
    }

    /// The body of an answer that is not streamed.
    pub fn whole(&mut self) -> String {
        let total = self.ask.tokens;
        let (visible, reasoning) = self.words(total);
        self.sent = total;
        let finish = self.finish();
        let choice = match self.ask.endpoint {
            Endpoint::Chat => {
                let reasoning = if reasoning.is_empty() { "null".to_owned() } else { quoted(&reasoning) };
                let field = self.script.reasoning_field.name();
                format!("\"message\":{{\"role\":\"assistant\",\"content\":{},\"{field}\":{reasoning}}}", quoted(&visible))
            }
            Endpoint::Completion => format!("\"text\":{}", quoted(&visible)),
        };
        let usage = if self.fault == Some(Fault::NoUsage) { String::new() } else { format!(",\"usage\":{}", self.usage()) };
        let lead = if self.fault == Some(Fault::BlankLines) { "\n\n\r\n" } else { "" };
        let choices = format!("[{{\"index\":0,{choice},\"logprobs\":null,\"finish_reason\":\"{finish}\"}}]");
        format!("{lead}{{{},\"choices\":{choices}{usage}}}", self.identity)
    }

    fn tokens(&mut self, count: u32, last: bool) -> String {
        let (mut visible, mut reasoning) = self.words(count);
        if let (Some(Fault::HugeEvent(bytes)), 0) = (self.fault, self.sent) {
            let text = if reasoning.is_empty() { &mut visible } else { &mut reasoning };
            *text = "x".repeat(bytes as usize);
        }
        self.sent += count;
        let finish = if last { format!("\"{}\"", self.finish()) } else { "null".to_owned() };
        let (text, usage) = (self.text(&visible, &reasoning), self.running_usage());
        self.chunk(&format!("{text},\"logprobs\":null,\"finish_reason\":{finish}"), &usage)
    }

    /// The next `count` words, visible ones and reasoning.
    fn words(&self, count: u32) -> (String, String) {
        let (mut visible, mut reasoning) = (String::new(), String::new());
        let thinking = self.thinking();
        for index in self.sent..self.sent + count {
            let text = if index < thinking { &mut reasoning } else { &mut visible };
            text.push(' ');
            text.push_str(WORDS[index as usize % WORDS.len()]);
        }
        (visible, reasoning)
    }

    /// How many first tokens are reasoning: completions have none.
    fn thinking(&self) -> u32 {
        if self.ask.endpoint == Endpoint::Chat { self.script.reasoning_tokens } else { 0 }
    }

    /// The part of a choice that carries text. A chunk across the border of reasoning carries both.
    fn text(&self, visible: &str, reasoning: &str) -> String {
        if self.ask.endpoint == Endpoint::Completion {
            return format!("\"text\":{}", quoted(visible));
        }
        let mut delta = String::new();
        if !reasoning.is_empty() {
            let _ = write!(delta, "\"{}\":{}", self.script.reasoning_field.name(), quoted(reasoning));
        }
        if !visible.is_empty() || reasoning.is_empty() {
            let comma = if delta.is_empty() { "" } else { "," };
            let _ = write!(delta, "{comma}\"content\":{}", quoted(visible));
        }
        format!("\"delta\":{{{delta}}}")
    }

    fn finish(&self) -> &'static str {
        if self.ask.at_limit { "length" } else { "stop" }
    }

    fn chunk(&self, choice: &str, usage: &str) -> String {
        format!("{{{},\"choices\":[{{\"index\":0,{choice}}}]{usage}}}", self.identity)
    }

    /// The usage field of a chunk, where chunks have one.
    fn running_usage(&self) -> String {
        let wanted = self.fault == Some(Fault::UsageEveryChunk) || (self.ask.continuous && self.fault != Some(Fault::NoUsage));
        if wanted { format!(",\"usage\":{}", self.usage()) } else { String::new() }
    }

    fn usage(&self) -> String {
        let prompt = self.ask.prompt_tokens;
        let wrong = if let Some(Fault::WrongUsage(k)) = self.fault { k } else { 0 };
        let output = self.sent + wrong;
        let reasoning = self.thinking().min(self.sent);
        let details =
            if reasoning > 0 { format!(",\"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}") } else { String::new() };
        format!("{{\"prompt_tokens\":{prompt},\"total_tokens\":{},\"completion_tokens\":{output}{details}}}", prompt + output)
    }

    fn line_end(&self) -> &'static str {
        if self.fault == Some(Fault::Crlf) { "\r\n" } else { "\n" }
    }

    /// The lines of an event that carries `data`.
    fn lines(&self, data: &str) -> String {
        let end = self.line_end();
        match (self.fault, data.strip_prefix('{')) {
            (Some(Fault::NoSpace), _) => format!("data:{data}{end}{end}"),
            // JSON may hold a line feed after its first brace, so the joined lines read as before.
            (Some(Fault::MultiLine), Some(rest)) => format!("data: {{{end}data: {rest}{end}{end}"),
            (Some(Fault::EventLines), _) => format!("event: message{end}id: {}{end}data: {data}{end}{end}", self.events),
            _ => format!("data: {data}{end}{end}"),
        }
    }

    fn event(&mut self, data: &str, out: &mut Vec<u8>) {
        let mut lines = self.lines(data);
        if self.fault == Some(Fault::Bom) && self.events == 0 {
            lines.insert(0, '\u{feff}');
        }
        self.events += 1;
        self.frame(&lines, out);
    }

    /// One HTTP chunk, where there are chunks.
    fn frame(&self, payload: &str, out: &mut Vec<u8>) {
        if !self.chunked {
            return out.extend_from_slice(payload.as_bytes());
        }
        out.reserve(payload.len() + 16);
        out.extend_from_slice(format!("{:x}\r\n", payload.len()).as_bytes());
        out.extend_from_slice(payload.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether the answer goes out as a stream.
pub fn streams(ask: &Ask, fault: Option<Fault>) -> bool {
    ask.stream && !fault.is_some_and(Fault::unstreams)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text always serialises")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(script: &str, endpoint: Endpoint, continuous: bool, steps: &[Step]) -> String {
        let script = Script::parse(script).unwrap();
        let ask = Ask { endpoint, stream: true, usage: true, continuous, prompt_tokens: 9, tokens: 5, at_limit: true, forced: true };
        let mut encoder = Encoder::new(&script, &ask, script.fault, "i\"d");
        encoder.identity = "\"id\":\"x\"".to_owned();
        let mut out = vec![];
        steps.iter().for_each(|step| encoder.step(*step, &mut out));
        String::from_utf8(out).unwrap()
    }

    const fn tokens(count: u32, last: bool) -> Step {
        Step::Tokens { count, last }
    }

    #[test]
    fn events_are_chunks() {
        use Endpoint::{Chat, Completion};
        let check = |script: &str, endpoint, continuous, steps: &[Step], expected: &str| {
            let got = encode(script, endpoint, continuous, steps);
            let mut payload = String::new();
            let mut rest = got.as_str();
            while let Some((size, tail)) = rest.split_once("\r\n").filter(|(size, _)| *size != "0") {
                let size = usize::from_str_radix(size, 16).unwrap();
                payload += &tail[..size];
                rest = tail[size..].strip_prefix("\r\n").unwrap();
            }
            assert_eq!(payload, expected, "{script}");
        };
        let choice =
            |inner: &str, finish: &str| format!("\"choices\":[{{\"index\":0,{inner},\"logprobs\":null,\"finish_reason\":{finish}}}]");
        let event = |inner: &str| format!("data: {{\"id\":\"x\",{inner}}}\n\n");
        let role = event(&choice("\"delta\":{\"role\":\"assistant\",\"content\":\"\"}", "null"));
        check("", Chat, false, &[Step::Role], &role);
        check("", Chat, false, &[tokens(2, false)], &event(&choice("\"delta\":{\"content\":\" one clear\"}", "null")));
        check("", Completion, false, &[tokens(1, true)], &event(&choice("\"text\":\" one\"", "\"length\"")));
        let both = "\"delta\":{\"reasoning_content\":\" one\",\"content\":\" clear\"}";
        check("reasoning_tokens=1", Chat, false, &[tokens(2, false)], &event(&choice(both, "null")));
        check("reasoning_tokens=1", Completion, false, &[tokens(1, false)], &event(&choice("\"text\":\" one\"", "null")));
        check(
            "reasoning_tokens=9,reasoning_field=reasoning",
            Chat,
            false,
            &[tokens(1, false)],
            &event(&choice("\"delta\":{\"reasoning\":\" one\"}", "null")),
        );
        let usage = |n: u32| format!("\"usage\":{{\"prompt_tokens\":9,\"total_tokens\":{},\"completion_tokens\":{n}}}", 9 + n);
        let running = event(&format!("{},{}", choice("\"text\":\" one clear\"", "null"), usage(2)));
        check("", Completion, true, &[tokens(2, false)], &running);
        check("fault=usage_every_chunk", Completion, false, &[tokens(2, false)], &running);
        check("fault=no_usage", Completion, true, &[tokens(1, false)], &event(&choice("\"text\":\" one\"", "null")));
        check("", Completion, false, &[Step::Usage], &event(&format!("\"choices\":[],{}", usage(0))));
        check("fault=wrong_usage:2", Completion, false, &[Step::Usage], &event(&format!("\"choices\":[],{}", usage(2))));
        check("", Chat, false, &[Step::Empty], &event(&choice("\"delta\":{\"content\":\"\"}", "null")));
        check("", Chat, false, &[Step::Comment, Step::Done, Step::End], ": keep-alive\n\ndata: [DONE]\n\n");
        check("fault=crlf", Chat, false, &[Step::Comment, Step::Done], ": keep-alive\r\n\r\ndata: [DONE]\r\n\r\n");
        check("fault=no_space", Chat, false, &[Step::Done], "data:[DONE]\n\n");
        check("fault=bom", Chat, false, &[Step::Done, Step::Done], "\u{feff}data: [DONE]\n\ndata: [DONE]\n\n");
        check("fault=event_lines", Chat, false, &[Step::Done], "event: message\nid: 0\ndata: [DONE]\n\n");
        check("fault=multi_line", Chat, false, &[Step::Role], &role.replacen("{\"id\"", "{\ndata: \"id\"", 1));
        check("", Chat, false, &[Step::BadJson], "data: {\"id\":\"broken\",\"choices\":[{\n\n");
        let error = "{\"message\":\"the scripted error\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500";
        check("", Chat, false, &[Step::Error { flat: false }], &format!("data: {{\"error\":{error}}}}}\n\n"));
        check("", Chat, false, &[Step::Error { flat: true }], &format!("data: {error},\"object\":\"error\"}}\n\n"));
    }

    #[test]
    fn a_bad_size_is_no_number() {
        let got = encode("", Endpoint::Completion, false, &[Step::BadChunkSize, Step::Close]);
        assert!(got.starts_with("zz\r\ndata: {") && got.ends_with("}\n\n\r\n"), "{got}");
    }

    #[test]
    fn whole_answers_are_json() {
        let check = |script: &str, endpoint, path: &str, expected: &str| {
            let script = Script::parse(script).unwrap();
            let ask = Ask {
                endpoint,
                stream: false,
                usage: false,
                continuous: false,
                prompt_tokens: 9,
                tokens: 3,
                at_limit: false,
                forced: false,
            };
            let text = Encoder::new(&script, &ask, script.fault, "i\"d").whole();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json.pointer(path).map(ToString::to_string), Some(expected.to_owned()), "{text}");
            assert_eq!(json["choices"][0]["finish_reason"], "stop");
        };
        check("", Endpoint::Chat, "/choices/0/message/content", "\" one clear word\"");
        check("", Endpoint::Completion, "/choices/0/text", "\" one clear word\"");
        check("", Endpoint::Completion, "/id", "\"cmpl-i\\\"d\"");
        check("reasoning_tokens=2", Endpoint::Chat, "/choices/0/message/content", "\" word\"");
        check("reasoning_tokens=2", Endpoint::Chat, "/choices/0/message/reasoning_content", "\" one clear\"");
        check("reasoning_tokens=2", Endpoint::Chat, "/usage/completion_tokens_details/reasoning_tokens", "2");
        check("", Endpoint::Chat, "/usage/total_tokens", "12");
        check("fault=blank_lines", Endpoint::Chat, "/usage/completion_tokens", "3");
    }
}
