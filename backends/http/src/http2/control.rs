//! What is not timed, over HTTP/2: one connection per exchange, as over HTTP/1.1.

use super::connection::greet;
use super::head::{answer, translate};
use super::ledger::Ledger;
use crate::control::{Answer, ControlError};
use crate::transport::{Route, Transport};
use bytes::Bytes;
use std::future::poll_fn;

/// Sends `wire`, a complete HTTP/1.1 request, as one of HTTP/2, and reads the whole response, at most `limit` bytes of body.
pub(crate) async fn talk(transport: Transport, route: &Route, wire: &[u8], limit: usize) -> Result<Answer, ControlError> {
    let (request, body_at) = translate(wire, route.tls.is_some()).map_err(ControlError::Garbled)?;
    let (mut sender, driver) = greet(transport, Ledger::default(), |_| {}).await.map_err(|e| lost(&e))?;
    let body = Bytes::copy_from_slice(&wire[body_at..]);
    let exchange = async move {
        let (response, mut upload) = sender.send_request(request, body.is_empty()).map_err(|e| lost(&e))?;
        if !body.is_empty() {
            upload.send_data(body, true).map_err(|e| lost(&e))?;
        }
        let (parts, mut stream) = response.await.map_err(|e| lost(&e))?.into_parts();
        let mut body = vec![];
        while let Some(piece) = poll_fn(|cx| stream.poll_data(cx)).await {
            let piece = piece.map_err(|e| lost(&e))?;
            let _ = stream.flow_control().release_capacity(piece.len());
            if body.len() + piece.len() > limit {
                return Err(ControlError::Garbled(format!("the response is longer than {limit} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        let head = answer(&parts);
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Answer { status: head.status, head, headers, body, reads: vec![] })
    };
    // Driven here rather than by a task: the connection ends with the exchange.
    tokio::pin!(driver, exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut driver => match ended {
            // It is over, and so is the exchange: it says how.
            Ok(()) => exchange.await,
            Err(error) => Err(lost(&error)),
        },
    }
}

fn lost(error: &h2::Error) -> ControlError {
    match error.get_io() {
        Some(io) => ControlError::Unreachable(format!("the HTTP/2 connection broke: {io}; without --http 2 it is asked in HTTP/1.1")),
        None if error.is_library() => {
            ControlError::Garbled(format!("it does not speak HTTP/2 ({error}); without --http 2 it is asked in HTTP/1.1"))
        }
        None => ControlError::Garbled(format!("over HTTP/2: {error}")),
    }
}
