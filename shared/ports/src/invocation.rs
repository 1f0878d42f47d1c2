//! How a function that events invoke is called: by Lambda through `startup`, and by replays and tests directly.

use std::future::Future;

use domain::time::Timestamp;

use crate::edge::Edge;

/// One invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The platform's id of the request. It comes again when the invocation is repeated.
    pub request_id: String,
    /// When the platform ends the process at the latest.
    pub deadline: Timestamp,
}

impl Invocation {
    /// A name that no other invocation has, a repeated one included.
    pub fn unique_name(&self, edge: &impl Edge) -> String {
        format!("{}.{:016x}", self.request_id, edge.random())
    }
}

/// A function that events invoke.
pub trait Handle: Send + Sync + 'static {
    /// The event.
    type Event: Send;
    /// What the function answers.
    type Answer: Send;
    /// Why the invocation failed as a whole, so that its event comes again as its source decides.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Handles one event.
    fn handle(
        &self,
        event: Self::Event,
        invocation: &Invocation,
    ) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send;
}
