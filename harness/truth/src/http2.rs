//! Serving HTTP/2: by agreement under TLS, by its first words without.
//!
//! The crate `h2` keeps the protocol. It writes when its task runs, not when it is handed something; so the moments that the log needs
//! are taken below it, by [`tap::Tap`], which sees every frame leave and arrive.

mod stream;
mod tap;

pub use stream::Stream;

use crate::conn::{Conn, Incoming, MOST_BODY};
use crate::generate::Next;
use crate::peer::Peer;
use crate::routes::answer;
use crate::server::Worker;
use bytes::Bytes;
use h2::{Reason, RecvStream};
use std::sync::Arc;
use tap::{Books, Tap};
use tokio::sync::Notify;

/// What may be under way to us, on one stream and on all, before we have said that we took it.
const WINDOW: u32 = 16 << 20;

/// Serves a connection whose first words are HTTP/2's, until it ends.
pub async fn serve(worker: Arc<Worker>, conn: Conn) {
    let (accepted, (line, ahead, read_at)) = (conn.accepted, conn.into_parts());
    let books = Books::default();
    let tap = Tap::new(line, ahead, read_at, books.clone());
    let handshake = h2::server::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(worker.shared.streams)
        // A load generator may give up many requests at once; that is no attack here.
        .max_pending_accept_reset_streams(1 << 16)
        .max_local_error_reset_streams(None)
        .data_frame_budget(usize::MAX)
        .handshake::<_, Bytes>(tap);
    let Ok(mut connection) = handshake.await else { return };
    let cut = Arc::new(Notify::new());
    loop {
        tokio::select! {
            biased;
            // A fault closes the connection, without a word of HTTP/2.
            () = cut.notified() => books.cut(),
            next = connection.accept() => match next {
                Some(Ok((request, respond))) => {
                    let id = request.body().stream_id().as_u32();
                    // Opened here, before the connection goes on reading: no frame of the stream is missed.
                    let stream = Stream::new(respond, id, accepted, books.clone());
                    let (worker, cut) = (worker.clone(), cut.clone());
                    tokio::spawn(async move {
                        if one(&worker, request, stream).await == Next::Close {
                            cut.notify_one();
                        }
                    });
                }
                _ => return,
            },
        }
    }
}

async fn one(worker: &Worker, request: http::Request<RecvStream>, mut stream: Stream) -> Next {
    let (parts, mut upload) = request.into_parts();
    let mut incoming = Incoming::new(parts.method.as_str(), parts.uri.path());
    parts.headers.iter().for_each(|(name, value)| incoming.note(name.as_str(), value.as_bytes()));
    loop {
        match upload.data().await {
            Some(Ok(piece)) if incoming.body.len() + piece.len() <= MOST_BODY => {
                incoming.body.extend_from_slice(&piece);
                let _ = upload.flow_control().release_capacity(piece.len());
            }
            Some(Ok(_)) => {
                stream.reset(Reason::REFUSED_STREAM);
                return Next::Keep;
            }
            Some(Err(_)) => return Next::Keep,
            None => break,
        }
    }
    incoming.complete = stream.request_complete();
    let mut peer = Peer::Two(stream);
    let next = answer(worker, &mut peer, incoming).await;
    match (next, peer) {
        (Next::Reset, Peer::Two(mut stream)) => {
            stream.reset(Reason::INTERNAL_ERROR);
            Next::Keep
        }
        (Next::Close, Peer::Two(stream)) if stream.is_gone() => Next::Keep,
        (next, _) => next,
    }
}
