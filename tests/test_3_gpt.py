"""Section 3 of microgpt.py: the layers, attention, the parameters, and the model."""

import itertools
import math
import random
from statistics import median
from unittest import mock

import microgpt
from microgpt import GPT, Tokenizer, document_loss, linear, mean_loss, rmsnorm, softmax
from tests import by_hand
from tests import helpers as h

UNIT = [[float(i == j) for j in range(4)] for i in range(4)]  # changes no vector


def flat(rows):
    return list(itertools.chain.from_iterable(rows))


def matrix(rows):
    return [h.values(row) for row in rows]


class Layers(h.TestCase):
    def test_softmax(self):
        """softmax gives e ** score over the sum of all of them."""
        exps = [math.exp(score) for score in (1.0, 3.0, -2.0)]
        probs = h.data(softmax(h.values([1.0, 3.0, -2.0])))
        self.assertClose(probs, [e / sum(exps) for e in exps])

    def test_softmax_survives_1000(self):
        """Scores whose exp is too large for a float, or all too small, do no harm."""
        self.assertEqual(h.data(softmax(h.values([1000, 0]))), [1, 0])
        self.assertEqual(h.data(softmax(h.values([-1000, -1000]))), [0.5, 0.5])

    def test_softmax_slopes(self):
        """softmax has the slopes that are measured, though it subtracts a number."""

        def mixed(*scores):
            return microgpt.dot(softmax(scores), h.values([1, -2, 5]))

        self.assertSlopes(mixed, [0.5, -1.0, 2.0])

    def test_rmsnorm(self):
        """After rmsnorm the mean square is 1, and the direction is as it was."""
        x = [3.0, -400.0, 0.5, 20.0]
        y = h.data(rmsnorm(h.values(x)))
        self.assertAlmostEqual(sum(a * a for a in y) / 4, 1, places=8)
        self.assertClose([a / y[0] for a in y], [a / x[0] for a in x])

    def test_rmsnorm_of_next_to_nothing(self):
        """The 1e-5 spares rmsnorm a division by 0, and keeps tiny vectors small."""
        self.assertEqual(h.data(rmsnorm(h.values([0.0, 0.0]))), [0, 0])
        small = h.data(rmsnorm(h.values([0.002, 0.0])))
        self.assertClose(small, [0.002 / math.sqrt(0.002**2 / 2 + 1e-5), 0])

    def test_rmsnorm_slopes(self):
        """rmsnorm has the slopes that are measured, also through the divisor."""

        def mixed(*x):
            return microgpt.dot(rmsnorm([*x]), h.values([1, -2, 5]))

        self.assertSlopes(mixed, [0.5, -1.0, 2.0])


class Attention(h.TestCase):
    """One layer of attention, whose wo hands on what the heads gather, side by side."""

    def setUp(self):
        super().setUp()
        self.block = h.tiny(n_layer=1)[0].blocks[0]
        self.block["wo"] = matrix(UNIT)
        self.xs = [[1.0, -1.0, 0.5, 2.0], [0.25, 1, -2, 0.5], [-1.0, 2.0, 1, -0.5]]

    def attend(self, xs, n_head=2):
        keys, values = [], []
        args = (self.block, keys, values, n_head)
        return [h.data(microgpt.attention(h.values(x), *args)) for x in xs]

    def test_first_token(self):
        """At position 0 a token finds only itself, so it gets its own value."""
        value = h.data(linear(h.values(self.xs[0]), self.block["wv"]))
        self.assertEqual(self.attend(self.xs[:1]), [value])

    def test_a_token_finds_itself(self):
        """A token finds itself, too: if its key matches best, it gets its own value."""
        for name in ("wq", "wk", "wv"):
            self.block[name] = matrix(UNIT)
        loud = [[100.0, 0, 100, 0], [0, 100.0, 0, 100]]
        self.assertEqual(self.attend(loud), loud)

    def test_average(self):
        """If all keys match alike, a token gets the mean of the values so far."""
        self.block["wk"] = matrix([[0.0] * 4] * 4)
        values = [h.data(linear(h.values(x), self.block["wv"])) for x in self.xs]
        for t, gathered in enumerate(self.attend(self.xs), start=1):
            self.assertClose(gathered, [sum(column) / t for column in zip(*values[:t])])

    def test_scores_are_divided(self):
        """A match is divided by the root of head_dim before softmax."""
        for name in ("wq", "wk", "wv"):
            self.block[name] = matrix(UNIT)
        for n_head, head_dim in ((1, 4), (2, 2)):
            second = self.attend([[1.0, 0, 0, 0], [0, 2.0, 0, 0]], n_head)[1]
            odds = math.exp(2 * 2 / math.sqrt(head_dim))  # its own key to the first's
            self.assertAlmostEqual(second[0], 1 / (1 + odds))

    def test_heads_are_independent(self):
        """Each head has its own part: a query that changes matters in its head only."""
        before = self.attend(self.xs)[2]
        self.block["wq"][0][0].data += 3  # makes number 0 of the query, in head 0
        after = self.attend(self.xs)[2]
        self.assertNotEqual(before[:2], after[:2])
        self.assertEqual(before[2:], after[2:])

    def test_heads_are_mixed(self):
        """wo is applied last, to what the heads have gathered."""
        gathered = self.attend(self.xs)
        self.block["wo"] = matrix([[0, 0, 0, 2], [0] * 4, [0] * 4, [3, 0, 0, 0]])
        mixed = [[2 * x[3], 0, 0, 3 * x[0]] for x in gathered]
        self.assertEqual(self.attend(self.xs), mixed)

    def test_cache(self):
        """A token adds one key and one value to the cache; those before it stay put."""
        keys, values = [], []
        for n, x in enumerate(self.xs, start=1):
            before = keys[:], values[:]
            microgpt.attention(h.values(x), self.block, keys, values, 2)
            self.assertEqual((keys[:-1], values[:-1]), before)
            self.assertEqual((len(keys), len(values)), (n, n))


class Parameters(h.TestCase):
    def test_count(self):
        """There are n_embd (2 vocab + block) + 12 n_layer n_embd**2, for any n_head."""
        for n_head, n_layer, n_embd in ((4, 1, 16), (1, 1, 16), (2, 3, 8)):
            model = GPT(27, n_layer, n_embd, n_head, 5, random.Random(1))
            count = n_embd * (2 * 27 + 5) + 12 * n_layer * n_embd**2
            self.assertEqual(len(model.params), count)
        self.assertEqual(16 * (2 * 27 + 16) + 12 * 1 * 16**2, 4192)

    def test_drawn_in_order(self):
        """gauss(0, 0.08) draws wte wpe lm_head, then wq wk wv wo fc1 fc2, by rows."""
        model, rng = GPT(4, 2, 4, 2, 6, random.Random(1)), random.Random(1)
        names = ["wq", "wk", "wv", "wo", "fc1", "fc2"]
        in_order = [model.wte, model.wpe, model.lm_head]
        in_order += [block[name] for block in model.blocks for name in names]
        for rows in in_order:
            for row in rows:
                self.assertEqual(h.data(row), [rng.gauss(0, 0.08) for _ in row])

    def test_heads_must_fit(self):
        """A width that is no multiple of n_head is refused, and both are told."""
        for n_embd, n_head in ((6, 4), (4, 8)):
            with self.assertRaisesRegex(AssertionError, rf"\b{n_head}\b.*\b{n_embd}\b"):
                GPT(5, 1, n_embd, n_head, 6, random.Random(1))


class Model(h.TestCase):
    def setUp(self):
        super().setUp()
        self.model, self.tokenizer = h.tiny()

    def test_every_slope(self):
        """Every parameter has the slope that is measured; in no matrix all are 0."""
        model, tokenizer = h.tiny("ab", n_embd=2)
        document_loss(model, tokenizer, "abb").backward()

        def loss():
            return mean_loss(model, tokenizer, ["abb"])

        for rows in h.matrices(model):
            for p in flat(rows):
                slope = h.measured_slope(p, loss)
                self.assertAlmostEqual(p.grad, slope, delta=1e-7 * max(1, abs(slope)))
            self.assertGreater(max(map(abs, h.grads(flat(rows)))), 1e-3)

    def test_the_papers_way(self):
        """Token by token with a cache gives what all at once with a mask gives."""
        model = h.tiny(n_layer=3)[0]
        tokens = [3, 0, 2, 2, 1, 0]
        all_at_once, _ = by_hand.forward(h.floats(model), tokens, model.n_head)
        for here, there in zip(h.read(model, tokens), all_at_once):
            self.assertClose(here, there)

    def test_no_token_sees_the_future(self):
        """A token changes its own guess and all later ones, but no earlier one."""
        tokens = [3, 0, 1, 2, 0]
        before = h.read(self.model, tokens)
        for i in range(5):
            changed = tokens[:i] + [(tokens[i] + 1) % 4] + tokens[i + 1 :]
            same = [a == b for a, b in zip(before, h.read(self.model, changed))]
            self.assertEqual(same, [True] * i + [False] * (5 - i))

    def test_every_text_begins_anew(self):
        """Nothing of a text is left in the model when the next one begins."""
        first = h.read(self.model, [3, 0, 1])
        h.read(self.model, [2, 2, 2, 2])
        self.assertEqual(h.read(self.model, [3, 0, 1]), first)

    def test_a_cache_for_each_block(self):
        """The cache has keys and values for each block, and no list twice."""
        lists = [id(part) for pair in h.tiny(n_layer=3)[0].new_cache() for part in pair]
        self.assertEqual(len(set(lists)), 6)

    def test_order_without_positions(self):
        """Without positions one block cannot tell "abc" from "bac", but two can."""
        for n_layer, tells in ((1, False), (2, True)):
            model = h.tiny(n_layer=n_layer)[0]
            for p in flat(model.wpe):
                p.data = 0.0
            one, other = h.read(model, [3, 0, 1, 2])[3], h.read(model, [3, 1, 0, 2])[3]
            difference = max(abs(a - b) for a, b in zip(one, other))
            self.assertEqual(difference > 1e-9, tells)

    def test_residual(self):
        """Blocks that have nothing to add hand x on as it was."""
        for block in self.model.blocks:
            for p in flat(block["wo"] + block["fc2"]):
                p.data = 0.0
        x = microgpt.embed(3, 0, self.model.wte, self.model.wpe)
        untouched = h.data(linear(x, self.model.lm_head))
        self.assertEqual(h.read(self.model, [3])[0], untouched)

    def test_gradients_flow_through_the_cache(self):
        """Gradients reach earlier tokens through the keys and values they left."""
        cache = self.model.new_cache()
        for position, token in enumerate([0, 1, 2]):
            logits = self.model.forward(token, position, cache)
        logits[0].backward()
        self.assertGreater(max(map(abs, h.grads(self.model.wte[0]))), 1e-3)

    def test_gradients_do_not_fade(self):
        """The gradient passes 8 blocks; with f(x) for x + f(x) it all but fades."""

        def arriving(seed):
            model = GPT(4, 8, 4, 2, 6, random.Random(seed))
            document_loss(model, Tokenizer(["abc"]), "ab").backward()
            return max(map(abs, h.grads(flat(model.wpe))))

        with_x = median(map(arriving, range(9)))
        with mock.patch.object(microgpt, "add", lambda x, y: y):
            without_x = median(map(arriving, range(9)))
        self.assertGreater(with_x, 100 * without_x)

    def test_48_blocks(self):
        """48 blocks, as many as the largest GPT-2 has, need no recursion."""
        model, tokenizer = h.tiny(n_layer=48)
        document_loss(model, tokenizer, "abc").backward()
        self.assertNotEqual(set(h.grads(model.wpe[0])), {0.0})
