//! Runs the SAM template on one machine.
//!
//! **Problem.** Before a deployment, anyone with a clone of the project and without an AWS account must be able to run
//! and measure a drop, and to inject faults into it. The local stack must run what is deployed: the same binaries
//! behind the same routes, with the same environment and the same event sources.
//!
//! **Model.** [`template`] reads the SAM template, the only description of functions, routes, tables, queues and
//! schedules, and resolves its references to local values. One part runs each kind of resource:
//!
//! | part | replaces |
//! |---|---|
//! | [`runtime`] | Lambda: processes on the Runtime API, one request per process, cold starts, limits, time-outs |
//! | [`front`] | API Gateway's HTTP API: routes, payload format 2.0, CORS, its own error bodies |
//! | [`dynamodb`], [`meter`] | DynamoDB with its streams, and the cost of every request by AWS's rules |
//! | [`permissions`] | IAM: the permissions that each function has, and the permissions that it used |
//! | [`secrets`] | Secrets Manager and Parameter Store, as far as functions read them at run time |
//! | [`mail`] | SES's `SendEmail`: each mail becomes a file |
//! | [`sqs`] | SQS with dead-letter queues |
//! | [`sources`] | event source mappings for queues and streams, with a folder in place of the bucket for failed records; EventBridge's schedules |
//! | [`postgres`] | the ledger's database: a real server, fresh at each start |
//! | `sandbox-gateway` | the payment gateway |
//! | [`control_planes`] | the control planes of Lambda, RDS, Parameter Store and CloudWatch, if requested |
//! | [`control`] | metrics and state that CloudWatch and the console show |
//! | [`faults`] | injected and counted faults |
//!
//! **Walk-through.** [`stack::Stack::start`] locks its folder ([`workdir`]), starts the parts, and writes `stack.json`
//! when all parts answer. The front end converts a request to an event and passes it to the process that became idle
//! last; the reply becomes the response. The meter books each DynamoDB request to its invocation, and so to function,
//! route and status. All parts listen on free ports of 127.0.0.1. The kernel ends every child process when the stack
//! ends ([`child`]), so that no process remains even when the stack is killed.
//!
//! **What it does not do.** It checks neither signatures nor throttling rates, keeps no data over a restart, and has
//! one account and one region. PostgreSQL accepts TLS connections only but trusts every client, so no function signs in
//! by IAM. Times are those of this machine, not of AWS.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod authority;
mod call_permissions;
pub mod child;
pub mod control;
pub mod control_planes;
pub mod dynamodb;
pub mod faults;
pub mod front;
mod http1;
pub mod mail;
pub mod meter;
pub mod permissions;
pub mod postgres;
pub mod runtime;
pub mod secrets;
pub mod sources;
pub mod sqs;
pub mod stack;
pub mod template;
pub mod wire;
pub mod workdir;

/// Locks a mutex, even if a thread has panicked that held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
