"""Section 5 of microgpt.py: generate, its temperature, its prompt and its end."""
import math
import random
import unittest
from collections import Counter

from microgpt import Tokenizer, Value, generate, softmax, tape
from tests.helpers import Fixed, data, read, tiny, values

LOGITS = [1.0, 0.0, -1.0, 0.5]  # for a, b, c and BOS
ABC = Tokenizer(["abc"])


def write(rows, prompt="", temperature=0, rng=random):
    """Return what generate makes of these rows of logits, for the characters a, b, c.
    """
    return generate(Fixed(rows), ABC, prompt, temperature, rng)


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
        write([LOGITS], "", temperature, rng)
        return rng.asked[0][1]

    def test_formula(self):
        """The weights are softmax(logits / temperature): lower sharpens, higher
        flattens."""
        for temperature in (0.2, 0.5, 1, 2.0, 10):
            for got, wanted in zip(self.weights(temperature), shares(temperature)):
                self.assertAlmostEqual(got, wanted, places=12)

    def test_example(self):
        """Scores of 2 and 0 give 0.88, at a temperature of 0.5 0.98, at 2 0.73."""
        for temperature, likely in ((1, 0.88), (0.5, 0.98), (2, 0.73)):
            probs = softmax([Value(2.0) / temperature, Value(0.0) / temperature])
            self.assertEqual([round(p.data, 2)
                             for p in probs], [likely, round(1 - likely, 2)])

    def test_one_obeys(self):
        """At temperature 1 the weights are the model's own probabilities."""
        self.assertEqual(self.weights(1), data(softmax(values(LOGITS))))

    def test_zero_is_greedy(self):
        """At temperature 0 the likeliest is taken, however near the second comes."""
        self.assertEqual(write([LOGITS]), "a")
        self.assertEqual(write([[1.0, 1.0000002, 0.0, 0.0]]), "b")

    def test_zero_is_repeatable(self):
        """At temperature 0 chance has no say: it is not even asked."""
        rng = Recorder(0)
        generate(*tiny(), "", 0, rng)
        self.assertEqual(rng.asked, [])

    def test_huge_is_blind(self):
        """At a huge temperature all tokens are equally likely."""
        for weight in self.weights(1e12):
            self.assertAlmostEqual(weight, 1 / 4)

    def test_frequencies(self):
        """Of many draws each token gets the share that its probability says."""
        for temperature in (0.5, 1.0):
            rng = random.Random(1)
            count = Counter(write([LOGITS], "", temperature, rng) for _ in range(4000))
            for token, p in zip(["a", "b", "c", ""], shares(temperature)):
                self.assertAlmostEqual(count[token] / 4000, p,
                                       delta=4 * math.sqrt(p * (1 - p) / 4000))

    def test_refused(self):
        """A temperature below 0 is an error that shows it."""
        for temperature in (-0.5, -1e-9):
            with self.assertRaisesRegex(ValueError, f"temperature is {temperature}"):
                write([LOGITS], "", temperature)


class Generate(unittest.TestCase):
    def test_ends_at_bos(self):
        """A name ends where the model chooses BOS, which is no part of it."""
        rows = [[9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 0, 9],
                [9, 0, 0, 0]]  # a, b, BOS, no more a
        self.assertEqual(write(rows), "ab")

    def test_never_exceeds_the_context(self):
        """A name ends at block_size characters, even where the model never chooses BOS.
        """
        for size in (1, 2, 7):
            self.assertEqual(write([[9.0, 0, 0, 0]] * size), "a" * size)
        lengths = [len(generate(*tiny(block_size=3), "", 9)) for _ in range(50)]
        self.assertEqual(max(lengths), 3)

    def test_reads_what_it_wrote(self):
        """The model is first asked what follows BOS, then what follows its own choices.
        """
        model = Fixed([[9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 0, 9]])
        generate(model, ABC, "", 0)
        self.assertEqual(model.tokens, [3, 0, 1])

    def test_reads_the_prompt(self):
        """BOS, every character of the prompt, and every choice is read once, in order.
        """
        model = Fixed([[0, 0, 9, 0]] * 5)
        self.assertEqual(generate(model, ABC, "ab", 0), "abccc")
        self.assertEqual(model.tokens, [3, 0, 1, 2, 2])

    def test_prompt_is_kept(self):
        """A prompt stands at the beginning, unchanged, and is continued."""
        rows = [[9, 0, 0, 0], [9, 0, 0, 0], [0, 9, 0, 0],
                [0, 0, 0, 9]]  # it would say a, a, b
        self.assertEqual(write(rows, "ca"), "cab")

    def test_prompt_is_read(self):
        """What follows depends on the prompt: after it comes the model's choice there.
        """
        model, tokenizer = tiny()
        for prompt in ("a", "cab", "bb"):
            scores = read(model, [tokenizer.BOS] + tokenizer.encode(prompt))[-1]
            choice = ["a", "b", "c", ""][scores.index(max(scores))]
            self.assertTrue(
                generate(
                    model,
                    tokenizer,
                    prompt,
                    0).startswith(
                    prompt +
                    choice))

    def test_longest_prompt(self):
        """A prompt may leave room for a single character; one that leaves none is an
        error."""
        rows = [[9.0, 0, 0, 0]] * 4
        self.assertEqual(write(rows, "bbb"), "bbba")
        for prompt in ("bbbb", "bbbbb"):
            why = rf"\b{len(prompt)} characters.*\b3\b"
            with self.assertRaisesRegex(ValueError, why):
                write(rows, prompt)

    def test_unknown_character(self):
        """A prompt with a character the model never met is an error that shows it."""
        with self.assertRaisesRegex(ValueError, "'Z'"):
            generate(*tiny(), "aZXb", 0)

    def test_one_draw_a_token(self):
        """Chance is asked once for each new token, a weight for every id, never in a
        prompt."""
        rng = Recorder(0)
        write([LOGITS] * 5, "cb", 1, rng)
        self.assertEqual([ids for ids, _ in rng.asked], [[0, 1, 2, 3]] * 3)

    def test_default_chance(self):
        """Without a generator the random module's own is used, which a user can seed.
        """
        self.addCleanup(random.setstate, random.getstate())
        random.seed(7)
        names = [generate(*tiny(), "", 2) for _ in range(5)]
        rng = random.Random(7)
        self.assertEqual(names, [generate(*tiny(), "", 2, rng) for _ in range(5)])

    def test_tape(self):
        """Sampling leaves the tape empty, both after BOS and at the context's end."""
        for rows in ([[9.0, 0, 0, 0]] * 3, [[9.0, 0, 0, 0], [0, 0, 0, 9.0]] * 2):
            write(rows, "", 1)
            self.assertEqual(tape, [])

    def test_no_gradients(self):
        """Sampling changes nothing in the model."""
        model, tokenizer = tiny()
        before = [(p.data, p.grad) for p in model.params]
        generate(model, tokenizer, "", 1)
        self.assertEqual([(p.data, p.grad) for p in model.params], before)


if __name__ == "__main__":
    unittest.main()
