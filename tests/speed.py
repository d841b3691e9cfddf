"""What does a training step cost, and what does each idea save?

    python -m tests.speed [steps]

It trains models of several sizes first, each in a process of its own, to tell its peak
memory. Then it undoes the ideas of microgpt.py: one at a time, then all, which leaves
textbook scalar autograd. At last the gradients are derived by hand. All of these train
the same model on the same names.

Time is CPU time for a step of train(), without the names that train() invents for its
rows. As a computer is faster now and slower then, all variants take turns of a few
steps, ten turns make a round, and a variant is compared with the program as it is in
the same round. The smallest and the largest ratio of all rounds are told.
tests/measure.py compares them with README.md.
"""
import contextlib
import functools
import gc
import io
import json
import math
import random
import string
import subprocess
import sys
import time
from pathlib import Path

import microgpt
from microgpt import GPT, Tokenizer, Value
from tests.by_hand import loss_and_grads

try:
    import resource
except ImportError:  # Windows has no such module, so there no peak memory is told
    resource = None

ROOT = Path(__file__).resolve().parent.parent
CPYTHON = sys.implementation.name == "cpython"  # only there microgpt.py disables gc
ROUNDS = 5
TURNS = 10  # of each variant in a round
WIDTHS = (8, 16, 32, 64)  # n_embd, on names
LENGTHS = (15, 31, 63, 127)  # characters, in random texts


# The ideas undone ---------------------------------------------------------------------
def backward_with_zeros(self):
    """Do what Value.backward() does, but pass gradients of 0 on, too."""
    tape = microgpt.tape
    if self not in tape:
        raise RuntimeError("nothing on the tape made this Value: compute it again")
    self.grad = 1.0
    while tape:
        result = tape.pop()
        grad = result.grad
        for value, local_grad in zip(result.inputs, result.local_grads):
            value.grad += local_grad * grad


def init_without_tape(self, data, inputs=(), local_grads=()):
    """Do what Value() does, but put nothing on the tape."""
    self.data = data
    self.grad = 0.0
    self.inputs = inputs
    self.local_grads = local_grads


def backward_sorted(self):
    """Do what Value.backward() does, but find an order from the loss, not a tape."""
    order = []
    visit(self, order, set())
    self.grad = 1.0
    for result in reversed(order):
        grad = result.grad
        if grad != 0:
            for value, local_grad in zip(result.inputs, result.local_grads):
                value.grad += local_grad * grad


def backward_sorted_with_zeros(self):
    """Do what backward_sorted() does, but pass gradients of 0 on, too."""
    order = []
    visit(self, order, set())
    self.grad = 1.0
    for result in reversed(order):
        grad = result.grad
        for value, local_grad in zip(result.inputs, result.local_grads):
            value.grad += local_grad * grad


def visit(value, order, visited):
    """Append to order the inputs of a Value, their inputs first, and then the Value."""
    if value not in visited:
        visited.add(value)
        for source in value.inputs:
            visit(source, order, visited)
        order.append(value)


def dot_of_single_operations(xs, ys):
    """Return the dot product, made of two Values per pair."""
    return sum(x * y for x, y in zip(xs, ys))


DOT = (microgpt, "dot", dot_of_single_operations)
NO_TAPE = (Value, "__init__", init_without_tape)
AS_IT_IS = "as it is"
BY_HAND = "gradients by hand"

# What each variant replaces: owner, name, and what is put there.
VARIANTS = {
    AS_IT_IS: [],
    "zeros not skipped in backward()": [(Value, "backward", backward_with_zeros)],
    "garbage collector left on": [],
    "a recursive sort instead of the tape":
        [NO_TAPE, (Value, "backward", backward_sorted)],
    "dot made of single * and +": [DOT],
    "all of these, textbook scalar autograd":
        [DOT, NO_TAPE, (Value, "backward", backward_sorted_with_zeros)],
}
COLLECTED = ["garbage collector left on", "all of these, textbook scalar autograd"]
if not CPYTHON:
    del VARIANTS["garbage collector left on"]  # it is the program as it is


# Measuring ----------------------------------------------------------------------------
@contextlib.contextmanager
def replaced(changes):
    """Put something else in place of attributes for a while."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, new in changes:
        setattr(owner, name, new)
    try:
        yield
    finally:
        for owner, name, old in before:
            setattr(owner, name, old)


def milliseconds(steps, work, collected=False):
    """Return the CPU milliseconds of a step; work() does all of them.

    If collected, the garbage collector is left on, otherwise as microgpt.py leaves it.
    """
    gc.collect()
    if CPYTHON and not collected:
        gc.disable()
    start = time.process_time()
    try:
        work()
    finally:
        gc.enable()
    return (time.process_time() - start) / steps * 1000


def shuffled_names():
    """Return the names of input.txt in the order of the default run."""
    documents = microgpt.read_documents(str(ROOT / "input.txt"), microgpt.block_size)
    random.Random(microgpt.seed).shuffle(documents)
    return documents


def new_model(tokenizer, n_embd=microgpt.n_embd, block_size=microgpt.block_size):
    """Return an untrained model as microgpt.py sets it, but for these sizes."""
    n_layer, n_head = microgpt.n_layer, microgpt.n_head
    rng = random.Random(microgpt.seed)
    return GPT(tokenizer.vocab_size, n_layer, n_embd, n_head, block_size, rng)


def train(model, tokenizer, documents, steps):
    """Train a model without printing and without inventing names; return the losses."""
    with replaced([(microgpt, "generate", lambda *args: "")]):
        with contextlib.redirect_stdout(io.StringIO()):
            rate = microgpt.learning_rate
            return microgpt.train(model, tokenizer, documents, steps, rate)


def train_by_hand(model, tokenizer, documents, steps):
    """Train the numbers of a model with gradients by hand; return the losses."""
    beta1, beta2 = microgpt.beta1, microgpt.beta2
    values = [model.wte, model.wpe, model.lm_head]
    for block in model.blocks:
        values.extend(block.values())
    matrices = [[[p.data for p in row] for row in matrix] for matrix in values]
    rows = [row for matrix in matrices for row in matrix]
    m = [[0.0] * len(row) for row in rows]
    v = [[0.0] * len(row) for row in rows]
    losses = []
    for step in range(1, steps + 1):
        document = documents[(step - 1) % len(documents)]
        tokens = [tokenizer.BOS] + tokenizer.encode(document) + [tokenizer.BOS]
        loss, grads = loss_and_grads(matrices, tokens, model.n_head)
        losses.append(loss)
        rate = microgpt.learning_rate * (1 - (step - 1) / steps)
        m_weight = 1 - beta1 ** step
        v_weight = 1 - beta2 ** step
        row_grads = [row for matrix in grads for row in matrix]
        for i, (row, grad) in enumerate(zip(rows, row_grads)):
            m[i] = [beta1 * a + (1 - beta1) * g for a, g in zip(m[i], grad)]
            v[i] = [beta2 * b + (1 - beta2) * g * g for b, g in zip(v[i], grad)]
            row[:] = [p - rate * (a / m_weight) / (math.sqrt(b / v_weight) + 1e-8)
                      for p, a, b in zip(row, m[i], v[i])]
    return losses


def one_turn(steps, documents):
    """Measure each variant once; return {variant: CPU milliseconds of a step}."""
    tokenizer = Tokenizer(documents)
    found = {}
    for name, changes in VARIANTS.items():
        model = new_model(tokenizer)
        work = functools.partial(train, model, tokenizer, documents, steps)
        with replaced(changes):
            found[name] = milliseconds(steps, work, name in COLLECTED)
    model = new_model(tokenizer)
    work = functools.partial(train_by_hand, model, tokenizer, documents, steps)
    found[BY_HAND] = milliseconds(steps, work)
    return found


def one_round(steps, documents):
    """Let the variants take turns, each with names of its own; return the means."""
    steps = math.ceil(steps / TURNS)
    turns = []
    for turn in range(TURNS):
        first = turn * steps
        turns.append(one_turn(steps, documents[first:first + steps]))
    return {name: sum(turn[name] for turn in turns) / TURNS for name in turns[0]}


def speeds(steps=100, rounds=ROUNDS):
    """Measure all variants; return {variant: {"ms", "low", "high"}}.

    ms is the shortest time of a step. low and high are the smallest and the largest
    ratio to the program as it is in the same round.
    """
    documents = shuffled_names()
    measured = [one_round(steps, documents) for _ in range(rounds)]
    found = {}
    for name in measured[0]:
        ratios = [times[name] / times[AS_IT_IS] for times in measured]
        shortest = min(times[name] for times in measured)
        found[name] = {"ms": shortest, "low": min(ratios), "high": max(ratios)}
    return found


# Sizes --------------------------------------------------------------------------------
def size_here(n_embd, length, steps):
    """Train a model n_embd wide on texts of this length, or on names if it is 0.

    Returns {"parameters", "ms", "megabytes"}: the shortest time of three, and the peak
    memory of this process, or None where it cannot be known.
    """
    if length == 0:
        documents = shuffled_names()
        tokenizer = Tokenizer(documents)
        block_size = microgpt.block_size
    else:
        rng = random.Random(microgpt.seed)
        letters = string.ascii_lowercase
        documents = ["".join(rng.choices(letters, k=length)) for _ in range(steps)]
        tokenizer = Tokenizer([letters])
        block_size = length + 1
    times = []
    for _ in range(3):
        model = new_model(tokenizer, n_embd, block_size)
        work = functools.partial(train, model, tokenizer, documents, steps)
        times.append(milliseconds(steps, work))
    peak = peak_megabytes()
    return {"parameters": len(model.params), "ms": min(times), "megabytes": peak}


def peak_megabytes():
    """Return the largest memory this process has had, in units of 2 ** 20 bytes."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # It is told in bytes on macOS, elsewhere in kilobytes.
    return peak / 2 ** 20 if sys.platform == "darwin" else peak / 2 ** 10


def size(n_embd, length, steps):
    """Return what size_here() returns, measured in a process of its own."""
    command = [sys.executable, "-m", "tests.speed", "size"]
    command += [str(n_embd), str(length), str(steps)]
    done = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode("ascii"))


def widths(steps=100):
    """Return {n_embd: what size_here() returns}, trained on names."""
    return {n_embd: size(n_embd, 0, steps) for n_embd in WIDTHS}


def lengths(steps=10):
    """Return {characters: what size_here() returns}, trained on random texts."""
    return {length: size(microgpt.n_embd, length, steps) for length in LENGTHS}


# Telling ------------------------------------------------------------------------------
def tell_sizes(title, sizes):
    """Print a row for each size."""
    for key, found in sizes.items():
        row = f"{title + ' ' + str(key):40}{found['parameters']:8,} parameters"
        row += f"{found['ms']:9.2f} ms/step"
        if found["megabytes"] is not None:
            row += f"{found['megabytes']:6.0f} MB"
        print(row, flush=True)


def tell_speeds(found):
    """Print a row for each variant."""
    for name, row in found.items():
        times = f"{row['low']:.2f} to {row['high']:.2f} times as long"
        line = f"{name:40}{row['ms']:8.2f} ms/step  "
        print(line.rstrip() if name == AS_IT_IS else line + times)


def main(steps):
    """Measure and tell all; the longer random texts get a tenth of the steps."""
    # A process starts with the peak memory of its parent. Sizes come while it is small.
    if resource is None:
        print("peak memory is left out: Python cannot tell it on Windows")
    tell_sizes("names, n_embd", widths(steps))
    tell_sizes("characters of random text:", lengths(math.ceil(steps / 10)))
    if not CPYTHON:
        print("this Python's garbage collector is on in all variants")
    tell_speeds(speeds(steps))


if __name__ == "__main__":
    if sys.argv[1:2] == ["size"]:
        print(json.dumps(size_here(*map(int, sys.argv[2:]))))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 100)
