"""Section 5 of microgpt.py: generate, its temperature, its prompt, and its end."""

import math
import random
from unittest import mock

from microgpt import Tokenizer, generate
from tests import helpers as h

ABC = Tokenizer(["abc"])
A, B, C, BOS = [[9.0 if i == j else 0.0 for i in range(4)] for j in range(4)]
LOGITS = [1.0, 0.0, -1.0, 0.5]  # for a, b, c, and BOS


def write(rows, prompt="", temperature=0, rng=random):
    """Return what generate makes of these logits, one row for each position."""
    return generate(h.FixedLogits(rows), ABC, prompt, temperature, rng)


def draw(token):
    """Return a generator that always draws this token, and notes what it is asked."""
    return mock.Mock(choices=mock.Mock(return_value=[token]))


class Temperature(h.TestCase):
    def weights(self, temperature):
        rng = draw(3)
        write([LOGITS], "", temperature, rng)
        return rng.choices.call_args[0][1]

    def test_formula(self):
        """The weights are softmax(logits / temperature), at 1 the model's own."""
        for temperature in (0.2, 0.5, 1, 2.0, 10):
            exps = [math.exp(logit / temperature) for logit in LOGITS]
            shares = [e / sum(exps) for e in exps]
            self.assertClose(self.weights(temperature), shares, places=12)

    def test_zero_is_greedy(self):
        """At 0 the likeliest token is taken, however near the second comes."""
        self.assertEqual(write([[1.0, 1.0000002, 0.0, 0.0]]), "b")

    def test_zero_asks_no_chance(self):
        """At 0 chance has no say: the generator is not even asked."""
        rng = draw(0)
        generate(*h.tiny(), "", 0, rng)
        rng.choices.assert_not_called()


class Generate(h.TestCase):
    def test_ends_at_bos(self):
        """A name ends where BOS is chosen, which is no part of it."""
        self.assertEqual(write([A, B, BOS, A]), "ab")

    def test_ends_with_the_context(self):
        """A name ends after block_size characters, even if BOS is never chosen."""
        for size in (1, 2, 7):
            self.assertEqual(write([A] * size), "a" * size)

    def test_prompt_is_read(self):
        """After a prompt comes the token that the model finds likeliest there."""
        model, tokenizer = h.tiny()
        for prompt in ("a", "cab", "bb"):
            scores = h.read(model, [tokenizer.BOS] + tokenizer.encode(prompt))[-1]
            likeliest = ["a", "b", "c", ""][scores.index(max(scores))]
            text = generate(model, tokenizer, prompt, 0)
            self.assertEqual(text[: len(prompt + likeliest)], prompt + likeliest)

    def test_longest_prompt(self):
        """A prompt must leave room for a character; if not, both lengths are told."""
        self.assertEqual(write([A] * 4, "bbb"), "bbba")
        for prompt in ("bbbb", "bbbbb"):
            with self.assertRaisesRegex(AssertionError, rf"\b{len(prompt)}\b.*\b3\b"):
                write([A] * 4, prompt)

    def test_one_draw_a_token(self):
        """There is one draw for each new token, among all ids, none for the prompt."""
        rng = draw(0)
        write([LOGITS] * 5, "cb", 1, rng)
        asked = [list(call[0][0]) for call in rng.choices.call_args_list]
        self.assertEqual(asked, [[0, 1, 2, 3]] * 3)

    def test_default_generator(self):
        """By default, the random module draws, so random.seed() repeats the names."""
        self.addCleanup(random.setstate, random.getstate())
        model, tokenizer = h.tiny()
        random.seed(7)
        names = [generate(model, tokenizer, "", 2) for _ in range(5)]
        rng = random.Random(7)
        self.assertEqual(
            names, [generate(model, tokenizer, "", 2, rng) for _ in range(5)]
        )
        self.assertGreater(len(set(names)), 1)  # each call is a new try
