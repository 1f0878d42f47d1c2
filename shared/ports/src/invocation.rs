//! The interface of functions that events invoke. Lambda calls it through `startup`; replays and tests call
//! it directly.

use std::future::Future;

use domain::time::Timestamp;

use crate::runtime::Random;

/// One invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The platform's id of the request. A repeated invocation has the same id.
    pub request_id: String,
    /// The time at which the platform ends the process at the latest.
    pub deadline: Timestamp,
}

impl Invocation {
    /// A name that no other invocation has, including repeats.
    pub fn unique_name(&self, random: &impl Random) -> String {
        format!("{}.{:016x}", self.request_id, random.random())
    }
}

/// A function that events invoke.
pub trait Handle: Send + Sync + 'static {
    /// The event.
    type Event: Send;
    /// The function's answer.
    type Answer: Send;
    /// Why the invocation failed as a whole. Its source decides whether the event is delivered again.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Handles one event.
    fn handle(
        &self,
        event: Self::Event,
        invocation: &Invocation,
    ) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send;
}
