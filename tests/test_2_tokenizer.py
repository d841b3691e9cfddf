"""Section 2 of microgpt.py: the tokenizer."""

import random

from microgpt import Tokenizer
from tests import helpers as h


class Tokens(h.TestCase):
    def test_ids(self):
        """Each character that occurs has one id, counted from 0 in sorted order."""
        tokenizer = Tokenizer(["vava", "bava"])
        self.assertEqual(tokenizer.chars, ["a", "b", "v"])
        self.assertEqual(tokenizer.encode("abv"), [0, 1, 2])

    def test_bos(self):
        """BOS is the last id, one more token than there are characters."""
        tokenizer = Tokenizer(["abc"])
        self.assertEqual((tokenizer.BOS, tokenizer.vocab_size), (3, 4))

    def test_bos_is_no_character(self):
        """BOS stands for no character: decode refuses it."""
        tokenizer = Tokenizer(["ab"])
        self.assertRaises(IndexError, tokenizer.decode, [0, tokenizer.BOS])

    def test_round_trip(self):
        """Any text of known characters comes back as it was: blanks, accents, emoji."""
        for chars in (
            "ab",
            "a b-'",
            "\u00e9\u00fc\u00df",
            "\u4e2d\u6587\U0001f600\u0301",
        ):
            tokenizer = Tokenizer([chars])
            for length in (0, 1, 50):
                text = "".join(random.choices(chars, k=length))
                self.assertEqual(tokenizer.decode(tokenizer.encode(text)), text)

    def test_unknown_characters(self):
        """Characters that are in no document are refused, and named."""
        with self.assertRaisesRegex(AssertionError, "'Z'.*'Y'"):
            Tokenizer(["cab"]).encode("aZYb")
