"""How fast is a training step, and what does each idea contribute?   python -m tests.speed [steps]

Every variant undoes one idea of microgpt.py (the last one all of them, which leaves textbook scalar
autograd) and trains the same model on the same names: CPU milliseconds a step, the best of two.
Before that, wider models and longer texts, each in a process of its own to tell its peak memory;
after it, gradients derived by hand.
"""
import contextlib
import gc
import io
import random
import string
import subprocess
import sys
import time
from unittest import mock

import microgpt
from microgpt import Value
from tests.by_hand import loss_and_grads


def dot_unfused(xs, ys, x_data=None):
    return sum(x * y for x, y in zip(xs, ys))


def init_without_tape(self, data, inputs=(), local_grads=()):
    self.data, self.grad, self.inputs, self.local_grads = data, 0.0, inputs, local_grads


def backward_sorted(self):
    order, seen = [], set()

    def visit(value):
        if value not in seen:
            seen.add(value)
            for source in value.inputs:
                visit(source)
            order.append(value)

    visit(self)
    self.grad = 1.0
    for value in reversed(order):
        for source, local_grad in zip(value.inputs, value.local_grads):
            source.grad += local_grad * value.grad


def backward_with_zeros(self):
    nodes, microgpt.tape[:] = microgpt.tape[:], []
    self.grad = 1.0
    for node in reversed(nodes):
        grad = node.grad
        for value, local_grad in zip(node.inputs, node.local_grads):
            value.grad += local_grad * grad


UNFUSED = [(microgpt, "dot", dot_unfused)]
SORTED = [(Value, "__init__", init_without_tape), (Value, "backward", backward_sorted)]
COLLECTED = [(gc, "set_threshold", lambda count: None)] if hasattr(gc, "set_threshold") else []
VARIANTS = {
    "as it is": [],
    "zeros not skipped": [(Value, "backward", backward_with_zeros)],
    "garbage collector left alone": COLLECTED,
    "recursive sort, no tape": SORTED,
    "dot made of * and +": UNFUSED,
    "all of these: textbook": UNFUSED + SORTED + COLLECTED,
}


def names():
    """Return the names in the order of the default run, and the generator as it is by then."""
    docs, rng = microgpt.load("input.txt"), random.Random(microgpt.seed)
    rng.shuffle(docs)
    return docs, rng


def milliseconds(changes, steps, docs, n_embd=microgpt.n_embd, block_size=microgpt.block_size):
    """Return the CPU milliseconds of one training step with these changes made."""
    if hasattr(gc, "set_threshold"):
        gc.set_threshold(700)
    model = microgpt.GPT(list(string.ascii_lowercase), microgpt.n_layer, n_embd, microgpt.n_head,
                         block_size, random.Random(microgpt.seed))
    with contextlib.ExitStack() as stack:
        for owner, name, new in changes:
            stack.enter_context(mock.patch.object(owner, name, new))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        start = time.process_time()
        microgpt.train(model, docs, steps, microgpt.learning_rate)
        return (time.process_time() - start) / steps * 1000


def milliseconds_by_hand(steps, docs):
    """Return the CPU milliseconds of one step with gradients by hand, Adam included."""
    chars = list(string.ascii_lowercase)
    model = microgpt.GPT(chars, microgpt.n_layer, microgpt.n_embd, microgpt.n_head,
                         microgpt.block_size, random.Random(microgpt.seed))
    weights = [model.wte, model.wpe, model.lm_head]
    weights += [block[w] for block in model.blocks for w in block]
    weights = [[[p.data for p in row] for row in matrix] for matrix in weights]
    rows = [row for matrix in weights for row in matrix]
    means, squares = ([[0.0] * len(row) for row in rows] for _ in range(2))
    start = time.process_time()
    for step in range(1, steps + 1):
        tokens = microgpt.encode(docs[step - 1], chars)
        _, grads = loss_and_grads(weights, tokens, microgpt.n_head)
        grads = [row for matrix in grads for row in matrix]
        fix1, fix2 = 1 - 0.85 ** step, 1 - 0.99 ** step
        for row, grad, m, v in zip(rows, grads, means, squares):
            m[:] = [0.85 * a + 0.15 * g for a, g in zip(m, grad)]
            v[:] = [0.99 * a + 0.01 * g * g for a, g in zip(v, grad)]
            row[:] = [p - 0.01 * (a / fix1) / ((b / fix2) ** 0.5 + 1e-8)
                      for p, a, b in zip(row, m, v)]
    return (time.process_time() - start) / steps * 1000


def size(n_embd, length):
    """Print the milliseconds and the peak memory of a model n_embd wide, on texts this long."""
    import resource  # not on Windows
    docs, rng = names()
    if length:
        docs = ["".join(rng.choices(string.ascii_lowercase, k=length)) for _ in range(10)]
    ms = min(milliseconds([], 10 if length else 100, docs, n_embd, length + 1 if length else 16)
             for _ in range(2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    text = f"texts of {length} characters" if length else "names"
    print(f"n_embd {n_embd}, {text:30}{ms:8.2f} ms/step{peak:7.0f} MB")


def main(steps):
    # A process starts with the peak memory of its parent, so those who tell theirs come first.
    sizes = [(n_embd, 0) for n_embd in (8, 16, 32, 64)] + [(16, n) for n in (15, 31, 63, 127)]
    for n_embd, length in sizes:
        subprocess.run([sys.executable, "-m", "tests.speed", str(n_embd), str(length)], check=True)
    docs, _ = names()
    best = {name: min(milliseconds(changes, steps, docs) for _ in range(2))
            for name, changes in VARIANTS.items()}
    best["gradients by hand"] = min(milliseconds_by_hand(steps, docs) for _ in range(2))
    for name, ms in best.items():
        print(f"{name:30}{ms:8.2f} ms/step{ms / best['as it is']:7.1f} times", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        size(*map(int, sys.argv[1:]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 100)
