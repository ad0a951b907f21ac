//! How the process ends. The codes are an API.

use std::fmt;

/// Exit codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// Our own failure.
    Internal = 1,
    /// A flag, a file or a combination of them cannot work.
    Usage = 2,
    /// The engine cannot be reached or does not do what is needed.
    Unreachable = 3,
    /// Not one request was answered.
    NothingMeasured = 4,
    /// The run is no measurement.
    Invalid = 5,
    /// A part of the run is missing.
    Partial = 6,
    /// The service level was missed.
    SloMissed = 20,
    /// Stopped by Ctrl-C; what was measured is saved and marked.
    Interrupted = 130,
    /// The same, by a request to terminate.
    Terminated = 143,
}

impl Exit {
    /// Which of several applies: 130 > 1 > 2 > 3 > 4 > 6 > 5 > 20 > 0.
    pub fn worst(self, other: Self) -> Self {
        const ORDER: [Exit; 9] = [
            Exit::Interrupted,
            Exit::Internal,
            Exit::Usage,
            Exit::Unreachable,
            Exit::NothingMeasured,
            Exit::Partial,
            Exit::Invalid,
            Exit::SloMissed,
            Exit::Ok,
        ];
        let rank = |e: Self| ORDER.iter().position(|o| *o == e);
        if rank(self) <= rank(other) { self } else { other }
    }

    /// The name for `--exit-zero-on`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::NothingMeasured => "nothing",
            Self::Invalid => "invalid",
            Self::Partial => "partial",
            Self::SloMissed => "slo",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }
}

/// An error with the code it ends the process by.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What was being done to which thing, and what to try next.
    pub message: String,
}

impl Failure {
    /// A flag, a file or a combination of them cannot work.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// A path the user gave cannot be used.
    pub fn usage_of(error: impl fmt::Display) -> Self {
        Self::usage(error.to_string())
    }

    /// Our own failure.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Internal, message: message.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<nomoat_core::backend::BackendError> for Failure {
    fn from(error: nomoat_core::backend::BackendError) -> Self {
        use nomoat_core::backend::BackendError;
        let exit = match error {
            BackendError::Config(_) => Exit::Usage,
            BackendError::Unreachable(_) => Exit::Unreachable,
        };
        Self { exit, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_worst_wins() {
        for (a, b, worst) in [
            (Exit::Ok, Exit::Invalid, Exit::Invalid),
            (Exit::Invalid, Exit::NothingMeasured, Exit::NothingMeasured),
            (Exit::Interrupted, Exit::Internal, Exit::Interrupted),
            (Exit::SloMissed, Exit::Invalid, Exit::Invalid),
            (Exit::Partial, Exit::Invalid, Exit::Partial),
        ] {
            assert_eq!((a.worst(b), b.worst(a)), (worst, worst));
        }
    }
}
