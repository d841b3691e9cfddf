"""Section 4 of microgpt.py: the loss, Adam, the rows, and what is learnt from which documents."""
import gc
import math
import platform
import random
import unittest
from unittest import mock

import microgpt
from microgpt import Value, document_loss, generate, tape, train
from tests.helpers import TINY, Fixed, copy, folder, program, quietly, rows, tiny


def adam(grads, num_steps, learning_rate=0.1, start=0.0):
    """Return where train() takes a single parameter whose gradients are those given."""
    model, path = Fixed("a", [[0.0, 0.0]]), []
    p = Value(start)
    model.params = [p]

    def loss(model, doc, learn):
        path.append(p.data)
        p.grad += grads[len(path) - 1]
        return 1.0
    with mock.patch.object(microgpt, "document_loss", loss):
        quietly(train, model, ["a"], num_steps, learning_rate)
    return path[1:] + [p.data]


def rehearse(losses, docs=("a",), clock=None):
    """Return what train() prints where the steps' losses are those given, and the documents."""
    seen = []

    def loss(model, doc, learn):
        seen.append(doc)
        if isinstance(losses[len(seen) - 1], type):
            raise losses[len(seen) - 1]
        return losses[len(seen) - 1]
    with mock.patch.object(microgpt, "document_loss", loss), \
            mock.patch.object(microgpt.time, "time", clock or microgpt.time.time):
        _, out = quietly(train, Fixed("a", [[0.0, 0.0]]), docs, len(losses), 0.01)
    return out, seen


class Adam(unittest.TestCase):
    def test_two_steps_by_hand(self):
        """The first two steps go where the formulas of Kingma & Ba, worked out by hand, say."""
        # Step 1, gradient 2:  m = 0.15 * 2 = 0.3              m / (1 - 0.85)      = 2
        #                      v = 0.01 * 4 = 0.04             v / (1 - 0.99)      = 4
        #                      p = 0 - 0.1 * 2 / sqrt(4)                           = -0.1
        # Step 2, gradient -1: m = 0.85 * 0.3 - 0.15 = 0.105   m / (1 - 0.85 ** 2) = 0.3783784
        #                      v = 0.99 * 0.04 + 0.01 = 0.0496 v / (1 - 0.99 ** 2) = 2.4924623
        #                      p = -0.1 - 0.05 * 0.3783784 / sqrt(2.4924623)       = -0.111983453
        first, second = adam([2.0, -1.0], 2)
        self.assertAlmostEqual(first, -0.1, places=8)
        self.assertAlmostEqual(second, -0.111983453, places=8)

    def test_first_step(self):
        """At first a step moves a parameter by the learning rate, however long the gradient."""
        for grad in (1000.0, 0.001, -0.5):
            step = adam([grad], 1, learning_rate=0.25)[0]
            self.assertAlmostEqual(step, math.copysign(0.25, -grad), delta=1e-5)

    def test_epsilon(self):
        """The 1e-8 halves the step of a gradient of 1e-8, and spares a gradient of 0 a crash."""
        self.assertAlmostEqual(adam([1e-8], 1)[0], -0.05)
        self.assertEqual(adam([0.0], 1, start=3.0), [3.0])

    def test_rate_falls_in_a_line(self):
        """A constant gradient shows the rate: 5/5 of it in step 1 of 5, then 4/5, at last 1/5."""
        places = [0.0] + adam([1.0] * 5, 5)
        moved = [before - after for before, after in zip(places, places[1:])]
        for got, wanted in zip(moved, (0.1, 0.08, 0.06, 0.04, 0.02)):
            self.assertAlmostEqual(got, wanted, places=8)

    def test_direction(self):
        """A step goes against the gradient: downhill."""
        self.assertLess(adam([1.0], 1)[0], 0)
        self.assertGreater(adam([-1.0], 1)[0], 0)

    def test_betas(self):
        """beta1 and beta2 average over about 7 and 100 steps, as their comment says."""
        self.assertEqual([round(1 / (1 - b)) for b in (microgpt.beta1, microgpt.beta2)], [7, 100])

    def test_own_averages(self):
        """Every parameter has averages of its own."""
        model, grads = Fixed("a", [[0.0, 0.0]]), iter([(2.0, 1.0), (-1.0, 1.0)])
        model.params = [Value(0.0), Value(0.0)]

        def loss(model, doc, learn):
            for p, grad in zip(model.params, next(grads)):
                p.grad += grad
            return 1.0
        with mock.patch.object(microgpt, "document_loss", loss):
            quietly(train, model, ["a"], 2, 0.1)
        self.assertEqual([p.data for p in model.params],
                         [adam([2.0, -1.0], 2)[1], adam([1.0, 1.0], 2)[1]])


class Rows(unittest.TestCase):
    def test_ten_rows(self):
        """A run prints ten rows, whatever num_steps, the last one at the end."""
        for num_steps in (10, 11, 50, 99, 1000, 1005):
            steps = [int(row[0]) for row in rows(rehearse([1.0] * num_steps)[0])]
            with self.subTest(num_steps):
                self.assertEqual(len(steps), 10)
                self.assertEqual(steps, [math.ceil(k * num_steps / 10) for k in range(1, 11)])

    def test_short_runs(self):
        """With fewer than ten steps every step has its row, and no step has none."""
        for num_steps in range(10):
            steps = [int(row[0]) for row in rows(rehearse([1.0] * num_steps)[0])]
            self.assertEqual(steps, list(range(1, num_steps + 1)))

    def test_mean_since_the_last_row(self):
        """A row shows the mean of the losses since the last one, to four decimals."""
        printed = [row[1] for row in rows(rehearse([3.0, 2.5, 2.0, 1.12344] + [2.0] * 16)[0])]
        self.assertEqual(printed, ["2.7500", "1.5617", *["2.0000"] * 8])

    def test_bar(self):
        """The bar is round(9 * mean) long, up to 40, so that the fall can be seen."""
        means = [0.0, 0.05, 0.06, 1.0, 2.5, 3.2958, 4.4, 4.5, 9.0, 700.0]
        bars = [len(row[2]) for row in rows(rehearse(means)[0])]
        self.assertEqual(bars, [0, 0, 1, 9, 22, 30, 40, 40, 40, 40])

    def test_columns(self):
        """Bars of any length and steps of any number leave the columns where they are."""
        lines = rehearse([0.1, 9.0, 2.0] * 500)[0].splitlines()
        self.assertEqual({len(line) for line in lines}, {len(lines[0])})  # the names are the same

    def test_clock(self):
        """A row tells the seconds gone, and those left if the steps go on taking as long."""
        clock = mock.Mock(side_effect=[100.0, 102.0, 104.0, 106.0, 110.0])
        times = [row[3:5] for row in rows(rehearse([1.0] * 4, clock=clock)[0])]
        self.assertEqual(times, [("2.0", "6.0"), ("4.0", "4.0"), ("6.0", "2.0"), ("10.0", "0.0")])

    def test_sample(self):
        """A row ends with a name that always starts from the seed, at the knob's temperature."""
        model = tiny()
        _, out = quietly(train, model, ["abc"], 1, 1e-9)  # next to no change
        name = generate(model, "", microgpt.temperature, random.Random(microgpt.seed))
        self.assertEqual([row[5] for row in rows(out)], [name])

    def test_samples_do_not_disturb(self):
        """Showing samples draws nothing from anybody else's generator."""
        before = random.getstate()
        quietly(train, tiny(), ["abc"], 3, 0.01)
        self.assertEqual(random.getstate(), before)


class Steps(unittest.TestCase):
    def test_documents_in_turn(self):
        """Step i learns from document i, and after the last one comes the first again."""
        self.assertEqual(rehearse([1.0] * 7, ["x", "y", "z"])[1], list("xyzxyzx"))

    def test_ctrl_c(self):
        """Ctrl-C ends the training, not the program, and says in which step of how many."""
        out, seen = rehearse([1.0, 1.0, KeyboardInterrupt, 1.0, 1.0])
        self.assertEqual(len(seen), 3)
        self.assertRegex(out.splitlines()[-1], r"\b3\b.*\b5\b")

    def test_only_ctrl_c(self):
        """Any other error is not swallowed."""
        self.assertRaises(ZeroDivisionError, rehearse, [1.0, ZeroDivisionError])

    def test_not_a_number(self):
        """A loss that is no longer finite ends the run, naming the step and the learning rate."""
        with self.assertRaises(SystemExit) as caught:
            rehearse([1.0, 1.0, FloatingPointError, 1.0])
        self.assertRegex(caught.exception.code, r"\b3\b.*learning_rate.*\b0\.01\b")

    def test_no_steps(self):
        """0 steps leave the model as it was and print no row."""
        model = tiny()
        before = [p.data for p in model.params]
        self.assertEqual(quietly(train, model, ["abc"], 0, 0.01)[1], "")
        self.assertEqual([p.data for p in model.params], before)

    def test_interrupted_step(self):
        """A step that was interrupted, even amid backward(), leaves no trace in the next ones."""
        class Trap(tuple):
            def __iter__(self):
                raise KeyboardInterrupt
        fresh, model, log = tiny(), tiny(), Value.log
        for trap in (lambda x: log(x) + Value(0.0, Trap(), (1.0,)), lambda x: iter(Trap())):
            with mock.patch.object(Value, "log", trap):  # in the walk back, in the forward pass
                quietly(train, model, ["abc"], 5, 0.1)
        quietly(train, model, ["abc", "cb"], 5, 0.1)
        quietly(train, fresh, ["abc", "cb"], 5, 0.1)
        self.assertEqual([p.data for p in model.params], [p.data for p in fresh.params])

    def test_learnt_by_heart(self):
        """One name can be learnt by heart, to a loss near 0: the model can fit what it is shown."""
        model = tiny("aehmn", n_layer=1, n_embd=8, block_size=8)
        quietly(train, model, ["hannah"], 120, 0.03)
        self.assertLess(document_loss(model, "hannah"), 0.05)
        self.assertEqual(generate(model, "", 0), "hannah")

    def test_tape_does_not_grow(self):
        """However many steps, none leaves a Value on the tape."""
        lengths, model = [], tiny()

        def loss(*args, **learn):
            lengths.append(len(tape))
            return document_loss(*args, **learn)
        with mock.patch.object(microgpt, "document_loss", loss):
            quietly(train, model, ["abc"], 6, 0.01)
        self.assertEqual(lengths[1:] + [len(tape)], [0] * 6)

    @unittest.skipIf(platform.python_implementation() == "PyPy", "PyPy has no tracemalloc")
    def test_memory_does_not_grow(self):
        """A step's graph is given back as the step ends: the tenth peak is not above the second."""
        import tracemalloc
        peaks, model = [], tiny()

        def loss(*args, **learn):
            tracemalloc.reset_peak()
            result = document_loss(*args, **learn)
            peaks.append(tracemalloc.get_traced_memory()[1])
            return result
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        with mock.patch.object(microgpt, "document_loss", loss):
            quietly(train, model, ["abcab"], 10, 0.01)
        self.assertLess(peaks[9], 1.1 * peaks[1])

    @unittest.skipIf(platform.python_implementation() == "PyPy", "PyPy counts no references")
    def test_no_cycles(self):
        """A graph has no cycles, so the hunt for them, made rare while training, finds nothing."""
        model = tiny()
        document_loss(model, "abc", learn=True)
        gc.collect()
        document_loss(model, "abc", learn=True)
        self.assertEqual(gc.collect(), 0)

    @unittest.skipUnless(hasattr(gc, "set_threshold"), "not in PyPy")
    def test_rare_hunts(self):
        """While training the hunt for cycles is rare: a fifth less to wait."""
        before = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *before)
        quietly(train, tiny(), ["a"], 1, 0.01)
        self.assertGreaterEqual(gc.get_threshold()[0], 50_000)


class Sizes(unittest.TestCase):
    def test_deep(self):
        """48 blocks, as many as the largest GPT-2 has, train without a RecursionError."""
        model = tiny(n_layer=48)
        before = model.blocks[47]["fc2"][0][0].data
        quietly(train, model, ["abc"], 2, 0.01)
        self.assertNotEqual(model.blocks[47]["fc2"][0][0].data, before)

    def test_wide(self):
        """128 numbers per token train as well."""
        model = tiny("ab", n_layer=1, n_embd=128)
        quietly(train, model, ["a"], 1, 0.01)
        self.assertTrue(math.isfinite(document_loss(model, "a")))


class DefaultRun(unittest.TestCase):
    """The first 100 of the default run's 1000 steps, against an independent implementation."""
    @classmethod
    def setUpClass(cls):
        cls.losses, cls.learnt, cls.looked = [], [], []

        def loss(model, doc, learn=False):
            if not learn:  # held out: the text matters here, not the loss
                cls.looked.append(doc)
                return 2.0
            if len(cls.losses) == 100:
                raise KeyboardInterrupt
            cls.learnt.append(doc)
            cls.losses.append(document_loss(model, doc, learn))
            return cls.losses[-1]
        with mock.patch.object(microgpt, "document_loss", loss):
            cls.model, cls.out = quietly(microgpt.main)

    def test_reference_losses(self):
        """Steps 1, 2, 10 and 100 have the losses of another implementation, to four decimals."""
        losses = [f"{self.losses[step - 1]:.4f}" for step in (1, 2, 10, 100)]
        self.assertEqual(losses, ["3.5089", "3.3496", "3.0756", "2.2936"])

    def test_reference_mean(self):
        """The first row, at step 100, shows the other implementation's mean, 2.7434."""
        self.assertEqual([row[:2] for row in rows(self.out)], [("100", "2.7434")])

    def test_same_start(self):
        """The documents are shuffled by the seed: zara is the first to learn from."""
        self.assertEqual(self.learnt[:3], ["zara", "lenoxx", "judea"])

    def test_held_out(self):
        """300 names are held out, from the far end of the shuffled list, each one once."""
        docs = microgpt.load("input.txt")
        random.Random(microgpt.seed).shuffle(docs)
        self.assertEqual(len(self.looked), 300)
        self.assertEqual(sorted(self.looked), sorted(docs[-300:]))

    def test_opening(self):
        """It says what it has: 29,693 documents, 27 tokens, 4,192 parameters, ln 27 = 3.296."""
        opening = self.out.split("\nstep ")[0]
        figures = "29,693 documents", "27 tokens", "4,192 parameters", r".*\bln 27\b.*\b3\.296"
        for figure in figures:
            self.assertRegex(opening, rf"(?m)^{figure}\b")
        self.assertIn("abcdefghijklmnopqrstuvwxyz\n", opening)

    def test_twenty_names(self):
        """20 names are invented at the end, at the knob's temperature, from the one generator."""
        rng, docs = random.Random(microgpt.seed), microgpt.load("input.txt")
        rng.shuffle(docs)
        microgpt.GPT(self.model.chars, 1, 16, 4, 16, rng)
        names = [generate(self.model, "", 0.5, rng) for _ in range(20)]
        printed = [line.partition("  ")[0].strip() for line in self.out.split("\n")[-21:-1]]
        self.assertEqual([name.split(" in ")[0] for name in printed], names)


class Runs(unittest.TestCase):
    def run_with(self, **knobs):
        """Return what a small run prints while the clock stands still."""
        module = copy(program(folder(self), **{**TINY, "num_steps": 20, "std": 0.5, **knobs}))
        module.time = mock.Mock(time=lambda: 0.0)
        return quietly(module.main)[1]

    def test_same_seed(self):
        """The same seed gives the same run, to the digit."""
        self.assertEqual(self.run_with(), self.run_with())

    def test_other_seed(self):
        """Another seed gives another run, its data in another order."""
        self.assertNotEqual(self.run_with(seed=43), self.run_with())

    def test_every_knob_counts(self):
        """Each knob changes the run."""
        before = self.run_with()
        for name, value in dict(n_layer=2, n_embd=8, n_head=1, block_size=6, std=0.4, num_steps=19,
                                learning_rate=0.1, beta1__beta2="0.85, 0.9", num_held_out=1,
                                temperature=2, num_samples=4).items():
            with self.subTest(name):
                self.assertNotEqual(self.run_with(**{name: value}), before)
        self.assertNotEqual(self.run_with(beta1__beta2="0.8, 0.99"), before)

    def test_held_out_never_learnt(self):
        """No step learns from a held-out name, not even where the file repeats it."""
        where = folder(self)
        docs = "\n".join(["ab", "ba", "aab", "bba"] * 10 + ["abab", "baba", "bbbb"])
        module = copy(program(where, docs, **dict(TINY, num_steps=80)))
        learnt, looked, real = [], [], module.document_loss

        def loss(model, doc, learn=False):
            (learnt if learn else looked).append(doc)
            return real(model, doc, learn)
        module.document_loss = loss
        quietly(module.main)
        self.assertTrue(looked)
        self.assertFalse(set(looked) & set(learnt))
        self.assertEqual(len(set(looked)), len(looked))


if __name__ == "__main__":
    unittest.main()
