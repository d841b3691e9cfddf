"""Section 4 of microgpt.py: the loss, Adam, and the training loop with its rows."""

import gc
import math
import random
import sys
import unittest
from types import SimpleNamespace
from unittest import mock

import microgpt
from microgpt import Tokenizer, Value, document_loss, generate, mean_loss, tape, train
from tests import helpers as h
from tests.by_hand import loss_and_grads

AB = Tokenizer(["ab"])


def flat(matrices):
    return [number for matrix in matrices for row in matrix for number in row]


class Loss(h.TestCase):
    def test_definition(self):
        """The loss is the mean of -log p of each next token, the last BOS included."""
        model = h.FixedLogits([[1.0, -2.0, 0.5], [0.25, 3.0, 1.0], [2.0, 2.0, -1.0]])
        loss = document_loss(model, AB, "ab")
        a, b, BOS = 0, 1, 2
        self.assertEqual(model.tokens, [BOS, a, b])
        p = [
            math.exp(logits[target]) / sum(map(math.exp, logits))
            for logits, target in zip(model.rows, [a, b, BOS])
        ]
        self.assertAlmostEqual(loss.data, -sum(map(math.log, p)) / 3, places=12)

    def test_by_hand(self):
        """Gradients derived by hand, without autograd, are those of backward()."""
        model, tokenizer = h.tiny()
        loss = document_loss(model, tokenizer, "abcab")
        loss.backward()
        tokens = [3, 0, 1, 2, 0, 1, 3]
        by_hand, d_matrices = loss_and_grads(h.floats(model), tokens, model.n_head)
        self.assertAlmostEqual(loss.data, by_hand, places=12)
        self.assertClose(h.grads(model.params), flat(d_matrices), places=10)

    def test_new_model(self):
        """A new model guesses blindly: its loss is near log(vocab_size)."""
        tokenizer = Tokenizer(["abcdefghijklmnopqrstuvwxyz"])
        model = microgpt.GPT(27, 1, 16, 4, 16, random.Random(1))
        loss = mean_loss(model, tokenizer, ["emma", "olivia", "ava", "zoe"])
        self.assertAlmostEqual(loss, math.log(27), delta=0.15)

    def test_long_document(self):
        """Of a long document block_size tokens are guessed, and BOS only if it fits."""
        model = h.FixedLogits([[1.0, -2.0, 0.5], [0.25, 3.0, 1.0]])
        losses = [document_loss(model, AB, name).data for name in ("a", "ab", "abba")]
        self.assertEqual(model.tokens, [2, 0] * 3)
        self.assertNotEqual(losses[0], losses[1])
        self.assertEqual(losses[1], losses[2])

    def test_absent_letters(self):
        """An absent letter has gradients of exactly 0 in wte, but others in lm_head."""
        model, tokenizer = h.tiny()
        document_loss(model, tokenizer, "ab").backward()
        self.assertEqual(h.grads(model.wte[2]), [0] * 4)
        self.assertNotIn(0, h.grads(model.lm_head[2]))

    def test_p_too_small(self):
        """A probability of 0 or nan is refused and shown, and learning_rate named."""
        for logits, p in (([-1000.0, 0.0, 0.0], "0.0"), ([math.nan] * 3, "nan")):
            with self.assertRaisesRegex(AssertionError, rf"\b{p}\b.*learning_rate"):
                document_loss(h.FixedLogits([logits] * 2), AB, "a")

    def test_mean_loss(self):
        """mean_loss is the mean over documents, a float, however long they are."""
        model, tokenizer = h.tiny()
        losses = [document_loss(model, tokenizer, text).data for text in ("a", "bcab")]
        mean = mean_loss(model, tokenizer, ["a", "bcab"])
        self.assertIs(type(mean), float)
        self.assertAlmostEqual(mean, sum(losses) / 2)

    def test_looking_is_not_learning(self):
        """Testing and sampling between a loss and its backward() leave no trace."""
        model, tokenizer = h.tiny()
        fresh, _ = h.tiny()
        document_loss(fresh, tokenizer, "abc").backward()
        loss = document_loss(model, tokenizer, "abc")
        before = tape[:]
        mean_loss(model, tokenizer, ["cb", "a"])
        self.assertEqual(tape, before)
        generate(model, tokenizer, "b", 1)
        self.assertEqual(tape, before)
        loss.backward()
        self.assertEqual(h.grads(model.params), h.grads(fresh.params))


def adam(gradients, rate=0.1, beta1=0.85, beta2=0.99):
    """Return where Adam moves one parameter, step by step, that starts at 0."""
    p, m, v, places = Value(0.0), [0.0], [0.0], []
    with mock.patch.multiple(microgpt, beta1=beta1, beta2=beta2):
        for step, p.grad in enumerate(gradients, start=1):
            microgpt.adam_step([p], m, v, step, rate)
            places.append(p.data)
    return places


class Adam(h.TestCase):
    def test_two_steps(self):
        """The first two steps lead where the formulas lead on paper."""
        # gradient  2:  m = 0.15 * 2 = 0.3             m_hat = m / 0.15 = 2
        #               v = 0.01 * 2 * 2 = 0.04        v_hat = v / 0.01 = 4
        # gradient -1:  m = 0.85 * 0.3 - 0.15 = 0.105  m_hat = m / 0.2775 = 0.3783784
        #               v = 0.99 * 0.04 + 0.01         v_hat = v / 0.0199 = 2.4924623
        first = -0.1 * 2 / math.sqrt(4)
        second = first - 0.1 * 0.3783784 / math.sqrt(2.4924623)
        self.assertClose(adam([2.0, -1.0]), [first, second], places=8)

    def test_agreement(self):
        """Gradients that agree move p by the rate, whatever their size and betas."""
        for size, betas in (
            (5.0, (0.85, 0.99)),
            (0.1, (0.85, 0.99)),
            (1.0, (0.5, 0.9)),
        ):
            self.assertClose(
                adam([size] * 3, 0.1, *betas), [-0.1, -0.2, -0.3], places=7
            )

    def test_disagreement(self):
        """Gradients of 5 and -5 in turn hardly move it: by 0.08 of the rate at last."""
        places = adam([5.0, -5.0] * 500, rate=1.0)
        self.assertAlmostEqual(abs(places[-1] - places[-2]), 0.08, places=2)

    def test_coasting(self):
        """When its gradient stays 0, p coasts to a stop: soon by 0.21 of the rate."""
        places = adam([5.0] * 1000 + [0.0] * 200, rate=1.0)
        moves = [before - after for before, after in zip(places, places[1:])]
        self.assertAlmostEqual(moves[1008], 0.21, places=2)
        self.assertLess(moves[-1], 1e-6)

    def test_epsilon(self):
        """The 1e-8 halves the step of a gradient of 1e-8, and avoids dividing by 0."""
        self.assertAlmostEqual(adam([1e-8])[0], -0.05)
        self.assertEqual(adam([0.0]), [0.0])


def rehearse(losses, num_steps, params=(), documents=("a",)):
    """Let train() take its losses from an iterator; return rows and what it read."""
    document_loss = mock.Mock(side_effect=losses)
    generate = mock.Mock(return_value="name")
    stand_ins = {"document_loss": document_loss, "generate": generate}
    model = SimpleNamespace(params=params)
    with mock.patch.multiple(microgpt, beta1=0.85, beta2=0.99, **stand_ins):
        _, out = h.captured(train, model, AB, documents, num_steps, 0.1)
    return h.rows(out), [call[0][2] for call in document_loss.call_args_list]


def train_by_hand(model, documents, num_steps, learning_rate):
    """Return the parameters after training without autograd and without train()."""
    numbers = h.data(model.params)
    m = v = [0.0] * len(numbers)
    for step in range(1, num_steps + 1):
        feed = iter(numbers)
        matrices = [[[next(feed) for _ in row] for row in w] for w in h.matrices(model)]
        tokens = documents[(step - 1) % len(documents)]
        gradients = flat(loss_and_grads(matrices, tokens, model.n_head)[1])
        m = [0.85 * a + 0.15 * g for a, g in zip(m, gradients)]
        v = [0.99 * b + 0.01 * g * g for b, g in zip(v, gradients)]
        m_hat = [a / (1 - 0.85**step) for a in m]
        v_hat = [b / (1 - 0.99**step) for b in v]
        rate = learning_rate * (num_steps - step + 1) / num_steps
        moves = [rate * a / (b**0.5 + 1e-8) for a, b in zip(m_hat, v_hat)]
        numbers = [number - move for number, move in zip(numbers, moves)]
    return numbers


class Steps(h.TestCase):
    def test_twenty_steps_by_hand(self):
        """Twenty steps lead where gradients by hand and a plain Adam lead."""
        model, tokenizer = h.tiny()
        documents = [[3, 0, 1, 2, 3], [3, 2, 2, 3], [3, 1, 3]]
        by_hand = train_by_hand(model, documents, 20, 0.02)
        with mock.patch.multiple(microgpt, beta1=0.85, beta2=0.99):
            h.captured(train, model, tokenizer, ["abc", "cc", "b"], 20, 0.02)
        self.assertClose(h.data(model.params), by_hand)

    def test_rate_falls_in_a_line(self):
        """The rate is learning_rate in step 1 of 5, 4/5 of it in step 2, then 3/5."""
        p, places = Value(0.0), []
        losses = (places.append(p.data) or p * 1.0 for _ in range(5))
        rehearse(losses, 5, [p])
        self.assertClose(places + [p.data], [0, -0.1, -0.18, -0.24, -0.28, -0.3], 7)

    def test_documents_in_turn(self):
        """Step i learns from document i, and after the last comes the first again."""
        losses = (Value(1.0) * 1 for _ in range(7))
        self.assertEqual(rehearse(losses, 7, documents="xyz")[1], list("xyzxyzx"))

    def test_interrupted_step(self):
        """What an interrupted step left, gradients and a full tape, does no harm."""
        model, tokenizer = h.tiny()
        fresh, _ = h.tiny()
        h.captured(train, fresh, tokenizer, ["abc", "cb"], 5, 0.1)
        document_loss(model, tokenizer, "cab").backward()
        document_loss(model, tokenizer, "bb")
        h.captured(train, model, tokenizer, ["abc", "cb"], 5, 0.1)
        self.assertEqual(h.data(model.params), h.data(fresh.params))

    def test_errors_come_through(self):
        """Errors and Ctrl-C, forward or backward, come through train as they are."""
        console = UnicodeEncodeError("ascii", "\u0142", 0, 1, "no such letter")
        for error in (KeyboardInterrupt(), ValueError("another cause"), console):
            backward = mock.Mock(side_effect=error)
            for loss in (error, SimpleNamespace(data=1.0, backward=backward)):
                with self.assertRaises(type(error)) as raised:
                    rehearse([loss], 1)
                self.assertIs(raised.exception, error)

    @unittest.skipIf(sys.implementation.name == "pypy", "PyPy counts no references")
    def test_no_circles(self):
        """A step makes no circles of objects: the garbage collector finds nothing."""
        model, tokenizer = h.tiny()
        h.captured(train, model, tokenizer, ["abc"], 1, 0.01)
        gc.collect()
        h.captured(train, model, tokenizer, ["abc"], 2, 0.01)
        self.assertEqual(gc.collect(), 0)


class Rows(h.TestCase):
    def rows(self, losses):
        return rehearse((Value(loss) * 1 for loss in losses), len(losses))[0]

    def test_when(self):
        """A row comes at step 1, then each tenth of the steps, and at the last step."""
        for num_steps in (1, 2, 7, 10, 11, 19, 100, 101, 1000):
            tenth = math.ceil(num_steps / 10)
            steps = {1, num_steps, *range(tenth, num_steps, tenth)}
            found = [int(step) for step, *_ in self.rows([1.0] * num_steps)]
            self.assertEqual(found, sorted(steps))

    def test_mean_of_the_last_tenth(self):
        """A row shows the mean of the last tenth of the steps, to four decimals."""
        means = [row[1] for row in self.rows([3.0, 2.5, 2.0, 1.12344] + [2.0] * 16)]
        self.assertEqual(means, ["3.0000", "2.7500", "1.5617"] + ["2.0000"] * 8)

    def test_bar(self):
        """The bar has six characters for each unit of the loss, and never over 22."""
        bars = [len(row[2]) for row in self.rows([3.5, 0.05, 2.5, 3.7, 1000.0])]
        self.assertEqual(bars, [21, 0, 15, 22, 22])

    def test_columns(self):
        """Steps and losses of any length leave the columns where they are."""
        with mock.patch.object(microgpt, "print", create=True) as printed:
            self.rows([0.1, 3.6, 9.0] * 400)
        lines = [call[0][0] for call in printed.call_args_list]
        self.assertEqual(len({line.index(" s left") for line in lines}), 1)
        self.assertEqual(len({line.index("name") for line in lines}), 1)

    def test_shown_at_once(self):
        """Each row is flushed, so it is seen at once, through a pipe, too."""
        with mock.patch.object(microgpt, "print", create=True) as printed:
            self.rows([1.0, 1.0])
        how = [call[1] for call in printed.call_args_list]
        self.assertEqual(how, [{"flush": True}] * 2)

    def test_seconds_left(self):
        """A row tells how long the rest will take at the speed of the steps so far."""
        clock = mock.Mock(side_effect=[100.0, 102.0, 104.0, 106.0, 110.0])
        with mock.patch.object(microgpt.time, "time", clock):
            left = [row[3] for row in self.rows([1.0] * 4)]
        self.assertEqual(left, ["6", "4", "2", "0"])

    def test_names(self):
        """The rows' names come from a generator of their own, seeded once with seed."""
        model, tokenizer = h.tiny()
        with mock.patch.multiple(microgpt, seed=43, temperature=2):
            _, out = h.captured(train, model, tokenizer, ["abc"], 5, 0.0)
        rng = random.Random(43)
        names = [generate(model, tokenizer, "", 2, rng) for _ in range(5)]
        self.assertEqual([row[4] for row in h.rows(out)], names)
