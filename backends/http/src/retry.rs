//! Asking again what an endpoint declined for now: 429 and 503, and nothing else.
//!
//! It is asked for (`--retries`), counted in `attempts`, and inside TTFT: latency counts from when the request was due, whatever became
//! of its first attempt. A hosted API that is over its quota and a model that is being woken look like this.

use nomoat_core::backend::{BoxFuture, Channel, Prepared};
use nomoat_core::event::{EventSink, Finish, RequestError};
use nomoat_core::record::{ErrorCode, Status};
use std::time::Duration;

/// What is waited where the endpoint does not say how long, before the second attempt; doubled before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A channel that knows what its last answer said of another attempt.
pub(crate) trait Declined: Channel {
    /// The last answer's status and `retry-after`, where there was an answer.
    fn declined(&self) -> Option<(u16, Option<&str>)>;
}

/// A channel that asks again.
pub(crate) struct Retrying<C> {
    inner: C,
    most: u16,
}

impl<C: Declined> Retrying<C> {
    /// At most `most` times after the first.
    pub fn new(inner: C, most: u16) -> Self {
        Self { inner, most }
    }

    async fn ask(&mut self, request: &Prepared, events: &mut EventSink) -> Result<Finish, RequestError> {
        let mut again = 0;
        loop {
            let outcome = self.inner.generate(request, events).await;
            let Err(error) = outcome else { return outcome };
            let wait = if is_for_now(error) { self.wait(again) } else { None };
            let Some(wait) = wait.filter(|_| again < self.most) else { return outcome };
            again += 1;
            events.again();
            tokio::time::sleep(wait).await;
        }
    }

    /// How long to wait before the attempt after `again` others; `None` where another one is of no use.
    fn wait(&self, again: u16) -> Option<Duration> {
        match self.inner.declined()? {
            (429 | 503, Some(after)) => Some(seconds(after).unwrap_or_else(|| doubled(again))),
            (429 | 503, None) => Some(doubled(again)),
            _ => None,
        }
    }
}

impl<C: Declined> Channel for Retrying<C> {
    fn generate<'a>(&'a mut self, request: &'a Prepared, events: &'a mut EventSink) -> BoxFuture<'a, Result<Finish, RequestError>> {
        Box::pin(self.ask(request, events))
    }
}

/// Whether a failure may be of the kind that passes: a refusal by status, before any token.
fn is_for_now(error: RequestError) -> bool {
    error.status == Status::Rejected || (error.status == Status::Http && error.code == ErrorCode::Http5xx)
}

fn doubled(again: u16) -> Duration {
    FIRST_WAIT.saturating_mul(1 << again.min(16)).min(LONGEST_WAIT)
}

/// `retry-after` as seconds, which inference endpoints send, some with a fraction. A date is waited for as if it were not there.
fn seconds(after: &str) -> Option<Duration> {
    let seconds: f64 = after.trim().trim_end_matches('s').parse().ok()?;
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_endpoint_says_of_another_attempt() {
        for (after, expect) in [
            ("0", Some(0)),
            ("2", Some(2000)),
            (" 1.5 ", Some(1500)),
            ("0.25s", Some(250)),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("Fri, 31 Dec 1999 23:59:59 GMT", None),
            ("", None),
        ] {
            assert_eq!(seconds(after), expect.map(Duration::from_millis), "{after}");
        }
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let waits: Vec<u128> = [0, 1, 2, 6, 7, 100].map(|again| doubled(again).as_millis()).to_vec();
        assert_eq!(waits, [250, 500, 1000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn only_refusals_pass() {
        let check = |status, code, expect| assert_eq!(is_for_now(RequestError::new(status, code)), expect, "{status:?} {code:?}");
        check(Status::Rejected, ErrorCode::Http4xx, true);
        check(Status::Http, ErrorCode::Http5xx, true);
        check(Status::Http, ErrorCode::Http4xx, false);
        check(Status::Truncated, ErrorCode::Reset, false);
        check(Status::Protocol, ErrorCode::StreamError, false);
    }
}
