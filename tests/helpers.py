"""What the tests share: finite differences, tiny models, copies of the program with other knobs."""
import contextlib
import importlib.util
import io
import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from microgpt import GPT, Value

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "microgpt.py").read_text(encoding="utf-8")
TINY = dict(n_embd=4, n_head=2, block_size=8, num_samples=5)  # knobs for a run of a moment
NAMES = "\n".join("".join(letters) for letters in itertools.product("abc", "de", "fghi")) + "\n"
numbers = itertools.count()  # a module name of its own for every copy


# Gradients -------------------------------------------------------------------------------------
def gradients(f, xs):
    """Return the gradients of f at xs, as backward() finds them."""
    values = [Value(x) for x in xs]
    f(*values).backward()
    return [value.grad for value in values]


def slopes(f, xs, h=1e-5):
    """Return the gradients of f at xs by going a little up and a little down: no calculus."""
    def at(i, shift):
        return f(*[Value(x + shift * (i == j)) for j, x in enumerate(xs)]).data
    return [(at(i, h) - at(i, -h)) / (2 * h) for i in range(len(xs))]


def check_gradients(test, f, xs):
    """Fail unless backward() and finite differences agree on f at xs."""
    for exact, measured in zip(gradients(f, xs), slopes(f, xs)):
        test.assertAlmostEqual(exact, measured, delta=1e-7 * max(1, abs(exact)))


# Models ----------------------------------------------------------------------------------------
def tiny(chars="abc", n_layer=2, n_embd=4, n_head=2, block_size=6, seed=1):
    """Return a small GPT, its parameters ten times the usual, so that every effect is visible."""
    model = GPT(list(chars), n_layer, n_embd, n_head, block_size, random.Random(seed))
    for p in model.params:
        p.data *= 10
    return model


class Fixed:
    """Stands in for a GPT: gives row i of the logits after token i, whatever the token."""
    def __init__(self, chars, rows):
        self.chars, self.BOS, self.params = list(chars), len(chars), []
        self.rows = self.wpe = rows  # as many rows, so large is the context

    def __call__(self, tokens):
        for _, row in zip(tokens, self.rows):
            yield [z if isinstance(z, Value) else Value(z) for z in row]


# Copies ----------------------------------------------------------------------------------------
def folder(test):
    """Return a new folder that is gone after the test (or the class, in setUpClass)."""
    path = Path(tempfile.mkdtemp())
    cleanup = test.addClassCleanup if isinstance(test, type) else test.addCleanup
    cleanup(shutil.rmtree, path, ignore_errors=True)
    return path


def edited(**knobs):
    """Return the source with knobs edited as a user does; beta1__beta2="0.9, 0.99" is one line."""
    text = SOURCE
    for name, value in knobs.items():
        line = rf"(?m)^{name.replace('__', ', ')} = [^#\n]*"
        text, found = re.subn(line, lambda m: f"{name.replace('__', ', ')} = {value}  ", text)
        assert found == 1, f"{name} is set {found} times in microgpt.py"
    return text


def program(where, docs=NAMES, **knobs):
    """Put an edited microgpt.py, and docs (text or bytes) as input.txt, into where; return it."""
    if docs is not None:
        data = docs if isinstance(docs, bytes) else docs.encode("utf-8")
        (where / "input.txt").write_bytes(data)
    (where / "microgpt.py").write_text(edited(**knobs), encoding="utf-8")
    return where / "microgpt.py"


def copy(path):
    """Import the program at path as a module of its own, beside the real one."""
    spec = importlib.util.spec_from_file_location(f"copy{next(numbers)}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(encoding="utf-8"):
    """Return the environment without what others set for Python, such as PYTHONUNBUFFERED."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return dict(env, PYTHONIOENCODING=encoding, PYTHONDONTWRITEBYTECODE="1")


def python(*args, cwd, stdin="", encoding="utf-8"):
    """Run this Python with args in the folder cwd; return its stdout, stderr and returncode."""
    return subprocess.run([sys.executable, *map(str, args)], cwd=str(cwd), input=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                          encoding=encoding, env=environment(encoding))


def quietly(function, *args):
    """Return what function returns and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        result = function(*args)
    return result, out.getvalue()


def rows(output):
    """Return (step, loss, bar, seconds gone, seconds left, name) of each row of a run, as text."""
    number = r"[^\d\n]*?(\d+(?:\.\d+)?)"
    row = rf"(?m)^step +(\d+)\b(?!:){number} (#*)(?=  ){number}{number}.*?  (.*)$"
    return re.findall(row, output)
