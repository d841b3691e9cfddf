"""The program as its user sees it: in a temporary folder, with knobs edited and other files."""
import ast
import io
import math
import os
import random
import re
import signal
import subprocess
import sys
import unittest
from contextlib import redirect_stdout

import microgpt
from tests.helpers import (NAMES, ROOT, SOURCE, TINY, copy, environment, folder, program, python,
                           quietly, rows)

SHORT = dict(TINY, num_steps=12)
# Every knob, values it must refuse, and values it must take, however close to the edge.
INTS = ["0", "-1", "1.5", "'4'", "None"]
REFUSED = dict(
    n_layer=INTS, n_embd=INTS, n_head=INTS, block_size=INTS,
    num_steps=["-1", "10.0", "'10'"], num_held_out=["-1", "0.1"], num_samples=["-1", "2.5"],
    learning_rate=["0", "-0.01", "9e-10", "float('nan')", "float('inf')", "'fast'", "1j"],
    temperature=["-0.1", "-1", "float('nan')", "float('inf')", "None"],
    beta1=["1.0", "1", "-0.1", "float('nan')"], beta2=["1.0", "1.5", "-1"])
TAKEN = [dict(n_layer=1, n_embd=1, n_head=1), dict(block_size=1), dict(num_steps=0),
         dict(num_steps=1), dict(num_held_out=0), dict(num_samples=0), dict(learning_rate=1e-9),
         dict(learning_rate=1), dict(temperature=0), dict(temperature=0.0), dict(temperature=3),
         dict(beta1__beta2="0, 0"), dict(beta1__beta2="0.0, 0.0"), dict(beta1__beta2="0.99, 0.999")]


def held_out_line(out):
    """Return the numbers of the line on held-out documents: how many, loss, e^loss, guessing."""
    line, = re.findall(r"(?m)^\d+ held-out.*$", out)
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", line)]


def names(out):
    """Return the lines after the one on held-out documents: the invented names, as printed."""
    lines = out.split("\n")[:-1]
    last = max(i for i, line in enumerate(lines) if re.search(r"held.out", line))
    return lines[last + 1:]


class WholeRun(unittest.TestCase):
    """One run, as `python microgpt.py` from another folder, with a small model and 24 names."""
    @classmethod
    def setUpClass(cls):
        cls.path = program(folder(cls), **dict(SHORT, num_samples=40, learning_rate=0.1))
        cls.result = python(cls.path, cwd=folder(cls))  # the other folder is empty
        cls.out = cls.result.stdout

    def test_ends_well(self):
        """A run from any other folder finds its input.txt and ends with status 0 and no error."""
        self.assertEqual((self.result.returncode, self.result.stderr), (0, ""))

    def test_rows(self):
        """There are ten rows, the last at num_steps."""
        self.assertEqual([int(row[0]) for row in rows(self.out)][-1], 12)
        self.assertEqual(len(rows(self.out)), 10)

    def test_names(self):
        """At the end stand as many invented names as num_samples asks for."""
        self.assertEqual(len(names(self.out)), 40)

    def test_markers(self):
        """A name is marked if, and only if, it stands in the file."""
        marked = [line.split()[0] for line in names(self.out) if line.endswith(" in input.txt")]
        plain = [line for line in names(self.out) if not line.endswith(" in input.txt")]
        self.assertTrue(marked and plain)
        self.assertTrue(set(marked) <= set(NAMES.split()))
        self.assertFalse(set(plain) & set(NAMES.split()))

    def test_markers_line_up(self):
        """The markers stand in a column."""
        columns = {line.find(" in input.txt") for line in names(self.out)}
        self.assertEqual(columns - {-1}, {20})

    def test_same_as_in_process(self):
        """A second run, in a process of its own, prints the same but for the seconds."""
        again = quietly(copy(self.path).main)[1]
        self.assertEqual(names(again), names(self.out))
        self.assertEqual([row[:3] for row in rows(again)], [row[:3] for row in rows(self.out)])


class HeldOut(unittest.TestCase):
    def run_of(self, docs=NAMES, **knobs):
        module = copy(program(folder(self), docs, **{**SHORT, **knobs}))
        model, out = quietly(module.main)
        shuffled = module.load("input.txt")
        random.Random(module.seed).shuffle(shuffled)
        return module, model, out, shuffled

    def test_loss(self):
        """The loss shown is the mean over the held-out documents; beside it e^loss, guessing."""
        module, model, out, docs = self.run_of(NAMES + "hi\n" * 26)  # 50: a tenth is 5
        held_out = set(docs[-5:]) - {"hi"}  # which it learns from, too
        loss = sum(module.document_loss(model, doc) for doc in held_out) / len(held_out)
        count, shown, choice, guess, vocab = held_out_line(out)
        self.assertEqual((count, vocab), (len(held_out), 10))
        self.assertEqual((shown, choice), (round(loss, 3), round(math.exp(loss), 1)))
        self.assertEqual(guess, round(math.log(10), 3))

    def test_at_most_a_tenth(self):
        """No more than num_held_out and no more than a tenth of the documents are held out."""
        for total, knob, count in ((29, 300, 2), (30, 300, 3), (30, 3, 3), (30, 2, 2)):
            docs = "\n".join("abcdefghijklmnopqrstuvwxyz1234"[:total])
            self.assertEqual(held_out_line(self.run_of(docs, num_held_out=knob)[2])[0], count)

    def test_far_end(self):
        """Held out are the last documents of the shuffled list."""
        module, model, out, docs = self.run_of(num_held_out=1)
        self.assertEqual(held_out_line(out)[1], round(module.document_loss(model, docs[-1]), 3))

    def test_none(self):
        """Where none can be held out, that is said in place of a loss, and the names follow."""
        for docs, knobs in ((NAMES, dict(num_held_out=0)), ("ava\n", {}), ("ava\nbo\n" * 20, {})):
            out = self.run_of(docs, **knobs)[2]
            self.assertNotRegex(out, r"\d+ held-out")
            self.assertRegex(out, r"(?m)^\D*held.out\D*$")
            self.assertEqual(len(names(out)), 5)

    def test_huge_loss(self):
        """A loss whose e^loss is too large for a float is shown all the same."""
        module = copy(program(folder(self), **SHORT))
        real = module.document_loss
        module.document_loss = lambda m, d, learn=False: real(m, d, learn) if learn else 5000.0
        self.assertEqual(held_out_line(quietly(module.main)[1])[1], 5000)

    def test_main_returns_the_model(self):
        """main() returns the model, so that python -i can go on with it."""
        module, model, out, docs = self.run_of()
        self.assertEqual(model.chars, list("abcdefghi"))
        self.assertEqual([len(row) for row in (model.wte[0], model.wpe)], [4, 8])


class Data(unittest.TestCase):
    def run_of(self, docs, encoding="utf-8", **knobs):
        path = program(folder(self), docs, **{**SHORT, **knobs})
        result = python(path, cwd=path.parent, encoding=encoding)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def test_one_document(self):
        """A single document is enough to learn from."""
        out = self.run_of("ava\n", num_steps=200, learning_rate=0.05)
        self.assertIn("ava                  in input.txt", names(out))

    def test_bom_and_crlf(self):
        """A file as Windows writes it gives the same documents as one without BOM and CR."""
        windows = b"\xef\xbb\xbf" + NAMES.replace("\n", "\r\n\r\n").encode()
        opening = [self.run_of(docs).split("\nstep")[0] for docs in (NAMES, windows)]
        self.assertEqual(*opening)

    def test_unicode(self):
        """Names of any script are learnt and come out right on a terminal that speaks UTF-8."""
        out = self.run_of("\u00e9\u4e2d\U0001f600\n", num_steps=200, learning_rate=0.05)
        self.assertIn("\u00e9\u4e2d\U0001f600", names(out)[0])

    def test_ascii_terminal(self):
        """A terminal that knows only ASCII gets escapes, not a crash."""
        out = self.run_of("\u00e9\u4e2d\n", encoding="ascii", num_steps=200, learning_rate=0.05)
        self.assertIn("\\xe9\\u4e2d", names(out)[0])

    def test_too_long(self):
        """Documents that do not fit are counted and named, and the size that holds all is said."""
        out = self.run_of("abcdefgh\nabcdefg\n" + "x" * 50 + "\n")  # 8, 7 and 50; context 8
        line, = [line for line in out.split("\n") if "block_size" in line]
        self.assertEqual([int(n) for n in re.findall(r"\d+", line)], [2, 8, 51])
        self.assertIn("'abcdefgh'", line)
        self.assertNotIn("'abcdefg'", line)

    def test_too_long_to_show(self):
        """Of those that do not fit three are named, and 30 characters of each shown."""
        out = self.run_of("\n".join(c * 50 for c in "abcd"), num_steps=0)
        line, = [line for line in out.split("\n") if "block_size" in line]
        shown = re.findall(r"'(\w+)'", line)
        self.assertEqual([len(text) for text in shown], [30, 30, 30])

    def test_all_fit(self):
        """Nothing is said of cutting where the longest document fits: BOS and 7 in 8."""
        self.assertNotIn("block_size", self.run_of("abcdefg\nab\n"))

    def test_own_file(self):
        """The file may have another name, and the markers say so."""
        path = program(folder(self), None, **dict(SHORT, input_file="'mine.txt'", num_steps=60))
        (path.parent / "mine.txt").write_text("ab\nba\n", encoding="utf-8")
        out = python(path, cwd=path.parent).stdout
        self.assertIn("2 documents in mine.txt", out)
        self.assertTrue([line for line in names(out) if line.endswith(" in mine.txt")])

    def test_file_where_you_are(self):
        """Without one beside the program, the input.txt of the current folder is read."""
        here = folder(self)
        (here / "input.txt").write_text("zq\n", encoding="utf-8")
        result = python(program(folder(self), None, **SHORT), cwd=here)
        self.assertEqual(result.returncode, 0)
        self.assertIn("BOS and qz", result.stdout)

    def test_examples_are_short(self):
        """Of long documents only the beginning is shown at the start."""
        out = self.run_of(("a" * 70 + "\n") * 2, num_steps=0)
        self.assertEqual(max(map(len, re.findall("a+", out.split("\n")[0].split("as ")[1]))), 60)

    def test_examples(self):
        """Three documents are shown at the start, the first ones to learn from."""
        first = self.run_of("\n".join("abcde"), num_steps=0).split("\n")[0]
        docs = list("abcde")
        random.Random(microgpt.seed).shuffle(docs)
        self.assertTrue(first.endswith(" " + ", ".join(docs[:3])))


class BadKnobs(unittest.TestCase):
    def refusal(self, **knobs):
        module = copy(program(folder(self), **{**SHORT, **knobs}))
        out = io.StringIO()
        with redirect_stdout(out), self.assertRaises(SystemExit) as caught:
            module.main()
        self.assertEqual(out.getvalue(), "")  # before anything else is done
        self.assertNotIn("\n", caught.exception.code)
        return caught.exception.code

    def test_refused(self):
        """A knob that cannot work is refused in a sentence that has its name and its value."""
        for name, bad in REFUSED.items():
            for value in bad:
                with self.subTest(name, value=value):
                    knobs = {"beta1": {"beta1__beta2": f"{value}, 0.99"},
                             "beta2": {"beta1__beta2": f"0.85, {value}"}}.get(name, {name: value})
                    sentence = self.refusal(**knobs)
                    self.assertRegex(sentence, rf"\b{name}\b")
                    self.assertIn(repr(eval(value)), sentence)

    def test_kind_is_said(self):
        """The sentence says which kind of number is wanted, and from where."""
        self.assertRegex(self.refusal(n_layer="1.5"), r"\bint\b.*\b1\b")
        self.assertRegex(self.refusal(num_steps="-5"), r"\bint\b.*\b0\b")
        self.assertRegex(self.refusal(beta1__beta2="0.9, 1.0"), r"\bfloat\b.*\b0.0\b.*\b1\b")

    def test_heads(self):
        """n_embd must be a multiple of n_head: the sentence has both."""
        for embd, head in ((6, 4), (4, 8)):
            sentence = self.refusal(n_embd=embd, n_head=head)
            self.assertRegex(sentence, rf"n_embd\D*{embd}\b.*n_head\D*{head}\b")

    def test_taken(self):
        """Values at the edge of what can work are taken, and the run ends as any other."""
        for knobs in TAKEN:
            with self.subTest(**knobs):
                module = copy(program(folder(self), "abc\nde\n", **{**SHORT, **knobs}))
                out = quietly(module.main)[1]
                self.assertEqual(len(names(out)), module.num_samples)


class BadInput(unittest.TestCase):
    def assertSentence(self, result, *words):
        """Fail unless the program ended with status 1 and one line, no traceback, on stderr."""
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"\A[^\n]+\n\Z")
        self.assertNotIn("Traceback", result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def run_of(self, docs=NAMES, **knobs):
        path = program(folder(self), docs, **{**SHORT, **knobs})
        return python(path, cwd=path.parent)

    def test_knob(self):
        """A knob that cannot work: status 1, a sentence on stderr, nothing on stdout."""
        result = self.run_of(n_layer=0)
        self.assertSentence(result, "n_layer", "0")
        self.assertEqual(result.stdout, "")

    def test_heads(self):
        """Heads that do not divide n_embd: status 1 and a sentence on stderr."""
        self.assertSentence(self.run_of(n_head=3), "n_embd", "n_head", "4", "3")

    def test_no_file(self):
        """No file: status 1 and a sentence that names it."""
        self.assertSentence(self.run_of(None), "input.txt")

    def test_empty_file(self):
        """An empty file: status 1 and a sentence that names it."""
        self.assertSentence(self.run_of("\n\n"), "input.txt")

    def test_not_utf_8(self):
        """A file that is no UTF-8: status 1 and a sentence that names it."""
        self.assertSentence(self.run_of("jos\u00e9\n".encode("latin-1")), "input.txt", "UTF-8")

    def test_diverged(self):
        """A learning rate far too high: it stops at the step that failed and says what to lower."""
        for rate in ("1e+153", "1e+200"):
            result = self.run_of(learning_rate=float(rate))
            self.assertSentence(result, "step ", "learning_rate", rate)
            self.assertNotIn("held-out", result.stdout)


class WaysToUseIt(unittest.TestCase):
    def test_help(self):
        """--help, or any other word, prints the opening docstring and runs nothing."""
        path = program(folder(self), None)  # without data: it would fail if it read any
        for word in ("--help", "-h", "train"):
            result = python(path, word, cwd=path.parent)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertEqual(result.stdout.strip(), microgpt.__doc__.strip())

    def test_interactive(self):
        """After python -i, as the docstring says, generate(model, "em") can be asked for more."""
        docs = "emma\nemil\nremy\n"
        path = program(folder(self), docs, **SHORT)
        ask = "print('it says', generate(model, 'em', 0))\n"
        result = python("-i", path, cwd=path.parent, stdin=ask * 2)
        self.assertEqual(result.returncode, 0)
        first, second = re.findall(r"it says (\w+)", result.stdout)
        self.assertEqual(first, second)
        self.assertTrue(first.startswith("em"))

    def test_notebook(self):
        """Pasted into a notebook it runs, whatever the notebook's own command line says."""
        path = program(folder(self), **SHORT)
        paste = ("import io, sys; real, sys.stdout = sys.stdout, io.StringIO(); "  # as notebooks do
                 "exec(open('microgpt.py').read()); real.write(sys.stdout.getvalue())")
        result = python("-c", paste, "-f", "kernel.json", cwd=path.parent)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(len(rows(result.stdout)), 10)

    @unittest.skipIf(os.name == "nt", "Windows has no SIGINT to send")
    def test_ctrl_c(self):
        """Ctrl-C amid the training: on to the held-out loss and the names, with status 0."""
        path = program(folder(self), **dict(TINY, num_steps=10_000, n_layer=1, n_embd=2))
        process = subprocess.Popen(
            [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", env=environment(),  # and Ctrl-C, off in background jobs, is on:
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(process.kill)
        out = ""
        for line in iter(process.stdout.readline, ""):
            out += line
            if rows(out):  # each row is printed at once, also into a pipe
                break
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
        self.assertEqual((process.returncode, errors), (0, ""))
        self.assertLess(len(rows(out + rest)), 10)
        self.assertEqual(len(names(out + rest)), 5)
        self.assertEqual(held_out_line(rest)[0], 2)


class Importing(unittest.TestCase):
    def test_silent(self):
        """Importing prints nothing, and nothing is needed for it but the file itself."""
        path = program(folder(self), None)
        result = python("-c", "import microgpt", cwd=path.parent)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_opens_no_file(self):
        """Importing opens no file."""
        watch = ("import gc, math, operator, pathlib, random, sys, time\n"  # these may open theirs
                 "source = sys.stdin.read()\n"
                 "sys.addaudithook(lambda event, args: event == 'open' and print(*args))\n"
                 "exec(source, dict(__name__='microgpt'))")
        result = python("-c", watch, cwd=ROOT, stdin=SOURCE)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_chance_is_left_alone(self):
        """Importing does not touch the random module's state."""
        before = random.getstate()
        copy(ROOT / "microgpt.py")
        self.assertEqual(random.getstate(), before)

    def test_empty_tape(self):
        """Importing makes no Values."""
        self.assertEqual(copy(ROOT / "microgpt.py").tape, [])


class TheFile(unittest.TestCase):
    def test_standard_library(self):
        """It needs nothing that is not part of Python: it runs without site-packages."""
        result = python("-I", "-S", ROOT / "microgpt.py", "--help", cwd=ROOT)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_imports(self):
        """At most 8 modules are imported, all at the top."""
        tree = ast.parse(SOURCE)
        inside = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
        top = [node for node in tree.body if node in inside]
        self.assertEqual(len(top), len(inside))
        self.assertLessEqual(len(top), 8)

    def test_size(self):
        """It has at most 243 lines of at most 100 columns, in ASCII."""
        lines = SOURCE.splitlines()
        self.assertLessEqual(len(lines), 243)
        self.assertLessEqual(max(map(len, lines)), 100)
        self.assertTrue(SOURCE.isascii())

    def test_knobs_are_at_the_top(self):
        """Every knob is set on a line of its own at the top, before the first section."""
        top = SOURCE.split("# %% 1.")[0]
        for name in ("input_file n_layer n_embd n_head block_size std num_steps learning_rate "
                     "num_held_out temperature num_samples seed").split():
            self.assertRegex(top, rf"(?m)^{name} = \S+ +# ")


if __name__ == "__main__":
    unittest.main()
