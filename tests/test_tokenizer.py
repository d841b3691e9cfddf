"""Section 2 of microgpt.py, the tokenizer, and the data it is given."""
import os
import random
import unittest

import microgpt
from microgpt import decode, encode
from tests.helpers import ROOT, copy, folder, program

ALPHABET = list("abcdefghijklmnopqrstuvwxyz")


class Tokenizer(unittest.TestCase):
    def test_example(self):
        """The comment's example: ava is 26 0 21 0 26."""
        self.assertEqual(encode("ava", ALPHABET), [26, 0, 21, 0, 26])

    def test_round_trip(self):
        """Any text over the vocabulary comes back as it was, Unicode, blanks and all."""
        for chars in ("ab", "a b-'", "\u00e9\u00fc\u00df", "\u4e2d\u6587\U0001f600\u0301"):
            text = "".join(random.Random(1).choices(chars, k=50))
            with self.subTest(ascii(chars)):
                self.assertEqual(decode(encode(text, sorted(chars)), sorted(chars)), text)

    def test_ids_have_no_gaps(self):
        """The ids are 0, 1, 2 in the order of the characters, and BOS, the last, at both ends."""
        self.assertEqual(encode("acm", ["a", "c", "m"]), [3, 0, 1, 2, 3])

    def test_empty_text(self):
        """An empty text is a BOS to begin with and a BOS to end with."""
        self.assertEqual(encode("", ALPHABET), [26, 26])
        self.assertEqual(decode([26, 26], ALPHABET), "")

    def test_unknown_character(self):
        """A character outside the vocabulary is an error, not some other id."""
        with self.assertRaises(ValueError):
            encode("Ava", ALPHABET)


class Load(unittest.TestCase):
    def load(self, docs, name="input.txt"):
        return copy(program(folder(self), docs)).load(name)

    def refusal(self, docs, name="input.txt"):
        with self.assertRaises(SystemExit) as caught:
            self.load(docs, name)
        return caught.exception.code

    def test_one_document_a_line(self):
        """Every line is a document; blank lines and blanks around a name are none of it."""
        self.assertEqual(self.load("\n  ava \n\n\t\nmary ann\nzoe"), ["ava", "mary ann", "zoe"])

    def test_order_and_repeats_stay(self):
        """load() keeps the order of the file, and its repeats."""
        self.assertEqual(self.load("b\na\nb\n"), ["b", "a", "b"])

    def test_windows_file(self):
        """The BOM and the CRLF that Windows editors write do not become characters."""
        self.assertEqual(self.load(b"\xef\xbb\xbfava\r\nemma\r\n"), ["ava", "emma"])

    def test_unicode(self):
        """The file is read as UTF-8 on every system, and only a newline ends a document."""
        self.assertEqual(self.load("jos\u00e9\n\u4e2d\u2028\u6587\n"),
                         ["jos\u00e9", "\u4e2d\u2028\u6587"])

    def test_beside_the_program_first(self):
        """The file beside the program is read, even where the current folder has another."""
        other = folder(self)
        (other / "input.txt").write_text("other\n", encoding="utf-8")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(str(other))
        self.assertEqual(self.load("ava\n"), ["ava"])
        self.assertEqual(self.load(None), ["other"])  # and otherwise the one where you are

    def test_file_not_there(self):
        """A file that is not there ends the run with a sentence that names it."""
        self.assertIn("nowhere.txt", self.refusal("ava\n", "nowhere.txt"))

    def test_folder(self):
        """A folder in place of a file ends the run with a sentence that names it."""
        self.assertIn("..", self.refusal("ava\n", ".."))

    def test_not_utf_8(self):
        """A file that is not UTF-8 ends the run with a sentence that says so."""
        sentence = self.refusal(b"jos\xe9\n")
        self.assertIn("input.txt", sentence)
        self.assertIn("UTF-8", sentence)

    def test_empty_file(self):
        """A file without a document ends the run with a sentence that names it."""
        for docs in ("", "\n \n\t\n", b"\xef\xbb\xbf\r\n"):
            self.assertIn("input.txt", self.refusal(docs))


class ShippedData(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.docs = microgpt.load("input.txt")

    def test_number(self):
        """input.txt holds 29,693 names, one on each of its lines."""
        lines = (ROOT / "input.txt").read_bytes().count(b"\n")
        self.assertEqual((len(self.docs), lines), (29693, 29693))

    def test_alphabet(self):
        """Its names are made of the letters a to z, all of them, so there are 27 tokens."""
        self.assertEqual(sorted(set("".join(self.docs))), ALPHABET)

    def test_longest(self):
        """Its longest name has 15 letters: with BOS it fills the context of 16 exactly."""
        self.assertEqual(max(map(len, self.docs)), 15)
        self.assertEqual(microgpt.block_size, 16)

    def test_no_repeats(self):
        """No name stands in it twice, so that a held-out name is a new one."""
        self.assertEqual(len(set(self.docs)), len(self.docs))


if __name__ == "__main__":
    unittest.main()
