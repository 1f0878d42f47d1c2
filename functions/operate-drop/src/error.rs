//! Defines the reasons why an operator's action was not done, and the answer for each.
//!
//! Use cases fail with [`NotDone`], and one match converts it to the operator's answer. [`web::Failure`] logs
//! the details that belong in the log and not in an answer.

use domain::drops::{DropError, DropState, FieldError};
use domain::ids::ShardKey;
use domain::limits::{MAX_KEEPS, MAX_MESSAGE_BYTES};
use domain::order::OrderStatus;
use ports::StoreError;
use web::{Code, Failure, FieldProblem, Problem};

/// Why an order is not kept or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotThisOrder {
    /// The same key was used with another waiting time.
    #[error("the key was used for another request")]
    OtherRequest,
    /// The order does not wait for the gateway, is about to end, or was kept too often.
    #[error("it is {}", .0.as_str())]
    WrongState(OrderStatus),
}

/// Why an operator's action was not done, or not completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// There is no such drop.
    #[error("there is no such drop")]
    Unknown,
    /// The token is not valid for this drop.
    #[error("the token is for unlisted drops only")]
    OutOfScope,
    /// No run of pre-scaling has checked the drop yet.
    #[error("the drop is not prepared yet")]
    NotPrepared,
    /// There is no such order.
    #[error("there is no such order")]
    NoOrder,
    /// The order cannot be kept or ended.
    #[error(transparent)]
    NotThisOrder(#[from] NotThisOrder),
    /// The contents have these mistakes.
    #[error("{} mistakes in the contents", .0.len())]
    Mistakes(Vec<FieldError>),
    /// The drop does not permit the action.
    #[error(transparent)]
    Refused(#[from] DropError),
    /// Other changes came first, repeatedly.
    #[error("other changes came first")]
    Conflict,
    /// The time for one request is used up. The same request, repeated, continues from here.
    #[error("not finished in the time of one request")]
    Unfinished,
    /// A stock shard differs from the plan. A repeat cannot correct this.
    #[error("shard {0} is not as planned")]
    NotAsPlanned(ShardKey),
    /// A call to the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn state_name(state: DropState) -> &'static str {
    match state {
        DropState::Draft => "a draft",
        DropState::Publishing => "being published",
        DropState::Scheduled => "published",
        DropState::Cancelling => "being cancelled",
        DropState::Cancelled => "cancelled",
    }
}

fn refused(error: &DropError) -> Problem {
    match error {
        DropError::WrongState(state) => Problem::new(
            Code::WrongState,
            format!("The drop is {}; this is not possible then.", state_name(*state)),
        ),
        DropError::Ended => Problem::new(
            Code::WrongState,
            "The drop has ended; this is not possible any more.",
        ),
        DropError::NotLater => Problem::of_fields().field("ends_at", "not before the present end"),
        DropError::StartNotLater => {
            let rule = "not before the present start, and within a year from now";
            Problem::of_fields().field("starts_at", rule)
        }
        DropError::TooLateToMove => Problem::new(
            Code::WrongState,
            "The start is too close, or past: it can no longer be moved. Pause the drop instead.",
        ),
        DropError::BadMessage => {
            let rule = format!("1 to {MAX_MESSAGE_BYTES} bytes without control characters, or null");
            Problem::of_fields().field("message", rule)
        }
        DropError::UnknownSku => {
            Problem::new(Code::NotFound, "The drop has no such SKU.").field("sku", "one of the drop's SKUs")
        }
        DropError::Plan(error) => Problem::of_fields().field("units", error.to_string()),
        DropError::OtherRequest => Problem::new(
            Code::IdempotencyMismatch,
            "This key was used for other units or another SKU. Use a new key for a new restock.",
        ),
    }
}

impl From<NotDone> for Failure {
    fn from(error: NotDone) -> Self {
        let problem = match error {
            NotDone::Unknown => Problem::new(Code::NotFound, "There is no such drop."),
            NotDone::NoOrder => Problem::new(Code::NotFound, "There is no such order."),
            NotDone::NotThisOrder(NotThisOrder::OtherRequest) => Problem::new(
                Code::IdempotencyMismatch,
                "This key was used for another time. Use a new key to keep the order once more.",
            ),
            NotDone::NotThisOrder(NotThisOrder::WrongState(status)) => Problem::new(
                Code::WrongState,
                format!(
                    "The order is {}. Only an order that waits for the payment gateway can be kept or ended, and only one that is not to end \
                     already can be kept, {MAX_KEEPS} times at most.",
                    status.as_str()
                ),
            ),
            NotDone::OutOfScope => web::out_of_scope(),
            NotDone::NotPrepared => Problem::new(
                Code::NotPrepared,
                "No run of pre-scaling has prepared this drop yet. Runs begin shortly before its crowd gathers, if it is on \
                 their calendar.",
            ),
            NotDone::Mistakes(mistakes) => {
                let field = |mistake: FieldError| FieldProblem::new(mistake.field, mistake.message);
                Problem::of_fields().fields(mistakes.into_iter().map(field))
            }
            NotDone::Refused(error) => refused(&error),
            NotDone::Conflict => Problem::new(
                Code::Conflict,
                "Others are changing this at the same time. Look at it, then send the request again.",
            )
            .retry_after(1),
            NotDone::Unfinished => Problem::new(
                Code::Throttled,
                "This takes longer than one request may. Send the same request again: it goes on from here.",
            )
            .retry_after(1),
            NotDone::NotAsPlanned(_) => return Self::internal("compare the shards with the plan", &error),
            NotDone::Store(error) => return Self::store("change a drop", &error),
        };
        problem.into()
    }
}
