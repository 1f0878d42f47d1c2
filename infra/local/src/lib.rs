//! The SAM template, running on one machine.
//!
//! **Problem.** A drop has to be tried, measured and broken on purpose before AWS sees it, by anyone with a clone of the
//! project and no account. What runs here must be what is deployed: the same binaries, behind the same routes, reading
//! the same environment, fed by the same event sources.
//!
//! **Model.** [`template`] reads the SAM template, the only description of functions, routes, tables, queues and
//! schedules, and answers its references with local values. Each kind of resource has a part that runs it:
//!
//! | part | stands for |
//! |---|---|
//! | [`runtime`] | Lambda: processes on the Runtime API, one request per process, cold starts, limits, time-outs |
//! | [`front`] | API Gateway's HTTP API: routes, payload format 2.0, CORS, its own error bodies |
//! | [`dynamodb`], [`meter`] | DynamoDB with its streams, and what every request costs by AWS's rules |
//! | [`permissions`] | IAM: what each function may do, and what it did |
//! | [`secrets`] | Secrets Manager and Parameter Store, as far as functions read them at run time |
//! | [`mail`] | SES, as far as functions send mails by it: each becomes a file |
//! | [`sqs`] | SQS with dead-letter queues |
//! | [`sources`] | event source mappings for queues and streams, with a folder for the bucket of what failed; EventBridge's schedules |
//! | [`postgres`] | the ledger's database: a real server, fresh at each start |
//! | `sandbox-gateway` | the payment gateway |
//! | [`planes`] | the control planes of Lambda, RDS, Parameter Store and CloudWatch, where asked for |
//! | [`control`] | what CloudWatch and the console would tell |
//! | [`faults`] | what goes wrong, on purpose and counted |
//!
//! **Walk-through.** [`stack::Stack::start`] takes its folder ([`place`]), starts the parts, and writes `stack.json`
//! once all answer. A request comes in at the front, becomes an event, goes to the process that was idle last, and its
//! reply goes back out. What the function asks of DynamoDB passes the meter, which books it under the invocation, hence
//! under function, route and status. Everything listens on 127.0.0.1 on free ports. Every child process asks the kernel
//! to be ended with its parent ([`child`]), so that nothing is left, whatever kills the stack.
//!
//! **What it does not do.** It checks neither signatures nor throttling rates, keeps nothing over a
//! restart, and knows one account and one region. PostgreSQL lets in over TLS only, but whoever comes, so no function signs in to it
//! by IAM. Its times are those of this machine, not of AWS.

mod authority;
pub mod child;
pub mod control;
pub mod dynamodb;
pub mod faults;
pub mod front;
mod http1;
pub mod mail;
pub mod meter;
pub mod permissions;
pub mod place;
pub mod planes;
pub mod postgres;
pub mod runtime;
pub mod secrets;
pub mod sources;
pub mod sqs;
pub mod stack;
pub mod template;
