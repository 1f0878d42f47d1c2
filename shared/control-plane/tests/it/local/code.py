"""Writes a function's code to standard output, as a zip: a program that answers every event (`answers`), or one that exits
at once."""
import io, sys, zipfile
answers = """#!%s
import json, os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as call:
        event, request = json.load(call), call.headers["Lambda-Runtime-Aws-Request-Id"]
    answer = {"batchItemFailures": []} if "Records" in event else {
        "statusCode": 404, "body": event["requestContext"]["http"]["path"]}
    urllib.request.urlopen(base + request + "/response", json.dumps(answer).encode()).read()
""" % sys.executable
archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as out:
    member = zipfile.ZipInfo("bootstrap")
    member.external_attr = 0o755 << 16
    out.writestr(member, answers if sys.argv[1] == "answers" else "#!/bin/sh\nexit 1\n")
sys.stdout.buffer.write(archive.getvalue())
