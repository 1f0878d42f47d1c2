//! Defines the interface of functions that events invoke. The crate `startup` calls a function for Lambda;
//! replays and tests call it directly.

use std::future::Future;

use domain::time::Timestamp;

use crate::runtime::Random;

/// The data of one invocation of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The platform's id of the invocation. A repeated invocation has the same id.
    pub request_id: String,
    /// The latest time at which the platform ends the process.
    pub deadline: Timestamp,
}

impl Invocation {
    /// A name that no other invocation has, not even a repeat of the same invocation.
    pub fn unique_name(&self, random: &impl Random) -> String {
        format!("{}.{:016x}", self.request_id, random.random())
    }
}

/// A function that events invoke.
pub trait Handle: Send + Sync + 'static {
    /// The type of the event.
    type Event: Send;
    /// The type of the function's answer.
    type Answer: Send;
    /// The error of an invocation that failed as a whole. The source of the event decides whether to deliver
    /// it again.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Handles one event within the invocation's deadline.
    fn handle(
        &self,
        event: Self::Event,
        invocation: &Invocation,
    ) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send;
}
