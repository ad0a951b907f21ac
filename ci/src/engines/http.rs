//! As much HTTP/1.1 as is needed to ask an engine for a page, and to read a recorded conversation. Both sides' bytes come from programs
//! that are under test here, so nothing is assumed of them.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Most bytes of one page.
const MOST: u64 = 64 << 20;

/// The head of a request or an answer, and where it ends.
pub struct Head<'a> {
    /// The three words of its first line.
    pub first: [&'a str; 3],
    lines: Vec<(&'a str, &'a str)>,
    /// Bytes up to its body.
    pub len: usize,
}

impl Head<'_> {
    /// The first header of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Reads a head; `None` when `bytes` end before it does.
pub fn head(bytes: &[u8]) -> Result<Option<Head<'_>>> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).context("a head is not text")?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
    let first = [words.next(), words.next(), words.next()].map(Option::unwrap_or_default);
    ensure!(!first[1].is_empty(), "`{}` is no first line of HTTP", first[0]);
    let lines = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim())).collect();
    Ok(Some(Head { first, lines, len: end + 4 }))
}

/// The body that follows a head, and how many bytes it took; `None` when `bytes` end before it does.
pub fn body(head: &Head<'_>, bytes: &[u8], closed: bool, is_answer: bool) -> Result<Option<(Vec<u8>, usize)>> {
    if head.get("transfer-encoding").is_some_and(|t| t.to_ascii_lowercase().contains("chunked")) {
        return chunks(bytes);
    }
    if let Some(length) = head.get("content-length") {
        let length: usize = length.parse().with_context(|| format!("content-length `{length}` is no number"))?;
        return Ok(bytes.get(..length).map(|body| (body.to_vec(), length)));
    }
    let empty = !is_answer || ["204", "304"].contains(&head.first[1]);
    Ok(if empty {
        Some((vec![], 0))
    } else {
        // An answer without a length ends with its connection.
        closed.then(|| (bytes.to_vec(), bytes.len()))
    })
}

fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let (mut body, mut at) = (vec![], 0);
    loop {
        let Some(line) = bytes[at..].windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes[at..at + line]);
        let size = text.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).with_context(|| format!("`{size}` is no chunk size"))?;
        at += line + 2;
        if size == 0 {
            // Trailers are read over: an empty line ends them.
            while let Some(line) = bytes[at..].windows(2).position(|w| w == b"\r\n") {
                at += line + 2;
                if line == 0 {
                    return Ok(Some((body, at)));
                }
            }
            return Ok(None);
        }
        let Some(chunk) = at.checked_add(size).and_then(|end| bytes.get(at..end)) else { return Ok(None) };
        body.extend_from_slice(chunk);
        at += size + 2;
        if at > bytes.len() {
            return Ok(None);
        }
    }
}

/// `HOST:PORT` and path of an address that begins with `http://`.
pub fn split(url: &str) -> Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").with_context(|| format!("`{url}` does not begin with http://"))?;
    Ok(rest.find('/').map_or((rest, "/"), |at| rest.split_at(at)))
}

/// Asks for a page: its status and its body.
pub fn get(url: &str) -> Result<(u16, String)> {
    let (host, path) = split(url)?;
    let asking = || -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(host).context("connecting")?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n")?;
        let mut bytes = vec![];
        stream.take(MOST).read_to_end(&mut bytes)?;
        let Some(head) = head(&bytes)? else { bail!("it ended within its head") };
        let status = head.first[1].parse().with_context(|| format!("`{}` is no status", head.first[1]))?;
        let Some((body, _)) = body(&head, &bytes[head.len..], true, true)? else { bail!("it ended within its body") };
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    asking().with_context(|| format!("asking {url}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_bodies() {
        let check = |text: &str, closed: bool, expect: Result<Option<(&str, usize)>, &str>| {
            let read = || -> Result<Option<(String, usize)>> {
                let Some(head) = head(text.as_bytes())? else { return Ok(None) };
                let body = body(&head, &text.as_bytes()[head.len..], closed, true)?;
                Ok(body.map(|(body, took)| (String::from_utf8(body).unwrap(), head.len + took)))
            };
            match (read(), expect) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted.map(|(body, took)| (body.to_owned(), took)), "{text}"),
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP", false, Ok(Some(("abc", 41))));
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", false, Ok(None));
        check("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nab", false, Err("`x` is no number"));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n";
        check(chunked, false, Ok(Some(("abc", chunked.len()))));
        for end in 48..chunked.len() {
            check(&chunked[..end], false, Ok(None));
        }
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, Err("no chunk size"));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", false, Ok(None));
        check("HTTP/1.1 200 OK\r\n\r\nall", false, Ok(None));
        check("HTTP/1.1 200 OK\r\n\r\nall", true, Ok(Some(("all", 22))));
        check("HTTP/1.1 204 No Content\r\n\r\n", false, Ok(Some(("", 27))));
        check("HTTP/1.1 200", false, Ok(None));
        check("nonsense\r\n\r\n", false, Err("no first line"));
    }

    #[test]
    fn addresses() {
        assert_eq!(split("http://127.0.0.1:1/a/b").unwrap(), ("127.0.0.1:1", "/a/b"));
        assert_eq!(split("http://127.0.0.1:1").unwrap(), ("127.0.0.1:1", "/"));
        assert!(split("https://x").is_err());
    }
}
