//! Which HTTP an endpoint is spoken to in: as asked, or as TLS finds out.

use std::str::FromStr;
use std::sync::OnceLock;

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HttpVersion {
    /// HTTP/1.1, one connection per request in flight.
    #[default]
    One,
    /// HTTP/2, many requests over one connection: by TLS's agreement, and without TLS because it is known that the endpoint speaks it.
    Two,
    /// HTTP/2 where TLS agrees on it, else HTTP/1.1.
    Auto,
}

impl FromStr for HttpVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1" | "1.1" => Ok(Self::One),
            "2" => Ok(Self::Two),
            "auto" => Ok(Self::Auto),
            _ => Err(format!("`{text}` is none of 1, 2, auto")),
        }
    }
}

const H1: &[u8] = b"http/1.1";
const H2: &[u8] = b"h2";

/// What is spoken on a route. Found out by its first connection, and kept to from then on: one run speaks one HTTP.
#[derive(Debug)]
pub(crate) struct Spoken {
    asked: HttpVersion,
    is_two: OnceLock<bool>,
}

impl Spoken {
    /// As asked, over TLS or not.
    pub fn new(asked: HttpVersion, tls: bool) -> Self {
        let known = match asked {
            HttpVersion::One => Some(false),
            HttpVersion::Two => Some(true),
            HttpVersion::Auto => (!tls).then_some(false),
        };
        let is_two = OnceLock::new();
        if let Some(known) = known {
            // An empty cell takes its first value.
            let _ = is_two.set(known);
        }
        Self { asked, is_two }
    }

    /// Whether it is HTTP/2. Not before a first connection is it known of what is found out.
    pub fn is_two(&self) -> bool {
        self.is_two.get().copied().unwrap_or(false)
    }

    /// What TLS offers.
    pub fn offers(&self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self.is_two.get() {
            None => &[H2, H1],
            Some(true) => &[H2],
            Some(false) => &[H1],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }

    /// Takes note of what TLS agreed on.
    ///
    /// # Errors
    /// It is not what is spoken here.
    pub fn agreed(&self, protocol: Option<&[u8]>) -> Result<(), String> {
        let two = protocol == Some(H2);
        if *self.is_two.get_or_init(|| two) == two {
            return Ok(());
        }
        Err(match (two, self.asked) {
            (true, _) => "it chose HTTP/2, which was not offered".into(),
            (false, HttpVersion::Two) => "it does not agree on HTTP/2; without --http 2 it is asked in HTTP/1.1".into(),
            (false, _) => "it agreed on HTTP/2 at first and does not now; --http 1 keeps to HTTP/1.1".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(
            ["1", "1.1", "2", "auto"].map(str::parse),
            [HttpVersion::One, HttpVersion::One, HttpVersion::Two, HttpVersion::Auto].map(Ok)
        );
        for text in ["", "3", "h2"] {
            assert!(text.parse::<HttpVersion>().is_err_and(|e| e.contains("1, 2, auto")), "{text}");
        }
    }

    #[test]
    fn what_is_offered_and_kept_to() {
        let check = |asked, tls, agreed: &[Option<&[u8]>], offers: &[&[u8]], two, errors: usize| {
            let spoken = Spoken::new(asked, tls);
            assert_eq!(spoken.offers(), offers, "{asked:?}");
            let failed = agreed.iter().filter(|a| spoken.agreed(**a).is_err()).count();
            assert_eq!((spoken.is_two(), failed), (two, errors), "{asked:?} {agreed:?}");
        };
        check(HttpVersion::One, true, &[Some(H1), None, Some(H2)], &[H1], false, 1);
        check(HttpVersion::Two, true, &[Some(H2), Some(H1), None], &[H2], true, 2);
        check(HttpVersion::Auto, true, &[Some(H2), Some(H2), Some(H1)], &[H2, H1], true, 1);
        check(HttpVersion::Auto, true, &[None, Some(H1), Some(H2)], &[H2, H1], false, 1);
        check(HttpVersion::Auto, false, &[], &[H1], false, 0);
        check(HttpVersion::Two, false, &[], &[H2], true, 0);
    }
}
