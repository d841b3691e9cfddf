"""Section 3 of microgpt.py, and the loss: the parameters, the layers, the model made of
them."""
import math
import random
import statistics
import unittest

import microgpt
from microgpt import (GPT, Tokenizer, Value, add, attention, document_loss, dot, linear,
                      mean_loss,
                      mlp, random_matrix, rmsnorm, softmax, tape)
from tests.by_hand import loss_and_grads
from tests.helpers import Fixed, check_gradients, data, matrices, read, tiny, values


def floats(rows):
    return [data(row) for row in rows]


def masked(model, tokens):
    """The same model as the papers write it: all tokens at once, a mask, floats, no
    cache."""
    def product(xs, w):
        return [[sum(a * b for a, b in zip(x, row)) for row in floats(w)] for x in xs]

    def norm(xs):
        return [[a / math.sqrt(sum(b * b for b in x) / len(x) + 1e-5)
                 for a in x] for x in xs]

    def add(xs, ys):
        return [[a + b for a, b in zip(x, y)] for x, y in zip(xs, ys)]

    n, size = len(tokens), len(model.wte[0]) // model.n_head
    xs = norm(add([data(model.wte[t]) for t in tokens], floats(model.wpe)))
    for block in model.blocks:
        q, k, v = (product(norm(xs), block[w]) for w in ("wq", "wk", "wv"))
        out = [[] for _ in tokens]
        for h in range(0, size * model.n_head, size):
            for t in range(n):
                scores = [sum(q[t][h + i] * k[s][h + i]
                              for i in range(size)) / size ** 0.5
                          if s <= t else -math.inf for s in range(n)]  # the mask
                parts = [math.exp(score) for score in scores]
                out[t] += [sum(parts[s] * v[s][h + i] for s in range(n)) / sum(parts)
                           for i in range(size)]
        xs = add(xs, product(out, block["wo"]))
        hidden = [[max(a, 0) for a in x] for x in product(norm(xs), block["fc1"])]
        xs = add(xs, product(hidden, block["fc2"]))
    return product(xs, model.lm_head)


class Layers(unittest.TestCase):
    def assertClose(self, xs, ys, places=9):
        self.assertEqual(len(xs), len(ys))
        for x, y in zip(xs, ys):
            self.assertAlmostEqual(x, y, places=places)

    def test_linear(self):
        """linear is the matrix times the vector: one dot for each row."""
        w = [values(row) for row in ([1, 2], [3, 4], [5, 6])]
        self.assertEqual(data(linear(values([10, 1]), w)), [12, 34, 56])

    def test_matches(self):
        """A dot product is large where the signs agree: the three examples of the
        comment."""
        row = values([1, -1])
        self.assertEqual([dot(row, values(x)).data for x in ([2, -2], [-2, 2], [2, 2])],
                         [4, -4, 0])

    def test_add(self):
        """add sums two vectors number by number."""
        self.assertEqual(data(add(values([1, 2]), values([10, 20]))), [11, 22])

    def test_two_linear_steps_are_one(self):
        """Without ReLU two linear steps do what one does, with the product of the
        matrices."""
        first, second = [values(row) for row in ([1, 2], [3, 4])], [values([5, -6])]
        product = [values([5 * 1 - 6 * 3, 5 * 2 - 6 * 4])]
        x = values([0.5, -7])
        self.assertEqual(
            data(
                linear(
                    linear(
                        x, first), second)), data(
                    linear(
                        x, product)))

    def test_mlp(self):
        """The MLP is linear, ReLU, linear: a row that does not match adds nothing."""
        block = dict(fc1=[values(row)
                     for row in ([1, 0], [0, 1])], fc2=[values([10, 100])])
        self.assertEqual(data(mlp(values([2, -3]), block)), [20])
        self.assertEqual(data(mlp(values([2, 3]), block)), [320])

    def test_linear_gradients(self):
        """linear hands the right gradients to the vector and to the matrix."""
        check_gradients(self, lambda *v: sum(
            y * y for y in linear(list(v[:2]), [list(v[2:4]), list(v[4:6])])),
                        [0.5, -2.0, 1.0, 3.0, -0.25, 0.75])

    def test_softmax_formula(self):
        """softmax gives e^score over the sum of all of them."""
        parts = [math.exp(score) for score in (1.0, 3.0, -2.0)]
        self.assertClose(
            data(softmax(values([1.0, 3.0, -2.0]))), [p / sum(parts) for p in parts])

    def test_softmax_sums_to_1(self):
        """The shares that softmax gives are positive and sum to 1."""
        for scores in ([0.0], [1.0, 2.0, 3.0], [-5.0, 5.0], [0.1] * 27):
            shares = data(softmax(values(scores)))
            self.assertAlmostEqual(sum(shares), 1, places=12)
            self.assertGreater(min(shares), 0)

    def test_softmax_ignores_a_shift(self):
        """Adding the same number to all scores changes no share: only differences
        count."""
        self.assertClose(data(softmax(values([1.0, 2.5]))), data(
            softmax(values([-6.0, -4.5]))))

    def test_softmax_ratio(self):
        """One point more makes a probability e = 2.72 times as large."""
        low, high = data(softmax(values([-3.0, -2.0])))
        self.assertAlmostEqual(high / low, math.e)

    def test_softmax_survives_1000(self):
        """Scores whose e^score is too large for a float, or all too small, are no
        trouble."""
        self.assertEqual(data(softmax(values([1000.0, 0.0]))), [1, 0])
        self.assertEqual(data(softmax(values([-1000.0, -1000.0]))), [0.5, 0.5])

    def test_softmax_gradients(self):
        """softmax's gradients are right, though the top score is subtracted as a bare
        number."""
        check_gradients(self, lambda *s: sum(
            p * w for p, w in zip(softmax(s), (1.0, -2.0, 5.0))),
                        [0.5, -1.0, 2.0])

    def test_rmsnorm(self):
        """After rmsnorm the mean square is 1, and the direction is as it was."""
        x = [3.0, -400.0, 0.5, 20.0]
        y = data(rmsnorm(values(x)))
        self.assertAlmostEqual(sum(a * a for a in y) / 4, 1, places=8)
        self.assertClose([a / y[0] for a in y], [a / x[0] for a in x])

    def test_rmsnorm_of_nothing(self):
        """The 1e-5 spares rmsnorm a division by 0, and dampens what is next to nothing.
        """
        self.assertEqual(data(rmsnorm(values([0.0, 0.0]))), [0, 0])
        self.assertClose(data(rmsnorm(values([0.002, 0.0]))), [
                         0.002 / math.sqrt(1.2e-5), 0])

    def test_rmsnorm_gradients(self):
        """rmsnorm's gradients are right, also through the divisor."""
        check_gradients(self, lambda *x: sum(
            y * w for y, w in zip(rmsnorm([*x]), (1.0, -2.0, 5.0))), [0.5, -1.0, 2.0])


class Attention(unittest.TestCase):
    def setUp(self):
        self.block = tiny(n_layer=1)[0].blocks[0]
        self.xs = [[1.0, -1.0, 0.5, 2.0],
                   [0.25, 1.0, -2.0, 0.5], [-1.0, 2.0, 1.0, -0.5]]
        self.block["wo"] = self.identity()  # the heads side by side, not combined

    def identity(self):
        return [values(float(i == j) for j in range(4)) for i in range(4)]

    def attend(self, xs, n_head=2):
        memory = {"keys": [], "values": []}
        return [data(attention(values(x), self.block, memory, n_head)) for x in xs]

    def test_first_token(self):
        """At position 0 there is only the token itself: its weight is 1, it gets its
        own value."""
        own = data(linear(values(self.xs[0]), self.block["wv"]))
        self.assertEqual(self.attend(self.xs[:1]), [own])

    def test_a_token_finds_itself(self):
        """Token t attends to itself, too: with a key that fits best it gets its own
        value."""
        loud = [[100 * a for a in x] for x in ([1, 0, 1, 0], [0, 1, 0, 1])]
        for w in ("wq", "wk", "wv"):
            self.block[w] = self.identity()
        self.assertEqual(self.attend(loud)[1], loud[1])

    def test_average(self):
        """Where all keys fit alike, each token gets the mean of the values up to its
        own."""
        self.block["wk"] = [values([0.0] * 4)] * 4
        got = [data(linear(values(x), self.block["wv"])) for x in self.xs]
        for i in range(4):
            self.assertAlmostEqual(
                self.attend(
                    self.xs)[2][i], sum(
                    v[i] for v in got) / 3)

    def test_heads_are_independent(self):
        """A head reads and writes its own slice: another query for head 0 leaves head 1
        alone."""
        before = self.attend(self.xs)
        # row 0 makes number 0 of the query, in head 0's slice
        self.block["wq"][0][0].data += 3
        after = self.attend(self.xs)
        self.assertNotEqual(before[2][:2], after[2][:2])
        self.assertEqual(before[2][2:], after[2][2:])

    def test_heads_side_by_side(self):
        """Two heads of two numbers do not do what one head of four does."""
        self.assertNotEqual(
            self.attend(
                self.xs, n_head=2), self.attend(
                self.xs, n_head=1))

    def test_scores_are_divided(self):
        """Scores are divided by the root of head_dim, so that long heads are no louder.
        """
        for w in ("wq", "wk", "wv"):
            self.block[w] = self.identity()
        second = self.attend([[1.0, 0, 0, 0], [0, 2.0, 0, 0]], n_head=1)[1]
        # its own score is 2 * 2, the first's is 0
        odds = math.exp(2.0 * 2.0 / math.sqrt(4))
        self.assertAlmostEqual(second[0], 1 / (1 + odds))

    def test_memory_grows(self):
        """Each token adds one key and one value: what later tokens find is computed
        once."""
        memory = {"keys": [], "values": []}
        for n, x in enumerate(self.xs, start=1):
            attention(values(x), self.block, memory, 2)
            self.assertEqual([len(memory["keys"]), len(memory["values"])], [n, n])

    def test_weighted_values(self):
        """The comment's example: 0.1, 0.7 and 0.2 of the values of BOS, a and v."""
        weights, column = values([0.1, 0.7, 0.2]), values([10.0, 20.0, 40.0])
        self.assertAlmostEqual(dot(weights, column).data,
                               0.1 * 10 + 0.7 * 20 + 0.2 * 40)

    def test_coin_tosses(self):
        """A sum of n products of either sign, or the lead in n tosses, is about the
        root of n."""
        rng = random.Random(1)
        for n, lead in ((4, 2), (100, 10)):
            leads = [sum(rng.choice((-1, 1)) for _ in range(n)) for _ in range(2000)]
            self.assertAlmostEqual(statistics.pstdev(leads) / lead, 1, delta=0.1)
        for n in (4, 16, 64):
            sums = [sum(rng.gauss(0, 1) * rng.gauss(0, 1)
                        for _ in range(n)) for _ in range(2000)]
            self.assertAlmostEqual(statistics.pstdev(sums) / math.sqrt(n), 1, delta=0.1)

    def test_large_scores_teach_nothing(self):
        """Where the scores are far apart, softmax has next to no slope."""
        for gap, slope in ((1.0, 0.19), (40.0, 0.0)):
            near, far = values([gap, 0.0])
            softmax([near, far])[0].backward()
            self.assertAlmostEqual(far.grad, -slope, delta=0.01)

    def test_heads_are_mixed(self):
        """wo comes last: without it attention gives 0."""
        self.block["wo"] = [values([0.0] * 4)] * 4
        self.assertEqual(self.attend(self.xs), [[0] * 4] * 3)


class Parameters(unittest.TestCase):
    def test_count(self):
        """There are n_embd (2 vocab + block) + 12 n_layer n_embd^2 parameters."""
        for vocab, layers, embd, block in (
                (27, 1, 16, 16), (4, 2, 4, 6), (10, 3, 8, 5)):
            model = GPT(vocab, layers, embd, 2, block, random.Random(1))
            count = embd * (2 * vocab + block) + 12 * layers * embd ** 2
            self.assertEqual(len(model.params), count)

    def test_sum_in_the_comment(self):
        """The sum that gives 4,192 parameters."""
        self.assertEqual(len(GPT(27, 1, 16, 4, 16, random.Random(1)).params), 4192)
        self.assertEqual(27 * 16 + 16 * 16 + 27 * 16 + 4 * 16 * 16 + 2 * 64 * 16, 4192)

    def test_order(self):
        """They are drawn row by row: wte, wpe, lm_head, then each block's wq wk wv wo
        fc1 fc2."""
        model, rng = GPT(4, 2, 4, 2, 6, random.Random(1)), random.Random(1)
        blocks = [
            b[w] for b in model.blocks for w in (
                "wq",
                "wk",
                "wv",
                "wo",
                "fc1",
                "fc2")]
        for w in [model.wte, model.wpe, model.lm_head] + blocks:
            self.assertEqual(floats(w), [[rng.gauss(0, 0.08)
                             for _ in row] for row in w])

    def test_most_are_small(self):
        """Most of the random parameters, 98 of 100, are between -0.2 and 0.2."""
        drawn = [abs(p.data) for p in random_matrix(1, 5000, random.Random(1))[0]]
        self.assertAlmostEqual(sum(p < 0.2 for p in drawn) / 5000, 0.988, delta=0.005)

    def test_equal_stay_equal(self):
        """Rows of fc1 that start equal, and are used alike, get equal gradients."""
        model, tokenizer = tiny(n_layer=1)
        fc1, fc2 = model.blocks[0]["fc1"], model.blocks[0]["fc2"]
        for i, p in enumerate(fc1[1]):
            p.data = fc1[0][i].data
        for row in fc2:
            row[1].data = row[0].data
        document_loss(model, tokenizer, "abc").backward()
        self.assertEqual([p.grad for p in fc1[0]], [p.grad for p in fc1[1]])
        self.assertGreater(max(abs(p.grad) for p in fc1[0]), 0)

    def test_params_are_all(self):
        """params holds every number of the matrices, not a copy of it, each once."""
        model = tiny()[0]
        inside = [id(p) for w in matrices(model) for row in w for p in row]
        self.assertEqual(inside, [id(p) for p in model.params])
        self.assertEqual(len(set(inside)), len(inside))  # lm_head is not wte again

    def test_shapes(self):
        """wte is [27][16]; the MLP widens 16 numbers to 64 and comes back."""
        model = GPT(27, 1, 16, 4, 8, random.Random(1))
        first = model.wte, model.wpe, model.lm_head
        self.assertEqual([(len(w), len(w[0])) for w in first],
                         [(27, 16), (8, 16), (27, 16)])
        shapes = {name: (len(w), len(w[0])) for name, w in model.blocks[0].items()}
        self.assertEqual(shapes, dict(wq=(16, 16), wk=(16, 16), wv=(16, 16),
                                      wo=(16, 16),
                                      fc1=(64, 16), fc2=(16, 64)))

    def test_refused(self):
        """Sizes that cannot work are refused by a sentence with all four of them."""
        for sizes in ((0, 4, 2, 6), (1, 0, 1, 6), (1, 4, 0, 6), (1, 4, 2, 0),
                      (1, 4, -2, 6),
                      (1, 6, 4, 6), (1, 4, 8, 6)):
            said = "n_layer {}, n_embd {}, n_head {}, block_size {}: ".format(*sizes)
            with self.subTest(said), self.assertRaisesRegex(ValueError, said):
                GPT(5, *sizes, random.Random(1))

    def test_smallest(self):
        """Sizes of 1 work."""
        model = GPT(2, 1, 1, 1, 1, random.Random(1))
        self.assertEqual(len(read(model, [0])[0]), 2)


class Model(unittest.TestCase):
    def test_gradients(self):
        """Every parameter of a GPT of two blocks and two heads has the gradient
        measured there."""
        model, tokenizer = tiny("ab")
        document_loss(model, tokenizer, "abb").backward()
        h = 1e-5
        for p in model.params:
            here, p.data = p.data, p.data + h
            up, p.data = mean_loss(model, tokenizer, ["abb"]), p.data - 2 * h
            down, p.data = mean_loss(model, tokenizer, ["abb"]), here
            tolerance = 1e-7 * max(1, abs(p.grad))
            self.assertAlmostEqual(p.grad, (up - down) / (2 * h), delta=tolerance)

    def test_gradients_are_there(self):
        """In every matrix some gradient is far from 0, so the check before this one
        says much."""
        model, tokenizer = tiny("ab")
        document_loss(model, tokenizer, "abb").backward()
        for w in matrices(model):
            self.assertGreater(max(abs(p.grad) for row in w for p in row), 1e-3)

    def test_the_papers_way(self):
        """Token by token with a cache gives what all at once with a mask gives."""
        model, tokens = tiny(n_layer=3, seed=5)[0], [3, 0, 2, 2, 1, 0]
        for here, there in zip(read(model, tokens), masked(model, tokens)):
            for a, b in zip(here, there):
                self.assertAlmostEqual(a, b, places=9)

    def test_no_later_token_matters(self):
        """No later token changes an earlier logit."""
        model = tiny()[0]
        for changed in range(1, 5):
            tokens = [3, 0, 1, 2, 0]
            tokens[changed] = (tokens[changed] + 1) % 3
            before, after = read(model, [3, 0, 1, 2, 0]), read(model, tokens)
            self.assertEqual(before[:changed], after[:changed])

    def test_each_earlier_token_matters(self):
        """Each token so far can change a logit, so all of the context is used."""
        model = tiny()[0]
        for changed in range(5):
            tokens = [3, 0, 1, 2, 0]
            tokens[changed] = (tokens[changed] + 1) % 4
            self.assertNotEqual(read(model, [3, 0, 1, 2, 0])[4], read(model, tokens)[4])

    def test_a_logit_for_each_token(self):
        """After every token come as many logits as there are tokens."""
        self.assertEqual([len(row) for row in read(tiny()[0], [3, 0, 1])], [4, 4, 4])

    def test_context_ends(self):
        """After block_size tokens there is no position for another one."""
        model = tiny(block_size=6)[0]
        self.assertEqual(len(read(model, [0] * 6)), 6)
        self.assertRaises(IndexError, read, model, [0] * 7)

    def test_every_cache_begins_anew(self):
        """Nothing of a text is left in the model when the next one begins."""
        model = tiny()[0]
        first = read(model, [3, 0, 1])
        read(model, [2, 2, 2, 2])
        self.assertEqual(read(model, [3, 0, 1]), first)

    def test_a_memory_for_each_block(self):
        """The blocks do not share a memory."""
        cache = tiny(n_layer=3)[0].new_cache()
        lists = [id(memory[name]) for memory in cache for name in ("keys", "values")]
        self.assertEqual(len(set(lists)), 6)

    def without_positions(self, n_layer):
        model = tiny(n_layer=n_layer)[0]
        for p in sum(model.wpe, []):
            p.data = 0.0
        return model

    def test_order_needs_positions(self):
        """Without positions one block guesses the same after "abc" and "bac", two do
        not."""
        for n_layer, same in ((1, True), (2, False)):
            model = self.without_positions(n_layer)
            one, other = read(model, [3, 0, 1, 2])[3], read(model, [3, 1, 0, 2])[3]
            self.assertEqual(max(abs(a - b) for a, b in zip(one, other)) < 1e-12, same)

    def test_positions_matter(self):
        """With positions, the order of the earlier tokens changes the guess of one
        block, too."""
        model = tiny(n_layer=1)[0]
        one, other = read(model, [3, 0, 1, 2])[3], read(model, [3, 1, 0, 2])[3]
        self.assertGreater(max(abs(a - b) for a, b in zip(one, other)), 0.01)

    def test_residual(self):
        """A block that has nothing to add hands x on as it was, normalized once."""
        model = tiny()[0]
        for block in model.blocks:
            for p in sum(block["wo"] + block["fc2"], []):
                p.data = 0.0
        x = rmsnorm([a + b for a, b in zip(model.wte[3], model.wpe[0])])
        self.assertEqual(read(model, [3])[0], data(linear(x, model.lm_head)))

    def test_small_at_first(self):
        """In a new model x is about 0.1 and a block adds no less; scaled, x is several
        times that."""
        def size(vectors):
            return statistics.mean(math.sqrt(dot(x, x).data / len(x)) for x in vectors)
        model, rng = GPT(27, 1, 16, 4, 16, random.Random(1)), random.Random(2)
        plain = [add(rng.choice(model.wte), rng.choice(model.wpe)) for _ in range(50)]
        block, normed = model.blocks[0], [rmsnorm(x) for x in plain]
        memory = {"keys": [], "values": []}
        added = [add(attention(x, block, memory, 4), mlp(x, block)) for x in normed]
        self.assertAlmostEqual(size(plain), 0.1, delta=0.02)
        self.assertGreater(size(added), size(plain))
        self.assertGreater(size(normed), 4 * size(added))

    def test_gradients_do_not_fade(self):
        """Through 8 blocks the gradient arrives at wte; without the residuals it fades
        to 0."""
        def arriving():
            model = GPT(4, 8, 8, 2, 6, random.Random(1))
            document_loss(model, Tokenizer(["abc"]), "abc").backward()
            return max(abs(p.grad) for row in model.wte for p in row)

        def last_only(x, y):  # x + f(x) without the x, but token + position as it is
            return y if calls.pop() else plain(x, y)
        plain, with_residuals = add, arriving()
        calls = ([True] * 16 + [False]) * 4  # popped from the end: a sum, then 8 blocks
        microgpt.add = last_only
        self.addCleanup(setattr, microgpt, "add", plain)
        self.assertLess(arriving(), with_residuals / 1e5)

    def test_gradients_flow_through_the_cache(self):
        """Keys and values stay live: only through them does a later loss reach an
        earlier token."""
        model = tiny()[0]
        cache = model.new_cache()
        for position, token in enumerate([0, 1, 2]):
            logits = model.forward(token, position, cache)
        logits[0].backward()
        self.assertGreater(max(abs(p.grad) for p in model.wte[0]), 1e-3)


class Loss(unittest.TestCase):
    def test_by_hand(self):
        """Gradients derived by hand, without autograd, are those of backward(), all of
        them."""
        model, tokenizer = tiny()
        loss = document_loss(model, tokenizer, "abcab")
        loss.backward()
        own, grads = loss_and_grads(list(map(floats, matrices(model))), [
                                    3, 0, 1, 2, 0, 1, 3], 2)
        self.assertAlmostEqual(own, loss.data, places=12)
        flat = [g for matrix in grads for row in matrix for g in row]
        for p, grad in zip(model.params, flat):
            self.assertAlmostEqual(p.grad, grad, delta=1e-10 * max(1, abs(grad)))
        self.assertEqual(len(flat), len(model.params))

    def test_untrained(self):
        """Before training the loss is near log(vocab_size): nothing is known, all is
        guessed."""
        for chars in ("abcdefghijklmnopqrstuvwxyz", "abcd"):
            tokenizer, rng = Tokenizer([chars]), random.Random(4)
            model = GPT(tokenizer.vocab_size, 1, 16, 4, 16, random.Random(3))
            texts = ["".join(rng.choices(chars, k=6)) for _ in range(20)]
            self.assertAlmostEqual(mean_loss(model, tokenizer, texts),
                                   math.log(len(chars) + 1), delta=0.15)

    def test_examples(self):
        """-log p of 1, 0.5 and 0.01 is 0, 0.69 and 4.61; log 27 is 3.296 and exp undoes
        it."""
        self.assertEqual([round(-Value(p).log().data, 2) for p in (1, 0.5, 0.01)],
                         [0, 0.69, 4.61])
        self.assertEqual(round(math.log(27), 3), 3.296)
        self.assertAlmostEqual(Value(27).log().exp().data, 27)

    def test_cross_entropy(self):
        """The loss is the mean of -log softmax at the right next token, BOS at the end
        included."""
        rows = [[1.0, -2.0, 0.5], [0.25, 3.0, 1.0], [2.0, 2.0, -1.0]]
        targets = [0, 1, 2]  # a, b, BOS
        by_hand = [-math.log(data(softmax(values(r)))[t])
                   for r, t in zip(rows, targets)]
        model = Fixed(rows)
        loss = document_loss(model, Tokenizer(["ab"]), "ab")
        self.assertAlmostEqual(loss.data, sum(by_hand) / 3, places=12)
        self.assertEqual(model.tokens, [2, 0, 1])  # read: BOS, a, b

    def test_losses_add_up(self):
        """The losses of a name sum up to -log of its probability, the product of its
        tokens'."""
        rows = [[1.0, -2.0, 0.5], [0.25, 3.0, 1.0]]
        probs = [data(softmax(values(row))) for row in rows]
        loss = document_loss(Fixed(rows), Tokenizer(["ab"]), "a")
        self.assertAlmostEqual(2 * loss.data, -math.log(probs[0][0] * probs[1][2]))

    def test_guessing(self):
        """Equal logits cost log(vocab_size), whatever comes."""
        loss = document_loss(Fixed([[7.0] * 3] * 9), Tokenizer(["ab"]), "abba")
        self.assertAlmostEqual(loss.data, math.log(3))

    def test_slope(self):
        """The loss's slope for the logits is probs - onehot, over the number of
        guesses."""
        rows = [values([1.0, -2.0, 0.5]), values([0.25, 3.0, 1.0])]
        document_loss(Fixed(rows), Tokenizer(["ab"]), "a").backward()
        for row, target in zip(rows, (0, 2)):
            for i, prob in enumerate(data(softmax(values(data(row))))):
                self.assertAlmostEqual(row[i].grad, (prob - (i == target)) / 2)

    def test_long_document(self):
        """Of a long document the first block_size tokens are guessed, and BOS only if
        it fits."""
        model, tokenizer = tiny(block_size=4)
        losses = [document_loss(model, tokenizer, text).data
                  for text in ("abca", "abcab", "abcaccc", "abc")]
        self.assertEqual(losses[0], losses[1])
        self.assertEqual(losses[0], losses[2])
        self.assertNotEqual(losses[0], losses[3])

    def test_mean_loss(self):
        """mean_loss is the mean over documents, whatever their length."""
        model, tokenizer = tiny()
        losses = [document_loss(model, tokenizer, text).data for text in ("a", "bcab")]
        self.assertAlmostEqual(
            mean_loss(
                model, tokenizer, [
                    "a", "bcab"]), sum(losses) / 2)

    def test_looking_is_not_learning(self):
        """mean_loss gives a float, changes no gradient, and leaves the tape empty."""
        model, tokenizer = tiny()
        self.assertIs(type(mean_loss(model, tokenizer, ["ab", "ca"])), float)
        self.assertEqual({p.grad for p in model.params}, {0})
        self.assertEqual(tape, [])

    def test_gradients_add_up(self):
        """backward() adds to the gradients: after a second time they are twice as
        large."""
        model, tokenizer = tiny()
        document_loss(model, tokenizer, "ab").backward()
        once = [p.grad for p in model.params]
        document_loss(model, tokenizer, "ab").backward()
        for p, grad in zip(model.params, once):
            self.assertAlmostEqual(p.grad, 2 * grad, places=12)

    def test_two_documents_in_one_loss(self):
        """The losses of two documents can be added up before backward(): a batch."""
        model, tokenizer = tiny()
        (document_loss(model, tokenizer, "ab") +
         document_loss(model, tokenizer, "c")).backward()
        batch = [p.grad for p in model.params]
        for p in model.params:
            p.grad = 0.0
        document_loss(model, tokenizer, "ab").backward()
        document_loss(model, tokenizer, "c").backward()
        for p, grad in zip(model.params, batch):
            self.assertAlmostEqual(p.grad, grad, places=12)


if __name__ == "__main__":
    unittest.main()
