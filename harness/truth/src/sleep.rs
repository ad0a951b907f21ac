//! Whether the server serves at all: it loads after its start, it can be put to sleep and woken.

use crate::answer::Answer;
use nomoat_core::units::Nanos;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// What the routes `/sleep`, `/wake_up` and `/is_sleeping` do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sleep {
    /// What they say.
    #[default]
    Obeyed,
    /// Answer 200 and change nothing, as servers do that were not started for it.
    Ignored,
    /// They are not there.
    Absent,
}

impl Sleep {
    const ALL: [(Self, &'static str); 3] = [(Self::Obeyed, "obeyed"), (Self::Ignored, "ignored"), (Self::Absent, "absent")];
}

impl fmt::Display for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(sleep, _)| sleep == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Sleep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(sleep, _)| *sleep);
        found.ok_or_else(|| format!("sleep `{text}` should be obeyed, ignored or absent"))
    }
}

/// The state of a server.
#[derive(Debug)]
pub struct Doors {
    asleep: AtomicBool,
    /// Before this moment nothing is served.
    opens: AtomicI64,
}

impl Doors {
    /// Those of a server that serves from `opens` on.
    pub fn new(opens: Nanos) -> Self {
        Self { asleep: AtomicBool::new(false), opens: AtomicI64::new(opens.0) }
    }

    /// The answer to whoever comes while nothing is served.
    pub fn closed(&self, now: Nanos) -> Option<Answer> {
        if self.asleep.load(Ordering::Acquire) {
            return Some(Answer::error(503, None, "the server sleeps; POST /wake_up wakes it").header("retry-after", "0"));
        }
        self.loading(now)
    }

    /// The answer to whoever asks for its state while it loads. Asleep, it is there and says so.
    pub fn loading(&self, now: Nanos) -> Option<Answer> {
        let left = Nanos(self.opens.load(Ordering::Acquire)) - now;
        // Whole seconds, as the header has them; less than one is none.
        let seconds = (left.0 / 1_000_000_000).to_string();
        (left.0 > 0).then(|| Answer::error(503, None, "the model is loading").header("retry-after", &seconds))
    }

    /// Answers a control route; `None` where the path is none of them.
    pub fn control(&self, how: Sleep, method: &str, path: &str, now: Nanos, waking: Nanos) -> Option<Answer> {
        if how == Sleep::Absent {
            return None;
        }
        match (method, path) {
            ("POST", "/sleep") => {
                self.asleep.store(how == Sleep::Obeyed, Ordering::Release);
                Some(Answer::text(String::new()))
            }
            ("POST", "/wake_up") => {
                if self.asleep.swap(false, Ordering::AcqRel) {
                    self.opens.store((now + waking).0, Ordering::Release);
                }
                Some(Answer::text(String::new()))
            }
            ("GET", "/is_sleeping") => {
                Some(Answer::json(200, serde_json::json!({ "is_sleeping": self.asleep.load(Ordering::Acquire) }).to_string()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_as_they_print() {
        for (sleep, _) in Sleep::ALL {
            assert_eq!(sleep.to_string().parse(), Ok(sleep));
        }
        assert!("deep".parse::<Sleep>().unwrap_err().contains("obeyed, ignored or absent"));
    }

    #[test]
    fn doors_open_and_close() {
        let at = Nanos::from_millis;
        let waking = at(2_500);
        let doors = Doors::new(at(10));
        let status = |now| doors.closed(now).map_or(200, |a| a.status());
        let go = |how, method, path, now| doors.control(how, method, path, now, waking).map(|a| a.status());
        let sleeps =
            || String::from_utf8(doors.control(Sleep::Obeyed, "GET", "/is_sleeping", at(0), waking).unwrap().body().to_vec()).unwrap();
        assert_eq!((status(at(9)), status(at(10))), (503, 200), "it loads");
        assert_eq!((go(Sleep::Ignored, "POST", "/sleep", at(20)), status(at(20))), (Some(200), 200));
        assert!(sleeps().contains("false"));
        assert_eq!((go(Sleep::Obeyed, "POST", "/sleep", at(20)), status(at(20))), (Some(200), 503));
        assert!(sleeps().contains("true"));
        assert_eq!(go(Sleep::Obeyed, "POST", "/wake_up", at(30)), Some(200));
        let answer = doors.closed(at(31)).unwrap();
        assert!(answer.headers().any(|header| header == ("retry-after", "2")));
        assert_eq!((status(at(2_529)), status(at(2_530))), (503, 200));
        assert_eq!((go(Sleep::Obeyed, "POST", "/wake_up", at(4_000)), status(at(4_000))), (Some(200), 200), "who is awake stays so");
        for (how, method, path) in [(Sleep::Absent, "POST", "/sleep"), (Sleep::Obeyed, "GET", "/sleep"), (Sleep::Obeyed, "POST", "/nap")] {
            assert_eq!(go(how, method, path, at(5_000)), None);
        }
    }
}
