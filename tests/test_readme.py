"""README.md: its examples run, its links lead somewhere, and its picture is true."""

import codeop
import contextlib
import doctest
import io
import re
import shutil
import sys
import tokenize
import types
from unittest import mock

import microgpt
from tests import helpers as h
from tests import solutions

BLOCKS = re.findall(r"(?ms)^```(\w+)\n(.*?)^```", h.README)
PYTHON = [text for kind, text in BLOCKS if kind == "python" and ">>>" not in text]
SCRIPT = next(text for text in PYTHON if "rng.shuffle" in text)
RECIPES = [text for text in PYTHON if text != SCRIPT]


def shown_after(words):
    """Return the first block of output below these words."""
    return re.search(r"(?ms)^```text\n(.*?)^```", h.README.split(words)[1])[1]


def type_in(recipe, names):
    """Run a recipe in these names; return what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(recipe, "README.md", "exec"), names)
    return out.getvalue()


class Examples(h.TestCase):
    def test_session(self):
        """The session with >>> prints what README.md says."""
        path = str(h.ROOT / "README.md")
        how = {"module_relative": False, "encoding": "utf-8"}
        failed, tried = doctest.testfile(path, **how)
        self.assertEqual((failed, tried > 5), (0, True))

    def test_can_be_typed(self):
        """No recipe leaves a block open when it is typed line by line."""
        for recipe in PYTHON:
            lines = []
            for line in recipe.splitlines() + [""]:
                lines.append(line)
                if codeop.compile_command("\n".join(lines)) is not None:
                    lines = []
            self.assertEqual(lines, [])

    def test_as_a_script(self):
        """All recipes work in a script that begins as README.md says."""
        where = h.folder(self)
        (where / "input.txt").write_text("\n".join(["mar", "isabella", "ava"] * 9))
        names = {}
        with h.inside(where), mock.patch.object(microgpt, "num_steps", 1):
            for recipe in [SCRIPT] + RECIPES:
                shorter = re.sub(r"\b[13]00, 0", "1, 0", recipe.replace("-300", "-1"))
                type_in(shorter, names)
        self.assertEqual(names["model"].block_size, 16)

    def test_solutions(self):
        """Every solution fits microgpt.py and is in the table of exercises."""
        for task in solutions.SOLUTIONS:
            compile(solutions.edited(solutions.changes(task)), task, "exec")
            self.assertIn(f"\n| {task} |", h.README)

    def test_calibration(self):
        """The mean gap between probability and hit rate follows from the table."""
        rows = re.findall(r"(?m)^\| 0\.\d to \S+ \| (\d+) \| (\S+) \| (\S+)", h.README)
        bins = [(int(n), abs(float(p) - float(hits))) for n, p, hits in rows]
        total = sum(n for n, _ in bins)
        gap = sum(n * apart for n, apart in bins) / total
        self.assertIn(f"its {total:,} guesses", h.README)
        self.assertIn(f"the gap is {gap:.3f} on average", h.README)

    def test_words(self):
        """microgpt.py has more than 3,000 words of explanation."""
        tokens = tokenize.generate_tokens(io.StringIO(h.SOURCE).readline)
        texts = [t.string for t in tokens if t.string.startswith(("#", '"""'))]
        self.assertGreater(len(re.findall("[A-Za-z]+", " ".join(texts))), 3000)

    def test_links(self):
        """Links within README.md lead to a heading, a file, or an address at its end."""
        headings = re.findall(r"(?m)^#+ (.*)", re.sub(r"(?s)```.*?```", "", h.README))
        anchors = {
            re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings
        }
        for target in re.findall(r"\]\(([^)\s]+)\)", h.README):
            if target.startswith("#"):
                self.assertIn(target[1:], anchors)
            elif not target.startswith("https://"):
                self.assertTrue((h.ROOT / target).exists(), target)
        known = re.findall(r"(?m)^\[(.*)\]: https://", h.README)
        text = re.sub(r"(?s)```.*?```|`[^`]*`", "", h.README).replace("\n  ", " ")
        for label in re.findall(r"\[([^\]]+)\](?![(:\]])", text):
            self.assertIn(label.replace("\n", " "), known)


@h.needs_shipped
class AfterTheRun(h.TestCase):
    """The recipes, typed one after the other after the default run."""

    @classmethod
    def setUpClass(cls):
        run = h.default_run()
        cls.names = dict(vars(run))
        module = types.ModuleType("microgpt")
        module.__dict__.update(cls.names)
        cls.left = list(run.tape)
        weights = h.data(run.model.params)
        where = h.folder(cls)
        shutil.copy(str(h.ROOT / "input.txt"), str(where))
        cls.out = {}
        with h.inside(where), mock.patch.dict(sys.modules, microgpt=module):
            for recipe in RECIPES:
                cls.out[recipe] = type_in(
                    re.sub(r"\b[13]00, 0", "2, 0", recipe), cls.names
                )
        for p, weight in zip(run.model.params, weights):
            p.data = weight  # as they were before one of the recipes trained further

    def output(self, words):
        return next(self.out[recipe] for recipe in RECIPES if words in recipe)

    def test_comments(self):
        """What stands as a comment behind a print is what it prints."""
        for recipe in RECIPES:
            for said in re.findall(r"(?m)^print\(.*\)  # (.+)$", recipe):
                if said != "y = 3.00 * x + -1.00":
                    self.assertIn(said, self.out[recipe].splitlines())

    def test_next_letter(self):
        """The bars for the next letter are those shown."""
        self.assertEqual(self.output("show_next("), shown_after("def show_next"))

    def test_attention(self):
        """The picture of a head is the one shown."""
        picture = self.output("show_attention(")
        self.assertEqual(picture, shown_after("def show_attention"))

    def test_refused(self):
        """Recipes refuse a head that is not there, and a text that does not fit."""
        show_next, show_attention = (
            self.names["show_next"],
            self.names["show_attention"],
        )
        self.assertRaises(AssertionError, show_next, "a" * 16)
        self.assertRaises(AssertionError, show_attention, "a" * 16, 0)
        self.assertRaises(AssertionError, show_attention, "ava", 4)

    def test_tape(self):
        """The recipes leave the tape as they found it."""
        self.assertEqual(self.names["tape"], self.left)

    def test_excerpt(self):
        """Every word of the run at the top is in the default run, line by line."""
        lines = h.default_run().out.splitlines()
        for line in shown_after("python3 microgpt.py").splitlines():
            words = line.split()
            self.assertTrue(any(set(words) <= set(o.split()) for o in lines), line)

    def test_picture(self):
        """The points of the training loss are the means in the rows of the run."""
        for step, mean, *_ in h.rows(h.default_run().out)[1:]:
            line = re.search(
                rf"(?m)^ *{step}  (.*)$", shown_after("Look at the loss on held-out")
            )[1]
            column = round((float(mean) - 2.3) / 0.0125)
            self.assertIn(line[column], ".o")
