"""Section 6 of microgpt.py, and the program as its user sees it: other settings, other
files."""
import ast
import doctest
import io
import math
import os
import random
import re
import signal
import subprocess
import sys
import tokenize
import unittest

import microgpt
from microgpt import read_documents
from tests.helpers import (NAMES, ROOT, SHIPPED, SOURCE, TINY, changes, copy,
                           environment, folder, inside, invented, needs_shipped,
                           program, python, quietly, rows, run_main)

SHORT = dict(TINY, num_steps=12)
POSIX = unittest.skipIf(os.name == "nt", "Windows has no SIGINT to send")


def held_out(out):
    """Return (number, loss, tokens guessed among) as a run tells them, as text."""
    number = re.search(r"(?m)^(\d+) documents were held out$", out)[1]
    told = re.search(r"(?m)^their loss is (\S+): .* among (\S+) tokens$", out)
    return (number, told[1], told[2]) if told else (number, None, None)


def parts(total, **settings):
    """Return (training, held-out part) of this many one-letter documents, as seed 42
    has them."""
    docs = list("abcdefghijklmnopqrstuvwxyz1234"[:total])
    random.Random(42).shuffle(docs)
    number = min(settings.get("num_held_out", 300), total // 10)
    return docs[:total - number], docs[total - number:]


class Shipped(unittest.TestCase):
    def test_as_shipped(self):
        """Settings and data are as shipped; if you changed them on purpose, fine."""
        if changes():
            self.fail("; ".join(changes()))


class ReadDocuments(unittest.TestCase):
    def read(self, content, block_size=16, name="input.txt"):
        path = folder(self) / "input.txt"
        path.write_bytes(
            content if isinstance(
                content,
                bytes) else content.encode("utf-8"))
        return quietly(read_documents, str(path.parent / name), block_size)

    def test_one_document_a_line(self):
        """Every line is a document; blank lines and blanks around a name are none of
        it."""
        docs = self.read("\n  ava \n\n\t\nmary ann\nzoe")[0]
        self.assertEqual(docs, ["ava", "mary ann", "zoe"])

    def test_order_and_repeats_stay(self):
        """The order of the file is kept, and its repeats."""
        self.assertEqual(self.read("b\na\nb\n")[0], ["b", "a", "b"])

    def test_windows_file(self):
        """A byte-order mark and any line ends do not become characters."""
        self.assertEqual(
            self.read(b"\xef\xbb\xbfava\r\nemma\rzoe\n")[0], [
                "ava", "emma", "zoe"])

    def test_unicode(self):
        """The file is read as UTF-8 on every system."""
        self.assertEqual(
            self.read("jos\u00e9\n\u4e2d\u6587\n")[0], [
                "jos\u00e9", "\u4e2d\u6587"])

    def test_no_file(self):
        """A file that is not there is Python's own error, which names it."""
        with self.assertRaisesRegex(FileNotFoundError, "nowhere.txt"):
            self.read("ava", name="nowhere.txt")

    def test_not_utf_8(self):
        """A file that is not UTF-8 is an error that names it and says what to do."""
        with self.assertRaisesRegex(ValueError, r"input\.txt is not UTF-8.*save"):
            self.read(b"jos\xe9\n")

    def test_empty_file(self):
        """A file without a document is an error that names it and says what to do."""
        for content in ("", "\n \n\t\n", b"\xef\xbb\xbf\r\n"):
            with self.assertRaisesRegex(ValueError, r"input\.txt is empty.*write"):
                self.read(content)

    def test_cut(self):
        """Documents are cut to block_size characters; a line says how many lose their
        end."""
        docs, out = self.read("abc\nabcd\nabcde\n" + "x" * 49 + "\n", block_size=4)
        self.assertEqual(docs, ["abc", "abcd", "abcd", "xxxx"])
        self.assertEqual(out, "3 documents lose their end: block_size = 50 holds all\n")

    def test_the_size_it_names_holds_all(self):
        """With the block_size it names, nothing is cut and nothing is said."""
        self.assertEqual(self.read("x" * 49 + "\nab\n", block_size=50),
                         (["x" * 49, "ab"], ""))

    def test_cut_of_one(self):
        """A single cut document is told of, too."""
        self.assertRegex(
            self.read(
                "abcde\nab\n",
                block_size=4)[1],
            r"^1 documents .* = 6 holds")

    def test_cut_line_is_narrow(self):
        """That line fits into 79 columns for documents of a hundred thousand
        characters."""
        out = self.read(("x" * 100_000 + "\n") * 1000)[1]
        self.assertLessEqual(len(out), 79)


class Run(unittest.TestCase):
    """One run, as `python microgpt.py` in a folder of its own, with a small model and
    24 names."""

    @classmethod
    def setUpClass(cls):
        cls.path = program(
            folder(cls), **dict(SHORT, num_samples=40, learning_rate=0.1))
        cls.result = python(cls.path, cwd=cls.path.parent)
        cls.out = cls.result.stdout

    def test_ends_well(self):
        """It ends with status 0 and no error."""
        self.assertEqual((self.result.returncode, self.result.stderr), (0, ""))

    def test_opening(self):
        """It says what it has read and made: documents, tokens, parameters, cost of
        guessing."""
        self.assertRegex(self.out, r"\A24 documents, such as \w{3}, \w{3}, \w{3}\n"
                                   r"10 tokens: BOS and abcdefghi\n"
                                   r"304 parameters; invented before training: [a-i]*\n"
                                   r".* 2\.303\nCtrl-C .*early.*\nstep ")

    def test_rows(self):
        """Rows come at step 1, each tenth, and at the end."""
        self.assertEqual([int(row[0])
                         for row in rows(self.out)], [1, 2, 4, 6, 8, 10, 12])

    def test_names(self):
        """At the end stand as many invented names as num_samples asks for."""
        self.assertEqual(len(invented(self.out)), 40)

    def test_marks(self):
        """A name is marked, in a column, if and only if it stands in the file."""
        marked = [line for line in invented(self.out) if line.endswith(" in input.txt")]
        plain = [line for line in invented(self.out) if line not in marked]
        self.assertTrue(marked and plain)
        self.assertTrue({line.split()[0] for line in marked} <= set(NAMES.split()))
        self.assertFalse(set(plain) & set(NAMES.split()))
        self.assertEqual({line.find(" in input.txt") for line in marked}, {20})

    def test_again(self):
        """A second run prints the same but for the seconds."""
        module, again = run_main(self, **dict(SHORT, num_samples=40, learning_rate=0.1))
        self.assertEqual(invented(again), invented(self.out))
        self.assertEqual([row[:2] + row[3:] for row in rows(again)],
                         [row[:2] + row[3:] for row in rows(self.out)])


class Main(unittest.TestCase):
    def test_held_out_loss(self):
        """The held-out loss is the mean over the last tenth of the shuffled documents;
        e^loss."""
        module, out = run_main(self, "\n".join("abcdefghijklmnopqrst"), **SHORT)
        rest = parts(20)[1]
        loss = module.mean_loss(module.model, module.tokenizer, rest)
        self.assertEqual(held_out(out), ("2", f"{loss:.3f}", f"{math.exp(loss):.1f}"))

    def test_at_most_a_tenth(self):
        """No more than num_held_out and no more than a tenth of the documents are held
        out."""
        for total, number, wanted in (
                (29, 300, 2), (30, 300, 3), (30, 3, 3), (30, 2, 2)):
            docs = "\n".join("abcdefghijklmnopqrstuvwxyz1234"[:total])
            out = run_main(self, docs, **dict(SHORT, num_held_out=number))[1]
            self.assertEqual(held_out(out)[0], str(wanted))

    def test_none_held_out(self):
        """Where none can be held out, it says 0, and the names follow."""
        for docs, number in ((NAMES, 0), ("ava\n", 300), ("ava\nbo\n" * 20, 300)):
            out = run_main(self, docs, **dict(SHORT, num_held_out=number))[1]
            self.assertEqual(held_out(out), ("0", None, None))
            self.assertEqual(len(invented(out)), 5)

    def test_never_learnt_from(self):
        """No step learns from a held-out document, not even where the file repeats it.
        """
        docs = ["ab", "ba", "aab", "bba"] * 10 + ["abab", "baba", "bbbb"]
        learnt, looked = set(), []
        path = program(folder(self), "\n".join(docs), **dict(SHORT, num_steps=80))
        module = copy(path)

        def train(model, tokenizer, documents, num_steps, learning_rate):
            learnt.update(documents)

        def mean(model, tokenizer, documents):
            looked.extend(documents)
            return 1.0
        module.train, module.mean_loss = train, mean
        with inside(path.parent):
            quietly(module.main)
        self.assertTrue(looked)
        self.assertFalse(set(looked) & learnt)
        self.assertEqual(len(set(looked)), len(looked))
        self.assertEqual(learnt | set(looked), set(docs))

    def test_settings_are_handed_on(self):
        """The model and the training get the sizes that the settings say."""
        module, out = run_main(self, **dict(SHORT, n_layer=2, learning_rate=0.5))
        self.assertEqual((len(module.model.blocks), len(module.model.wte[0]),
                          module.model.n_head,
                          module.model.block_size), (2, 4, 2, 8))
        self.assertEqual(rows(out)[-1][0], "12")

    def test_every_setting_counts(self):
        """Each setting changes the run."""
        def printed(**settings):
            out = run_main(self, **{**TINY, "num_steps": 20,
                           "learning_rate": 0.1, **settings})[1]
            return re.sub(r"\d+ s left", "", out)
        before = printed()
        for name, value in dict(n_layer=2, n_embd=8, n_head=1, block_size=6,
                                num_steps=19, seed=43,
                                learning_rate=0.2, beta1=0.8, beta2=0.9, num_held_out=1,
                                temperature=2, num_samples=4).items():
            with self.subTest(name):
                self.assertNotEqual(printed(**{name: value}), before)

    def test_own_file(self):
        """input_file may have another name, and the marks say so."""
        path = program(folder(self), None, **dict(SHORT,
                       input_file="mine.txt", num_steps=60))
        (path.parent / "mine.txt").write_text("ab\nba\n", encoding="utf-8")
        module = copy(path)
        with inside(path.parent):
            out = quietly(module.main)[1]
        self.assertTrue([line for line in invented(
            out) if line.endswith(" in mine.txt")])

    def test_current_folder(self):
        """input.txt is read from the current folder, not from beside the program."""
        here = folder(self)
        (here / "input.txt").write_text("zq\n", encoding="utf-8")
        with inside(here):
            out = quietly(copy(program(folder(self), **SHORT)).main)[1]
        self.assertIn("BOS and qz\n", out)

    def test_long_documents(self):
        """Of long documents and large vocabularies the opening shows 50 characters."""
        docs = "\n".join(["".join(map(chr, range(0x100, 0x180)))] * 3)
        settings = dict(SHORT, block_size=130, num_steps=0, num_samples=0)
        out = run_main(self, docs, **settings)[1]
        lines = out.split("\nblind")[0].splitlines()
        self.assertEqual(lines[0].split("such as ")[1], docs[:50])
        self.assertEqual(lines[1].split("BOS and ")[1], docs[:50])
        self.assertLessEqual(max(map(len, lines[:2])), 79)

    def test_one_document(self):
        """A single document is enough to learn from."""
        out = run_main(self, "ava\n", **dict(SHORT,
                       num_steps=200, learning_rate=0.05))[1]
        self.assertIn("ava                  in input.txt", invented(out))

    def test_smallest_settings(self):
        """Settings at the edge of what can work are taken, and the run ends as any
        other."""
        for settings in (dict(n_embd=1, n_head=1), dict(block_size=1),
                         dict(num_steps=0),
                         dict(num_steps=1), dict(num_held_out=0), dict(num_samples=0),
                         dict(temperature=0), dict(beta1=0, beta2=0)):
            with self.subTest(**settings):
                module, out = run_main(self, "abc\nde\n", **{**SHORT, **settings})
                self.assertEqual(len(invented(out)), module.num_samples)


class Errors(unittest.TestCase):
    def last_line(self, docs=NAMES, **settings):
        """Return the last line of a run that fails, before any training unless it says
        so."""
        path = program(folder(self), docs, **{**SHORT, **settings})
        result = python(path, cwd=path.parent)
        self.assertEqual(result.returncode, 1)
        self.out, self.err = result.stdout, result.stderr
        return result.stderr.splitlines()[-1]

    def test_no_file(self):
        """No file: the last line names it."""
        self.assertRegex(self.last_line(None), r"FileNotFoundError: .*input\.txt")

    def test_not_utf_8(self):
        """A file that is not UTF-8: the last line names it and says what to do."""
        self.assertRegex(
            self.last_line(b"jos\xe9\n"),
            r"ValueError: input\.txt .*save it as UTF-8")

    def test_empty_file(self):
        """An empty file: the last line names it and says what to do."""
        self.assertRegex(
            self.last_line("\n\n"),
            r"ValueError: input\.txt is empty: write")

    def test_sizes(self):
        """Sizes that cannot work: the last line has their names, values and the remedy.
        """
        for settings in (dict(n_layer=0), dict(
                n_embd=6, n_head=4), dict(block_size=-1)):
            line = self.last_line(**settings)
            for name, value in settings.items():
                self.assertRegex(
                    line, rf"ValueError: .*{name} {value}\b.*must be 1 or more")
            self.assertNotIn("step ", self.out)

    def test_temperature(self):
        """A negative temperature: the last line has it, before any training."""
        self.assertRegex(
            self.last_line(
                temperature=-0.5),
            "ValueError: temperature is -0.5.* 0 ")
        self.assertNotIn("step ", self.out)

    @needs_shipped
    def test_learning_rate(self):
        """Rates of 1 and 10 break down at once; the last line says what to do."""
        for rate, cause in ((1, "FloatingPointError: the loss of step 3 is nan"),
                            (10, "ValueError: ")):
            path = program(
                folder(self),
                (ROOT / "input.txt").read_bytes(),
                learning_rate=rate)
            result = python(path, cwd=path.parent)
            self.assertEqual(len(rows(result.stdout)), 1)
            self.assertIn(cause, result.stderr)
            self.assertRegex(result.stderr.splitlines()[-1],
                             f"RuntimeError: training .* learning_rate below {rate}$")

    def test_other_errors(self):
        """An error that has another cause than the rate is not blamed on it."""
        self.assertRegex(self.last_line(beta1=1.0), "ZeroDivisionError")


class WaysToUseIt(unittest.TestCase):
    def test_interactive(self):
        """After python -i, the two calls of the docstring complete a prompt."""
        path = program(folder(self), "emma\nemil\nremy\n", **SHORT)
        calls = re.findall(r"(?m)^        (generate\(.*\)) ", SOURCE.split('"""')[1])
        self.assertEqual(len(calls), 2)
        result = python("-i", path, cwd=path.parent,
                        stdin="".join(f"print('it says', {call})\n" for call in calls))
        said = re.findall(r"it says (\w+)", result.stdout)
        self.assertEqual([name[:2] for name in said], ["em", "em"])

    def test_notebook(self):
        """Pasted into a notebook it runs, whatever the notebook's own command line
        says."""
        path = program(folder(self), **SHORT)
        # Notebooks, too, replace sys.stdout by an object that is not a real file.
        paste = ("import io, sys; real, sys.stdout = sys.stdout, io.StringIO(); "
                 "exec(open('microgpt.py').read()); real.write(sys.stdout.getvalue())")
        result = python("-c", paste, "-f", "kernel.json", cwd=path.parent)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(len(rows(result.stdout)), 7)

    @POSIX
    def test_ctrl_c(self):
        """Ctrl-C amid the training: on to the held-out loss and the names, with status
        0."""
        path = program(folder(self), **dict(TINY, num_steps=10_000, n_embd=2))
        process = subprocess.Popen(
            [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", env=environment(), cwd=str(path.parent),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
        self.addCleanup(process.kill)
        out = ""
        for line in iter(process.stdout.readline, ""):
            out += line
            if rows(out):  # each row is printed at once, also into a pipe
                break
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
        self.assertEqual((process.returncode, errors), (0, ""))
        self.assertLess(len(rows(out + rest)), 11)
        self.assertIn("training ended early\n2 documents were held out\n", rest)
        self.assertEqual(len(invented(rest)), 5)

    @unittest.skipUnless(sys.implementation.name == "cpython",
                         "others need their collector")
    def test_collector(self):
        """As a program it runs without the garbage collector; importing leaves that
        alone."""
        path = program(folder(self), **SHORT)
        ask = "import gc; print('enabled', gc.isenabled())\n"
        self.assertIn(
            "enabled False",
            python(
                "-i",
                path,
                cwd=path.parent,
                stdin=ask).stdout)
        self.assertIn("enabled True", python("-c", "import microgpt; " + ask,
                                             cwd=path.parent).stdout)

    def test_other_pythons_keep_their_collector(self):
        """On a Python that is not CPython the collector stays on."""
        path = program(folder(self), **SHORT)
        other = ("import gc, runpy, sys, types; "
                 "sys.implementation = types.SimpleNamespace("
                 "**{**vars(sys.implementation), 'name': 'other'}); "
                 "runpy.run_path('microgpt.py', run_name='__main__'); "
                 "print('enabled', gc.isenabled())")
        self.assertRegex(
            python(
                "-c",
                other,
                cwd=path.parent).stdout,
            "enabled (True|None)")


class Importing(unittest.TestCase):
    def test_silent(self):
        """Importing prints nothing, and nothing is needed for it but the file itself.
        """
        path = program(folder(self), None)
        result = python("-c", "import microgpt", cwd=path.parent)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_opens_no_file(self):
        """Importing opens no file."""
        # The modules it imports may open files; then they are there already.
        watch = ("import gc, math, operator, random, sys, time\n"
                 "source = sys.stdin.read()\n"
                 "sys.addaudithook(lambda event, args: "
                 "event == 'open' and print(*args))\n"
                 "exec(source, dict(__name__='microgpt'))")
        result = python("-c", watch, cwd=ROOT, stdin=SOURCE)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_chance_is_left_alone(self):
        """Importing does not touch the random module's state, and makes no Values."""
        before = random.getstate()
        self.assertEqual(copy(ROOT / "microgpt.py").tape, [])
        self.assertEqual(random.getstate(), before)


class TheFile(unittest.TestCase):
    def test_doctests(self):
        """Every example in a docstring of microgpt.py gives what stands below it."""
        failed, tried = doctest.testmod(microgpt)
        self.assertEqual((failed, tried > 12), (0, True))

    def test_standard_library(self):
        """It needs nothing that is not part of Python: it runs without site-packages.
        """
        path = program(folder(self), **SHORT)
        result = python("-I", "-S", path, cwd=path.parent)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_imports(self):
        """At most 6 modules are imported, all at the top."""
        tree = ast.parse(SOURCE)
        inside_ = [
            n for n in ast.walk(tree) if isinstance(
                n, (ast.Import, ast.ImportFrom))]
        top = [node for node in tree.body if node in inside_]
        self.assertEqual(len(top), len(inside_))
        self.assertLessEqual(len(top), 6)

    def test_width(self):
        """It has at most 88 columns, in ASCII."""
        self.assertLessEqual(max(map(len, SOURCE.splitlines())), 88)
        self.assertTrue(SOURCE.isascii())

    def test_one_statement_a_line(self):
        """No line has a semicolon, and paragraphs of comments have at most six lines.
        """
        tokens = list(tokenize.generate_tokens(io.StringIO(SOURCE).readline))
        self.assertNotIn(";", [token.string for token in tokens])
        paragraphs = re.findall(r"(?m)(?:^ *# .*\w.*\n)+", SOURCE)
        self.assertLessEqual(max(paragraph.count("\n") for paragraph in paragraphs), 6)

    def test_settings_are_at_the_top(self):
        """Every setting is set on a line of its own before the first section, and no
        other."""
        top = SOURCE.split("# 1. Autograd")[0]
        self.assertEqual(re.findall(r"(?m)^(\w+) = ", top), list(SHIPPED))


if __name__ == "__main__":
    unittest.main()
