//! Tests the ports on independently written emulators: `ministack` for Lambda, RDS, Parameter Store, SQS and
//! CloudWatch, `moto` for DynamoDB's warm throughput. `infra/tools/setup test` installs both.
//!
//! The emulators are never slow, busy, incomplete or silent. The tests in `scripted` cover these cases.

mod account;
mod contract;
mod life;
mod limits;
mod metrics;
mod servers;
