//! The endpoint's own metrics, read over the same transport as everything else that is not timed.

use crate::control::{CONTROL_LIMIT, CONTROL_TIMEOUT, ControlError, exchange};
use crate::encoder::HttpEncoder;
use crate::metrics::Tracker;
use crate::transport::Route;
use nomoat_core::backend::{BackendError, BoxFuture, Telemetry};
use nomoat_core::sample::Sample;
use std::sync::Arc;

/// Reads a metrics page, over and over.
pub(crate) struct Scraper {
    pub route: Arc<Route>,
    pub path: String,
    pub encoder: HttpEncoder,
    pub tracker: Tracker,
}

impl Telemetry for Scraper {
    fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
        Box::pin(async move {
            let page = scrape(&self.route, &self.path, &self.encoder).await;
            page.and_then(|page| self.tracker.read(&page))
                .map_err(|why| BackendError::Unreachable(format!("reading {}{}: {why}", self.route.endpoint, self.path)))
        })
    }

    fn noticed(&mut self) -> Vec<(&'static str, String)> {
        let place = format!("{}{}", self.route.endpoint, self.path);
        self.tracker.noticed().into_iter().map(|(code, words)| (code, format!("{place}: {words}"))).collect()
    }

    fn closing(&mut self) {
        self.tracker.closing();
    }
}

pub(crate) async fn scrape(route: &Route, path: &str, encoder: &HttpEncoder) -> Result<String, String> {
    // Another host's metrics must not be shown the endpoint's key.
    let own = HttpEncoder {
        endpoint: route.endpoint.clone(),
        headers: if route.endpoint == encoder.endpoint { encoder.headers.clone() } else { vec![] },
        ..encoder.clone()
    };
    let (request, _) = own.wire("GET", path, "", &[]);
    match exchange(route, &request, CONTROL_LIMIT, CONTROL_TIMEOUT).await {
        Ok(answer) if answer.status == 200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        Ok(answer) => Err(format!("HTTP {}", answer.status)),
        Err(ControlError::Unreachable(why) | ControlError::Tls(why) | ControlError::Garbled(why)) => Err(why),
    }
}

/// An address and the path behind it; `/metrics` where there is none.
pub(crate) fn split_path(url: &str) -> (String, String) {
    let at = url.find("://").map_or(0, |i| i + 3);
    match url[at..].find('/') {
        Some(slash) => (url[..at + slash].to_owned(), url[at + slash..].to_owned()),
        None => (url.to_owned(), "/metrics".into()),
    }
}
