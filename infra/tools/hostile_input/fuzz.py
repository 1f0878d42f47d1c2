"""The fuzz targets of loadtest/fuzz, one after another, each for a bounded time."""

import re
import shutil
import subprocess
import time

from .stack import ROOT, child, end

FUZZ = ROOT / "loadtest/fuzz"
KEPT = ROOT / "loadtest/hostile"
BUILT = ROOT / "target/fuzz"
# Neither a sanitizer nor its nightly compiler: the code forbids `unsafe`, so a finding is a panic, and overflow checks are on.
# The coverage counters that guide the fuzzer need neither.
CARGO_FUZZ = [str(ROOT / ".tools/bin/cargo-fuzz"), "fuzz"]
PLACE = ["--fuzz-dir", str(FUZZ), "--target-dir", str(BUILT), "--sanitizer", "none"]
# The largest memory of one run, in MB, and the longest time for one input, in seconds.
LIMITS = ["-rss_limit_mb=1024", "-timeout=20", "-max_len=16384"]


def targets():
    return sorted(path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs"))


def build():
    """Builds all targets with coverage counters in all their crates, which takes minutes the first time."""
    subprocess.run([*CARGO_FUZZ, "build", *PLACE], cwd=ROOT, check=True)


def run(folder, seconds, seed):
    """Runs each target for this many seconds on its corpus; a crash's input is stored where the tests run it."""
    result = {"targets": {}, "executions": 0, "failures": []}
    for target in targets():
        done = one(folder, target, seconds, seed)
        result["targets"][target] = done
        result["executions"] += done["executions"]
        result["failures"] += done.pop("failures")
        print(f"  {target:<12} {done['executions']:>9} executions, {done['coverage']:>6} edges", flush=True)
    return result


def one(folder, target, seconds, seed):
    # New inputs go to a temporary folder, so that the stored corpus stays small and readable.
    found, crashes = folder / "found" / target, folder / "crashes" / target
    for fresh in (found, crashes):
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
    kept = [str(path) for path in (KEPT / "corpus" / target, KEPT / "regressions" / target) if path.is_dir()]
    binary = next(BUILT.glob(f"*/release/{target}"))
    command = [str(binary), str(found), *kept, f"-max_total_time={seconds}", f"-seed={seed % 0xFFFFFFFF or 1}",
               f"-artifact_prefix={crashes}/", "-print_final_stats=1", "-verbosity=1", *LIMITS]
    log = folder / f"fuzz-{target}.log"
    began = time.monotonic()
    with open(log, "wb") as out:
        process = child(command, cwd=folder, stdout=out, stderr=out)
        try:
            code = process.wait()
        except BaseException:
            end(process)
            raise
    text = log.read_text(errors="replace")
    executions = re.search(r"stat::number_of_executed_units:\s+(\d+)", text)
    coverage = re.findall(r"cov: (\d+)", text)
    done = {
        "executions": int(executions.group(1)) if executions else 0,
        "coverage": int(coverage[-1]) if coverage else 0,
        "seconds": round(time.monotonic() - began, 1), "failures": [],
    }
    crashed = sorted(path for path in crashes.iterdir() if not path.name.startswith("slow-unit"))
    for path in crashed:
        keep = KEPT / "regressions" / target / path.name
        keep.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, keep)
        what = re.findall(r"panicked at .*\n.*", text)
        done["failures"].append({
            "target": target, "input": str(keep.relative_to(ROOT)), "what": what[-1] if what else f"see {log}",
            "replay": f"{binary.relative_to(ROOT)} {keep.relative_to(ROOT)}",
        })
    if code != 0 and not crashed:
        done["failures"].append({"target": target, "what": f"ended with {code}; see {log}", "replay": ""})
    return done
