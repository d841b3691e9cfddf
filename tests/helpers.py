"""What the tests share: shipped settings, finite differences, tiny models, copies of
the program."""
import contextlib
import functools
import gc
import hashlib
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
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import microgpt
from microgpt import GPT, Tokenizer, Value

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "microgpt.py").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHIPPED = dict(
    input_file="input.txt", num_held_out=300,
    n_layer=1, n_embd=16, n_head=4, block_size=16,
    num_steps=1000, learning_rate=0.01, beta1=0.85, beta2=0.99,
    temperature=0.5, num_samples=20, seed=42)
INPUT_SHA256 = "c17ccb17bd34a692b6b3424486b179df4cba3e464abec9664ace9698ba9ad153"
# settings of a run of a moment
TINY = dict(n_embd=4, n_head=2, block_size=8, num_samples=5)
NAMES = "\n".join("".join(letters)
                  for letters in itertools.product("abc", "de", "fghi")) + "\n"
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
if sys.implementation.name == "cpython":
    gc.disable()  # as microgpt.py does where it runs
numbers = itertools.count()  # every copy of the program has a module name of its own


# What is shipped --------------------------------------------------------
def changes():
    """Return sentences that tell how settings and data differ from the shipped ones."""
    sentences = []
    words = [f"{name} is {getattr(microgpt, name)!r}, shipped {shipped!r}"
             for name, shipped in SHIPPED.items() if getattr(microgpt, name) != shipped]
    if words:
        sentences.append("settings differ from the shipped ones: " + "; ".join(words))
    data = ROOT / "input.txt"
    digest = hashlib.sha256(data.read_bytes()).hexdigest() if data.exists() else None
    if digest != INPUT_SHA256:
        sentences.append("input.txt differs from the shipped one")
    return sentences


needs_shipped = unittest.skipIf(
    changes(), "needs the shipped settings and the shipped input.txt")


@functools.lru_cache(maxsize=None)
def default_run():
    """Run main() once, as shipped; return what it printed, all losses, the model, its
    data."""
    losses, real = [], microgpt.train

    def train(*args):
        losses.extend(real(*args))

    out = io.StringIO()
    with contextlib.redirect_stdout(out), mock.patch.object(microgpt, "train", train):
        with inside(ROOT):
            model, tokenizer = microgpt.main()
    return SimpleNamespace(out=out.getvalue(), losses=losses,
                           model=model, tokenizer=tokenizer)


@contextlib.contextmanager
def inside(path):
    """Make path the current folder for a while."""
    before = os.getcwd()
    os.chdir(str(path))
    try:
        yield
    finally:
        os.chdir(before)


# Gradients --------------------------------------------------------------
def gradients(f, xs):
    """Return the gradients of f at xs, as backward() finds them."""
    values = [Value(x) for x in xs]
    f(*values).backward()
    return [value.grad for value in values]


def slopes(f, xs, h=1e-5):
    """Return the gradients of f at xs by going a little up and a little down: no
    calculus."""
    def at(i, shift):
        return f(*[Value(x + shift * (i == j)) for j, x in enumerate(xs)]).data
    return [(at(i, h) - at(i, -h)) / (2 * h) for i in range(len(xs))]


def check_gradients(test, f, xs):
    """Fail unless backward() and finite differences agree on f at xs."""
    for exact, measured in zip(gradients(f, xs), slopes(f, xs)):
        test.assertAlmostEqual(exact, measured, delta=1e-7 * max(1, abs(exact)))


# Models -----------------------------------------------------------------
def values(numbers):
    return [Value(x) for x in numbers]


def data(vector):
    return [x.data for x in vector]


def matrices(model):
    """Return all matrices of a model, in the order of its parameters."""
    return [model.wte, model.wpe, model.lm_head] + \
        [w for b in model.blocks for w in b.values()]


def tiny(chars="abc", n_layer=2, n_embd=4, n_head=2, block_size=6, seed=1):
    """Return (model, tokenizer): a small GPT, its parameters ten times the usual size.
    """
    tokenizer = Tokenizer([chars])
    model = GPT(
        tokenizer.vocab_size,
        n_layer,
        n_embd,
        n_head,
        block_size,
        random.Random(seed))
    for p in model.params:
        p.data *= 10
    return model, tokenizer


def read(model, tokens):
    """Return the model's logits after each of the tokens, as floats."""
    cache = model.new_cache()
    return [data(model.forward(token, i, cache)) for i, token in enumerate(tokens)]


class Fixed:
    """Stands in for a GPT: row i of the logits comes at position i, whatever the token.
    """

    def __init__(self, rows):
        self.rows, self.block_size, self.params, self.tokens = rows, len(rows), [], []

    def new_cache(self):
        return []

    def forward(self, token, position, cache):
        self.tokens.append(token)
        return [z if isinstance(z, Value) else Value(z) for z in self.rows[position]]


# Copies -----------------------------------------------------------------
def folder(test):
    """Return a new folder that is gone after the test (or the class, in setUpClass)."""
    path = Path(tempfile.mkdtemp())
    cleanup = test.addClassCleanup if isinstance(test, type) else test.addCleanup
    cleanup(shutil.rmtree, str(path), ignore_errors=True)
    return path


def edited(**settings):
    """Return the source as shipped but for these settings, edited as a user does it."""
    text = SOURCE
    for name, value in {**SHIPPED, **settings}.items():
        text, found = re.subn(rf"(?m)^{name} = [^#\n]*", f"{name} = {value!r}  ", text)
        assert found == 1, f"{name} is set {found} times in microgpt.py"
    return text


def program(where, docs=NAMES, **settings):
    """Put an edited microgpt.py, and docs (text or bytes) as input.txt, into where;
    return it."""
    if docs is not None:
        content = docs if isinstance(docs, bytes) else docs.encode("utf-8")
        (where / "input.txt").write_bytes(content)
    (where / "microgpt.py").write_text(edited(**settings), encoding="utf-8")
    return where / "microgpt.py"


def copy(path):
    """Import the program at path as a module of its own, beside the real one."""
    spec = importlib.util.spec_from_file_location(f"copy{next(numbers)}", str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_main(test, docs=NAMES, **settings):
    """Call main() of an edited copy in its folder; return the module and what it
    printed."""
    path = program(folder(test), docs, **settings)
    module = copy(path)
    with inside(path.parent):
        (module.model, module.tokenizer), out = quietly(module.main)
    return module, out


def python(*args, cwd, stdin="", encoding="utf-8"):
    """Run this Python with args in the folder cwd; return its stdout, stderr and
    returncode."""
    return subprocess.run([sys.executable, *map(str, args)], cwd=str(cwd), input=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                          encoding=encoding, env=environment(encoding))


def environment(encoding="utf-8"):
    """Return the environment without what others set for Python, such as
    PYTHONUNBUFFERED."""
    env = {
        name: value for name,
        value in os.environ.items() if not name.startswith("PYTHON")}
    return dict(env, PYTHONIOENCODING=encoding, PYTHONDONTWRITEBYTECODE="1")


def quietly(function, *args):
    """Return what function returns and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        result = function(*args)
    return result, out.getvalue()


def rows(output):
    """Return (step, loss, seconds left, name) of each row of a run, as text."""
    return re.findall(r"(?m)^step +(\d+)  loss (\S+)  #* *(\d+) s left  (.*)$", output)


def invented(output):
    """Return the last lines of a run: the invented names, as printed."""
    return re.split(r"were held out\n(?:their loss.*\n)?", output)[1].split("\n")[:-1]
