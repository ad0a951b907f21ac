//! A place where an endpoint may tell something, and what it must say there.

use crate::metrics;
use crate::url::Endpoint;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where to look and what to expect. Without an expectation anything that is there will do.
///
/// The place is one of: `host` or `path` (of the address itself), `metric` (a series whose name starts so, with `label` the value of
/// that label), `get` (a page; with `json` a pointer into it, where `""` is the whole, with `header` one of its headers, alone its
/// text).
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Look {
    /// The address's host is this, or ends in a dot and this.
    pub host: Option<String>,
    /// The address's path has this in it.
    pub path: Option<String>,
    /// A series of the metrics page.
    pub metric: Option<String>,
    /// The value of one of its labels.
    pub label: Option<String>,
    /// A page, from the server's root; only an answer of 200 counts.
    pub get: Option<String>,
    /// A JSON pointer (RFC 6901) into it.
    pub json: Option<String>,
    /// One of its headers.
    pub header: Option<String>,
    /// What is there is exactly this.
    pub is: Option<String>,
    /// What is there has this in it.
    pub has: Option<String>,
    /// This must be found too.
    pub also: Option<Box<Look>>,
}

/// An answer to a control request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// Its headers, as sent.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// What an endpoint has shown so far.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// Host of the address.
    pub host: String,
    /// Path of the address, without `/v1`.
    pub root: String,
    /// Pages by path; `None` for one that did not come.
    pub pages: BTreeMap<String, Option<Page>>,
    /// The metrics page, where there is one.
    pub metrics: Option<String>,
}

impl Pages {
    /// Nothing but the address.
    pub fn of(endpoint: &Endpoint) -> Self {
        Self { host: endpoint.host.clone(), root: endpoint.root.clone(), ..Self::default() }
    }
}

/// The longest value that is kept of a page.
const MAX_VALUE: usize = 500;

impl Look {
    /// The pages that must be asked for before [`Self::find`] can tell.
    pub fn gets(&self) -> impl Iterator<Item = &str> {
        self.get.as_deref().into_iter().chain(self.also.as_deref().and_then(|l| l.get.as_deref()))
    }

    /// Whether something stands at one place at least; a file that names none is mistaken.
    pub fn is_somewhere(&self) -> bool {
        [&self.host, &self.path, &self.metric, &self.get].into_iter().any(Option::is_some)
    }

    /// What stands there, if it is as expected: the value of a JSON pointer without quotes, a header, a label, a page's text.
    pub fn find(&self, seen: &Pages) -> Option<String> {
        let found = self.at(seen)?;
        let fits = self.is.as_ref().is_none_or(|is| found == *is) && self.has.as_ref().is_none_or(|has| found.contains(has));
        let also = self.also.as_ref().is_none_or(|also| also.find(seen).is_some());
        (fits && also).then(|| found.chars().filter(|c| !c.is_control()).take(MAX_VALUE).collect())
    }

    fn at(&self, seen: &Pages) -> Option<String> {
        if let Some(host) = &self.host {
            let before = seen.host.strip_suffix(host.as_str())?;
            return (before.is_empty() || before.ends_with('.')).then(|| seen.host.clone());
        }
        if let Some(path) = &self.path {
            // A prefix that ends the path has no slash at its end.
            return format!("{}/", seen.root).contains(path.as_str()).then(|| seen.root.clone());
        }
        if let Some(metric) = &self.metric {
            let mut series = metrics::series(seen.metrics.as_deref()?).filter(|s| s.name.starts_with(metric.as_str()));
            return match &self.label {
                None => series.next().map(|s| s.name.to_owned()),
                Some(label) => series.find_map(|s| s.label(label)).map(std::borrow::Cow::into_owned),
            };
        }
        let page = seen.pages.get(self.get.as_ref()?)?.as_ref().filter(|page| page.status == 200)?;
        if let Some(header) = &self.header {
            return page.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(header)).map(|(_, value)| value.trim().to_owned());
        }
        let Some(pointer) = &self.json else { return Some(String::from_utf8_lossy(&page.body).trim().to_owned()) };
        match serde_json::from_slice::<Value>(&page.body).ok()?.pointer(pointer)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// The place in words, as receipts name it: `/version`, `header server of /health`, `metric vllm:cache_config_info`.
    pub fn place(&self) -> String {
        match (&self.host, &self.path, &self.metric, &self.get, &self.header) {
            (Some(_), ..) => "its host name".into(),
            (_, Some(_), ..) => "its path".into(),
            (_, _, Some(metric), ..) => format!("metric {metric}"),
            (_, _, _, Some(get), Some(header)) => format!("header {header} of {get}"),
            (_, _, _, Some(get), None) => get.clone(),
            _ => "nowhere".into(),
        }
    }
}
