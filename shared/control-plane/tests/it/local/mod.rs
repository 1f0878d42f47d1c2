//! The ports on control planes that others have written: `ministack` for Lambda, RDS, Parameter Store, SQS and CloudWatch,
//! `moto` for DynamoDB's warm throughput. Both are installed by `infra/tools/setup test`.
//!
//! What they are not: slow, busy, half done or silent. For that see `told`.

mod account;
mod contract;
mod life;
mod limits;
mod metrics;
mod servers;
