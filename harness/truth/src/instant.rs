//! A server that costs as little as one can: every generation is answered at once with the same bytes, in one write or in one write per
//! token. What a client takes from it is the client's ceiling on this host. It logs nothing and reads no body.

use crate::error::TruthError;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How an answer leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writes {
    /// All of it in one write.
    Whole,
    /// One write per token.
    PerToken,
}

/// A running instant server; it lives until the process ends.
pub struct Instant {
    addr: SocketAddr,
    _thread: JoinHandle<()>,
}

/// The bytes of an answer, write by write.
struct Answers {
    chat: Vec<Vec<u8>>,
    completion: Vec<Vec<u8>>,
}

impl Instant {
    /// Listens on `listen`; every answer has `tokens` tokens.
    ///
    /// # Errors
    /// The address cannot be listened on, or there is no thread or runtime.
    pub fn start(listen: SocketAddr, writes: Writes, tokens: u32) -> Result<Self, TruthError> {
        let failed = |source| TruthError::Listen { addr: listen, source };
        let listener = std::net::TcpListener::bind(listen).map_err(failed)?;
        rustix::net::listen(&listener, 8_192).map_err(|e| failed(e.into()))?;
        listener.set_nonblocking(true).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let started = |what| move |source| TruthError::Start { what, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(started("a runtime"))?;
        let answers = Arc::new(Answers { chat: answer(true, writes, tokens), completion: answer(false, writes, tokens) });
        let body = move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                while let Ok((stream, _)) = listener.accept().await {
                    let answers = answers.clone();
                    tokio::task::spawn_local(async move {
                        // A client that goes away is the end of its connection and of nothing else.
                        let _ = serve(stream, &answers).await;
                    });
                }
            });
        };
        let thread = std::thread::Builder::new().name("instant".into()).spawn(body).map_err(started("a thread"))?;
        Ok(Self { addr, _thread: thread })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    let (mut filled, mut skip) = (0, 0_usize);
    loop {
        let Some((route, whole)) = parse(&buffer[..filled]) else {
            if filled == buffer.len() {
                return Ok(());
            }
            let n = stream.read(&mut buffer[filled..]).await?;
            if n == 0 {
                return Ok(());
            }
            filled += n;
            continue;
        };
        // The body is not looked at: what does not fit beside the head is read over.
        skip += whole.saturating_sub(filled);
        let used = whole.min(filled);
        buffer.copy_within(used..filled, 0);
        filled -= used;
        while skip > 0 {
            let room = skip.min(buffer.len());
            let n = stream.read(&mut buffer[..room]).await?;
            if n == 0 {
                return Ok(());
            }
            skip -= n;
        }
        match route {
            Route::Chat => write(&mut stream, &answers.chat).await?,
            Route::Completion => write(&mut stream, &answers.completion).await?,
            Route::Models => {
                stream.write_all(&page(r#"{"object":"list","data":[{"id":"truth","object":"model","max_model_len":1048576}]}"#)).await?;
            }
            Route::Other => stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await?,
        }
    }
}

async fn write(stream: &mut TcpStream, parts: &[Vec<u8>]) -> std::io::Result<()> {
    for part in parts {
        stream.write_all(part).await?;
    }
    // One answer in full, then the others' turn.
    tokio::task::yield_now().await;
    Ok(())
}

fn page(json: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}", json.len()).into_bytes()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route {
    Chat,
    Completion,
    Models,
    Other,
}

/// The route of a request and its length with its body, once its head is complete.
fn parse(bytes: &[u8]) -> Option<(Route, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = request.parse(bytes) else { return None };
    let route = match (request.method?, request.path?) {
        ("POST", "/v1/chat/completions") => Route::Chat,
        ("POST", "/v1/completions") => Route::Completion,
        ("GET", "/v1/models") => Route::Models,
        _ => Route::Other,
    };
    let length = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.and_then(|h| std::str::from_utf8(h.value).ok()?.trim().parse().ok()).unwrap_or(0);
    Some((route, head + length))
}

/// One answer: events as a server on uvicorn sends them, each in an HTTP chunk of its own.
fn answer(chat: bool, writes: Writes, tokens: u32) -> Vec<Vec<u8>> {
    let mut parts = vec![b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()];
    let mut event = |data: &str| {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8);
        parts.push(text.into_bytes());
    };
    let object = if chat { "chat.completion.chunk" } else { "text_completion" };
    for index in 0..tokens {
        let finish = if index + 1 == tokens { "\"length\"" } else { "null" };
        let text = if chat { r#""delta":{"content":" word"}"# } else { r#""text":" word""# };
        event(&format!(
            r#"{{"id":"instant-1","object":"{object}","created":1700000000,"model":"truth","choices":[{{"index":0,{text},"logprobs":null,"finish_reason":{finish}}}],"usage":null}}"#
        ));
    }
    event(&format!(
        r#"{{"id":"instant-1","object":"{object}","created":1700000000,"model":"truth","choices":[],"usage":{{"prompt_tokens":1,"total_tokens":{},"completion_tokens":{tokens}}}}}"#,
        tokens + 1
    ));
    event("[DONE]");
    parts.push(b"0\r\n\r\n".to_vec());
    match writes {
        Writes::Whole => vec![parts.concat()],
        Writes::PerToken => {
            // The head goes with the first token, what follows the last token goes with it.
            let tail = parts.split_off(parts.len() - 3).concat();
            let head = parts.remove(0);
            if let Some(first) = parts.first_mut() {
                first.splice(0..0, head);
            }
            if let Some(last) = parts.last_mut() {
                last.extend(tail);
            }
            parts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_the_same_bytes() {
        for chat in [true, false] {
            let (whole, parts) = (answer(chat, Writes::Whole, 5), answer(chat, Writes::PerToken, 5));
            assert_eq!((whole.len(), parts.len()), (1, 5));
            assert_eq!(whole.concat(), parts.concat());
            let text = String::from_utf8(whole.concat()).unwrap();
            assert_eq!((text.matches(" word").count(), text.matches("data: ").count()), (5, 7));
        }
    }

    #[test]
    fn requests() {
        let check = |text: &str, expect| assert_eq!(parse(text.as_bytes()), expect, "{text}");
        check("POST /v1/completions HTTP/1.1\r\ncontent-length: 3\r\n\r\n", Some((Route::Completion, 55)));
        check("GET /v1/models HTTP/1.1\r\n\r\n", Some((Route::Models, 27)));
        check("GET /v1/models HTTP/1.1\r\n", None);
    }
}
