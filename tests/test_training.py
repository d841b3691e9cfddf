"""Section 4 of microgpt.py: Adam, the rows of train, and the default run as a whole."""
import gc
import math
import platform
import random
import unittest
from unittest import mock

import microgpt
from microgpt import (GPT, Tokenizer, Value, generate, mean_loss, read_documents, tape,
                      train)
from tests.helpers import (ROOT, SHIPPED, Fixed, default_run, invented, needs_shipped,
                           quietly, rows, tiny)


def with_shipped(name, value=None):
    """Patch one of microgpt's settings to what is shipped, or to value."""
    return mock.patch.object(microgpt, name, SHIPPED[name] if value is None else value)


def rehearse(losses, documents=("a",), params=(), learning_rate=0.01, clock=None):
    """Train on losses that are given: (printed, documents seen, losses returned).

    A loss is a number, a Value, a function that makes it, or an exception to be raised.
    """
    seen, model = [], Fixed([[0.0, 0.0]])
    model.params = list(params)

    def loss(model, tokenizer, document):
        seen.append(document)
        given = losses[len(seen) - 1]
        if isinstance(given, type):
            raise given
        given = given() if callable(given) else given
        return given if isinstance(given, Value) else Value(given) * 1

    with mock.patch.object(microgpt, "document_loss", loss), \
            mock.patch.object(microgpt, "generate", lambda *args: "name"), \
            mock.patch.object(microgpt.time, "time", clock or microgpt.time.time), \
            with_shipped("beta1"), with_shipped("beta2"):
        returned, out = quietly(train, model, Tokenizer(["a"]), list(documents),
                                len(losses),
                                learning_rate)
    return out, seen, returned


def adam(grads, learning_rate=0.1, start=0.0):
    """Return where train() takes a single parameter whose gradients are those given."""
    p, path = Value(start), []

    def step(grad):
        path.append(p.data)
        return p * grad
    rehearse([lambda grad=grad: step(grad) for grad in grads], params=[p],
             learning_rate=learning_rate)
    return path[1:] + [p.data]


class Adam(unittest.TestCase):
    def test_two_steps_by_hand(self):
        """The first two steps go where the formulas of Kingma & Ba, worked out by hand,
        say."""
        # Step 1, gradient 2:  m = 0.15 * 2 = 0.3, m / (1 - 0.85) = 2
        #                      v = 0.01 * 4 = 0.04, v / (1 - 0.99) = 4
        #                      p = 0 - 0.1 * 2 / sqrt(4) = -0.1
        # Step 2, gradient -1: m = 0.85 * 0.3 - 0.15 = 0.105
        #                      m / (1 - 0.85 ** 2) = 0.3783784
        #                      v = 0.99 * 0.04 + 0.01 = 0.0496
        #                      v / (1 - 0.99 ** 2) = 2.4924623
        #                      p = -0.1 - 0.05 * 0.3783784 / sqrt(2.4924623)
        first, second = adam([2.0, -1.0])
        self.assertAlmostEqual(first, -0.1, places=8)
        self.assertAlmostEqual(second, -0.111983453, places=8)

    def test_first_step(self):
        """At first a step moves a parameter by the learning rate, however large the
        gradient."""
        for grad in (1000.0, 0.001, -0.5):
            step = adam([grad], learning_rate=0.25)[0]
            self.assertAlmostEqual(step, math.copysign(0.25, -grad), delta=1e-5)

    def test_gradients_that_disagree(self):
        """Gradients of one sign are followed at about the rate; those of both, hardly.
        """
        def mean_step(grads):
            places = [0.0] + adam(grads, learning_rate=1.0)
            return sum(abs(b - a) for a, b in zip(places[50:], places[51:])) / 50
        self.assertAlmostEqual(
            mean_step(
                [1.0] * 100),
            0.25,
            delta=0.01)  # the mean rate there
        self.assertLess(mean_step([1.0, -1.0] * 50), 0.25 / 10)

    def test_seldom_more_than_the_rate(self):
        """A step is seldom longer than the rate, however wild the gradients: 1 in 100
        here."""
        rng = random.Random(1)
        places = [0.0] + adam([rng.gauss(0, 10 ** rng.gauss(0, 1))
                              for _ in range(1000)])
        steps = [abs(b - a) / (0.1 * (1 - i / 1000)) for i, (a, b)
                 in enumerate(zip(places, places[1:]))]
        self.assertLess(sum(step > 1 for step in steps), 10)
        # a gradient after long silence: 0.15 / root of 0.01
        self.assertLess(max(steps), 1.5)

    def test_fives(self):
        """Gradients of 5 move p by the rate; of 5 and -5 in turn, hardly: the comment's
        example."""
        self.assertAlmostEqual(adam([5.0])[0], -0.1, places=8)
        self.assertLess(adam([5.0] * 200)[-1], -9.9)
        self.assertLess(abs(adam([5.0, -5.0] * 100)[-1]), 0.2)

    def test_epsilon(self):
        """The 1e-8 halves the step of a gradient of 1e-8, and spares a gradient of 0 a
        crash."""
        self.assertAlmostEqual(adam([1e-8])[0], -0.05)
        self.assertEqual(adam([0.0], start=3.0), [3.0])

    def test_rate_falls_in_a_line(self):
        """A constant gradient shows the rate: 5/5 of it in step 1 of 5, then 4/5, at
        last 1/5."""
        places = [0.0] + adam([1.0] * 5)
        moved = [before - after for before, after in zip(places, places[1:])]
        for got, wanted in zip(moved, (0.1, 0.08, 0.06, 0.04, 0.02)):
            self.assertAlmostEqual(got, wanted, places=8)

    def test_direction(self):
        """A step goes against the gradient."""
        self.assertLess(adam([1.0])[0], 0)
        self.assertGreater(adam([-1.0])[0], 0)

    @needs_shipped
    def test_memory(self):
        """0.85 and 0.99 average over about 7 and 100 steps: 1 / (1 - beta)."""
        self.assertEqual([round(1 / (1 - b))
                         for b in (microgpt.beta1, microgpt.beta2)], [7, 100])

    def test_share(self):
        """After two steps m holds 0.15 * 0.85 + 0.15 = 0.2775 of the gradients: 1 -
        0.85 ** 2."""
        self.assertAlmostEqual(0.15 * 0.85 + 0.15, 0.2775)
        self.assertAlmostEqual(1 - 0.85 ** 2, 0.2775)

    def test_own_averages(self):
        """Every parameter has averages of its own."""
        p, q = Value(0.0), Value(0.0)
        rehearse([lambda: p * 2.0 + q * 1.0, lambda: p * -1.0 + q * 1.0], params=[p, q],
                 learning_rate=0.1)
        self.assertEqual([p.data, q.data], [adam([2.0, -1.0])[1], adam([1.0, 1.0])[1]])

    def test_gradients_start_from_0(self):
        """No step sees the gradients of the one before, nor what stood there at first.
        """
        p = Value(0.0)
        p.grad = 1000.0
        rehearse([lambda: p * 2.0, lambda: p * -1.0], params=[p], learning_rate=0.1)
        self.assertEqual(p.data, adam([2.0, -1.0])[1])


class Rows(unittest.TestCase):
    def steps(self, num_steps):
        return [int(row[0]) for row in rows(rehearse([1.0] * num_steps)[0])]

    def test_a_row_each_tenth(self):
        """A row comes at step 1 and then each tenth, the last one at the end."""
        for num_steps in (10, 50, 100, 1000):
            tenth = num_steps // 10
            wanted = sorted({1, *range(tenth, num_steps + 1, tenth)})
            self.assertEqual(self.steps(num_steps), wanted)

    def test_odd_numbers_of_steps(self):
        """The first and the last step have a row, and there are never more than eleven.
        """
        for num_steps in (1, 2, 7, 11, 19, 95, 101, 1005):
            steps = self.steps(num_steps)
            self.assertEqual((steps[0], steps[-1]), (1, num_steps))
            self.assertLessEqual(len(steps), 11)

    def test_no_steps(self):
        """0 steps print no row and return no loss."""
        self.assertEqual(rehearse([]), ("", [], []))

    def test_mean_of_the_last_tenth(self):
        """A row shows the mean of the last tenth of the steps, to four decimals."""
        printed = [row[1]
                   for row in rows(rehearse([3.0, 2.5, 2.0, 1.12344] + [2.0] * 16)[0])]
        self.assertEqual(printed, ["3.0000", "2.7500", "1.5617", *["2.0000"] * 8])

    def test_bar(self):
        """The bar is six characters long for each unit of the loss, so its fall can be
        seen."""
        bars = [line.count("#") for line in rehearse([3.5, 0.05, 2.5])[0].splitlines()]
        self.assertEqual(bars, [21, 0, 15])

    def test_columns(self):
        """Numbers of any length leave the columns where they are."""
        lines = rehearse([0.1, 3.6, 2.0] * 500)[0].splitlines()
        self.assertEqual({len(line) for line in lines}, {len(lines[0])})

    def test_clock(self):
        """A row tells the seconds left if the steps go on taking as long."""
        clock = mock.Mock(side_effect=[100.0, 102.0, 104.0, 106.0, 110.0])
        left = [row[2] for row in rows(rehearse([1.0] * 4, clock=clock)[0])]
        self.assertEqual(left, ["6", "4", "2", "0"])

    def test_sample(self):
        """A row ends with a name that always starts from the seed, at the set
        temperature."""
        model, tokenizer = tiny()
        out = quietly(train, model, tokenizer, ["abc"], 1, 1e-9)[1]  # next to no change
        name = generate(
            model,
            tokenizer,
            "",
            microgpt.temperature,
            random.Random(
                microgpt.seed))
        self.assertEqual([row[3] for row in rows(out)], [name])

    def test_samples_do_not_disturb(self):
        """Showing samples draws nothing from anybody else's generator."""
        before = random.getstate()
        quietly(train, *tiny(), ["abc"], 3, 0.01)
        self.assertEqual(random.getstate(), before)


class Steps(unittest.TestCase):
    def test_documents_in_turn(self):
        """Step i learns from document i, and after the last one comes the first again.
        """
        self.assertEqual(rehearse([1.0] * 7, ["x", "y", "z"])[1], list("xyzxyzx"))

    def test_losses_are_returned(self):
        """train returns the loss of every step, as floats, to be plotted."""
        self.assertEqual(rehearse([3.0, 2.5, 2.0])[2], [3.0, 2.5, 2.0])

    def test_broken_down(self):
        """A loss that is no longer finite ends the training at once; the error has the
        step."""
        for loss in (math.nan, math.inf):
            with self.assertRaisesRegex(FloatingPointError, rf"step 3 is {loss}"):
                rehearse([1.0, 1.0, loss, KeyError])

    def test_errors_come_through(self):
        """No error is swallowed, and Ctrl-C is left to the caller."""
        for error in (ZeroDivisionError, KeyboardInterrupt):
            self.assertRaises(error, rehearse, [1.0, error])

    def test_learnt_by_heart(self):
        """One name can be learnt by heart, to a loss near 0: the model can fit what it
        is shown."""
        model, tokenizer = tiny("aehmn", n_layer=1, n_embd=8, block_size=8)
        quietly(train, model, tokenizer, ["hannah"], 120, 0.03)
        self.assertLess(mean_loss(model, tokenizer, ["hannah"]), 0.05)
        self.assertEqual(generate(model, tokenizer, "", 0), "hannah")

    def test_after_an_interrupted_step(self):
        """A step that Ctrl-C cuts short, even amid backward(), leaves no trace after
        clear()."""
        class Trap(tuple):
            def __iter__(self):
                raise KeyboardInterrupt
        fresh, model, log = tiny(), tiny(), Value.log
        trap = mock.patch.object(Value, "log", lambda x: log(
            x) + Value(0.0, Trap([1]), (1.0,)))
        with trap, self.assertRaises(KeyboardInterrupt):
            quietly(train, *model, ["abc"], 5, 0.1)
        self.assertTrue(tape)
        tape.clear()
        for pair in (model, fresh):
            quietly(train, *pair, ["abc", "cb"], 5, 0.1)
        self.assertEqual([p.data for p in model[0].params],
                         [p.data for p in fresh[0].params])

    def test_tape_is_empty_afterwards(self):
        """Training leaves nothing on the tape."""
        quietly(train, *tiny(), ["abc"], 6, 0.01)
        self.assertEqual(tape, [])

    @unittest.skipIf(platform.python_implementation() ==
                     "PyPy", "PyPy has no tracemalloc")
    def test_memory_does_not_grow(self):
        """A step's graph is given back: the tenth peak is not above the third."""
        import tracemalloc
        peaks, document_loss = [], microgpt.document_loss

        def loss(*args):
            result = document_loss(*args)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()
            return result
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        with mock.patch.object(microgpt, "document_loss", loss):
            quietly(train, *tiny(), ["abcab"], 10, 0.01)
        self.assertLess(peaks[9], 1.1 * peaks[2])

    @unittest.skipIf(platform.python_implementation() ==
                     "PyPy", "PyPy counts no references")
    def test_no_cycles(self):
        """A step makes no circles of objects, so the garbage collector finds nothing to
        do."""
        model = tiny()
        quietly(train, *model, ["abc"], 2, 0.01)
        gc.collect()
        quietly(train, *model, ["abc"], 2, 0.01)
        self.assertEqual(gc.collect(), 0)


class Sizes(unittest.TestCase):
    def test_deep(self):
        """48 blocks, as many as the largest GPT-2 has, train without a RecursionError.
        """
        model, tokenizer = tiny(n_layer=48)
        before = model.blocks[47]["fc2"][0][0].data
        quietly(train, model, tokenizer, ["abc"], 2, 0.01)
        self.assertNotEqual(model.blocks[47]["fc2"][0][0].data, before)

    def test_wide(self):
        """128 numbers per token train as well."""
        tokenizer = Tokenizer(["ab"])
        model = GPT(3, 1, 128, 4, 8, random.Random(1))
        quietly(train, model, tokenizer, ["a"], 1, 0.01)
        self.assertTrue(math.isfinite(mean_loss(model, tokenizer, ["a"])))


@needs_shipped
class DefaultRun(unittest.TestCase):
    """The whole default run, against the figures of an independent implementation."""

    @classmethod
    def setUpClass(cls):
        cls.run_ = default_run()

    def test_losses(self):
        """Six steps have the losses of another implementation, to four decimals."""
        losses = [
            f"{self.run_.losses[step - 1]:.4f}" for step in (1, 2, 10, 100, 500, 1000)]
        self.assertEqual(losses, "3.5089 3.3496 3.0756 2.2936 2.3990 2.6768".split())

    def test_rows(self):
        """The rows show the loss of step 1, then the other implementation's means by
        hundreds."""
        means = ("2.7434 2.5996 2.4910 2.5378 2.4508 "
                 "2.3998 2.4060 2.4053 2.3593 2.4599").split()
        wanted = [("1", "3.5089")] + [(f"{100 * i}", m)
                                      for i, m in enumerate(means, start=1)]
        self.assertEqual([row[:2] for row in rows(self.run_.out)], wanted)

    def test_held_out(self):
        """The loss on 300 held-out names is 2.347, like guessing among 10.5 tokens."""
        self.assertIn(
            "300 documents were held out\ntheir loss is 2.347:",
            self.run_.out)
        self.assertIn("among 10.5 tokens\n", self.run_.out)

    def test_names(self):
        """The 20 names are those of the other implementation."""
        wanted = ("emyia mevia shylea shenan arela kaylin nodan taana kitann amaion "
                  "karei aran "
                  "razlia sonna ayae silye zaree manyah breles jane").split()
        self.assertEqual([line.split()[0] for line in invented(self.run_.out)], wanted)

    def test_marks(self):
        """A name is marked if, and only if, it stands in the file."""
        names = set(read_documents(str(ROOT / "input.txt"), 16))
        for line in invented(self.run_.out):
            self.assertEqual(line.endswith(" in input.txt"), line.split()[0] in names)

    def test_width(self):
        """Every line of it fits into 79 columns."""
        self.assertLessEqual(max(map(len, self.run_.out.splitlines())), 79)

    def test_opening(self):
        """It says what it has, what guessing costs, and what Ctrl-C does."""
        opening = self.run_.out.split("\nstep ")[0]
        for part in ("29,693 documents, such as zara, lenoxx, judea\n",
                     "27 tokens: BOS and abcdefghijklmnopqrstuvwxyz\n",
                     "4,192 parameters; invented before training: qahgutzeiahlaftk\n",
                     "3.296\nCtrl-C ends the training early"):
            self.assertIn(part, opening)


if __name__ == "__main__":
    unittest.main()
