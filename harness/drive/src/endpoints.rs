//! The endpoints of a run, one or several of the same engine, and which of them a request goes to.

use nomoat_core::backend::{Backend, Encoder, LiveTurn, Offer, Payload, Telemetry};
use nomoat_core::prompt::Prompt;
use nomoat_core::request::Request;
use nomoat_core::schedule::{Schedule, Spread};
use std::sync::Arc;

/// The way to each endpoint, shared by all shards.
pub(crate) struct Endpoints {
    ways: Vec<(Arc<dyn Backend>, Arc<dyn Encoder>)>,
    spread: Spread,
}

impl Endpoints {
    /// Over `backends`, at least one and at most 65,535, in the order of their indices.
    pub fn new(backends: &[Arc<dyn Backend>], schedule: &Schedule, offer: &Offer) -> Self {
        let count =
            u16::try_from(backends.len()).ok().filter(|n| *n > 0).expect("whoever starts a run has as many endpoints as a record can tell");
        Self { ways: backends.iter().map(|b| (b.clone(), b.encoder(offer))).collect(), spread: Spread::new(schedule, count) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ways.len()
    }

    /// The one that a request goes to.
    pub fn of(&self, request: &Request) -> u16 {
        self.spread.of(request)
    }

    /// The way to one of them.
    pub fn backend(&self, endpoint: u16) -> &Arc<dyn Backend> {
        &self.ways[usize::from(endpoint)].0
    }

    /// Makes a request ready for one of them.
    pub fn encode(&self, endpoint: u16, request: &Request, history: &[LiveTurn]) -> Result<Payload, String> {
        self.ways[usize::from(endpoint)].1.encode(request, history)
    }

    /// What a user says in a prompt to one of them.
    pub fn spoken(&self, endpoint: u16, prompt: &Prompt) -> String {
        self.ways[usize::from(endpoint)].1.spoken(prompt)
    }

    /// The metrics of those that have any, with their indices.
    pub fn telemetry(&self) -> Vec<(u16, Box<dyn Telemetry>)> {
        (0..).zip(&self.ways).filter_map(|(index, (backend, _))| Some((index, backend.telemetry()?))).collect()
    }
}
