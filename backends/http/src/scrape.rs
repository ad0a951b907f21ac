//! The endpoint's own metrics, read over the same transport as everything else that is not timed.

use crate::control::{CONTROL_LIMIT, CONTROL_TIMEOUT, ControlError, exchange};
use crate::encoder::HttpEncoder;
use crate::metrics::{Reader, Tracker};
use crate::transport::Route;
use nomoat_core::backend::{BackendError, BoxFuture, Telemetry};
use nomoat_core::sample::Sample;
use std::sync::Arc;

/// Reads one page or several, over and over.
pub(crate) struct Scrapers {
    pages: Vec<Scraper>,
    noticed: Vec<(&'static str, String)>,
}

/// Reads a page.
struct Scraper {
    route: Arc<Route>,
    path: String,
    encoder: HttpEncoder,
    tracker: Tracker,
    /// Whether its last reading failed: a failure is told of once.
    failing: bool,
}

impl Scrapers {
    /// Of pages that are there; several are told apart by a label.
    pub fn new(pages: Vec<(Arc<Route>, String)>, encoder: &HttpEncoder, reader: &Arc<Reader>) -> Self {
        let several = pages.len() > 1;
        let scraper = |(index, (route, path))| Scraper {
            route,
            path,
            encoder: encoder.clone(),
            tracker: Tracker::new(reader.clone(), several.then_some(index)),
            failing: false,
        };
        Self { pages: pages.into_iter().enumerate().map(scraper).collect(), noticed: vec![] }
    }
}

impl Scraper {
    fn place(&self) -> String {
        format!("{}{}", self.route.endpoint, self.path)
    }
}

impl Telemetry for Scrapers {
    fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
        Box::pin(async move {
            // All at the same time, so that a sum over them is of one moment.
            let asked: Vec<_> = self
                .pages
                .iter()
                .map(|page| {
                    let (route, path, encoder) = (page.route.clone(), page.path.clone(), page.encoder.clone());
                    tokio::spawn(async move { scrape(&route, &path, &encoder).await })
                })
                .collect();
            let (mut samples, mut failures) = (vec![], vec![]);
            for (page, answer) in self.pages.iter_mut().zip(asked) {
                let answer = answer.await.unwrap_or_else(|broken| std::panic::resume_unwind(broken.into_panic()));
                match answer.and_then(|text| page.tracker.read(&text)) {
                    Ok(read) => {
                        samples.extend(read);
                        page.failing = false;
                    }
                    Err(why) => failures.push((format!("reading {}: {why}", page.place()), std::mem::replace(&mut page.failing, true))),
                }
            }
            // Where one of several fails the others are still known; what is missing is told.
            if failures.len() == self.pages.len()
                && let Some((why, _)) = failures.pop()
            {
                return Err(BackendError::Unreachable(why));
            }
            self.noticed.extend(failures.into_iter().filter(|(_, known)| !known).map(|(why, _)| ("telemetry_failed", why)));
            Ok(samples)
        })
    }

    fn noticed(&mut self) -> Vec<(&'static str, String)> {
        let mut noticed = std::mem::take(&mut self.noticed);
        for page in &mut self.pages {
            let place = page.place();
            noticed.extend(page.tracker.noticed().into_iter().map(|(code, words)| (code, format!("{place}: {words}"))));
        }
        noticed
    }

    fn closing(&mut self) {
        self.pages.iter_mut().for_each(|page| page.tracker.closing());
    }
}

/// The text of a page. One redirection to another path of the same server is followed: some answer `/metrics` with `/metrics/`.
pub(crate) async fn scrape(route: &Route, path: &str, encoder: &HttpEncoder) -> Result<String, String> {
    // Another host's metrics must not be shown the endpoint's key.
    let own = HttpEncoder {
        endpoint: route.endpoint.clone(),
        headers: if route.endpoint == encoder.endpoint { encoder.headers.clone() } else { vec![] },
        ..encoder.clone()
    };
    let server = format!("{}://{}", if route.endpoint.tls { "https" } else { "http" }, route.endpoint.authority());
    let mut path = path.to_owned();
    let mut redirected = false;
    loop {
        let (request, _) = own.wire("GET", &path, "", &[]);
        let answer = match exchange(route, &request, CONTROL_LIMIT, CONTROL_TIMEOUT).await {
            Ok(answer) => answer,
            Err(ControlError::Unreachable(why) | ControlError::Tls(why) | ControlError::Garbled(why)) => return Err(why),
        };
        match (answer.status, answer.head.location.as_deref().and_then(|to| same_server(&server, to))) {
            (200, _) => return Ok(String::from_utf8_lossy(&answer.body).into_owned()),
            (301 | 302 | 307 | 308, Some(to)) if !redirected => (path, redirected) = (to, true),
            (status, _) => return Err(format!("HTTP {status}")),
        }
    }
}

/// The path that a redirection leads to, where it stays at `server`.
fn same_server(server: &str, location: &str) -> Option<String> {
    let path = location.strip_prefix(server).unwrap_or(location);
    (path.starts_with('/') && !path.starts_with("//")).then(|| path.to_owned())
}

/// An address and the path behind it; `/metrics` where there is none.
pub(crate) fn split_path(url: &str) -> (String, String) {
    let at = url.find("://").map_or(0, |i| i + 3);
    match url[at..].find('/') {
        Some(slash) => (url[..at + slash].to_owned(), url[at + slash..].to_owned()),
        None => (url.to_owned(), "/metrics".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_followed_at_the_same_server_only() {
        for (location, expect) in [
            ("/metrics/", Some("/metrics/")),
            ("http://h:1/metrics/", Some("/metrics/")),
            ("http://h:1", None),
            ("http://h:12/metrics/", None),
            ("http://elsewhere/metrics", None),
            ("//elsewhere/metrics", None),
            ("metrics/", None),
        ] {
            assert_eq!(same_server("http://h:1", location).as_deref(), expect, "{location}");
        }
    }
}
