"""Section 2 of microgpt.py, the tokenizer, and the names it is shipped with."""
import random
import unittest

from microgpt import Tokenizer, read_documents
from tests.helpers import ALPHABET, ROOT, needs_shipped


class Tokens(unittest.TestCase):
    def test_ids_have_no_gaps(self):
        """The ids are 0, 1, 2 in the order of the characters, whatever these are."""
        self.assertEqual(Tokenizer(["m", "ca"]).encode("acm"), [0, 1, 2])

    def test_one_character_one_id(self):
        """A character has one id, in however many documents it stands."""
        tokenizer = Tokenizer(["ava", "vava"])
        self.assertEqual(
            (tokenizer.chars, tokenizer.encode("vav")), ([
                "a", "v"], [
                1, 0, 1]))

    def test_bos(self):
        """BOS is the last id, and one token more than there are characters."""
        tokenizer = Tokenizer([ALPHABET])
        self.assertEqual((tokenizer.BOS, tokenizer.vocab_size), (26, 27))

    def test_round_trip(self):
        """Any text over the vocabulary comes back as it was, Unicode, blanks and all.
        """
        for chars in ("ab", "a b-'", "\u00e9\u00fc\u00df",
                      "\u4e2d\u6587\U0001f600\u0301"):
            text = "".join(random.Random(1).choices(chars, k=50))
            tokenizer = Tokenizer([chars])
            with self.subTest(ascii(chars)):
                self.assertEqual(tokenizer.decode(tokenizer.encode(text)), text)

    def test_empty_text(self):
        """An empty text has no ids."""
        tokenizer = Tokenizer(["ab"])
        self.assertEqual((tokenizer.encode(""), tokenizer.decode([])), ([], ""))

    def test_unknown_character(self):
        """An unknown character is an error that shows it, the first one, and those
        known."""
        with self.assertRaisesRegex(ValueError, "'Z'.*'abc'"):
            Tokenizer(["cab"]).encode("aZYb")

    def test_bos_is_no_character(self):
        """BOS stands for no character: decode refuses it."""
        tokenizer = Tokenizer(["ab"])
        self.assertRaises(IndexError, tokenizer.decode, [0, tokenizer.BOS])

    def test_kept_characters(self):
        """The saved characters alone rebuild the tokenizer."""
        tokenizer = Tokenizer(["mary ann", "zoe"])
        self.assertEqual(Tokenizer(tokenizer.chars).chars, tokenizer.chars)


@needs_shipped
class ShippedData(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.docs = read_documents(str(ROOT / "input.txt"), 16)

    def test_number(self):
        """input.txt holds 29,693 names, one on each of its lines."""
        lines = (ROOT / "input.txt").read_bytes().count(b"\n")
        self.assertEqual((len(self.docs), lines), (29693, 29693))

    def test_alphabet(self):
        """Its names are made of the letters a to z, all of them."""
        self.assertEqual("".join(Tokenizer(self.docs).chars), ALPHABET)

    def test_longest(self):
        """Its longest name has 15 letters: with BOS it fills the context of 16 exactly.
        """
        self.assertEqual(max(map(len, self.docs)), 15)

    def test_examples(self):
        """The names of the examples stand in it: ava; and mary and mark, which begin
        alike."""
        self.assertTrue({"ava", "mary", "mark"} <= set(self.docs))

    def test_no_repeats(self):
        """No name stands in it twice, so that a held-out name is a new one."""
        self.assertEqual(len(set(self.docs)), len(self.docs))


if __name__ == "__main__":
    unittest.main()
