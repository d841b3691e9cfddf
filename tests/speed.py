"""How fast is a training step, and what does each idea contribute?   python -m tests.speed [steps]

Every variant undoes one idea of microgpt.py (the last one all of them, which leaves textbook scalar
autograd) and trains the same model on the same names. CPU milliseconds a step, the best of two.
"""
import contextlib
import gc
import io
import random
import sys
import time
from unittest import mock

import microgpt
from microgpt import Value


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


def milliseconds(changes, steps):
    """Return the CPU milliseconds of one training step with these changes made."""
    gc.set_threshold(700) if hasattr(gc, "set_threshold") else None
    docs, rng = microgpt.load("input.txt"), random.Random(microgpt.seed)
    rng.shuffle(docs)
    model = microgpt.GPT(sorted(set("".join(docs))), microgpt.n_layer, microgpt.n_embd,
                         microgpt.n_head, microgpt.block_size, rng)
    with contextlib.ExitStack() as stack:
        for owner, name, new in changes:
            stack.enter_context(mock.patch.object(owner, name, new))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        start = time.process_time()
        microgpt.train(model, docs, steps, microgpt.learning_rate)
        return (time.process_time() - start) / steps * 1000


if __name__ == "__main__":
    steps = int(sys.argv[1]) if sys.argv[1:] else 100
    best = {name: min(milliseconds(changes, steps) for _ in range(2))
            for name, changes in VARIANTS.items()}
    for name, ms in best.items():
        print(f"{name:30}{ms:8.2f} ms/step{ms / best['as it is']:7.1f} times")
