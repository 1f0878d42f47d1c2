"""Dead letters and failed stream records: shows them, or returns them to their consumers.

`payments`, `ledger` and `mail` are queues; their dead letters are moved back to the queue. `relay` means the records that the outbox relay
could not handle: records that it parked on a queue, and batches that Lambda stored in a bucket. Both are passed to `relay-events` again. All
consumers accept repeats, since every event has its order's version. So a redrive may be repeated, and may end at any point.
"""

import json
import time

import boto3
import botocore.config

import aliases
from stage import refuse, resources, say

# Queue and dead-letter queue, by their logical ids.
QUEUES = {"payments": ("PaymentsQueue", "PaymentsDlq"), "ledger": ("LedgerQueue", "LedgerDlq"), "mail": ("MailQueue", "MailDlq")}
CHOICES = (*QUEUES, "relay")
# Receive, send and delete take ten messages at once.
BATCH = 10
# The largest number of displayed entries.
SHOWN = 100
# How long received messages are hidden while they are moved or replayed: long enough for a batch of ten, each at the relay's limit of 30 s.
HIDDEN_SECONDS = 330
# Records in one invocation: the event source's own batch.
RECORDS = 100
# relay-events ends within 30 s. The client makes no retries, since this module repeats the call.
PATIENT = botocore.config.Config(read_timeout=60, retries={"max_attempts": 1})
MOVE_SECONDS = 600


def receive(queues, url, hidden, most):
    """Batches of a queue's messages, at most `most` messages together, each message once."""
    seen = set()
    while len(seen) < most:
        asked = {"QueueUrl": url, "MaxNumberOfMessages": min(BATCH, most - len(seen)), "VisibilityTimeout": hidden, "WaitTimeSeconds": 1}
        new = [m for m in queues.receive_message(**asked).get("Messages", []) if m["MessageId"] not in seen]
        if not new:
            return
        seen.update(message["MessageId"] for message in new)
        yield new


def depth(queues, url):
    wanted = "ApproximateNumberOfMessages"
    return int(queues.get_queue_attributes(QueueUrl=url, AttributeNames=[wanted])["Attributes"][wanted])


def line_of(body):
    """The subject of a message, without its data about a shopper."""
    try:
        body = json.loads(body)
        keys = body.get("dynamodb", {}).get("Keys", {})
        about = [body.get("type"), body.get("subject"), body.get("time"), body.get("eventName"), *[next(iter(key.values())) for key in keys.values()]]
        found = " ".join(str(part) for part in about if part)
    except (ValueError, AttributeError):
        found = ""
    return found or "no event that this command knows"


def show(stage, names):
    queues, urls = boto3.client("sqs"), resources(stage.stack, "AWS::SQS::Queue")
    for name in names:
        say(f"{name}: {depth(queues, urls[name])} messages")
        batches = []
        try:
            for messages in receive(queues, urls[name], HIDDEN_SECONDS, SHOWN):
                batches.append(messages)
                for message in messages:
                    say(f"  {message['MessageId']}: {line_of(message['Body'])}")
        finally:
            # The messages become visible again only now, since a visible message would be received again. An interrupted command makes
            # them visible too, because a redrive moves only visible messages.
            for messages in batches:
                seen = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 0} for n, m in enumerate(messages)]
                queues.change_message_visibility_batch(QueueUrl=urls[name], Entries=seen)


def move(stage, name):
    """Moves dead letters back to their queue by a task of SQS, which continues after this command ends."""
    queues, urls = boto3.client("sqs"), resources(stage.stack, "AWS::SQS::Queue")
    alive, dead = QUEUES[name]
    count = depth(queues, urls[dead])
    if stage.emulated:
        move_by_hand(queues, urls[dead], urls[alive], count)
    elif count:
        arn = queues.get_queue_attributes(QueueUrl=urls[dead], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        queues.start_message_move_task(SourceArn=arn)
        wait_for_move(queues, arn)
    say(f"{dead}: {count} messages went back to {alive}")


def wait_for_move(queues, arn):
    until = time.monotonic() + MOVE_SECONDS
    while True:
        task = queues.list_message_move_tasks(SourceArn=arn, MaxResults=1)["Results"][0]
        if task["Status"] == "COMPLETED":
            return
        if task["Status"] != "RUNNING":
            refuse(f"The move ended as {task['Status']}: {task.get('FailureReason', 'SQS gives no reason')}. Run the command again.")
        if time.monotonic() > until:
            refuse("The move goes on in SQS. `make status` shows what is left.")
        time.sleep(2)


def move_by_hand(queues, source, target, count):
    """Moves dead letters where SQS has no such task, as in the emulated account. A message is deleted only after it was sent."""
    for messages in receive(queues, source, HIDDEN_SECONDS, count):
        entries = [{"Id": str(n), "MessageBody": m["Body"]} for n, m in enumerate(messages)]
        sent = {done["Id"] for done in queues.send_message_batch(QueueUrl=target, Entries=entries).get("Successful", [])}
        gone = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages) if str(n) in sent]
        if gone:
            queues.delete_message_batch(QueueUrl=source, Entries=gone)


class Relay:
    """The records that the outbox relay could not handle, and the function that handles them now."""

    def __init__(self, stage):
        self.function = resources(stage.stack, "AWS::Lambda::Function")["RelayEventsFunction"]
        self.parked = resources(stage.stack, "AWS::SQS::Queue")["RelayParkedQueue"]
        self.bucket = resources(stage.stack, "AWS::S3::Bucket")["RelayFailuresBucket"]
        self.queues, self.s3, self.functions = boto3.client("sqs"), boto3.client("s3"), boto3.client("lambda", config=PATIENT)

    def objects(self):
        """The bucket's objects, oldest first."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        found = [entry for page in pages for entry in page.get("Contents", [])]
        return [entry["Key"] for entry in sorted(found, key=lambda entry: (entry["LastModified"], entry["Key"]))]

    def records(self, key):
        """The records of an object: Lambda's notice with the event in its member `payload`, as text or as it is."""
        payload = json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())["payload"]
        event = json.loads(payload) if isinstance(payload, str) else payload
        return event["Records"]

    def handled(self, records):
        """Whether the relay handled all records."""
        for start in range(0, len(records), RECORDS):
            event = json.dumps({"Records": records[start : start + RECORDS]}).encode()
            answer = self.functions.invoke(FunctionName=self.function, Qualifier=aliases.ALIAS, Payload=event)
            report = json.loads(answer["Payload"].read() or b"null") or {}
            if answer.get("FunctionError") or report.get("batchItemFailures"):
                say(f"  relay-events failed: {answer.get('FunctionError') or 'it names records that failed'}. Its log says why.")
                return False
        return True

    def show(self):
        keys = self.objects()
        say(f"RelayFailuresBucket: {len(keys)} objects")
        for key in keys[:SHOWN]:
            records = self.records(key)
            say(f"  {key}: {len(records)} records, the first {line_of(json.dumps(records[0]))}")

    def replay_objects(self):
        """Replays objects, each deleted once its records are handled. Stops at the first object that fails: the next would fail too."""
        keys = self.objects()
        for done, key in enumerate(keys):
            if not self.handled(self.records(key)):
                refuse(f"RelayFailuresBucket: {done} of {len(keys)} objects were replayed. {key} failed and is still there.")
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        say(f"RelayFailuresBucket: {len(keys)} objects were replayed")

    def replay_parked(self):
        """Replays the records that are parked now. A record that the relay still cannot read is parked once more."""
        count, replayed, cut = depth(self.queues, self.parked), 0, 0
        for messages in receive(self.queues, self.parked, HIDDEN_SECONDS, count):
            for message in messages:
                record = json.loads(message["Body"])
                if "cut_off_from_bytes" in record:
                    cut += 1
                    continue
                if not self.handled([record]):
                    refuse(f"RelayParkedQueue: {replayed} of {count} records were replayed. The next one failed and is still there.")
                self.queues.delete_message(QueueUrl=self.parked, ReceiptHandle=message["ReceiptHandle"])
                replayed += 1
        say(f"RelayParkedQueue: {replayed} records were replayed; {cut} were too long to be parked whole and are left")


def rebuild_ledger(stage):
    """Passes every order of the orders table to the relay, which sends it unchanged to the ledger's queue. Existing rows of the ledger do not change."""
    relay, table = Relay(stage), resources(stage.stack, "AWS::DynamoDB::Table")["OrdersTable"]
    sent = 0
    for page in boto3.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        items = page["Items"]
        records = [{"eventName": "REBUILD", "dynamodb": {"SequenceNumber": str(sent + n), "NewImage": item}} for n, item in enumerate(items, 1)]
        if not relay.handled(records):
            refuse(f"{sent} orders were sent. The next ones failed; run the command again.")
        sent += len(items)
    say(f"{sent} orders were sent to the ledger's queue")


def run(stage, queue, shown):
    if queue not in CHOICES:
        refuse(f"Say what to redrive: make redrive STAGE={stage.name} QUEUE={'|'.join(CHOICES)}")
    if queue in QUEUES:
        return show(stage, QUEUES[queue]) if shown else move(stage, queue)
    relay = Relay(stage)
    if shown:
        show(stage, ["RelayParkedQueue"])
        return relay.show()
    relay.replay_objects()
    relay.replay_parked()
