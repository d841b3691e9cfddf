"""Section 5 of microgpt.py: generate, its temperature, its prompt and its end."""
import math
import random
import unittest
from collections import Counter

import microgpt
from microgpt import Value, generate, softmax, tape
from tests.helpers import Fixed, tiny

LOGITS = [1.0, 0.0, -1.0, 0.5]  # for a, b, c and BOS


def letters(temperature, draws, logits=LOGITS):
    """Return the share of each token among the first ones drawn at this temperature."""
    rng, model = random.Random(1), Fixed("abc", [logits])  # a context of one: one token each
    count = Counter(generate(model, "", temperature, rng) for _ in range(draws))
    return [count[token] / draws for token in ("a", "b", "c", "")]


def shares(temperature):
    """Return the shares the formula gives: e^(logit / temperature) over their sum."""
    parts = [math.exp(logit / temperature) for logit in LOGITS]
    return [part / sum(parts) for part in parts]


class Recorder:
    """A generator that keeps what it was asked and always draws the same token."""
    def __init__(self, token):
        self.token, self.asked = token, []

    def choices(self, population, weights):
        self.asked.append((list(population), weights))
        return [self.token]


class Temperature(unittest.TestCase):
    def weights(self, temperature):
        rng = Recorder(0)
        generate(Fixed("abc", [LOGITS]), "", temperature, rng)
        return rng.asked[0][1]

    def test_formula(self):
        """The weights are softmax(logits / temperature): lower sharpens, higher flattens."""
        for temperature in (0.2, 0.5, 1, 2.0, 10):
            for got, wanted in zip(self.weights(temperature), shares(temperature)):
                self.assertAlmostEqual(got, wanted, places=12)

    def test_one_obeys(self):
        """At temperature 1 the weights are the model's own probabilities."""
        self.assertEqual(self.weights(1), [p.data for p in softmax(list(map(Value, LOGITS)))])

    def test_zero_is_greedy(self):
        """At temperature 0 the top one is taken, however near the second comes."""
        self.assertEqual(letters(0, 50), [1, 0, 0, 0])
        self.assertEqual(letters(0, 50, [1.0, 1.0000002, 0.0, 0.0]), [0, 1, 0, 0])

    def test_zero_is_repeatable(self):
        """At temperature 0 chance has no say: any generator gives the same name."""
        model = tiny()
        names = {generate(model, "", 0, random.Random(seed)) for seed in range(10)}
        self.assertEqual(len(names), 1)

    def test_huge_is_blind(self):
        """At a huge temperature all tokens are equally likely."""
        for weight in self.weights(1e12):
            self.assertAlmostEqual(weight, 1 / 4)

    def test_frequencies(self):
        """Of many draws each token gets the share that its probability says."""
        for temperature in (0.5, 1.0):
            for got, p in zip(letters(temperature, 4000), shares(temperature)):
                self.assertAlmostEqual(got, p, delta=4 * math.sqrt(p * (1 - p) / 4000))

    def test_default(self):
        """Without a word about it the temperature is the knob's, 0.5."""
        model = tiny()
        got = [generate(model, rng=random.Random(seed)) for seed in range(20)]
        self.assertEqual(got, [generate(model, "", 0.5, random.Random(seed)) for seed in range(20)])
        self.assertEqual(microgpt.temperature, 0.5)

    def test_refused(self):
        """A temperature below 0, or none at all, is an error that shows it."""
        for temperature in (-0.5, -1e-9, math.nan):
            with self.assertRaisesRegex(ValueError, str(temperature)):
                generate(tiny(), "", temperature)


class Generate(unittest.TestCase):
    def test_ends_at_bos(self):
        """A name ends where the model chooses BOS, which is no part of it."""
        rows = [[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0], [9.0, 0, 0]]  # a, b, BOS, never this a
        self.assertEqual(generate(Fixed("ab", rows), "", 0), "ab")

    def test_never_exceeds_the_context(self):
        """A name ends at block_size characters, even where the model never chooses BOS."""
        for size in (1, 2, 7):
            self.assertEqual(generate(Fixed("ab", [[9.0, 0, 0]] * size), "", 0), "a" * size)
        self.assertEqual(max(len(generate(tiny(block_size=3), "", 9)) for _ in range(50)), 3)

    def test_starts_from_bos(self):
        """The model is first asked what follows BOS, then what follows its own choice."""
        class Spy(Fixed):
            def __call__(self, tokens):
                for token, logits in zip(tokens, super().__call__(tokens)):
                    self.read.append(token)
                    yield logits
        model = Spy("ab", [[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]])
        model.read = []
        generate(model, "", 0)
        self.assertEqual(model.read[:1] + model.read[-1:], [2, 1])

    def test_prompt_is_kept(self):
        """A prompt stands at the beginning, unchanged, and is completed."""
        rows = [[9.0, 0, 0], [9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]]  # it would rather say a, a, b
        self.assertEqual(generate(Fixed("ab", rows), "ba", 0), "bab")

    def test_prompt_is_read(self):
        """What follows depends on the prompt: after it comes the model's choice there."""
        model = tiny()
        for prompt in ("a", "cab", "bb"):
            *_, last = model([model.BOS] + ["abc".index(c) for c in prompt])
            scores = [logit.data for logit in last]
            choice = (list("abc") + [""])[scores.index(max(scores))]
            self.assertTrue(generate(model, prompt, 0).startswith(prompt + choice))

    def test_longest_prompt(self):
        """A prompt may leave room for a single character; one that leaves none is an error."""
        model = Fixed("ab", [[9.0, 0, 0]] * 4)
        self.assertEqual(generate(model, "bbb", 0), "bbba")
        for prompt in ("bbbb", "bbbbb"):
            with self.assertRaisesRegex(ValueError, rf"\b{len(prompt)}\b.*\b4\b"):
                generate(model, prompt, 0)

    def test_unknown_character(self):
        """A prompt with characters it never met is an error that shows the first of them."""
        with self.assertRaisesRegex(ValueError, "'X'.*prompt"):
            generate(tiny(), "aZXb")

    def test_one_draw_a_token(self):
        """Chance is asked once for each new token, a weight for every id, never in a prompt."""
        rng = Recorder(0)
        generate(Fixed("abc", [LOGITS] * 5), "cb", 1, rng)
        self.assertEqual([ids for ids, _ in rng.asked], [[0, 1, 2, 3]] * 3)

    def test_default_chance(self):
        """Without a generator the random module's own is used, which a user can seed."""
        self.addCleanup(random.setstate, random.getstate())
        random.seed(7)
        names = [generate(tiny(), "", 2) for _ in range(5)]
        rng = random.Random(7)
        self.assertEqual(names, [generate(tiny(), "", 2, rng) for _ in range(5)])

    def test_tape(self):
        """Sampling leaves nothing on the tape, neither after BOS nor at the context's end."""
        kept = Value(1.0)
        before = len(tape)
        for rows in ([[9.0, 0]] * 3, [[9.0, 0], [0, 9.0]] * 2):
            generate(Fixed("a", rows), "", 0)
            self.assertEqual(len(tape), before)
        self.assertIs(tape[-1], kept)

    def test_no_gradients(self):
        """Sampling changes nothing in the model."""
        model = tiny()
        before = [(p.data, p.grad) for p in model.params]
        generate(model)
        self.assertEqual([(p.data, p.grad) for p in model.params], before)


if __name__ == "__main__":
    unittest.main()
