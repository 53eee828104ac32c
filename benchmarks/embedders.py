"""Embedding beside other libraries: `python -m benchmarks.embedders [--chunks N] [--rounds N] [--shape NAME]`.

Every variant is a live process, some in the environment of `make test-torch` (peers are left out where it is not
there). One pass is texts to unit vectors, tokenising included, on two threads. Passes take turns within a round, and a
ratio is of two passes of one round, so that a machine which is slower at times does not decide. Prints a table.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any

from benchmarks import corpus, shapes
from bloomweaver.encoding import threads

ROOT = pathlib.Path(__file__).parents[1]
TORCH = ROOT / ".venv-torch" / "bin" / "python"
WORKER = pathlib.Path(__file__).with_name("embedder_process.py")
SHAPES = ("minilm", "bge-small")
BASELINE = "sentence-transformers, fp32, batch 32"


@dataclass
class Variant:
    """A process that embeds the same texts whenever it is told to."""

    name: str
    python: str
    engine: str
    directory: pathlib.Path
    process: "subprocess.Popen[str] | None" = None
    seconds: list[float] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def start(self, texts: list[str]) -> bool:
        """False, with the reason printed, where it cannot run here."""
        command = [self.python, str(WORKER), self.engine, str(self.directory), str(cores())]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'services'}", "TOKENIZERS_PARALLELISM": "true"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(texts) + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        if answer.get("ready"):
            return True
        print(f"{self.name}: left out: {answer.get('why', 'it ended')}", file=sys.stderr, flush=True)
        return False

    def ask(self, what: str) -> dict[str, Any]:
        """One command, one answer."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line of JSON; libraries may print before it."""
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        return {}

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def cores() -> int:
    """Those of the machine, two at most: what is compared is a small pod."""
    return min(2, threads.available(len(os.sched_getaffinity(0))))


def variants(directory: pathlib.Path, int8: pathlib.Path | None) -> list[Variant]:
    """The baseline first. int8: a built model directory, if there is one."""
    here, there = sys.executable, str(TORCH)
    found = [
        Variant(BASELINE, there, "sentence-transformers", directory),
        Variant("fastembed, its default", there, "fastembed", directory),
        Variant("OpenVINO, fp32", here, "openvino://{}?precision=fp32", directory),
        Variant("OpenVINO, the model's own arithmetic", here, "openvino://{}", directory),
        Variant("ONNX Runtime, fp32", here, "onnx://{}", directory),
    ]
    if int8 is not None:
        found.append(Variant("OpenVINO, int8 documents", here, "openvino://{}", int8))
    return [variant for variant in found if pathlib.Path(variant.python).exists()]


def measured(every: list[Variant], texts: list[str], *, rounds: int) -> list[Variant]:
    """Those that ran: a warm pass each, then rounds in turns, then what each tells of itself alone."""
    running = [variant for variant in every if variant.start(texts)]
    for turn in range(rounds + 1):
        for variant in running:
            seconds = variant.ask("pass")["seconds"]
            if turn:
                variant.seconds.append(seconds)
    for variant in running:
        variant.figures = variant.ask("alone")
    return running


def table(running: list[Variant], *, tokens: int, texts: int) -> str:
    """One row per variant."""
    lines = [
        "| variant | tokens/s | chunks/s | ratio (range) | of bare product | PSS MB | query p50/p95 ms | beside bulk |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    base = running[0].seconds
    for variant in running:
        middle = statistics.median(variant.seconds)
        ratios = [ours / each for ours, each in zip(base, variant.seconds, strict=True)]
        told = variant.figures
        alone, beside = told.get("alone_ms"), told.get("beside_ms")
        lines.append(
            f"| {variant.name} | {tokens / middle:,.0f} | {texts / middle:.1f} "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
            f"| {percent(told.get('of_peak'))} | {told.get('megabytes', '')} | {pair(alone)} | {pair(beside)} |"
        )
    return "\n".join(lines)


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def pair(took: list[float] | None) -> str:
    return "" if not took else f"{took[len(took) // 2]:.1f} / {took[int(len(took) * 0.95)]:.1f}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedders", description=__doc__)
    parser.add_argument("--chunks", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--shape", choices=SHAPES, help="both unless given")
    parser.add_argument("--int8", **shapes.INT8_OPTION)
    options = parser.parse_args()
    for shape in (options.shape,) if options.shape else SHAPES:
        compare(shape, chunks=options.chunks, rounds=options.rounds, int8=options.int8 if shape == SHAPES[0] else None)


def compare(shape: str, *, chunks: int, rounds: int, int8: pathlib.Path | None) -> None:
    """Measure and print one shape."""
    with tempfile.TemporaryDirectory(prefix="bloomweaver-") as place:
        directory = shapes.directory(shape, pathlib.Path(place))
        texts, tokens = shapes.chunks(directory, most=chunks)
        every = variants(directory, int8)
        try:
            running = measured(every, texts, rounds=rounds)
        finally:
            for variant in every:
                variant.stop()
    print(f"{shape}: {len(texts)} chunks of {corpus.pages()[0]}, {tokens:,} tokens,", end=" ")
    print(f"{rounds} rounds, {cores()} threads, Python {platform.python_version()}\n")
    print(f"{table(running, tokens=tokens, texts=len(texts))}\n", flush=True)


if __name__ == "__main__":
    main()
