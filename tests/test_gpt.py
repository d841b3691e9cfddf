"""Section 3 of microgpt.py: the parameters, the layers, and the model made of them."""
import math
import random
import unittest

import microgpt
from microgpt import GPT, Value, attention, document_loss, linear, rmsnorm, softmax, tape
from tests.by_hand import loss_and_grads
from tests.helpers import Fixed, check_gradients, tiny


def values(numbers):
    return [Value(x) for x in numbers]


def data(vector):
    return [x.data for x in vector]


def floats(rows):
    return [data(row) for row in rows]


def logits(model, tokens):
    """Return the model's logits after each token, as floats."""
    return floats(model(tokens))


def masked(model, tokens):
    """The same model as the papers write it: all tokens at once, a mask, floats, no cache."""
    def product(xs, w):
        return [[sum(a * b for a, b in zip(x, row)) for row in floats(w)] for x in xs]

    def norm(xs):
        return [[a / math.sqrt(sum(b * b for b in x) / len(x) + 1e-5) for a in x] for x in xs]

    def add(xs, ys):
        return [[a + b for a, b in zip(x, y)] for x, y in zip(xs, ys)]

    n, size = len(tokens), len(model.wte[0]) // model.n_head
    xs = norm(add([data(model.wte[t]) for t in tokens], floats(model.wpe)))
    for block in model.blocks:
        q, k, v = (product(norm(xs), block[w]) for w in ("wq", "wk", "wv"))
        out = [[] for _ in tokens]
        for h in range(0, size * model.n_head, size):
            for t in range(n):
                scores = [sum(q[t][h + i] * k[s][h + i] for i in range(size)) / math.sqrt(size)
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

    def test_linear_gradients(self):
        """linear hands the right gradients to the vector and to the matrix."""
        check_gradients(self, lambda *v: sum(y * y for y in linear(v[:2], [v[2:4], v[4:6]])),
                        [0.5, -2.0, 1.0, 3.0, -0.25, 0.75])

    def test_softmax_formula(self):
        """softmax gives e^score over the sum of all of them."""
        parts = [math.exp(score) for score in (1.0, 3.0, -2.0)]
        self.assertClose(data(softmax(values([1.0, 3.0, -2.0]))), [p / sum(parts) for p in parts])

    def test_softmax_sums_to_1(self):
        """The shares that softmax gives are positive and sum to 1."""
        for scores in ([0.0], [1.0, 2.0, 3.0], [-5.0, 5.0], [0.1] * 27):
            shares = data(softmax(values(scores)))
            self.assertAlmostEqual(sum(shares), 1, places=12)
            self.assertGreater(min(shares), 0)

    def test_softmax_ignores_a_shift(self):
        """Adding the same number to all scores changes no share: only differences count."""
        self.assertClose(data(softmax(values([1.0, 2.5]))), data(softmax(values([-6.0, -4.5]))))

    def test_softmax_survives_1000(self):
        """Scores whose e^score is too large for a float, or all too small, are no trouble."""
        self.assertEqual(data(softmax(values([1000.0, 0.0]))), [1, 0])
        self.assertEqual(data(softmax(values([-1000.0, -1000.0]))), [0.5, 0.5])

    def test_softmax_gradients(self):
        """softmax's gradients are right, though the top score is subtracted as a bare number."""
        check_gradients(self, lambda *s: sum(p * w for p, w in zip(softmax(s), (1.0, -2.0, 5.0))),
                        [0.5, -1.0, 2.0])

    def test_rmsnorm(self):
        """After rmsnorm the mean square is 1, and the direction is as it was."""
        x = [3.0, -400.0, 0.5, 20.0]
        y = data(rmsnorm(values(x)))
        self.assertAlmostEqual(sum(a * a for a in y) / 4, 1, places=8)
        self.assertClose([a / y[0] for a in y], [a / x[0] for a in x])

    def test_rmsnorm_of_nothing(self):
        """The 1e-5 spares rmsnorm a division by 0, and dampens what is next to nothing."""
        self.assertEqual(data(rmsnorm(values([0.0, 0.0]))), [0, 0])
        self.assertClose(data(rmsnorm(values([0.002, 0.0]))), [0.002 / math.sqrt(1.2e-5), 0])

    def test_rmsnorm_gradients(self):
        """rmsnorm's gradients are right, also through the divisor."""
        check_gradients(self, lambda *x: sum(y * w for y, w in zip(rmsnorm(x), (1.0, -2.0, 5.0))),
                        [0.5, -1.0, 2.0])


class Attention(unittest.TestCase):
    def setUp(self):
        self.block = tiny(n_layer=1).blocks[0]
        self.xs = [[1.0, -1.0, 0.5, 2.0], [0.25, 1.0, -2.0, 0.5], [-1.0, 2.0, 1.0, -0.5]]
        identity = [values(float(i == j) for j in range(4)) for i in range(4)]
        self.block["wo"] = identity  # the heads side by side, unmixed

    def attend(self, xs, n_head=2):
        keys, seen = [], []
        return [data(attention(values(x), self.block, keys, seen, n_head)) for x in xs]

    def test_first_token(self):
        """At position 0 there is only the token itself: its weight is 1, it gets its own value."""
        own = data(linear(values(self.xs[0]), self.block["wv"]))
        self.assertEqual(self.attend(self.xs[:1]), [own])

    def test_a_token_finds_itself(self):
        """Token t attends to itself, too: with a key that fits best it gets its own value."""
        loud = [[100 * a for a in x] for x in ([1, 0, 1, 0], [0, 1, 0, 1])]
        for w in ("wq", "wk", "wv"):
            self.block[w] = [values(float(i == j) for j in range(4)) for i in range(4)]
        self.assertEqual(self.attend(loud)[1], loud[1])

    def test_average(self):
        """Where all keys fit alike, each token gets the mean of the values up to its own."""
        self.block["wk"] = [values([0.0] * 4)] * 4
        got = [data(linear(values(x), self.block["wv"])) for x in self.xs]
        for i in range(4):
            self.assertAlmostEqual(self.attend(self.xs)[2][i], sum(v[i] for v in got) / 3)

    def test_heads_are_independent(self):
        """A head reads and writes its own slice: another query for head 0 leaves head 1 alone."""
        before = self.attend(self.xs)
        self.block["wq"][0][0].data += 3  # row 0 makes number 0 of the query, in head 0's slice
        after = self.attend(self.xs)
        self.assertNotEqual(before[2][:2], after[2][:2])
        self.assertEqual(before[2][2:], after[2][2:])

    def test_heads_side_by_side(self):
        """Two heads of two numbers do not do what one head of four does."""
        self.assertNotEqual(self.attend(self.xs, n_head=2), self.attend(self.xs, n_head=1))

    def test_scores_are_divided(self):
        """Scores are divided by the root of head_dim, so that long heads are no louder."""
        for w in ("wq", "wk", "wv"):
            self.block[w] = [values(float(i == j) for j in range(4)) for i in range(4)]
        second = self.attend([[1.0, 0, 0, 0], [0, 2.0, 0, 0]], n_head=1)[1]
        odds = math.exp(2.0 * 2.0 / math.sqrt(4))  # its own score is 2 * 2, the first's is 0
        self.assertAlmostEqual(second[0], 1 / (1 + odds))

    def test_caches_grow(self):
        """Each token adds one key and one value: what later tokens find is computed once."""
        keys, seen = [], []
        for n, x in enumerate(self.xs, start=1):
            attention(values(x), self.block, keys, seen, 2)
            self.assertEqual((len(keys), len(seen)), (n, n))

    def test_heads_are_mixed(self):
        """wo comes last: without it attention gives 0."""
        self.block["wo"] = [values([0.0] * 4)] * 4
        self.assertEqual(self.attend(self.xs), [[0] * 4] * 3)


class Parameters(unittest.TestCase):
    def test_count(self):
        """There are n_embd (2 vocab + block) + 12 n_layer n_embd^2 parameters."""
        for vocab, layers, embd, block in ((27, 1, 16, 16), (4, 2, 4, 6), (10, 3, 8, 5)):
            model = GPT(["?"] * (vocab - 1), layers, embd, 2, block, random.Random(1))
            count = embd * (2 * vocab + block) + 12 * layers * embd ** 2
            self.assertEqual(len(model.params), count)

    def test_count_of_the_default(self):
        """The default model has 4,192 parameters."""
        model = GPT([""] * 26, microgpt.n_layer, microgpt.n_embd, microgpt.n_head,
                    microgpt.block_size, random.Random(1))
        self.assertEqual(len(model.params), 4192)

    def test_order(self):
        """They are drawn row by row: wte, wpe, lm_head, then each block's wq wk wv wo fc1 fc2."""
        model, rng = GPT(list("abc"), 2, 4, 2, 6, random.Random(1)), random.Random(1)
        blocks = [b[w] for b in model.blocks for w in ("wq", "wk", "wv", "wo", "fc1", "fc2")]
        for w in [model.wte, model.wpe, model.lm_head] + blocks:
            self.assertEqual(floats(w), [[rng.gauss(0, 0.08) for _ in row] for row in w])

    def test_params_are_all(self):
        """params holds every number of the matrices, not a copy of it, each once."""
        model = tiny()
        matrices = [model.wte, model.wpe, model.lm_head]
        matrices += [w for block in model.blocks for w in block.values()]
        inside = [id(p) for w in matrices for row in w for p in row]
        self.assertEqual(inside, [id(p) for p in model.params])
        self.assertEqual(len(set(inside)), len(inside))  # lm_head is not wte again

    def test_shapes(self):
        """wte is [27][16]; the MLP widens 16 numbers to 64 and comes back."""
        model = GPT([""] * 26, 1, 16, 4, 8, random.Random(1))
        shapes = {name: (len(w), len(w[0])) for name, w in model.blocks[0].items()}
        self.assertEqual([(len(w), len(w[0])) for w in (model.wte, model.wpe, model.lm_head)],
                         [(27, 16), (8, 16), (27, 16)])
        self.assertEqual(shapes, dict(wq=(16, 16), wk=(16, 16), wv=(16, 16), wo=(16, 16),
                                      fc1=(64, 16), fc2=(16, 64)))

    def test_bos_is_last(self):
        """BOS is the id after those of the characters."""
        self.assertEqual((tiny("abc").BOS, tiny("abcdef").BOS), (3, 6))


class Model(unittest.TestCase):
    def test_gradients(self):
        """Every parameter of a GPT of two blocks and two heads has the gradient measured there."""
        model, h = tiny("ab"), 1e-5
        document_loss(model, "abb", learn=True)
        for p in model.params:
            here, p.data = p.data, p.data + h
            up, p.data = document_loss(model, "abb"), p.data - 2 * h
            down, p.data = document_loss(model, "abb"), here
            tolerance = 1e-7 * max(1, abs(p.grad))
            self.assertAlmostEqual(p.grad, (up - down) / (2 * h), delta=tolerance)

    def test_gradients_are_there(self):
        """In every matrix some gradient is far from 0, so the check before this one says much."""
        model = tiny("ab")
        document_loss(model, "abb", learn=True)
        matrices = [model.wte, model.wpe, model.lm_head]
        matrices += [w for block in model.blocks for w in block.values()]
        for w in matrices:
            self.assertGreater(max(abs(p.grad) for row in w for p in row), 1e-3)

    def test_the_papers_way(self):
        """Token by token with a cache gives what all at once with a mask gives."""
        model, tokens = tiny(n_layer=3, seed=5), [3, 0, 2, 2, 1, 0]
        for here, there in zip(logits(model, tokens), masked(model, tokens)):
            for a, b in zip(here, there):
                self.assertAlmostEqual(a, b, places=9)

    def test_no_later_token_matters(self):
        """No later token changes an earlier logit."""
        model = tiny()
        for changed in range(1, 5):
            tokens = [3, 0, 1, 2, 0]
            tokens[changed] = (tokens[changed] + 1) % 3
            before, after = logits(model, [3, 0, 1, 2, 0]), logits(model, tokens)
            self.assertEqual(before[:changed], after[:changed])

    def test_each_earlier_token_matters(self):
        """Each token so far can change a logit, so all of the context is used."""
        model = tiny()
        for changed in range(5):
            tokens = [3, 0, 1, 2, 0]
            tokens[changed] = (tokens[changed] + 1) % 4
            self.assertNotEqual(logits(model, [3, 0, 1, 2, 0])[4], logits(model, tokens)[4])

    def test_one_row_of_logits_a_token(self):
        """After every token come as many logits as there are tokens."""
        self.assertEqual([len(row) for row in logits(tiny(), [3, 0, 1])], [4, 4, 4])

    def test_context_ends(self):
        """The model stops after block_size tokens: it has no position for another one."""
        self.assertEqual(len(logits(tiny(block_size=6), [0] * 9)), 6)

    def test_every_call_begins_anew(self):
        """Nothing of a text is left in the model when the next one begins."""
        model = tiny()
        first = logits(model, [3, 0, 1])
        logits(model, [2, 2, 2, 2])
        self.assertEqual(logits(model, [3, 0, 1]), first)

    def test_positions_matter(self):
        """The same token at another place gives other logits, thanks to wpe alone."""
        model = tiny()
        for row in model.wpe:
            for p in row:
                p.data = 0.0
        same = logits(model, [1, 1])
        for a, b in zip(*same):
            self.assertAlmostEqual(a, b)  # two equal values have themselves as their mean
        moved = logits(tiny(), [1, 1])
        self.assertGreater(max(abs(a - b) for a, b in zip(*moved)), 0.01)

    def test_residual(self):
        """A block whose layers correct nothing hands x on as it was."""
        model = tiny()
        for block in model.blocks:
            for p in sum(block["wo"] + block["fc2"], []):
                p.data = 0.0
        x = rmsnorm([a + b for a, b in zip(model.wte[3], model.wpe[0])])
        self.assertEqual(logits(model, [3])[0], data(linear(x, model.lm_head)))

    def test_gradients_flow_through_the_cache(self):
        """Keys and values stay live: only through them does a later loss reach an earlier token."""
        model = tiny()
        *_, last = model([0, 1, 2])
        last[0].backward()
        self.assertGreater(max(abs(p.grad) for p in model.wte[0]), 1e-3)


class Loss(unittest.TestCase):
    def test_by_hand(self):
        """Gradients derived by hand, without autograd, are those of backward(), all of them."""
        model = tiny()
        loss = document_loss(model, "abcab", learn=True)
        weights = [model.wte, model.wpe, model.lm_head]
        weights += [block[w] for block in model.blocks for w in block]
        own, grads = loss_and_grads(list(map(floats, weights)), [3, 0, 1, 2, 0, 1, 3], 2)
        self.assertAlmostEqual(own, loss, places=12)
        flat = [g for matrix in grads for row in matrix for g in row]
        for p, grad in zip(model.params, flat):
            self.assertAlmostEqual(p.grad, grad, delta=1e-10 * max(1, abs(grad)))
        self.assertEqual(len(flat), len(model.params))

    def test_not_finite(self):
        """A logit that is no longer finite raises FloatingPointError: no loss, no name from it."""
        for wrong in (math.nan, math.inf, -math.inf):
            model = tiny()
            model.lm_head[1][0].data = wrong
            with self.assertRaises(FloatingPointError):
                document_loss(model, "ab")
            with self.assertRaises(FloatingPointError):
                microgpt.generate(model)

    def test_untrained(self):
        """Before training the loss is near ln(vocab_size): nothing is known, all is guessed."""
        for vocab in (27, 5):
            chars = "abcdefghijklmnopqrstuvwxyz"[:vocab - 1]
            model, docs = GPT(list(chars), 1, 16, 4, 16, random.Random(3)), random.Random(4)
            losses = [document_loss(model, docs.choices(chars, k=6)) for _ in range(20)]
            self.assertAlmostEqual(sum(losses) / 20, math.log(vocab), delta=0.15)

    def test_cross_entropy(self):
        """The loss is the mean of -log softmax at the right next token, BOS at the end included."""
        rows = [[1.0, -2.0, 0.5], [0.25, 3.0, 1.0], [2.0, 2.0, -1.0]]
        targets = [0, 1, 2]  # a, b, BOS
        by_hand = [-math.log(data(softmax(values(r)))[t]) for r, t in zip(rows, targets)]
        self.assertAlmostEqual(document_loss(Fixed("ab", rows), "ab"), sum(by_hand) / 3, places=12)

    def test_guessing(self):
        """Equal logits cost ln(vocab_size), whatever comes."""
        self.assertAlmostEqual(document_loss(Fixed("ab", [[7.0] * 3] * 9), "abba"), math.log(3))

    def test_sure_and_wrong(self):
        """Where softmax gives the right token a 0, whose log is not there, the loss is finite."""
        loss = document_loss(Fixed("a", [[0.0, 5000.0], [3000.0, 0.0]]), "a")
        self.assertEqual(loss, 4000)

    def test_slope(self):
        """The loss's slope for the logits is probs - onehot, over the number of predictions."""
        rows = [values([1.0, -2.0, 0.5]), values([0.25, 3.0, 1.0])]
        document_loss(Fixed("ab", rows), "a", learn=True)
        for row, target in zip(rows, (0, 2)):
            for i, prob in enumerate(data(softmax(values(data(row))))):
                self.assertAlmostEqual(row[i].grad, (prob - (i == target)) / 2)

    def test_long_document_is_cut(self):
        """Of a document longer than the context, the first block_size characters count."""
        model = tiny(block_size=4)
        self.assertEqual(document_loss(model, "abcab"), document_loss(model, "abcaccc"))
        self.assertNotEqual(document_loss(model, "abca"), document_loss(model, "abc"))

    def test_it_is_a_float(self):
        """The loss comes back as a plain float: nothing keeps the graph alive."""
        self.assertIs(type(document_loss(tiny(), "ab")), float)

    def test_looking_is_not_learning(self):
        """Without learn no gradient changes."""
        model = tiny()
        document_loss(model, "ab")
        self.assertEqual({p.grad for p in model.params}, {0})

    def test_gradients_add_up(self):
        """learn adds to the gradients: a second time they are twice as large."""
        model = tiny()
        document_loss(model, "ab", learn=True)
        once = [p.grad for p in model.params]
        document_loss(model, "ab", learn=True)
        for p, grad in zip(model.params, once):
            self.assertAlmostEqual(p.grad, 2 * grad, places=12)

    def test_looking_leaves_the_tape(self):
        """Whoever only looks leaves nothing behind: the tape is as it was, to the Value."""
        model, kept = tiny(), [Value(1.0), Value(2.0)]
        before = len(tape)
        document_loss(model, "abc")
        self.assertEqual(len(tape), before)
        self.assertIs(tape[-1], kept[-1])

    def test_learning_empties_the_tape(self):
        """A step of learning gives its graph back."""
        document_loss(tiny(), "abc", learn=True)
        self.assertEqual(tape, [])


if __name__ == "__main__":
    unittest.main()
