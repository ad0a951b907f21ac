//! The routes: which path is answered by what. Everything but generation is answered at once and is not in the log.

use crate::answer::Answer;
use crate::ask::Endpoint;
use crate::clock::now;
use crate::conn::{Conn, Gone, Incoming};
use crate::generate::{Next, generate};
use crate::http2;
use crate::peer::Peer;
use crate::server::Worker;
use std::sync::Arc;

/// Rows of `GET /truth/log` that are put into one HTTP chunk.
const ROWS_PER_CHUNK: usize = 500;

/// Serves a connection until it ends.
pub async fn serve(worker: Arc<Worker>, mut conn: Conn) {
    if conn.speaks_http2().await {
        return http2::serve(worker, conn).await;
    }
    loop {
        let next = match conn.request().await {
            Ok(Some(incoming)) => answer(&worker, &mut Peer::One(&mut conn), incoming).await,
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
            Next::Close => return conn.close().await,
            Next::Reset => return conn.reset(),
        }
    }
}

/// Answers one request.
pub async fn answer(worker: &Worker, peer: &mut Peer<'_>, incoming: Incoming) -> Next {
    let shared = &worker.shared;
    let allowed = shared.api_key.as_ref().is_none_or(|key| incoming.bearer.as_ref() == Some(key));
    let endpoint = match incoming.path.as_str() {
        "/v1/chat/completions" => Some(Endpoint::Chat),
        "/v1/completions" => Some(Endpoint::Completion),
        _ => None,
    };
    if let (Some(play), "POST") = (&shared.play, incoming.method.as_str()) {
        return play.answer(worker, peer, incoming).await;
    }
    if let (Some(endpoint), "POST") = (endpoint, incoming.method.as_str()) {
        return generate(worker, peer, incoming, endpoint, allowed).await;
    }
    let (script, at) = (&shared.script, now());
    if let Some(answer) = shared.doors.control(script.sleep, &incoming.method, &incoming.path, at, script.waking) {
        let done = peer.answer(&answer).await;
        return if incoming.close || done.is_err() { Next::Close } else { Next::Keep };
    }
    let done = match (incoming.method.as_str(), incoming.path.as_str()) {
        ("GET", "/truth/log") => send_log(worker, peer).await,
        ("GET", path) => {
            let listed = shared.play.as_ref().filter(|_| allowed).and_then(|play| play.models(path));
            peer.answer(&listed.unwrap_or_else(|| plain(worker, path, allowed))).await
        }
        (_, path) => {
            let known = plain(worker, path, true).status() != 404 || path == "/truth/log";
            let answer = if known { Answer::error(405, None, "this route takes GET") } else { unknown(path) };
            peer.answer(&answer).await
        }
    };
    if incoming.close || done.is_err() { Next::Close } else { Next::Keep }
}

/// The routes whose answer is one page.
fn plain(worker: &Worker, path: &str, allowed: bool) -> Answer {
    let script = &worker.shared.script;
    if let ("/health" | "/v1/models", Some(closed)) = (path, worker.shared.doors.loading(now())) {
        return closed;
    }
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
async fn send_log(worker: &Worker, peer: &mut Peer<'_>) -> Result<(), Gone> {
    peer.begin(&[("content-type", "application/jsonl")]).await?;
    let mut from = 0;
    loop {
        let (rows, next) = worker.shared.log.batch(from, ROWS_PER_CHUNK);
        if rows.is_empty() {
            break;
        }
        from = next;
        let lines: String = rows.iter().map(|row| row.to_line()).collect();
        let piece = if peer.is_chunked() { format!("{:x}\r\n{lines}\r\n", lines.len()) } else { lines };
        peer.send(piece.as_bytes(), false).await?;
        tokio::task::yield_now().await;
    }
    let end: &[u8] = if peer.is_chunked() { b"0\r\n\r\n" } else { b"" };
    peer.send(end, true).await.map(|_| ())
}
