//! A raw HTTP/1.1 client on a std socket, and a few shorthands.

use nomoat_truth::{Config, LogRow, Script, Truth};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Long enough for any loaded machine; reached only by a hang.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub fn start(script: &str) -> Truth {
    start_with(Config { script: Script::parse(script).unwrap(), ..Config::default() })
}

pub fn start_with(config: Config) -> Truth {
    Truth::start(config).unwrap()
}

/// How a response ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// As its framing says.
    Whole,
    /// The connection was closed before.
    Closed,
    /// The connection was reset before.
    Reset,
    /// The framing is wrong.
    Malformed,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// HTTP chunks, or the one body.
    pub chunks: Vec<Vec<u8>>,
    pub end: End,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap()
    }

    /// The data of each event, of a stream in the plain form.
    pub fn data(&self) -> Vec<String> {
        let text = self.text();
        text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event:?}")).to_owned()).collect()
    }

    /// The chunks of a complete stream, which ends with `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        assert_eq!((self.status, self.end), (200, End::Whole));
        let mut data = self.data();
        assert_eq!(data.pop().as_deref(), Some("[DONE]"));
        data.iter().map(|json| serde_json::from_str(json).unwrap()).collect()
    }
}

/// The text of a chunk: content, reasoning or a completion's.
pub fn text_of(event: &Value) -> String {
    ["/choices/0/delta/reasoning_content", "/choices/0/delta/reasoning", "/choices/0/delta/content", "/choices/0/text"]
        .iter()
        .filter_map(|path| event.pointer(path).and_then(Value::as_str))
        .collect()
}

/// How many tokens the text of these chunks has.
pub fn words(events: &[Value]) -> usize {
    events.iter().map(text_of).collect::<String>().split_whitespace().count()
}

pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: vec![] }
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        self.stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, "", "");
        self.receive()
    }

    pub fn post(&mut self, path: &str, headers: &str, body: &str) -> Response {
        self.send("POST", path, headers, body);
        self.receive()
    }

    /// A streamed chat answer of `tokens` tokens; `more` are further JSON fields with a leading comma.
    pub fn chat(&mut self, tokens: u32, more: &str) -> Response {
        self.post("/v1/chat/completions", "", &chat_body(tokens, more))
    }

    /// A streamed completion.
    pub fn complete(&mut self, tokens: u32, more: &str) -> Response {
        let body = format!(r#"{{"model":"truth","prompt":[1,2,3],"max_tokens":{tokens},"ignore_eos":true,"stream":true{more}}}"#);
        self.post("/v1/completions", "", &body)
    }

    /// Reads more bytes; how it went wrong when it does.
    pub fn fill(&mut self) -> Result<(), End> {
        let mut bytes = [0; 8_192];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(End::Closed),
            Ok(n) => {
                self.buffer.extend_from_slice(&bytes[..n]);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => Err(End::Reset),
            Err(e) => panic!("reading: {e}"),
        }
    }

    fn take(&mut self, n: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < n {
            self.fill()?;
        }
        Ok(self.buffer.drain(..n).collect())
    }

    fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let mut line = self.take(at + 2)?;
                line.truncate(at);
                return Ok(String::from_utf8(line).unwrap());
            }
            self.fill()?;
        }
    }

    pub fn head(&mut self) -> Result<Response, End> {
        let status = self.line()?;
        let status = status.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{status:?}"))[..3].parse().unwrap();
        let mut headers = vec![];
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status, headers, chunks: vec![], end: End::Whole });
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// The next HTTP chunk; `None` after the last.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, End> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| End::Malformed)?;
        let chunk = self.take(size)?;
        assert_eq!(self.line()?, "");
        Ok((size > 0).then_some(chunk))
    }

    pub fn receive(&mut self) -> Response {
        let mut response = self.head().unwrap();
        if response.header("transfer-encoding") == Some("chunked") {
            loop {
                match self.chunk() {
                    Ok(Some(chunk)) => response.chunks.push(chunk),
                    Ok(None) => break,
                    Err(end) => {
                        response.end = end;
                        break;
                    }
                }
            }
        } else {
            let length = response.header("content-length").unwrap().parse().unwrap();
            response.chunks.push(self.take(length).unwrap());
        }
        response
    }

    /// Whether a stream whose head was read breaks off before its last HTTP chunk.
    pub fn receive_rest_is_cut(&mut self) -> bool {
        loop {
            match self.chunk() {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Whether the server closes the connection now.
    pub fn is_closed(&mut self) -> bool {
        assert!(self.buffer.is_empty(), "nothing is left over");
        self.fill().is_err()
    }
}

pub fn chat_body(tokens: u32, more: &str) -> String {
    format!(
        r#"{{"model":"truth","messages":[{{"role":"user","content":"two words"}}],"max_tokens":{tokens},"ignore_eos":true,"stream":true{more}}}"#
    )
}

/// Polls until the condition holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// What holds of every row, whatever was played.
pub fn check_row(row: &LogRow) {
    // A request may arrive before its connection is accepted: the kernel takes both without asking.
    assert!(row.accepted <= row.end, "{row:?}");
    assert!(row.request_complete <= row.end, "{row:?}");
    assert_eq!(row.first_write, row.writes.first().map(|w| w.0), "{row:?}");
    assert_eq!(row.last_token_write, row.writes.last().map(|w| w.0), "{row:?}");
    assert!(row.writes.is_sorted_by_key(|w| w.0), "{row:?}");
    assert!(row.writes.iter().all(|w| w.0 >= row.request_complete && w.0 <= row.end && w.1 > 0), "{row:?}");
    assert_eq!(row.writes.iter().map(|w| w.1).sum::<u32>(), row.output_tokens, "{row:?}");
}

/// Checks that no token left before its time.
pub fn check_times(row: &LogRow, script: &Script) {
    check_row(row);
    let planned: Vec<_> = script.chunks(row.ordinal, row.output_tokens).collect();
    assert_eq!(row.writes.len(), planned.len(), "{row:?}");
    for (written, due) in row.writes.iter().zip(planned) {
        assert_eq!(written.1, due.1);
        assert!(written.0 - row.request_complete >= due.0, "{row:?}");
    }
}
