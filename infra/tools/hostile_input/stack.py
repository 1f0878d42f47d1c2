"""A separate local stack for a tool: its start, requests to it, and its stop."""

import contextlib
import ctypes
import datetime
import http.client
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = ROOT / "target/release"
START_SECONDS = 60
STOP_SECONDS = 30
PR_SET_PDEATHSIG = 1

# The functions that only requests call. Schedules, queues and streams call the other functions.
HTTP_FUNCTIONS = {"get-drop", "reserve", "checkout", "get-order", "operate-drop", "answer-default"}


def moment(from_now_seconds):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=from_now_seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def child(command, **rest):
    """Starts a process that ends when this process ends, whatever the cause. Ctrl-C in the terminal does not reach it, so that the
    script ends its processes in order."""
    libc = ctypes.CDLL(None)
    ends_with_parent = lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=ends_with_parent, **rest)


def free_port():
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def end(process, sign=signal.SIGTERM):
    """Requests that a process ends, and kills it if it does not."""
    process.send_signal(sign)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Meter:
    """The writes of refused requests, by the stack's meter."""

    def __init__(self, control_url):
        self.address = urllib.parse.urlsplit(control_url).netloc
        self.connection = None

    def report(self):
        for last in (False, True):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(self.address, timeout=30)
                self.connection.request("GET", "/meter")
                return json.loads(self.connection.getresponse().read())
            except (OSError, http.client.HTTPException):
                self.connection = None
                if last:
                    raise

    def written_by_refused(self):
        """Writes that took effect, by function, route and status, of requests answered 400 and above."""
        written = {}
        for use in self.report()["functions"]:
            if use["function"] not in HTTP_FUNCTIONS or use["status"] < 400:
                continue
            writes = sum(table["writes"] + table["transactions"] for table in use["tables"].values())
            if writes:
                written[f"{use['function']} {use['route']} {use['status']}"] = writes
        return written


class Stack:
    def __init__(self, folder, process, binaries):
        self.folder, self.process, self.binaries = folder, process, binaries
        self.file = json.loads((folder / "stack.json").read_text())
        self.api = self.file["api_url"]
        self.meter = Meter(self.file["control_url"])

    def token(self, *who):
        command = [str(self.binaries / "stampede-local"), "token", *who, "--out", str(self.folder)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def call(self, method, path, token=None, body=None, key=None):
        """One exchange: status, and the body as JSON. A throttled request is repeated, as the API requires."""
        headers = {"connection": "close"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        if key:
            headers["idempotency-key"] = key
        if body is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(body)
        for _ in range(100):
            connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.api).netloc, timeout=30)
            with contextlib.closing(connection):
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
            if answer.status != 503:
                return answer.status, json.loads(text) if text else None
            time.sleep(0.1)
        raise RuntimeError(f"{method} {path} was answered 503 a hundred times")

    def expect(self, status, *request, **rest):
        answered, body = self.call(*request, **rest)
        if answered != status:
            raise RuntimeError(f"{request[0]} {request[1]} answered {answered} instead of {status}: {body}")
        return body

    def complaints(self):
        """Lines of the functions' logs that report a panic or an error."""
        found = []
        for log in sorted((self.folder / "logs").glob("*.log")):
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
                if "panicked at" in line or ('"level":"ERROR"' in line and log.stem in HTTP_FUNCTIONS):
                    found.append(f"{log.stem}: {line[:600]}")
        return found


@contextlib.contextmanager
def running(folder, concurrency, binaries=BIN):
    """A stack in `folder`, which is stopped in every case."""
    folder.mkdir(parents=True, exist_ok=True)
    announced = folder / "stack.json"
    announced.unlink(missing_ok=True)
    command = [str(binaries / "stampede-local"), "up", "--functions-dir", str(binaries), "--out", str(folder),
               "--concurrency", str(concurrency)]
    with open(folder / "up.log", "wb") as log:
        process = child(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        until = time.monotonic() + START_SECONDS
        while not announced.exists():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the stack did not start; see {folder / 'up.log'}")
            time.sleep(0.05)
        yield Stack(folder, process, binaries)
    finally:
        end(process)
