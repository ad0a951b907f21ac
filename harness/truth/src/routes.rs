//! The routes: which path is answered by what. Everything but generation is answered at once and is not in the log.

use crate::answer::Answer;
use crate::ask::Endpoint;
use crate::conn::{Conn, Gone, Incoming};
use crate::generate::{Next, generate};
use crate::server::Worker;
use std::sync::Arc;

/// Rows of `GET /truth/log` that are put into one HTTP chunk.
const ROWS_PER_CHUNK: usize = 500;

/// Serves a connection until it ends.
pub async fn serve(worker: Arc<Worker>, mut conn: Conn) {
    loop {
        let next = match conn.request().await {
            Ok(Some(incoming)) => answer(&worker, &mut conn, incoming).await,
            Ok(None) => return,
            Err(bad) => {
                // Where the next request would begin is unknown.
                let answer = Answer::error(bad.status, None, bad.message).header("connection", "close");
                let _ = conn.send(&answer.bytes()).await;
                return;
            }
        };
        match next {
            Next::Keep => {}
            Next::Close => return,
            Next::Reset => return conn.reset(),
        }
    }
}

async fn answer(worker: &Worker, conn: &mut Conn, incoming: Incoming) -> Next {
    let shared = &worker.shared;
    let allowed = shared.api_key.as_ref().is_none_or(|key| incoming.bearer.as_ref() == Some(key));
    let endpoint = match incoming.path.as_str() {
        "/v1/chat/completions" => Some(Endpoint::Chat),
        "/v1/completions" => Some(Endpoint::Completion),
        _ => None,
    };
    if let (Some(endpoint), "POST") = (endpoint, incoming.method.as_str()) {
        return generate(worker, conn, incoming, endpoint, allowed).await;
    }
    let done = match (incoming.method.as_str(), incoming.path.as_str()) {
        ("GET", "/truth/log") => send_log(worker, conn).await,
        ("GET", path) => conn.send(&plain(worker, path, allowed).bytes()).await.map(|_| ()),
        (_, path) => {
            let known = plain(worker, path, true).status() != 404 || path == "/truth/log";
            let answer = if known { Answer::error(405, None, "this route takes GET") } else { unknown(path) };
            conn.send(&answer.bytes()).await.map(|_| ())
        }
    };
    if incoming.close || done.is_err() { Next::Close } else { Next::Keep }
}

/// The routes whose answer is one page.
fn plain(worker: &Worker, path: &str, allowed: bool) -> Answer {
    let script = &worker.shared.script;
    match path {
        "/health" => Answer::text(String::new()),
        "/version" => Answer::json(200, serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }).to_string()),
        "/metrics" => Answer::text(worker.shared.gauges.page(script)),
        "/v1/models" if !allowed => Answer::error(401, None, "the key is missing or wrong; send authorization: Bearer KEY"),
        "/v1/models" => {
            let model = serde_json::json!({
                "id": script.model, "object": "model", "created": 0, "owned_by": "nomoat-truth", "root": script.model,
                "parent": null, "max_model_len": script.max_model_len,
            });
            Answer::json(200, serde_json::json!({ "object": "list", "data": [model] }).to_string())
        }
        "/v1/chat/completions" | "/v1/completions" => Answer::error(405, None, "this route takes POST"),
        _ => unknown(path),
    }
}

fn unknown(path: &str) -> Answer {
    Answer::error(404, None, &format!("there is no route `{path}`"))
}

/// The log in memory as JSON lines, in order of completion, a batch at a time: a long log neither fills memory nor holds up
/// other streams for longer than one batch takes.
async fn send_log(worker: &Worker, conn: &Conn) -> Result<(), Gone> {
    let head = "HTTP/1.1 200 OK\r\nserver: nomoat-truth\r\ncontent-type: application/jsonl\r\ntransfer-encoding: chunked\r\n\r\n";
    conn.send(head.as_bytes()).await?;
    let mut from = 0;
    loop {
        let (rows, next) = worker.shared.log.batch(from, ROWS_PER_CHUNK);
        if rows.is_empty() {
            break;
        }
        from = next;
        let lines: String = rows.iter().map(|row| row.to_line()).collect();
        conn.send(format!("{:x}\r\n{lines}\r\n", lines.len()).as_bytes()).await?;
        tokio::task::yield_now().await;
    }
    conn.send(b"0\r\n\r\n").await.map(|_| ())
}
