//! Heads of requests and of answers, in the form HTTP/2 has them.

use crate::body::{Framing, Head};
use crate::encoder::HttpEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

/// The header that differs from request to request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What belongs to one HTTP/1.1 connection and has no place here (RFC 9113 §8.2.2).
const OF_THE_CONNECTION: [&str; 7] = ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "te", "host"];

/// Whether a header may be sent over HTTP/2.
pub(crate) fn is_allowed(name: &str) -> bool {
    !OF_THE_CONNECTION.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// What all heads of a run's requests share, made once: a request adds its id.
#[derive(Clone)]
pub(crate) struct Template {
    uri: Uri,
    headers: HeaderMap,
}

impl Template {
    /// The head that `encoder` writes, without the id.
    ///
    /// # Errors
    /// What cannot stand in a head; no value is shown.
    pub fn new(encoder: &HttpEncoder, path: &str) -> Result<Self, String> {
        let scheme = if encoder.endpoint.tls { "https" } else { "http" };
        let shown = format!("{scheme}://{}{path}", encoder.endpoint.authority());
        let uri: Uri = shown.parse().map_err(|e| format!("`{shown}` is no address for HTTP/2: {e}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("nomoat/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in encoder.dialect_headers() {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for (name, value) in &encoder.headers {
            if !is_allowed(name) {
                return Err(format!("the header `{name}` belongs to HTTP/1.1 and cannot be sent over HTTP/2; leave out one of them"));
            }
            let bad = |_| format!("the header `{name}` cannot be sent over HTTP/2");
            let name_read = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(e.to_string()))?;
            let mut value = HeaderValue::from_bytes(value.reveal().as_bytes()).map_err(|e| bad(e.to_string()))?;
            // Any of the user's headers may be a key: compression must not remember it.
            value.set_sensitive(true);
            headers.append(name_read, value);
        }
        Ok(Self { uri, headers })
    }

    /// The head of the request with this id.
    pub fn post(&self, id: &[u8]) -> Option<Request<()>> {
        let mut request = self.request(Method::POST);
        request.headers_mut().insert(REQUEST_ID, HeaderValue::from_bytes(id).ok()?);
        Some(request)
    }

    fn request(&self, method: Method) -> Request<()> {
        let mut request = Request::new(());
        (*request.method_mut(), *request.version_mut()) = (method, Version::HTTP_2);
        request.uri_mut().clone_from(&self.uri);
        request.headers_mut().clone_from(&self.headers);
        request
    }
}

/// The head of a request that was made for HTTP/1.1, and where its body begins: for what is not timed.
///
/// # Errors
/// What is wrong with it, without the values of headers.
pub(crate) fn translate(wire: &[u8], tls: bool) -> Result<(Request<()>, usize), String> {
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut room);
    let Ok(httparse::Status::Complete(body_at)) = parsed.parse(wire) else { return Err("making the head of a request for HTTP/2".into()) };
    let find = |wanted: &str| parsed.headers.iter().find(|h| h.name.eq_ignore_ascii_case(wanted)).map(|h| h.value);
    let authority = String::from_utf8_lossy(find(HOST.as_str()).unwrap_or_default()).into_owned();
    let (scheme, path) = (if tls { "https" } else { "http" }, parsed.path.unwrap_or("/"));
    let mut request = Request::new(());
    *request.uri_mut() = format!("{scheme}://{authority}{path}").parse().map_err(|e| format!("`{path}` is no path for HTTP/2: {e}"))?;
    *request.method_mut() = parsed.method.unwrap_or("GET").parse().map_err(|_| "that method is none of HTTP/2")?;
    *request.version_mut() = Version::HTTP_2;
    for header in parsed.headers.iter().filter(|h| is_allowed(h.name)) {
        let bad = || format!("the header `{}` cannot be sent over HTTP/2", header.name);
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_bytes(header.value).map_err(|_| bad())?;
        value.set_sensitive(name == AUTHORIZATION);
        request.headers_mut().append(name, value);
    }
    Ok((request, body_at))
}

/// An answer's head, as the rest of this crate knows it. The frames say where the body ends.
pub(crate) fn answer(parts: &http::response::Parts) -> Head {
    let text = |name: HeaderName| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    let encoding = text(http::header::CONTENT_ENCODING).map(|e| e.to_ascii_lowercase());
    Head {
        status: parts.status.as_u16(),
        framing: Framing::UntilClose,
        keep_alive: true,
        content_type: text(CONTENT_TYPE).map(|t| t.to_ascii_lowercase()),
        encoding: encoding.filter(|e| !e.is_empty() && e != "identity"),
        retry_after: text(http::header::RETRY_AFTER),
        location: text(http::header::LOCATION),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_made_for_http_1_1() {
        let wire = b"POST /v1/completions HTTP/1.1\r\nHost: h:8\r\nX-Request-Id: a-1\r\nAuthorization: Bearer key\r\nConnection: close\r\n\r\nbody";
        let (request, body_at) = translate(wire, true).unwrap();
        assert_eq!(&wire[body_at..], b"body");
        assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("POST", "https://h:8/v1/completions"));
        let names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-request-id", "authorization"]);
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
        assert!(translate(b"nonsense", false).is_err());
    }

    #[test]
    fn heads_of_answers() {
        let head = |headers: &[(&str, &str)]| {
            let mut answer = http::Response::builder().status(307);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            super::answer(&answer.body(()).unwrap().into_parts().0)
        };
        let found = head(&[("content-type", "Text/Event-Stream; charset=UTF-8"), ("location", "/x"), ("retry-after", "1")]);
        assert_eq!((found.status, found.location.as_deref(), found.retry_after.as_deref()), (307, Some("/x"), Some("1")));
        assert!(found.is_type("text/event-stream"));
        for (value, expect) in [("gzip", Some("gzip")), ("Identity", None), ("", None)] {
            assert_eq!(head(&[("content-encoding", value)]).encoding.as_deref(), expect);
        }
    }
}
