"""The tables and drawings in microgpt.py: every number in them is computed again."""

import math
import random

import microgpt
from microgpt import (
    GPT,
    Tokenizer,
    Value,
    add,
    apply_block,
    attend,
    dot,
    read_documents,
    rmsnorm,
    softmax,
)
from tests import helpers as h

SOURCE = " ".join(h.SOURCE.replace("#", " ").split())


def two(numbers):
    """Return numbers as text, with two decimals at most."""
    return [f"{x:.2f}".rstrip("0").rstrip(".") for x in numbers]


def size(x):
    """Return the root mean square of a vector."""
    return math.sqrt(dot(x, x).data / len(x))


class Drawings(h.TestCase):
    def assertDrawn(self, *cells):
        """Fail unless these cells stand side by side in microgpt.py."""
        self.assertIn(" ".join(map(str, cells)), SOURCE)

    def test_exercises(self):
        """document_loss reads and guesses what the table of "ava" says."""
        tokens = [26] + Tokenizer(["abcdefghijklmnopqrstuvwxyz"]).encode("ava") + [26]
        names = {0: '"a"', 21: '"v"', 26: "BOS"}
        for position in range(4):
            token, target = tokens[position], tokens[position + 1]
            self.assertDrawn(position, token, names[token], target, names[target])

    def test_ledger(self):
        """The Values of the example have the gradients and slopes that are drawn."""
        a = Value(2.0)
        b = a**2
        c = b**2
        loss = b + c
        loss.backward()
        slopes = [*b.slopes, *c.slopes, *loss.slopes]
        self.assertEqual(slopes, [4, 8, 1, 1])
        self.assertEqual(h.data([a, b, c, loss]), [2, 4, 16, 20])
        self.assertDrawn(
            "4 8 1 a = 2 ======> b = 4 ======> c = 16 ======> loss = b + c = 20"
        )
        self.assertEqual(h.grads([loss, c, b, a]), [1, 1, 9, 36])
        self.assertDrawn("c 1 8 * 1 = 8 to b b 1 + 8 = 9 4 * 9 = 36 to a a 36")
        self.assertEqual(b.slopes[0] * 1, 4)
        self.assertDrawn("a would get 4 instead of 36")

    def test_matches(self):
        """Dot products are as in the table of dot."""
        for y, product in (([2, -2], 4), ([-2, 2], -4), ([2, 2], 0)):
            found = dot(h.values([1, -1]), h.values(y)).data
            self.assertEqual(found, product)
            signs = "[{:2}, {:2}]".format(*y)
            self.assertIn(f"[1, -1] and {signs}", h.SOURCE)

    def test_ids(self):
        """The letters have the ids of the drawing."""
        tokenizer = Tokenizer(["abcdefghijklmnopqrstuvwxyz"])
        self.assertEqual(tokenizer.encode("abcvz"), [0, 1, 2, 21, 25])
        self.assertDrawn("id 0 1 2 ... 21 ... 25 26 27 tokens in all")
        self.assertEqual((tokenizer.BOS, tokenizer.vocab_size), (26, 27))

    def test_rmsnorm(self):
        """30 and 40 become 0.85 and 1.13, divided by 35.36."""
        scaled = two(h.data(rmsnorm(h.values([30.0, 40.0]))))
        self.assertDrawn(f"x / {math.sqrt(1250):.2f}", *scaled, "mean square: 1")
        self.assertEqual((30**2 + 40**2) / 2, 1250)

    def test_softmax(self):
        """Scores, exps and shares of softmax are as in its table."""
        exps = [math.exp(score) for score in (0, 2, 1)]
        self.assertDrawn("exp(score)", *two(exps), f"sum: {sum(exps):.2f}")
        probs = h.data(softmax(h.values([0.0, 2.0, 1.0])))
        self.assertDrawn(f"exp / {sum(exps):.2f}", *two(probs), "sum: 1")

    def test_attention(self):
        """The table of attention is what attend() computes."""
        query = h.values([2, 0, 1, 0])
        keys = [h.values(key) for key in ([0, 1, 0, 2], [1, 0, 2, 1], [1, 1, 0, 0])]
        values = [h.values(v) for v in ([1, 0, 0, 0], [0, 1, 0, -1], [0, 0, 1, 0])]
        matches = [dot(query, key) for key in keys]
        self.assertEqual(h.data(matches), [0, 4, 2])
        weights = two(h.data(softmax([match / 4**0.5 for match in matches])))
        self.assertDrawn("BOS 0 1 0 2 2*0 + 1*0 = 0 0", weights[0], "1 0 0 0")
        self.assertDrawn('"a" 1 0 2 1 2*1 + 1*2 = 4 2', weights[1], "0 1 0 -1")
        self.assertDrawn('"v" 1 1 0 0 2*1 + 1*0 = 2 1', weights[2], "0 0 1 0")
        result = two(h.data(attend(query, keys, values)))
        self.assertDrawn("sum of weight * value:", *result)

    def test_large_scores(self):
        """Scores of 20 and 0 have weights of nearly 1 and 0, and slopes of nearly 0."""
        scores = h.values([20.0, 0.0])
        weights = softmax(scores)
        weights[0].backward()
        self.assertClose(h.data(weights), [1, 0], places=8)
        self.assertLess(abs(scores[0].grad), 1e-8)

    def test_parameters(self):
        """The sums are those of the model's matrices."""
        model = GPT(27, 1, 16, 4, 16, random.Random(1))
        sizes = [len(matrix) * len(matrix[0]) for matrix in h.matrices(model)]
        self.assertDrawn("lm_head 27 * 16", "=", f"{sum(sizes[:3]):,}")
        self.assertDrawn("fc1, fc2: 2 * 64 * 16", "=", f"{sum(sizes[3:]):,}")
        self.assertDrawn(f"sum: {len(model.params):,}")

    def test_start(self):
        """Two thirds of the random parameters are within 0.08 of 0."""
        params = GPT(27, 1, 16, 4, 16, random.Random(42)).params
        share = sum(abs(p.data) < 0.08 for p in params) / len(params)
        self.assertAlmostEqual(share, 2 / 3, delta=0.03)
        self.assertDrawn("(two thirds are within 0.08 of 0)")

    def test_why_the_first_norm(self):
        """In a new model the embedding is about 0.1, what the block adds about 0.15."""
        model = GPT(27, 1, 16, 4, 16, random.Random(42))
        embedded, added, keys, values = [], [], [], []
        for position in range(16):
            x = add(model.wte[position + 5], model.wpe[position])
            embedded.append(size(x))
            start = rmsnorm(x)
            x = apply_block(start, model.blocks[0], keys, values, 4)
            added.append(size([after - before for after, before in zip(x, start)]))
        self.assertAlmostEqual(sum(embedded) / 16, 0.1, delta=0.02)
        self.assertAlmostEqual(sum(added) / 16, 0.15, delta=0.02)

    def test_residual(self):
        """Ten slopes of 0.1 multiply to what is drawn, with 1 added and without."""
        self.assertDrawn("with f(x) alone 0.1 ** 10 =", f"{0.1**10:.10f}")
        self.assertDrawn("with x + f(x) 1.1 ** 10 =", f"{1.1**10:.2f}")

    def test_losses(self):
        """The table of the loss is -log(p)."""
        losses = [f"{abs(math.log(p)):.2f}" for p in (0.5, 1 / 27, 0.01)]
        self.assertDrawn("-log(p) 0", *losses)
        self.assertDrawn(f"exp(2.35) = {math.exp(2.347):.1f}")

    @h.needs_shipped
    def test_pairs(self):
        """Counted pairs of letters have the loss that the ladder says."""
        documents = read_documents(str(h.ROOT / "input.txt"))
        random.Random(microgpt.seed).shuffle(documents)
        training, held_out = documents[:-300], documents[-300:]
        counts = dict.fromkeys("^abcdefghijklmnopqrstuvwxyz", 27)  # plus one for each
        pairs = {}
        for name in training:
            for pair in zip("^" + name, name + "$"):
                counts[pair[0]] += 1
                pairs[pair] = pairs.get(pair, 1) + 1
        losses = []
        for name in held_out:
            found = zip("^" + name, name + "$")
            logs = [math.log(pairs.get(pair, 1) / counts[pair[0]]) for pair in found]
            losses.append(-sum(logs) / len(logs))
        loss = sum(losses) / len(losses)
        number = f"{len(training):,}"
        self.assertDrawn(
            f"{loss:.2f} counting how often one letter follows another, in {number}"
        )
        self.assertTrue({"mary", "mark"} <= set(documents))

    def test_adam(self):
        """Each row of Adam's table is what its two averages come to."""
        self.assertDrawn("5, 5, 5, ...", *averages([5] * 1000), "they agree")
        self.assertDrawn("0.1, 0.1, 0.1, ...", *averages([0.1] * 1000), "small")
        self.assertDrawn(
            "-5, 5, -5, 5, ...", *averages([-5, 5] * 500), "they nearly cancel"
        )
        self.assertDrawn("then ten 0s", *averages([5] * 1000 + [0] * 10), "it coasts")
        self.assertDrawn(f"0.15 * 0.85 + 0.15 = {0.15 * 0.85 + 0.15:.4f}")
        self.assertAlmostEqual(0.15 * 0.85 + 0.15, 1 - 0.85**2)

    def test_temperature(self):
        """The table of temperatures is softmax of the divided scores."""
        for temperature, word in ((0.5, "careful"), (1, "as trained"), (2, "daring")):
            probs = softmax([Value(2.0) / temperature, Value(0.0) / temperature])
            shown = ", ".join(two(h.data(probs)))
            scores = f"{2 / temperature:g}, 0"
            self.assertDrawn(temperature, scores, shown, word)

    @h.needs_shipped
    def test_longest(self):
        """The longest name is one letter shorter than block_size, and fits with BOS."""
        names = read_documents(str(h.ROOT / "input.txt"))
        self.assertEqual(max(map(len, names)), microgpt.block_size - 1)
        self.assertDrawn(f"{len(names):,} first names")


def averages(gradients):
    """Return m, sqrt(v), and their ratio, after these gradients, as text."""
    m = v = 0.0
    for gradient in gradients:
        m = 0.85 * m + 0.15 * gradient
        v = 0.99 * v + 0.01 * gradient**2
    return two([m, math.sqrt(v), m / math.sqrt(v)])


@h.needs_shipped
class Opening(h.TestCase):
    def test_excerpt(self):
        """The part of a run that is shown at the top is true, but for the seconds."""
        lines = {" ".join(line.split()) for line in h.default_run().out.splitlines()}
        shown = h.SOURCE.split("$ python microgpt.py\n")[1].split("\n\n")[0]
        for line in shown.replace("...", "").split("\n"):
            if not line.strip():
                continue
            known = [" ".join(line.split()).split("#")[0], line.split()[-1]]
            found = any(out.startswith(known[0]) and known[1] in out for out in lines)
            self.assertTrue(found, line)

    def test_no_copies(self):
        """None of the 20 invented names is among those that the model trained on."""
        run = h.default_run()
        names = {name.rstrip("*") for name in h.invented(run.out, 16)}
        self.assertFalse(names & set(run.training[:1000]))
