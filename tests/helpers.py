"""What the tests share: small models, measured slopes, and copies of the program."""

import contextlib
import functools
import gc
import hashlib
import io
import itertools
import os
import random
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import microgpt
from microgpt import GPT, Tokenizer, Value

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "microgpt.py").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHIPPED = (
    {"input_file": "input.txt", "num_held_out": 300}
    | {"n_layer": 1, "n_embd": 16, "n_head": 4, "block_size": 16}
    | {"num_steps": 1000, "learning_rate": 0.01, "beta1": 0.85, "beta2": 0.99}
    | {"temperature": 0.5, "num_samples": 20, "seed": 42}
)
INPUT_SHA256 = "c17ccb17bd34a692b6b3424486b179df4cba3e464abec9664ace9698ba9ad153"
SHORT = {"n_embd": 4, "n_head": 2, "block_size": 8, "num_steps": 12, "num_samples": 5}
NAMES = "\n".join(map("".join, itertools.product("abc", "de", "fghi")))  # 24 of them


class TestCase(unittest.TestCase):
    """A test that finds the tape empty, and leaves it so."""

    def setUp(self):
        microgpt.tape.clear()
        self.addCleanup(microgpt.tape.clear)

    def assertClose(self, xs, ys, places=9):
        self.assertEqual(len(xs), len(ys))
        for x, y in zip(xs, ys):
            self.assertAlmostEqual(x, y, places=places)

    def assertSlopes(self, f, numbers):
        """Fail unless backward() finds the slopes of f that can be measured."""
        inputs = values(numbers)
        f(*inputs).backward()
        for x in inputs:
            slope = measured_slope(x, lambda: f(*inputs).data)
            self.assertAlmostEqual(x.grad, slope, delta=1e-7 * max(1, abs(slope)))


# --- Numbers and models


def measured_slope(p, loss, h=1e-5):
    """Return how fast loss() rises as the number in p rises: no calculus."""
    here = p.data
    p.data = here + h
    above = loss()
    p.data = here - h
    below = loss()
    p.data = here
    return (above - below) / (2 * h)


def gradients(f, numbers):
    """Return the gradients of f at these numbers, as backward() finds them."""
    inputs = values(numbers)
    f(*inputs).backward()
    return grads(inputs)


def values(numbers):
    return [Value(x) for x in numbers]


def data(vector):
    return [x.data for x in vector]


def grads(vector):
    return [x.grad for x in vector]


def matrices(model):
    """Return all matrices of a model, in the order of its parameters."""
    first = [model.wte, model.wpe, model.lm_head]
    return first + [matrix for block in model.blocks for matrix in block.values()]


def floats(model):
    """Return the matrices of a model as plain numbers, as by_hand.py takes them."""
    return [[data(row) for row in matrix] for matrix in matrices(model)]


def tiny(chars="abc", n_layer=2, n_embd=4, n_head=2, block_size=6, seed=5):
    """Return a small GPT that has opinions, and its tokenizer.

    Its parameters are ten times as large as those of a new model, because a new model
    finds everything equally likely and a mistake would hardly show. And not every seed
    will do: with 1, it answers BOS to everything, and all its names are empty.
    """
    tokenizer = Tokenizer([chars])
    sizes = (tokenizer.vocab_size, n_layer, n_embd, n_head, block_size)
    model = GPT(*sizes, random.Random(seed))
    for p in model.params:
        p.data *= 10
    return model, tokenizer


def read(model, tokens):
    """Return the model's logits after each of the tokens, as floats."""
    cache = model.new_cache()
    return [data(model.forward(token, i, cache)) for i, token in enumerate(tokens)]


class FixedLogits:
    """In place of a GPT: has row i of logits at position i, and notes what it reads."""

    def __init__(self, rows):
        self.rows, self.block_size, self.tokens = rows, len(rows), []

    def new_cache(self):
        return []

    def forward(self, token, position, cache):
        self.tokens.append(token)
        return values(self.rows[position])


# --- The program: copies of it, their settings edited as a user edits them


def changes():
    """Return how settings and data differ from the shipped ones; "" if they do not."""
    differences = [
        f"{name} is {getattr(microgpt, name)!r}, shipped {shipped!r}"
        for name, shipped in SHIPPED.items()
        if getattr(microgpt, name) != shipped
    ]
    file = ROOT / "input.txt"
    content = file.read_bytes() if file.exists() else b""
    if hashlib.sha256(content).hexdigest() != INPUT_SHA256:
        differences.append("input.txt is not the shipped one")
    return "; ".join(differences)


needs_shipped = unittest.skipIf(changes(), "needs the shipped settings and input.txt")


def edited(**settings):
    """Return the source with these settings, and the shipped ones otherwise."""
    text = SOURCE
    for name, value in {**SHIPPED, **settings}.items():
        text, found = re.subn(rf"(?m)^{name} = [^#\n]*", f"{name} = {value!r}  ", text)
        assert found == 1, f"{name} is set {found} times in microgpt.py"
    return text


def folder(test):
    """Return a new folder that is gone after the test, or after the class."""
    path = Path(tempfile.mkdtemp())
    clean = test.addClassCleanup if isinstance(test, type) else test.addCleanup
    clean(shutil.rmtree, str(path), ignore_errors=True)
    return path


def program(where, docs=NAMES, **settings):
    """Put an edited program and its file, text or bytes, into a folder; return it."""
    if docs is not None:
        content = docs if isinstance(docs, bytes) else docs.encode("utf-8")
        (where / settings.get("input_file", "input.txt")).write_bytes(content)
    path = where / "microgpt.py"
    path.write_text(edited(**{**SHORT, **settings}), encoding="utf-8")
    return path


@contextlib.contextmanager
def inside(path):
    """Make path the current folder for a while."""
    before = os.getcwd()
    os.chdir(str(path))
    try:
        yield
    finally:
        os.chdir(before)


def captured(function, *args):
    """Return what function returns, and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        result = function(*args)
    return result, out.getvalue()


def run_file(path, patch, where=None):
    """Run a program as python does; return its globals, and what it printed as out.

    Before section 6, patch gets the globals and may replace some of them.
    """
    marker = 'if __name__ == "__main__":\n'
    text = path.read_text(encoding="utf-8")
    assert text.count(marker) == 1
    patched = text.replace(marker, "patch(globals())\n" + marker)
    path.write_text(patched, encoding="utf-8")
    collects = gc.isenabled()
    try:
        with inside(where or path.parent), mock.patch.dict(sys.modules):
            found, out = captured(
                runpy.run_path, str(path), {"patch": patch}, "__main__"
            )
    finally:
        if collects:
            gc.enable()
    return SimpleNamespace(**{**found, "out": out})


def run(test, docs=NAMES, stand_ins=(), **settings):
    """Run an edited copy, shortly unless the settings say else, with some stand-ins."""
    path = program(folder(test), docs, **settings)
    return run_file(path, lambda names: names.update(stand_ins))


@functools.cache
def default_run():
    """Run the program as shipped, once; return globals, out, and all losses."""
    losses = []

    def keep_losses(names):
        def keep(*args, document_loss=names["document_loss"]):
            loss = document_loss(*args)
            losses.append(loss.data)
            return loss

        names["document_loss"] = keep

    with tempfile.TemporaryDirectory() as where:
        path = program(Path(where), None, **SHIPPED)
        found = run_file(path, keep_losses, ROOT)
    found.losses = losses[: found.num_steps]  # the others are those of the test
    return found


def environment():
    """Return the environment without what others set there for Python."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return {**env, "PYTHONIOENCODING": "utf-8"}


def python(*args, cwd, stdin=""):
    """Run this Python in the folder cwd; return stdout, stderr, and returncode."""
    command = [sys.executable, *map(str, args)]
    how = {"encoding": "utf-8", "env": environment(), "capture_output": True}
    return subprocess.run(command, cwd=cwd, input=stdin, timeout=99, check=False, **how)


def rows(out):
    """Return (step, loss, bar, seconds left, name) of each row of a run, as text."""
    row = r"(?m)^step +(\d+)  loss (\S+)  (#*) *(\d+) s left  (.*)$"
    return re.findall(row, out)


def invented(out, block_size=SHORT["block_size"]):
    """Return the names that a run shows in columns at its end, with their marks."""
    lines = out[out.index("invented by") :].splitlines()[1:-1]
    width = block_size + 3
    cells = [line[i : i + width] for line in lines for i in range(0, len(line), width)]
    return [cell.strip() for cell in cells]
