//! Reads the state of everything that the baseline names.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_lambda::types::ProvisionedConcurrencyStatusEnum as Status;
use aws_sdk_sqs::types::QueueAttributeName;
use capacity::amounts::{Concurrency, Polling, WarmThroughput};
use capacity::baseline::Baseline;
use capacity::observed::{Allocation, Observed, ObservedFunction};
use capacity::readiness::Seen;
use domain::limits::OPEN_BUCKETS;
use domain::time::Timestamp;
use futures_util::try_join;
use ports::orders::FindDueOrders;
use ports::prescale::{ControlError, Observe};

use crate::error::{Answered as _, NOT_FOUND, NOTHING_PROVISIONED, broken};
use crate::{AwsAccount, at_once, tables, units};

/// The concurrency of an event source without a setting: the largest possible setting.
const UNLIMITED: Polling = Polling::MaximumConcurrency(1_000);

/// The attributes that count the messages of a queue in all states.
const WAITING: [QueueAttributeName; 3] = [
    QueueAttributeName::ApproximateNumberOfMessages,
    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    QueueAttributeName::ApproximateNumberOfMessagesDelayed,
];

impl<O: FindDueOrders> Observe for AwsAccount<O> {
    async fn observe(&self, baseline: &Baseline) -> Result<Seen, ControlError> {
        let (functions, database, tables, sources, orders_draining) = try_join!(
            self.functions(baseline),
            self.database(&baseline.database),
            self.tables(baseline),
            self.sources(baseline),
            async { Ok::<_, ControlError>(self.orders_draining(baseline).await) },
        )?;
        Ok(Seen {
            observed: Observed {
                functions,
                database: database.observed,
                tables: tables.there,
                queues: sources.there,
                orders_draining,
            },
            database_available: database.settled,
            inactive_tables: tables.inactive,
            inactive_sources: sources.inactive,
        })
    }
}

/// The resources of one kind: the settings of those that exist, and the names of those that are missing or not active.
#[derive(Debug)]
struct Found<T> {
    there: BTreeMap<String, T>,
    inactive: BTreeSet<String>,
}

impl<T> Found<T> {
    fn of(all: Vec<(String, Option<(T, bool)>)>) -> Self {
        let (mut there, mut inactive) = (BTreeMap::new(), BTreeSet::new());
        for (name, state) in all {
            if !matches!(state, Some((_, true))) {
                inactive.insert(name.clone());
            }
            if let Some((value, _)) = state {
                there.insert(name, value);
            }
        }
        Self { there, inactive }
    }
}

impl<O: FindDueOrders> AwsAccount<O> {
    async fn functions(
        &self,
        baseline: &Baseline,
    ) -> Result<BTreeMap<String, ObservedFunction>, ControlError> {
        let one = async |name: &String| Ok((name.clone(), self.function_there(name).await?));
        let names = baseline.functions.iter().map(|f| &f.function);
        Ok(at_once(names.map(one)).await?.into_iter().collect())
    }

    async fn function_there(&self, function: &str) -> Result<ObservedFunction, ControlError> {
        const OPERATION: &str = "GetProvisionedConcurrencyConfig";
        let name = &self.function(function)?.name;
        let reserved = self.reserved(name).await?;
        let config = self.clients.lambda.reads.get_provisioned_concurrency_config();
        let config = config.function_name(name).qualifier(&self.names.alias);
        let Some(config) = config.send().await.unless(NOTHING_PROVISIONED, OPERATION)? else {
            return Ok(ObservedFunction {
                asked: Concurrency {
                    provisioned: 0,
                    reserved,
                },
                ..ObservedFunction::default()
            });
        };
        Ok(ObservedFunction {
            asked: Concurrency {
                provisioned: units(config.requested_provisioned_concurrent_executions()),
                reserved,
            },
            allocated: units(config.allocated_provisioned_concurrent_executions()),
            allocation: match config.status() {
                Some(Status::Ready) => Allocation::Ready,
                Some(Status::Failed) => {
                    let reason = config.status_reason();
                    tracing::error!(
                        function,
                        reason,
                        "Lambda did not allocate the provisioned concurrency"
                    );
                    Allocation::Failed
                }
                // An unknown status must not count as ready.
                _ => Allocation::InProgress,
            },
        })
    }

    async fn tables(&self, baseline: &Baseline) -> Result<Found<WarmThroughput>, ControlError> {
        let one = async |name: &String| {
            let there = match self.names.tables.get(name) {
                Some(table) => self.table_there(&self.clients.dynamodb.reads, table).await?,
                None => None,
            };
            let there = there.map(|table| (table.warm(), table.active));
            Ok((name.clone(), there))
        };
        let names = baseline.tables.iter().map(|t| &t.table);
        Ok(Found::of(at_once(names.map(one)).await?))
    }

    /// A table by its name in the account, read with `dynamodb`, the client for reads or the one for changes; `None` if
    /// it does not exist.
    pub(crate) async fn table_there(
        &self,
        dynamodb: &Client,
        table: &str,
    ) -> Result<Option<tables::Table>, ControlError> {
        const OPERATION: &str = "DescribeTable";
        let described = dynamodb.describe_table().table_name(table);
        let Some(described) = described.send().await.unless(NOT_FOUND, OPERATION)? else {
            return Ok(None);
        };
        let table = described.table();
        let table = table.ok_or_else(|| broken(OPERATION, "no table in the answer"))?;
        Ok(Some(tables::Table::of(table)))
    }

    async fn sources(&self, baseline: &Baseline) -> Result<Found<Polling>, ControlError> {
        let one = async |name: &String| {
            let there = match self.names.sources.get(name) {
                Some(source) => self.source_there(&source.mapping).await?,
                None => None,
            };
            Ok((name.clone(), there))
        };
        let names = baseline.queues.iter().map(|q| &q.source);
        Ok(Found::of(at_once(names.map(one)).await?))
    }

    /// An event source's setting, and whether the event source polls with this setting; `None` if there is no such
    /// event source.
    async fn source_there(&self, mapping: &str) -> Result<Option<(Polling, bool)>, ControlError> {
        let found = self.clients.lambda.reads.get_event_source_mapping().uuid(mapping);
        let found = found.send().await.unless(NOT_FOUND, "GetEventSourceMapping")?;
        let Some(found) = found else { return Ok(None) };
        let pollers = found.provisioned_poller_config().map(|pollers| {
            let (minimum, maximum) = (pollers.minimum_pollers(), pollers.maximum_pollers());
            Polling::ProvisionedPollers {
                minimum: units(minimum),
                maximum: units(maximum.or(minimum)),
            }
        });
        let scaling = found.scaling_config();
        let most = scaling.and_then(|scaling| scaling.maximum_concurrency());
        let most = most.map(|most| Polling::MaximumConcurrency(units(Some(most))));
        let polling = pollers.or(most).unwrap_or(UNLIMITED);
        Ok(Some((polling, found.state() == Some("Enabled"))))
    }

    /// Whether orders are open or in progress to the ledger. If this cannot be read, the result is true, which only
    /// keeps the database large.
    async fn orders_draining(&self, baseline: &Baseline) -> bool {
        // Open orders count whatever their due time, so the query asks for orders due until far in the future.
        let ever = Timestamp::from_millis(i64::from(u32::MAX) * 1_000);
        for bucket in 0..OPEN_BUCKETS {
            match self.orders.due_orders(bucket, ever, 1).await {
                Ok(open) if open.is_empty() => {}
                Ok(_) => return true,
                Err(error) => {
                    tracing::warn!(%error, "open orders cannot be counted, so the database keeps its size");
                    return true;
                }
            }
        }
        for queue in &baseline.queues {
            let waiting = match self.names.sources.get(&queue.source) {
                Some(source) => self.messages_wait(&source.queue_url).await,
                None => Err(broken("GetQueueAttributes", "a queue without a name")),
            };
            match waiting {
                Ok(false) => {}
                Ok(true) => return true,
                Err(error) => {
                    tracing::warn!(%error, queue = queue.source, "waiting messages cannot be counted, so the database keeps its size");
                    return true;
                }
            }
        }
        false
    }

    async fn messages_wait(&self, url: &str) -> Result<bool, ControlError> {
        let counted = self.clients.sqs.get_queue_attributes().queue_url(url);
        let counted = counted.set_attribute_names(Some(WAITING.to_vec())).send().await;
        let counted = counted.answered("GetQueueAttributes")?;
        let none = |name: &QueueAttributeName| {
            let count = counted.attributes().and_then(|all| all.get(name));
            count.is_some_and(|count| count == "0")
        };
        Ok(!WAITING.iter().all(none))
    }
}
