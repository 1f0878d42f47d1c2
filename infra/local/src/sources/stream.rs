//! Invokes a function with batches of the records of a table's stream.
//!
//! Records with the same key are handled in order, one batch after the other. Records with different keys may be
//! handled concurrently, in as many lanes as the template's parallelization factor and the machine's cores allow. A
//! lane goes on to its next batch only when each record of the current batch is handled, or is no longer retried and
//! was sent to the on-failure destination. A bucket is a folder here, with an object in Lambda's form for each batch of
//! such failed records.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::streams::shard_id;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::batch::{Piece, Record, Step, checkpoint, next};
use super::{BatchReport, Context, backoff};
use crate::lock;
use crate::runtime::Failure;
use crate::template::{OnFailure, StreamSource, function_arn, stream_arn};

/// The largest number of records in one read, by the API's limit.
const READ_RECORDS: usize = 1_000;

/// The polling interval when no notification arrives.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One stream with its reader's position and backlog.
pub struct Stream {
    function: String,
    source: StreamSource,
    context: Context,
    position: Mutex<Option<String>>,
    pending: AtomicUsize,
}

impl Stream {
    pub(super) fn new(function: String, source: StreamSource, context: Context) -> Self {
        Self {
            function,
            source,
            context,
            position: Mutex::new(None),
            pending: AtomicUsize::new(0),
        }
    }

    /// Whether every record written so far is handled or no longer retried.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn drained(&self) -> Result<bool> {
        if self.pending() > 0 {
            return Ok(false);
        }
        let position = lock(&self.position).clone();
        let Some(shard_iterator) = position else {
            return Ok(false);
        };
        let request = GetRecordsRequest {
            shard_iterator,
            limit: Some(1),
        };
        let left = self.context.dynamo.database().get_records(request)?;
        // The reader counts records as pending before it moves its position. So a second look at the count shows
        // records that the reader has read since the first look.
        Ok(left.records.is_empty() && self.pending() == 0)
    }

    /// The number of records that the reader has read and that are not handled yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    /// Reads the stream until the returned future is dropped.
    pub(super) async fn poll(self: Arc<Self>) {
        let Some(bell) = self.context.dynamo.stream_bell(&self.source.table) else {
            tracing::error!(table = %self.source.table, "the table has no stream; the function gets no records of the table");
            return;
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let lanes = self.source.parallelization.min(self.context.concurrency);
        let mut tasks = JoinSet::new();
        let lanes = (0..lanes.min(cores).max(1)).map(|_| {
            let (lane, records) = mpsc::channel(READ_RECORDS);
            tasks.spawn(Arc::clone(&self).lane(records));
            lane
        });
        let lanes: Vec<mpsc::Sender<Record>> = lanes.collect();
        loop {
            match self.read() {
                Ok(records) if records.is_empty() => {
                    let _ = tokio::time::timeout(LOOK_EVERY, bell.notified()).await;
                }
                Ok(records) => {
                    for record in records {
                        let Some(lane) = lanes.get(lane_of(&record, lanes.len())) else {
                            return;
                        };
                        if lane.send(record).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(table = %self.source.table, %error, "the stream could not be read; the next try is in 1 s");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Reads the next records. They count as pending before the position moves, because [`Self::drained`] relies on it.
    fn read(&self) -> Result<Vec<Record>> {
        let mut position = lock(&self.position);
        let shard_iterator = match position.take() {
            Some(iterator) => iterator,
            None => self.horizon()?,
        };
        *position = Some(shard_iterator.clone());
        let request = GetRecordsRequest {
            shard_iterator,
            limit: Some(READ_RECORDS),
        };
        let read = self.context.dynamo.database().get_records(request)?;
        let arn = stream_arn(&self.source.table);
        let mut records = Vec::with_capacity(read.records.len());
        for record in &read.records {
            let mut json = serde_json::to_value(record)?;
            if let Some(json) = json.as_object_mut() {
                json.insert("eventSourceARN".to_owned(), Value::String(arn.clone()));
            }
            let sequence = record.dynamodb.sequence_number.clone();
            records.push(Record { sequence, json });
        }
        self.pending.fetch_add(records.len(), Ordering::SeqCst);
        *position = read.next_shard_iterator;
        Ok(records)
    }

    fn horizon(&self) -> Result<String> {
        let db = self.context.dynamo.database();
        let table = &self.source.table;
        let label = db.get_table_metadata(table)?.and_then(|m| m.stream_label);
        let label = label.with_context(|| format!("{table} has no stream"))?;
        let stream_arn = dynoxide::streams::stream_arn(table, &label);
        db.describe_stream(DescribeStreamRequest {
            stream_arn: stream_arn.clone(),
            ..Default::default()
        })?;
        let horizon = db.get_shard_iterator(GetShardIteratorRequest {
            stream_arn,
            shard_id: shard_id(table),
            shard_iterator_type: "TRIM_HORIZON".to_owned(),
            sequence_number: None,
        })?;
        let iterator = horizon.shard_iterator;
        iterator.with_context(|| format!("{table}: no iterator"))
    }

    async fn lane(self: Arc<Self>, mut records: mpsc::Receiver<Record>) {
        let mut batch = Vec::new();
        while records.recv_many(&mut batch, self.source.batch_size).await > 0 {
            self.deliver(&batch).await;
            batch.clear();
        }
    }

    /// Delivers a batch until each of its records is handled or no longer retried.
    async fn deliver(&self, batch: &[Record]) {
        let mut pieces = VecDeque::from([Piece {
            range: 0..batch.len(),
            attempts: 0,
        }]);
        while let Some(piece) = pieces.pop_front() {
            let Some(records) = batch.get(piece.range.clone()) else {
                continue;
            };
            let result = self.invoke(records).await;
            let handled = match &result {
                Ok(answer) if self.source.partial => {
                    BatchReport::failed(answer).and_then(|failed| checkpoint(records, &failed))
                }
                Ok(_) => Some(records.len()),
                Err(_) => None,
            };
            self.pending.fetch_sub(handled.unwrap_or(0), Ordering::SeqCst);
            match next(&piece, handled, self.expired(records), &self.source) {
                Step::Done => {}
                Step::Again(again) => {
                    if let Some(first) = again.first() {
                        tokio::time::sleep(backoff(first.attempts)).await;
                    }
                    for piece in again.into_iter().rev() {
                        pieces.push_front(piece);
                    }
                }
                Step::GiveUp(range) => {
                    let rest = range.end..piece.range.end;
                    let lost = batch.get(range).unwrap_or_default();
                    self.give_up(lost, piece.attempts, result.err()).await;
                    self.pending.fetch_sub(lost.len(), Ordering::SeqCst);
                    if !rest.is_empty() {
                        pieces.push_front(Piece {
                            range: rest,
                            attempts: 0,
                        });
                    }
                }
            }
        }
    }

    async fn invoke(&self, records: &[Record]) -> Result<Bytes, Failure> {
        let records: Vec<&Value> = records.iter().map(|r| &r.json).collect();
        let event = json!({ "Records": records }).to_string().into();
        let route = format!("stream:{}", self.source.table);
        self.context.functions.call(&self.function, &route, event).await
    }

    /// The number of leading records that are older than the source's limit.
    fn expired(&self, records: &[Record]) -> usize {
        let Some(max_age) = self.source.max_age else {
            return 0;
        };
        let now = (OffsetDateTime::now_utc() - OffsetDateTime::UNIX_EPOCH).unsigned_abs();
        let made = |record: &Record| {
            let seconds = record.json.pointer("/dynamodb/ApproximateCreationDateTime")?;
            Duration::try_from_secs_f64(seconds.as_f64()?).ok()
        };
        let is_old = |record: &&Record| made(record).is_some_and(|made| now.saturating_sub(made) > max_age);
        records.iter().take_while(is_old).count()
    }

    /// Sends records that are no longer retried to the on-failure destination. As on AWS, a queue gets their position
    /// in the stream without the records, and a bucket gets both.
    async fn give_up(&self, records: &[Record], attempts: u32, failure: Option<Failure>) {
        let reason = failure.map(|failure| failure.to_string());
        let reason = reason.unwrap_or_else(|| "the function named records that failed".to_owned());
        let sequence = |record: Option<&Record>| record.map(|r| r.sequence.clone());
        tracing::error!(table = %self.source.table, function = self.function, records = records.len(), reason, "a batch of stream records failed and is no longer retried; its position goes to the on-failure destination, if the template names one");
        let Some(destination) = &self.source.on_failure else {
            return;
        };
        let attempts_ended = self.source.max_retries.is_some_and(|most| attempts >= most);
        let mut notice = json!({
            "requestContext": {
                "functionArn": function_arn(&self.function),
                "condition": if attempts_ended { "RetryAttemptsExhausted" } else { "RecordAgeExceeded" },
                "approximateInvokeCount": attempts + 1,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "1", "functionError": reason},
            "version": "1.0",
            "DDBStreamBatchInfo": {
                "shardId": shard_id(&self.source.table),
                "startSequenceNumber": sequence(records.first()),
                "endSequenceNumber": sequence(records.last()),
                "batchSize": records.len(),
                "streamArn": stream_arn(&self.source.table),
            },
        });
        if let OnFailure::Bucket(_) = destination
            && let Some(notice) = notice.as_object_mut()
        {
            let records: Vec<&Value> = records.iter().map(|record| &record.json).collect();
            // Lambda writes the event that it sent to the function, as text.
            let payload = json!({ "Records": records }).to_string();
            notice.insert("payload".to_owned(), Value::String(payload));
        }
        let mut attempt = 0;
        while let Err(error) = self.tell(destination, &notice, sequence(records.first())).await {
            tracing::error!(
                ?destination,
                "the failed batch could not be sent to the on-failure destination; it is sent again: {error:#}"
            );
            tokio::time::sleep(backoff(attempt)).await;
            attempt += 1;
        }
    }

    async fn tell(&self, destination: &OnFailure, notice: &Value, first: Option<String>) -> Result<()> {
        match destination {
            OnFailure::Queue(queue) => Ok(self.context.sqs.send(queue, &notice.to_string()).await?),
            OnFailure::Bucket(bucket) => {
                // Lambda's object names contain the mapping and the shard, as the folder does here. The sequence number
                // of the first record makes the file's name unique.
                let name = format!("{}-{}", self.function, first.unwrap_or_default());
                let folder = self.context.buckets.join(bucket).join("aws/lambda/local");
                let folder = folder.join(shard_id(&self.source.table));
                std::fs::create_dir_all(&folder)?;
                std::fs::write(folder.join(name), notice.to_string())?;
                Ok(())
            }
        }
    }
}

fn lane_of(record: &Record, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    let keys = record.json.pointer("/dynamodb/Keys").map(Value::to_string);
    keys.hash(&mut hasher);
    usize::try_from(hasher.finish() % lanes as u64).unwrap_or(0)
}
