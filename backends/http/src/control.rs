//! Everything that is not timed: models, versions, health, metrics, the pre-flight. One short-lived connection per exchange, over
//! the same transport as the measured path, so that proxies, certificates and addresses are the same for both.

use crate::body::{BodyDecoder, BodyError, Head, MAX_HEADERS};
use crate::http2;
use crate::transport::{ConnectError, Route};
use nomoat_core::event::Arrival;
use std::time::Duration;

/// Most bytes of an answer that is not measured.
pub(crate) const CONTROL_LIMIT: usize = 32 << 20;
/// How long such an answer may take.
pub(crate) const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: Head,
    /// Every header, as sent: what engines are recognised by.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How much of the body was there after each read, and when that read's bytes arrived. Not known of HTTP/2.
    pub reads: Vec<(usize, Arrival)>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum ControlError {
    /// Nobody there, or nobody who speaks.
    Unreachable(String),
    /// TLS failed.
    Tls(String),
    /// Not HTTP, or too much of it.
    Garbled(String),
}

impl From<BodyError> for ControlError {
    fn from(error: BodyError) -> Self {
        Self::Garbled(error.to_string())
    }
}

/// Sends `request` (a complete HTTP/1.1 request) and reads the whole response, at most `limit` bytes of body, within `timeout`.
pub(crate) async fn exchange(route: &Route, request: &[u8], limit: usize, timeout: Duration) -> Result<Answer, ControlError> {
    match tokio::time::timeout(timeout, talk(route, request, limit)).await {
        Ok(result) => result,
        Err(_) => Err(ControlError::Unreachable(format!("no answer within {} s", timeout.as_secs()))),
    }
}

async fn talk(route: &Route, request: &[u8], limit: usize) -> Result<Answer, ControlError> {
    let mut transport = route.connect().await.map_err(|e| match e {
        ConnectError::Refused(why) | ConnectError::Exhausted(why) => ControlError::Unreachable(why),
        ConnectError::Tls(why) => ControlError::Tls(why),
    })?;
    if route.spoken.is_two() {
        return http2::control::talk(transport, route, request, limit).await;
    }
    let lost = |e: std::io::Error| ControlError::Unreachable(format!("the connection broke: {e}"));
    transport.write_all(request).await.map_err(lost)?;
    let mut bytes = vec![];
    let mut chunk = vec![0; 64 << 10];
    let (head, length, arrival) = loop {
        let (n, arrival, _) = transport.read(&mut chunk).await.map_err(lost)?;
        if n == 0 {
            return Err(ControlError::Garbled("the connection was closed without an HTTP response".into()));
        }
        bytes.extend_from_slice(&chunk[..n]);
        if is_http2(&bytes) {
            return Err(ControlError::Garbled("it answers in HTTP/2 only; add --http 2".into()));
        }
        let mut parsed = Head::parse(&bytes)?;
        while let Some((head, length)) = &parsed {
            if !(100..200).contains(&head.status) || head.status == 101 {
                break;
            }
            bytes.drain(..*length);
            parsed = Head::parse(&bytes)?;
        }
        if let Some((head, length)) = parsed {
            break (head, length, arrival);
        }
    };
    let headers = headers(&bytes[..length]);
    let mut decoder = BodyDecoder::new(head.framing);
    let (mut body, mut reads) = (vec![], vec![]);
    let take = |decoder: &mut BodyDecoder, bytes: &[u8], body: &mut Vec<u8>| {
        decoder.feed(bytes, &mut |piece: &[u8]| {
            if body.len() + piece.len() > limit {
                return Err(ControlError::Garbled(format!("the response is longer than {limit} bytes")));
            }
            body.extend_from_slice(piece);
            Ok(())
        })
    };
    take(&mut decoder, &bytes[length..], &mut body)?;
    reads.push((body.len(), arrival));
    while !decoder.is_done() {
        let (n, arrival, _) = transport.read(&mut chunk).await.map_err(lost)?;
        if n == 0 {
            decoder.close()?;
            break;
        }
        take(&mut decoder, &chunk[..n], &mut body)?;
        reads.push((body.len(), arrival));
    }
    Ok(Answer { status: head.status, head, headers, body, reads })
}

/// The headers of a complete head.
fn headers(head: &[u8]) -> Vec<(String, String)> {
    let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut room);
    // It was parsed before, so it parses; if it did not, nothing would be recognised by it.
    let _ = response.parse(head);
    response.headers.iter().map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned())).collect()
}

/// Whether an answer begins as one of HTTP/2 does: with a SETTINGS frame of the connection (RFC 9113 §3.4).
fn is_http2(bytes: &[u8]) -> bool {
    bytes.len() >= 9 && bytes[0] == 0 && bytes[3..9] == [4, 0, 0, 0, 0, 0]
}
