//! One request, as it is kept until the end.

use crate::answer::Answer;
use crate::ask::{Ask, Kind};
use crate::identity::Outline;
use nomoat_core::prompt::Prompt;
use nomoat_core::units::Nanos;

/// How an exchange ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With the last byte of the answer.
    Complete,
    /// The client went away.
    Left,
    /// The endpoint could not be reached, broke off, or did not speak HTTP/1.1.
    Broken,
}

/// A request whose question was read.
pub struct Row {
    pub kind: Kind,
    pub arrived: Nanos,
    /// When its last byte went on to the endpoint.
    pub sent: Nanos,
    pub ended: Option<(Nanos, Outcome)>,
    pub outline: Outline,
    pub max_tokens: Option<u32>,
    pub is_several: bool,
    pub has_media: bool,
    /// What was asked, where it is kept.
    pub kept: Option<Prompt>,
    pub answer: Box<Answer>,
    pub session: Option<u32>,
    pub turn: u16,
    /// The row it continues.
    pub parent: Option<u32>,
    pub has_child: bool,
    /// What it says last is what a tool said.
    pub after_tool: bool,
    /// It will not be in the trace.
    pub is_lost: bool,
}

impl Row {
    pub fn new(kind: Kind, arrived: Nanos, sent: Nanos, outline: Outline, ask: &Ask) -> Self {
        Self {
            kind,
            arrived,
            sent,
            ended: None,
            outline,
            max_tokens: ask.max_tokens,
            is_several: ask.is_several,
            has_media: ask.has_media,
            kept: None,
            answer: Box::default(),
            session: None,
            turn: 0,
            parent: None,
            has_child: false,
            after_tool: false,
            is_lost: false,
        }
    }

    /// Whether it had ended when something came at `at`.
    pub fn had_ended(&self, at: Nanos) -> bool {
        self.ended.is_some_and(|(end, _)| end <= at)
    }

    /// What came of it. A client that goes away after the answer has said that it is over has what it wanted.
    pub fn outcome(&self) -> Outcome {
        match self.ended {
            Some((_, Outcome::Left)) if self.answer.is_over && !self.answer.failed => Outcome::Complete,
            Some((_, Outcome::Complete)) if self.answer.failed => Outcome::Broken,
            Some((_, outcome)) => outcome,
            None => Outcome::Broken,
        }
    }
}
