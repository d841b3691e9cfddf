"""How much time does each idea of microgpt.py save?

    python -m tests.speed

Each variant undoes one idea, the last but one undoes them all, and the last has no
autograd: tests/by_hand.py computes its gradients. All train the same model on the same
names and must get the same losses.

A computer is faster now and slower then. So all variants take turns of a few steps, ten
turns make a round, and a variant is compared with the program of the same round. Shown
are the smallest and the largest ratio of five rounds, in CPU time.
"""

import contextlib
import gc
import io
import math
import random
import sys
import time
from unittest import mock

import microgpt
from tests.by_hand import loss_and_grads
from tests.solutions import ROOT

ROUNDS = 5
TURNS = 10  # of each variant in a round
STEPS = 10  # in a turn


# --- The ideas undone


def pass_back(loss, newest_first, skip_zeros):
    """Do what the loop of backward() does, but pass on zeros if they are not skipped."""
    loss.grad = 1.0
    for result in newest_first:
        grad = result.grad
        if grad != 0 or not skip_zeros:
            for value, slope in zip(result.inputs, result.slopes):
                value.grad += slope * grad


def backward_with_zeros(loss):
    newest_first = microgpt.tape[::-1]
    microgpt.tape.clear()
    pass_back(loss, newest_first, skip_zeros=False)


def oldest_first(value, found, order):
    """Append to order all that a Value was computed from, and then the Value itself."""
    if value not in found:
        found.add(value)
        for source in value.inputs:
            oldest_first(source, found, order)
        order.append(value)
    return order


def backward_sorted(loss, skip_zeros=True):
    pass_back(loss, reversed(oldest_first(loss, set(), [])), skip_zeros)


def init_without_tape(value, data, inputs=(), slopes=()):
    value.data = data
    value.grad = 0.0
    value.inputs = inputs
    value.slopes = slopes


def dot_of_single_operations(xs, ys):
    return sum(x * y for x, y in zip(xs, ys))


class LossByHand:
    """What train() needs of a loss, without any Value that was computed."""

    def __init__(self, model, tokenizer, document):
        matrices = [model.wte, model.wpe, model.lm_head]
        for block in model.blocks:
            matrices.extend(block.values())
        numbers = [[[p.data for p in row] for row in matrix] for matrix in matrices]
        tokens = [tokenizer.BOS] + tokenizer.encode(document) + [tokenizer.BOS]
        self.data, self.grads = loss_and_grads(numbers, tokens, model.n_head)
        self.params = model.params

    def backward(self):
        grads = [grad for matrix in self.grads for row in matrix for grad in row]
        for p, grad in zip(self.params, grads):
            p.grad = grad


COLLECTOR = "garbage collector left on"
ALL = "all of these, textbook scalar autograd"
DOT = {"dot": dot_of_single_operations}
SORT = {"Value.backward": backward_sorted, "Value.__init__": init_without_tape}
SORT_ZEROS = {**SORT, "Value.backward": lambda loss: backward_sorted(loss, False)}
VARIANTS = {  # what takes the place of which name in microgpt.py
    "as it is": {},
    "zeros not skipped in backward()": {"Value.backward": backward_with_zeros},
    COLLECTOR: {},
    "a recursive sort instead of the tape": SORT,
    "dot made of single * and +": DOT,
    ALL: {**DOT, **SORT_ZEROS},
    "gradients by hand": {"document_loss": LossByHand},
}


# --- Measuring


def turn(variant, names):
    """Train a new model on these names; return the CPU seconds and the losses."""
    tokenizer = microgpt.Tokenizer(["abcdefghijklmnopqrstuvwxyz"])
    model = microgpt.GPT(tokenizer.vocab_size, 1, 16, 4, 16, random.Random(1))
    changes = dict(VARIANTS[variant])
    document_loss = changes.get("document_loss", microgpt.document_loss)
    losses = []

    def noted_loss(*args):
        loss = document_loss(*args)
        losses.append(loss.data)
        return loss

    changes.update(document_loss=noted_loss, generate=lambda *args: "")
    with contextlib.ExitStack() as undone:
        for name, substitute in changes.items():
            undone.enter_context(mock.patch(f"microgpt.{name}", substitute))
        undone.enter_context(contextlib.redirect_stdout(io.StringIO()))
        gc.collect()
        if variant not in (COLLECTOR, ALL) and sys.implementation.name == "cpython":
            gc.disable()
        began = time.process_time()
        microgpt.train(model, tokenizer, names, len(names), 0.01)
        seconds = time.process_time() - began
        gc.enable()
    return seconds, losses


def one_round(names):
    """Let the variants take turns; return the CPU seconds of each."""
    seconds = dict.fromkeys(VARIANTS, 0.0)
    for start in range(0, TURNS * STEPS, STEPS):
        expected = None
        for variant in VARIANTS:
            taken, losses = turn(variant, names[start : start + STEPS])
            seconds[variant] += taken
            expected = expected or losses
            assert all(map(math.isclose, losses, expected)), f"{variant}: other losses"
    return seconds


def main():
    sys.setrecursionlimit(10000)  # for oldest_first()
    names = microgpt.read_documents(ROOT / "input.txt")
    random.Random(microgpt.seed).shuffle(names)
    rounds = []
    for number in range(1, ROUNDS + 1):
        rounds.append(one_round(names))
        print(f"round {number} of {ROUNDS}", flush=True)
    for variant in VARIANTS:
        ratios = [seconds[variant] / seconds["as it is"] for seconds in rounds]
        shown = f"{min(ratios):.1f} to {max(ratios):.1f} times as long"
        step = min(seconds[variant] for seconds in rounds) / (TURNS * STEPS)
        print(f"{variant:40}{1000 * step:7.1f} ms per step   {shown}")


if __name__ == "__main__":
    main()
