"""README.md: every example runs as it stands there, and the numbers it quotes are computed."""
import codeop
import contextlib
import doctest
import io
import math
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest
from collections import Counter

import microgpt

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)


def block(start):
    """Return the first code block that begins with start."""
    return next(text for _, text in BLOCKS if text.startswith(start))


def split_names():
    """Return (training names, held-out names) as the default run parts them."""
    docs = microgpt.load("input.txt")
    random.Random(microgpt.seed).shuffle(docs)
    return docs[:-microgpt.num_held_out], docs[-microgpt.num_held_out:]


def counted_loss(train, held_out, before):
    """Return the loss of guessing by counts (plus 1) of what follows `before` characters."""
    pairs, contexts = Counter(), Counter()
    for doc in train:
        text = "^" * before + doc + "$"
        for i in range(before, len(text)):
            pairs[text[i - before:i + 1]] += 1
            contexts[text[i - before:i]] += 1
    losses = []
    for doc in held_out:
        text = "^" * before + doc + "$"
        logs = [-math.log((pairs[text[i - before:i + 1]] + 1) / (contexts[text[i - before:i]] + 27))
                for i in range(before, len(text))]
        losses.append(sum(logs) / len(logs))
    return sum(losses) / len(losses)


class Examples(unittest.TestCase):
    def test_python_session(self):
        """The >>> session prints what README.md says."""
        failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False,
                                         encoding="utf-8")
        self.assertEqual((failed, tried > 4), (0, True))

    def test_recipes(self):
        """The recipes run one after the other, and print what the comments behind them say."""
        recipes = [text for kind, text in BLOCKS if kind == "python" and ">>>" not in text]
        said = re.findall(r"\)  # (\w+)$", "".join(recipes), re.M)
        old, softmax, out = os.getcwd(), microgpt.softmax, io.StringIO()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                with contextlib.redirect_stdout(out):
                    for recipe in recipes:
                        exec(compile(recipe, "README.md", "exec"), self.__dict__)
            finally:
                os.chdir(old)
        lines = out.getvalue().splitlines()
        self.assertEqual([line for line in lines if line in ("dave", "eva")], said)
        self.assertIs(microgpt.softmax, softmax)
        self.assertIn("0 ^ @", lines)  # at position 0 a token can only look at itself
        before, after = (float(line) for line in lines if re.fullmatch(r"0\.\d+", line))
        self.assertLess(after, before)

    def test_recipes_can_be_typed(self):
        """Every recipe is complete when typed line by line: no block is left open."""
        for kind, text in BLOCKS:
            if kind == "python" and ">>>" not in text:
                buffer = []
                for line in text.splitlines() + [""]:
                    buffer.append(line)
                    if codeop.compile_command("\n".join(buffer)) is not None:
                        buffer = []
                self.assertEqual(buffer, [])

    def test_weights_survive_the_file(self):
        """A model rebuilt from saved weights computes the same losses as the one that was saved."""
        models = [microgpt.GPT(["a", "v"], 1, 8, 2, 4, random.Random(s)) for s in (1, 2)]
        self.assertNotEqual(*(microgpt.document_loss(model, "ava") for model in models))
        for p, q in zip(models[0].params, models[1].params):
            q.data = p.data
        self.assertEqual(*(microgpt.document_loss(model, "ava") for model in models))


class Numbers(unittest.TestCase):
    def test_output(self):
        """The run shown at the top is the true output, up to the second row of the training."""
        shown = block("29,693").splitlines()
        with subprocess.Popen([sys.executable, str(ROOT / "microgpt.py")], stdout=subprocess.PIPE,
                              text=True) as run:
            lines = [run.stdout.readline().rstrip("\n") for _ in range(6)]
            run.kill()
        self.assertEqual(lines[:4], shown[:4])
        for pair in zip(lines[4:], shown[4:6]):  # the rows, but for their times
            self.assertEqual(*(re.sub(r" *[\d.]+ s (gone|left)", "", row) for row in pair))

    def test_levels(self):
        """The levels beside the loss curve are those of counted letters, pairs and triples."""
        train, held_out = split_names()
        levels = [math.log(27)] + [counted_loss(train, held_out, before) for before in range(3)]
        drawn = re.findall(r"line \[([\d.]+), \1", README)
        self.assertEqual([f"{level:.2f}" for level in levels], drawn)
        self.assertEqual(re.findall(r"\((\d\.\d\d)\)", README)[:4], drawn)
        few = [f"{counted_loss(train[:1000], held_out, before):.2f}" for before in (1, 2)]
        self.assertIn("give {} and {}".format(*few), README)
        self.assertEqual(len(train), 29393)
        source = (ROOT / "microgpt.py").read_text(encoding="utf-8")
        self.assertIn(f"ln 27 = {levels[0]:.3f}", source)  # and so do the numbers of the comment
        self.assertIn(f"letter pairs: {levels[2]:.2f}", source)

    def test_hesitation(self):
        """e^loss turns the three levels of the text into 27, 11.7 and 10.5 characters."""
        train, held_out = split_names()
        self.assertIn("27 at 3.30, 11.7 at 2.46, 10.5 at 2.35", README)
        self.assertEqual(f"{math.exp(counted_loss(train, held_out, 1)):.1f}", "11.7")
        self.assertEqual(f"{math.exp(2.347):.1f}", "10.5")

    def test_curve(self):
        """The curve is the one of the rows, and the first and last of them stand in the output."""
        curve = re.findall(r"line \[(2\.7434.*)\]", README)[0].split(", ")
        self.assertEqual(len(curve), 10)
        for row in re.findall(r"step +(\d+)  loss ([\d.]+)", block("29,693")):
            self.assertEqual(curve[int(row[0]) // 100 - 1], row[1])

    def test_parameters(self):
        """The parameter counts of the tables are those of models with these knobs."""
        def count(**knobs):
            sizes = {"n_layer": 1, "n_embd": 16, "n_head": 4, "block_size": 16, **knobs}
            return len(microgpt.GPT([""] * 26, rng=random.Random(0), **sizes).params)
        for knob, value in (("n_layer", 2), ("n_embd", 8), ("n_embd", 32)):
            row = re.search(rf"`{knob} = {value}` .*", README)[0]
            self.assertIn(f"{count(**{knob: value}):,} parameters", row)
        self.assertIn(f"{count() - 27 * 16:,} parameters", README)  # lm_head is wte: one less
        cut = sum(len(name) >= 8 for name in microgpt.load("input.txt"))
        self.assertIn(f"{cut:,} names are cut", README)

    def test_knobs_exist(self):
        """Each knob of the table stands at the top of microgpt.py and can be set as shown there."""
        source = (ROOT / "microgpt.py").read_text(encoding="utf-8")
        for knob in re.findall(r"^\| `(\w+) = [\d.]+` \|", README, re.M):
            self.assertRegex(source, rf"(?m)^{knob} = ")

    def test_data(self):
        """input.txt holds as many names, and as long ones, as README.md says, and none twice."""
        names = (ROOT / "input.txt").read_text(encoding="utf-8").split("\n")[:-1]
        said = re.search(r"`input.txt`: ([\d,]+) given names, a to z, at most (\d+) let", README)
        self.assertEqual((f"{len(names):,}", str(max(map(len, names)))), said.groups())
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual(sorted(set("".join(names))), list("abcdefghijklmnopqrstuvwxyz"))


class Shape(unittest.TestCase):
    def test_first_screen(self):
        """Fewer than 80 words stand before the first command."""
        before = README.split("    python microgpt.py")[0]
        self.assertLess(len(before.split()), 80)

    def test_length(self):
        """Without tables, code and pictures, README.md is 700 to 1,100 words long."""
        prose = re.sub(r"```.*?```", "", README, flags=re.S)
        words = [w for line in prose.splitlines() if not line.startswith("|") for w in line.split()]
        self.assertTrue(700 <= len(words) <= 1100, len(words))

    def test_map(self):
        """Each test file that the map names is there."""
        for name in re.findall(r"`(?:tests/)?(test_\w+\.py)`", README):
            self.assertTrue((ROOT / "tests" / name).is_file(), name)
