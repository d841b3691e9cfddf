"""Section 6 of microgpt.py: the run as its user sees it, and the default run."""

import doctest
import gc
import io
import itertools
import math
import os
import random
import re
import runpy
import signal
import subprocess
import sys
import time
import unittest
from types import SimpleNamespace
from unittest import mock

import microgpt
from microgpt import read_documents
from tests import helpers as h

LETTERS = "\n".join("abcdefghijklmnopqrstuvwxyz1234")  # 30 documents
SHUFFLED = LETTERS.splitlines()
random.Random(43).shuffle(SHUFFLED)


class Shipped(h.TestCase):
    def test_as_shipped(self):
        """Settings and input.txt are as shipped; if you changed them, that is fine."""
        if h.changes():
            self.fail(h.changes())


class ReadDocuments(h.TestCase):
    def read(self, content):
        path = h.folder(self) / "input.txt"
        path.write_bytes(content.encode("utf-8"))
        return read_documents(str(path))

    def test_lines(self):
        """Every line is a document, without the blanks around it; blank lines not."""
        found = self.read("\n  ava \n\n\t\nmary ann\nzoe")
        self.assertEqual(found, ["ava", "mary ann", "zoe"])

    def test_repeats(self):
        """A repeated line counts once, in its first place."""
        self.assertEqual(self.read("b\na\n b\nc\na\n"), ["b", "a", "c"])

    def test_any_alphabet(self):
        """The file is UTF-8 on any system; byte-order mark and line ends vanish."""
        found = self.read("\ufeffJos\u00e9\r\n\u4e2d\u6587\r\n")
        self.assertEqual(found, ["Jos\u00e9", "\u4e2d\u6587"])

    def test_empty_file(self):
        """A file without text is refused: its name is told, and what it should have."""
        for content in ("", "\n \n\t\n", "\ufeff\r\n"):
            with self.assertRaisesRegex(AssertionError, r"input\.txt .*line"):
                self.read(content)

    def test_errors_of_python(self):
        """For a file that is missing or not UTF-8, Python's own error is enough."""
        path = h.folder(self) / "input.txt"
        self.assertRaises(FileNotFoundError, read_documents, str(path))
        path.write_bytes(b"jos\xe9\n")
        self.assertRaises(UnicodeDecodeError, read_documents, str(path))


class Opening(h.TestCase):
    """What is said before the training."""

    def opening(self, docs=h.NAMES, **settings):
        stop = mock.Mock(side_effect=KeyboardInterrupt)
        out = h.run(self, docs, {"train": stop}, **settings).out
        return out[: out.index("\ntraining ended early")].splitlines()

    def test_sizes(self):
        """It counts documents, tokens, parameters, and tells what guessing costs."""
        documents, tokens, parameters, *_, blind = self.opening()
        self.assertRegex(documents, r"\b24\b")
        self.assertEqual(len(re.findall(r"\b[abc][de][fghi]\b", documents)), 3)
        self.assertRegex(tokens, r"\b10\b.* abcdefghi$")
        self.assertRegex(parameters, r"\b304\b")
        self.assertIn(f" {math.log(10):.3f}", blind)

    def test_how_much_is_read(self):
        """It tells how many documents it will train on, and how often on each."""
        for num_steps, told in (
            (12, r"27 \(12 of them read\); held out: 3$"),
            (54, r"27 \(each read 2.0 times\); held out: 3$"),
        ):
            lines = "\n".join(self.opening(LETTERS, num_steps=num_steps))
            self.assertRegex(lines, rf"(?m)\b{told}")

    def test_cut(self):
        """If documents are too long, it counts them and tells a size for them."""
        for longest in ("abcd", "x" * 49):
            size = len(longest) + 1
            cut = self.opening("abc\nbcde\n" + longest, block_size=4)
            self.assertRegex("\n".join(cut), rf"\b2\b.*block_size = {size}\b")
            whole = self.opening("abc\nbcde\n" + longest, block_size=size)
            self.assertNotIn("block_size", "\n".join(whole))
            self.assertEqual(len(whole), len(cut) - 1)

    def test_far_too_long(self):
        """Where no block_size could hold them, it asks for one document per line."""
        for length, remedy in (
            (299, "block_size = 300"),
            (300, "one document per line"),
        ):
            self.assertIn(remedy, "\n".join(self.opening("a" * length)))

    def test_width(self):
        """Long lines and large alphabets are cut: no line has over 79 columns."""
        docs = "\n".join(["".join(map(chr, range(0x100, 0x300)))] * 3)
        self.assertLessEqual(max(map(len, self.opening(docs))), 79)


class Run(h.TestCase):
    """Short runs of edited copies."""

    def test_held_out(self):
        """At most a tenth is held out, the end of the shuffled documents."""
        for number, wanted in ((300, 3), (2, 2), (0, 0)):
            run = h.run(self, LETTERS, num_held_out=number, num_steps=0, seed=43)
            self.assertEqual(run.training, SHUFFLED[: 30 - wanted])
            self.assertEqual(run.held_out, SHUFFLED[30 - wanted :])
            self.assertEqual("held-out loss" in run.out, wanted > 0)

    def test_never_trained_on(self):
        """Held-out documents are tested on, and no training step ever sees them."""
        train, mean_loss = mock.Mock(), mock.Mock(return_value=1.0)
        stand_ins = {"train": train, "mean_loss": mean_loss}
        run = h.run(self, LETTERS, stand_ins)
        args = run.model, run.tokenizer
        train.assert_called_once_with(*args, run.training, 12, 0.01)
        mean_loss.assert_called_once_with(*args, run.held_out)

    def test_held_out_loss(self):
        """The loss of the held-out documents is shown, next to blind guessing."""
        run = h.run(self)
        loss = run.mean_loss(run.model, run.tokenizer, run.held_out)
        self.assertRegex(run.out, rf"held-out.* {loss:.3f}\b.* {math.log(10):.3f}\n")

    def test_errors_come_through(self):
        """An error in the training ends the run as it is, and nothing is blamed."""
        error = ValueError("another cause")
        train = mock.Mock(side_effect=error)
        with self.assertRaises(ValueError) as raised:
            h.run(self, stand_ins={"train": train})
        self.assertIs(raised.exception, error)

    def test_every_setting_counts(self):
        """Each setting changes the run."""

        def printed(**settings):
            settings = {"num_steps": 20, "learning_rate": 0.1, **settings}
            return re.sub(r" *\d+ s left", "", h.run(self, **settings).out)

        others = (
            {"n_layer": 2, "n_embd": 8, "n_head": 1, "block_size": 6, "num_steps": 19}
            | {"learning_rate": 0.2, "beta1": 0.8, "beta2": 0.9, "temperature": 2}
            | {
                "num_held_out": 1,
                "num_samples": 4,
                "seed": 43,
                "input_file": "mine.txt",
            }
        )
        before = printed()
        self.assertEqual(printed(), before)  # the same settings, the same run
        for name, value in others.items():
            with self.subTest(name):
                self.assertNotEqual(printed(**{name: value}), before)

    def test_smallest_settings(self):
        """The smallest settings are taken, and all names that are asked for come."""
        zeros = "n_layer num_steps num_held_out beta1 temperature num_samples"
        ones = {"n_embd": 1, "n_head": 1, "block_size": 1, "num_steps": 1}
        for settings in [ones] + [{name: 0} for name in zeros.split()]:
            with self.subTest(settings):
                run = h.run(self, "abc\nde\n", **settings)
                names = h.invented(run.out, run.block_size)
                self.assertEqual(len(names), run.num_samples)

    def test_one_document(self):
        """A single document can be learned by heart, and is not called 1 documents."""
        run = h.run(self, "ava\n", num_steps=200, learning_rate=0.05)
        self.assertEqual(set(h.invented(run.out)), {"ava*"})
        self.assertNotRegex(run.out, r"\b1 documents")

    def test_temperature_everywhere(self):
        """At temperature 0 the last row and all names at the end are the same."""
        run = h.run(self, temperature=0)
        self.assertEqual(set(h.invented(run.out)), {h.rows(run.out)[-1][4]})

    def test_marks(self):
        """A name that stands in the file is marked, be it trained on or held out."""
        first, *_, last = SHUFFLED
        generate = mock.Mock(side_effect=[first, "zz", last, "", "ab"])
        stand_in = {"generate": generate}
        run = h.run(self, LETTERS, stand_in, num_steps=0, seed=43)
        self.assertEqual(h.invented(run.out), [first + "*", "zz", last + "*", "", "ab"])

    def test_columns(self):
        """Names stand in columns, as many as fit into 79 characters, or one."""
        for block_size, columns in ((8, 7), (16, 4), (17, 3), (76, 1), (99, 1)):
            run = h.run(self, num_samples=9, block_size=block_size, num_steps=0)
            lines = run.out[run.out.index("invented") :].splitlines()[1:-1]
            self.assertEqual(len(lines), math.ceil(9 / columns))
            self.assertLessEqual(max(map(len, lines)), max(79, block_size + 3))

    def test_shown_at_once(self):
        """The test is announced before it begins, and each name shown as it comes."""
        self.addCleanup(gc.enable)
        out, shown = io.StringIO(), []
        out.flush = lambda: shown.append(out.getvalue())
        path = h.program(h.folder(self), num_steps=0, num_samples=5)
        with h.inside(path.parent), mock.patch("sys.stdout", out):
            with mock.patch.dict(sys.modules):
                runpy.run_path(str(path), run_name="__main__")
        self.assertRegex(shown[0], r"held-out .*\n\Z")
        self.assertNotIn("held-out loss", shown[0])
        self.assertGreaterEqual(len(shown), 1 + 5)

    def test_collector(self):
        """The garbage collector is off while CPython runs it, on for other Pythons."""
        stand_ins = {"generate": lambda *args: str(gc.isenabled())}
        for name, answer in (("cpython", "False"), ("other", "True")):
            implementation = SimpleNamespace(name=name)
            stand_ins["sys"] = mock.Mock(implementation=implementation, modules={})
            stand_ins["sys"].modules["__main__"] = None
            run = h.run(self, "ab", stand_ins, num_steps=0)
            self.assertEqual(set(h.invented(run.out)), {answer})


class Python(h.TestCase):
    """The program in a Python of its own."""

    def test_standard_library(self):
        """It needs nothing that is not part of Python, and ends without an error."""
        path = h.program(h.folder(self))
        result = h.python("-I", "-S", path, cwd=path.parent)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def last_line(self, docs=h.NAMES, **settings):
        path = h.program(h.folder(self), docs, **settings)
        result = h.python(path, cwd=path.parent)
        self.assertEqual(result.returncode, 1)
        return result.stderr.splitlines()[-1]

    def test_errors(self):
        """The last line of an error has the values, and the setting or the file."""
        heads = self.last_line(n_embd=6, n_head=4)
        self.assertRegex(heads, r"n_head 4\b.*n_embd 6\b")
        self.assertRegex(self.last_line("\n\n"), r"input\.txt.*line")
        self.assertRegex(self.last_line(None), r"FileNotFoundError.*input\.txt")

    def test_learning_rate(self):
        """Rates of 0.3, 1, and 10 stop at once, and the last line names the setting."""
        names = (h.ROOT / "input.txt").read_bytes()
        for rate in (0.3, 1, 10):
            settings = {**h.SHIPPED, "learning_rate": rate}
            path = h.program(h.folder(self), names, **settings)
            result = h.python(path, cwd=path.parent)
            last_line = result.stderr.splitlines()[-1]
            self.assertRegex(last_line, "AssertionError.*learning_rate")
            self.assertEqual(len(h.rows(result.stdout)), 1)

    def interrupted(self, where, pauses, **settings):
        """Press Ctrl-C when a line says so, and after each pause; ask for a name."""
        words = itertools.product("abcdefghij", repeat=4)
        path = h.program(h.folder(self), "\n".join(map("".join, words)), **settings)
        how = {"cwd": path.parent, "env": h.environment(), "encoding": "utf-8"}
        how.update(dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE))
        process = subprocess.Popen([sys.executable, "-i", str(path)], **how)
        self.addCleanup(process.communicate)  # closes its pipes
        self.addCleanup(process.kill)
        while where not in process.stdout.readline():
            self.assertIsNone(process.poll())
        for pause in pauses:
            process.send_signal(signal.SIGINT)
            time.sleep(pause)
        ask = "print('it says', generate(model, tokenizer, 'abc', 0.5))\n"
        return process.communicate(ask, timeout=60)

    @unittest.skipIf(os.name == "nt", "Windows has no SIGINT to send")
    def test_ctrl_c(self):
        """Whenever Ctrl-C is pressed, once or twice, python -i keeps the model."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        endless, many = 10**7, 10**4
        for where, pauses, num_steps, num_held_out, num_samples in (
            ("step ", [0.1], endless, 0, 5),  # goes on with the names
            ("step ", [0.3, 0.2], endless, many, 5),  # the second ends the test, too
            ("held-out", [0.2], 0, many, 5),
            ("invented", [0.2], 0, 0, endless),
        ):
            settings = {"num_steps": num_steps, "num_held_out": num_held_out}
            settings["num_samples"] = num_samples
            with self.subTest(where, pauses=pauses):
                out, err = self.interrupted(where, pauses, **settings)
                self.assertIn("it says abc", out, err)


class Importing(h.TestCase):
    def test_import(self):
        """Importing prints nothing, opens no file, and draws no random number."""
        before = random.getstate()
        path = str(h.ROOT / "microgpt.py")
        with mock.patch("builtins.open", side_effect=AssertionError):
            found, out = h.captured(runpy.run_path, path, None, "microgpt")
        self.assertEqual((out, found["tape"]), ("", []))
        self.assertEqual(random.getstate(), before)

    def test_doctests(self):
        """Every example in microgpt.py gives what stands below it."""
        failed, tried = doctest.testmod(microgpt)
        self.assertEqual((failed, tried > 0), (0, True))


@h.needs_shipped
class DefaultRun(h.TestCase):
    """The whole default run, against the digits of an independent implementation."""

    @classmethod
    def setUpClass(cls):
        cls.run_ = h.default_run()  # takes 10 seconds, once for all tests

    def test_losses(self):
        """Six steps have the losses of another implementation, to four decimals."""
        steps = (1, 2, 10, 100, 500, 1000)
        losses = " ".join(f"{self.run_.losses[step - 1]:.4f}" for step in steps)
        self.assertEqual(losses, "3.5089 3.3496 3.0756 2.2936 2.3990 2.6768")

    def test_rows(self):
        """The rows have the loss of step 1, and the other implementation's means."""
        means = "3.5089 2.7434 2.5996 2.4910 2.5378 2.4508 2.3998 2.4060 2.4053 2.3593"
        losses = [row[1] for row in h.rows(self.run_.out)]
        self.assertEqual(" ".join(losses), means + " 2.4599")

    def test_held_out(self):
        """The loss on 300 held-out names is 2.347; blind guessing has 3.296."""
        self.assertEqual(len(self.run_.held_out), 300)
        self.assertRegex(self.run_.out, r"(?m)^held-out loss 2\.347\b.* 3\.296$")

    def test_names(self):
        """The 20 names are those of the other implementation, in four columns."""
        names = """emyia mevia shylea shenan arela kaylin nodan taana kitann amaion
            karei aran razlia sonna ayae silye zaree manyah breles jane"""
        found = h.invented(self.run_.out, 16)
        self.assertEqual([name.rstrip("*") for name in found], names.split())

    def test_screen(self):
        """It fits on a screen: at most 26 lines, and at most 79 columns."""
        lines = self.run_.out.splitlines()
        self.assertLessEqual(len(lines), 26)
        self.assertLessEqual(max(map(len, lines)), 79)
