//! Where an endpoint's pages of metrics are.

use super::HttpBackend;
use crate::scrape::{scrape, split_path};
use crate::transport::Route;
use crate::url::Endpoint;
use crate::version::HttpVersion;
use nomoat_core::backend::BackendError;
use std::sync::Arc;

impl HttpBackend {
    /// Whatever its pages say before anything is known of the engine, one after the other.
    pub(super) async fn metrics_text(&self) -> Option<String> {
        let mut text = String::new();
        for (route, path) in self.places().await.ok()? {
            text.push_str(&scrape(&route, &path, &self.settled()).await.unwrap_or_default());
            text.push('\n');
        }
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// Its pages of metrics: beside the API if one is there that says something, or where the user said, and then they must.
    pub(super) async fn find_pages(&self) -> Result<Vec<(Arc<Route>, String)>, BackendError> {
        let reader = self.catalog.reader();
        let mut pages = vec![];
        for (index, (route, path)) in self.places().await?.into_iter().enumerate() {
            let page = scrape(&route, &path, &self.settled()).await;
            let Some(url) = self.config.metrics_urls.get(index) else {
                if page.is_ok_and(|page| !reader.read(&page).readings.is_empty()) {
                    pages.push((route, path));
                }
                continue;
            };
            let page = page.map_err(|why| BackendError::Unreachable(format!("reading --metrics-url {url}: {why}")))?;
            if reader.read(&page).readings.is_empty() {
                let known: Vec<_> = self.catalog.specs().iter().filter(|s| s.metrics.is_some()).map(|s| s.title.as_str()).collect();
                return Err(BackendError::Config(format!("--metrics-url {url} has no metric of {}", known.join(", "))));
            }
            pages.push((route, path));
        }
        Ok(pages)
    }

    /// Where to look for them.
    async fn places(&self) -> Result<Vec<(Arc<Route>, String)>, BackendError> {
        let mut places: Vec<(Arc<Route>, String)> = vec![];
        for url in &self.config.metrics_urls {
            if url.contains(['?', '@']) {
                // It would stand in the manifest.
                return Err(BackendError::Config(
                    "--metrics-url takes no query and no credentials; give --header for what must be sent".into(),
                ));
            }
            let (address, path) = split_path(url);
            let endpoint = Endpoint::parse(&address).map_err(|e| BackendError::Config(format!("--metrics-url {e}")))?;
            let same = |place: &&(Arc<Route>, String)| place.0.endpoint == endpoint && place.1 == path;
            if places.iter().any(|place| same(&place)) {
                return Err(BackendError::Config(format!("--metrics-url {url} is given twice, and would be counted twice")));
            }
            places.push((Arc::new(super::route(&self.config, endpoint, HttpVersion::One, self.route.clock.clone()).await?), path));
        }
        if places.is_empty() {
            places.push((self.route.clone(), format!("{}/metrics", self.route.endpoint.root)));
        }
        Ok(places)
    }
}
