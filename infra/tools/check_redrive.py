"""Tests infra/deploy/redrive.py without an account: the calls that only AWS answers, and the state after the relay fails again."""

import contextlib
import io
import json
import pathlib
import sys
from unittest import mock

import boto3
from botocore.stub import Stubber

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra/deploy"))
import redrive  # noqa: E402

ARN = "arn:aws:sqs:eu-central-1:123456789012:dlq"


def refused(act):
    """Whether a call ends the command with exit code 1."""
    try:
        act()
    except SystemExit as ended:
        return ended.code == 1
    return False


def moves(*statuses):
    """Waits for a move whose task answers these statuses. The stub checks each call by SQS's own model."""
    client = boto3.client("sqs", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub, mock.patch("time.sleep"):
        for status in statuses:
            task = {"TaskHandle": "t", "Status": status, "SourceArn": ARN}
            stub.add_response("list_message_move_tasks", {"Results": [task]}, {"SourceArn": ARN, "MaxResults": 1})
        failed = refused(lambda: redrive.wait_for_move(client, ARN))
        stub.assert_no_pending_responses()
    return not failed


def starts():
    """The move of two dead letters at AWS: one task, on the dead-letter queue."""
    client = boto3.client("sqs", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    urls = {"LedgerQueue": "https://q/ledger", "LedgerDlq": "https://q/dlq"}
    with Stubber(client) as stub:
        count = {"ApproximateNumberOfMessages": "2"}
        stub.add_response("get_queue_attributes", {"Attributes": count}, {"QueueUrl": "https://q/dlq", "AttributeNames": list(count)})
        stub.add_response("get_queue_attributes", {"Attributes": {"QueueArn": ARN}}, {"QueueUrl": "https://q/dlq", "AttributeNames": ["QueueArn"]})
        stub.add_response("start_message_move_task", {"TaskHandle": "t"}, {"SourceArn": ARN})
        stub.add_response("list_message_move_tasks", {"Results": [{"Status": "COMPLETED"}]}, {"SourceArn": ARN, "MaxResults": 1})
        with mock.patch("boto3.client", return_value=client), mock.patch.object(redrive, "resources", return_value=urls):
            redrive.move(mock.Mock(emulated=False, stack="s"), "ledger")
        stub.assert_no_pending_responses()


class Account:
    """A bucket, a queue and a relay. The relay fails on the records in `bad`."""

    def __init__(self, objects, parked, bad):
        self.bucket, self.messages, self.bad, self.invoked = dict(objects), list(parked), bad, []

    def relay(self):
        relay = object.__new__(redrive.Relay)
        relay.function, relay.parked, relay.bucket = "relay", "https://q/parked", "bucket"
        relay.s3 = relay.queues = relay.functions = self
        return relay

    def get_paginator(self, _):
        return self

    def paginate(self, Bucket):
        # One page is empty, which S3 may answer.
        return [{}, {"Contents": [{"Key": key, "LastModified": place} for place, key in enumerate(self.bucket)]}]

    def get_object(self, Bucket, Key):
        return {"Body": io.BytesIO(json.dumps(self.bucket[Key]).encode())}

    def delete_object(self, Bucket, Key):
        del self.bucket[Key]

    def invoke(self, FunctionName, Qualifier, Payload):
        records = json.loads(Payload)["Records"]
        self.invoked.append(len(records))
        failed = [{"itemIdentifier": str(record)} for record in records if record in self.bad]
        return {"Payload": io.BytesIO(json.dumps({"batchItemFailures": failed}).encode())}

    def get_queue_attributes(self, QueueUrl, AttributeNames):
        return {"Attributes": {"ApproximateNumberOfMessages": str(len(self.messages))}}

    def receive_message(self, MaxNumberOfMessages, **_):
        batch = self.messages[:MaxNumberOfMessages]
        return {"Messages": [{"MessageId": body, "ReceiptHandle": body, "Body": body} for body in batch]}

    def delete_message(self, QueueUrl, ReceiptHandle):
        self.messages.remove(ReceiptHandle)


def rebuilds(account, pages):
    """Whether a ledger is rebuilt from the orders table's pages. `account` notes the records that the relay gets."""
    client, names = mock.Mock(), {"OrdersTable": "orders"}
    client.get_paginator.return_value.paginate.return_value = [{"Items": [{"pk": {"S": key}} for key in page]} for page in pages]
    relay = mock.patch.object(redrive, "Relay", return_value=account.relay())
    with relay, mock.patch.object(redrive, "resources", return_value=names), mock.patch("boto3.client", return_value=client):
        return not refused(lambda: redrive.rebuild_ledger(mock.Mock()))


def main():
    assert moves("RUNNING", "COMPLETED")
    assert not moves("RUNNING", "FAILED")
    starts()

    text, plain = {"payload": json.dumps({"Records": list(range(250))})}, {"payload": {"Records": [1]}}
    account = Account({"first": text, "second": plain}, [], bad=[])
    account.relay().replay_objects()
    assert not account.bucket and account.invoked == [100, 100, 50, 1], account.invoked

    # The second object fails: the first is deleted, the second and the third remain.
    account = Account({"first": plain, "second": {"payload": {"Records": [7]}}, "third": plain}, [], bad=[7])
    assert refused(account.relay().replay_objects) and list(account.bucket) == ["second", "third"]

    account = Account({}, ['"a"', json.dumps({"cut_off_from_bytes": 9}), '"b"'], bad=[])
    account.relay().replay_parked()
    assert account.messages == ['{"cut_off_from_bytes": 9}'], account.messages
    account = Account({}, ['"a"', '"b"'], bad=["a"])
    assert refused(account.relay().replay_parked) and account.messages == ['"a"', '"b"']

    pages = [[str(n) for n in range(150)], [], ["last"]]
    account = Account({}, [], bad=[])
    assert rebuilds(account, pages) and account.invoked == [100, 50, 1], account.invoked
    last = {"eventName": "REBUILD", "dynamodb": {"SequenceNumber": "151", "NewImage": {"pk": {"S": "last"}}}}
    assert not rebuilds(Account({}, [], bad=[last]), pages)

    event = {"eventName": "MODIFY", "dynamodb": {"Keys": {"pk": {"S": "o1"}}, "NewImage": {"shopper_id": {"S": "ada"}}}}
    assert redrive.line_of(json.dumps(event)) == "MODIFY o1" and "ada" not in redrive.line_of(json.dumps(event))
    assert redrive.line_of("no json") == redrive.line_of("[1]") == "no event that this command knows"
    assert refused(lambda: redrive.run(mock.Mock(), "orders", False))


if __name__ == "__main__":
    # The command's output is not output of the check.
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        main()
    print("11 passed, 0 failed")
