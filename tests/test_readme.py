"""README.md: its examples run as they stand there, and what a default run shows is
computed."""
import codeop
import contextlib
import doctest
import functools
import io
import math
import random
import re
import shutil
import tempfile
import unittest
from collections import Counter
from unittest import mock

import microgpt
from microgpt import GPT, generate, read_documents, softmax, tape
from tests.helpers import (README, ROOT, SOURCE, data, default_run, inside,
                           needs_shipped)

BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
COMMENTS = " ".join(SOURCE.replace("#", "").split())
RECIPES = [text for kind, text in BLOCKS if kind == "python" and ">>>" not in text]


def quoted(pattern):
    """Return what README.md has for the groups of a pattern, in which a blank is any
    space."""
    found = re.findall(pattern.replace(" ", r"\s+"), README, re.S)
    assert len(found) == 1, f"README.md has {pattern!r} {len(found)} times"
    return found[0]


def block_after(words):
    """Return the first block of text that follows these words."""
    return re.search(r"```text\n(.*?)```", README[README.index(words):], re.S)[1]


@functools.lru_cache(maxsize=None)
def split_names():
    """Return (all names as the default run shuffles them, those trained on, held-out
    ones)."""
    docs = read_documents(str(ROOT / "input.txt"), 16)
    random.Random(42).shuffle(docs)
    return docs, docs[:-300], docs[-300:]


def sampler():
    """Return the generator in the state that it has when the default run begins to
    invent."""
    rng = random.Random(42)
    docs = read_documents(str(ROOT / "input.txt"), 16)
    rng.shuffle(docs)
    GPT(27, 1, 16, 4, 16, rng)
    return rng


class Counts:
    """Counts of which token follows which others, for guessing without a model."""

    def __init__(self, names, before):
        self.before, self.pairs, self.contexts = before, Counter(), Counter()
        for name in names:
            text = "^" * before + name + "$"
            for i in range(before, len(text)):
                for n in range(before + 1):
                    self.pairs[text[i - n:i + 1], n] += 1
                    self.contexts[text[i - n:i], n] += 1

    def plus_one(self, text, i):
        n = self.before
        return (self.pairs[text[i - n:i + 1], n] + 1) / \
            (self.contexts[text[i - n:i], n] + 27)

    def leaning(self, text, i, n=None):
        """Add 20 imagined cases, spread as with one letter less."""
        n = self.before if n is None else n
        less = self.leaning(text, i, n - 1) if n else 1 / 27
        count, total = self.pairs[text[i - n:i + 1], n], self.contexts[text[i - n:i], n]
        return (count + 20 * less) / (total + 20)

    def loss(self, probability, names):
        """Return the mean over names of the mean -log p, as mean_loss does."""
        losses = []
        for name in names:
            text = "^" * self.before + name + "$"
            logs = [-math.log(probability(text, i))
                    for i in range(self.before, len(text))]
            losses.append(sum(logs) / len(logs))
        return sum(losses) / len(losses)


class Examples(unittest.TestCase):
    def test_python_session(self):
        """The >>> session prints what README.md says."""
        failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False,
                                         encoding="utf-8")
        self.assertEqual((failed, tried), (0, 7))

    def test_session_is_the_picture(self):
        """The numbers in the picture of three operations are those that backward()
        finds."""
        a, b, c = microgpt.Value(2.0), microgpt.Value(-3.0), microgpt.Value(10.0)
        product = a * b
        total = product + c
        loss = total ** 2
        loss.backward()
        values = re.findall(r'\["[^"]*?(-?\d+)<br/>gradient (-?\d+)"\]', README)
        self.assertEqual([(float(x), float(g)) for x, g in values],
                         [(v.data, v.grad) for v in (a, product, b, total, c, loss)])
        slopes = [float(slope) for slope in re.findall(r'-- "slope (-?\d+)"', README)]
        self.assertEqual(slopes, [*product.local_grads, total.local_grads[0],
                                  total.local_grads[1], loss.local_grads[0]])
        self.assertEqual(quoted(r"it is (-?\d+) \* (\d+) \* (\d+) = (-\d+)"),
                         tuple(f"{x:.0f}" for x in (b.data, 1, 8, a.grad)))

    def test_recipes_can_be_typed(self):
        """Every recipe is complete when typed line by line: no block is left open."""
        for recipe in RECIPES:
            buffer = []
            for line in recipe.splitlines() + [""]:
                buffer.append(line)
                if codeop.compile_command("\n".join(buffer)) is not None:
                    buffer = []
            self.assertEqual(buffer, [])

    def test_pictures_are_of_one_model(self):
        """The first "a" of "ava" is id 0, at position 1, and 27 tokens are scored."""
        ids = microgpt.Tokenizer(["abcdefghijklmnopqrstuvwxyz"]).encode("ava")
        self.assertEqual((ids[0], ids[1]), (0, 21))
        self.assertEqual(quoted(r"token 'a'<br/>row (\d+) of wte.*\n.*"
                                r"position (\d+)<br/>"
                                r"row (\d+) of wpe"), ("0", "1", "1"))


@needs_shipped
class Recipes(unittest.TestCase):
    """All recipes, typed one after the other after the default run."""

    @classmethod
    def setUpClass(cls):
        run, folder = default_run(), tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        shutil.copy(str(ROOT / "input.txt"), folder)
        cls.outputs = {}
        names = {**vars(microgpt), "model": run.model, "tokenizer": run.tokenizer}
        cls.weights = [p.data for p in run.model.params]
        with inside(folder):
            for recipe in RECIPES[1:]:  # the first is for scripts: it would train again
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    exec(compile(recipe, "README.md", "exec"), names)
                cls.outputs[recipe] = out.getvalue()
        cls.left = list(tape)

    def test_comments(self):
        """What stands behind a print is what it prints."""
        checked = 0
        for recipe, out in self.outputs.items():
            for said in re.findall(r"(?m)^print\(.*\)  # (.+)$", recipe):
                self.assertIn(said, out.splitlines())
                checked += 1
        self.assertEqual(checked, 4)

    def test_next_letter(self):
        """The bars for the next letter are those shown."""
        recipe = next(recipe for recipe in RECIPES if "show_next" in recipe)
        self.assertEqual(self.outputs[recipe], block_after("def show_next"))

    def test_attention(self):
        """The weights of the head are those shown."""
        recipe = next(recipe for recipe in RECIPES if "show_attention" in recipe)
        self.assertEqual(self.outputs[recipe], block_after("def show_attention"))

    def test_attention_is_the_models_own(self):
        """The recipe computes the very weights that the model uses."""
        run, seen = default_run(), []

        def watch(scores):
            seen.append(softmax(scores))
            return seen[-1]
        with mock.patch.object(microgpt, "softmax", watch):
            cache = run.model.new_cache()
            for position, token in enumerate([26, 0, 21, 0]):
                run.model.forward(token, position, cache)
        tape.clear()
        rows = [" ".join(f"{weight:.2f}" for weight in data(weights))
                for weights in seen[1::4]]
        shown = [line[2:] for line in block_after("def show_attention").splitlines()]
        self.assertEqual(rows, shown)

    def test_nothing_is_left(self):
        """The recipes leave the tape empty and the model of the run as it was."""
        self.assertEqual(self.left, [])
        self.assertEqual([p.data for p in default_run().model.params], self.weights)

    def test_script(self):
        """The two lines for a script give what python -i has: the names, a model, a
        tokenizer."""
        fake = (object(), object())
        names = {}
        with mock.patch.object(microgpt, "main", lambda: fake):
            exec(compile(RECIPES[0], "README.md", "exec"), names)
        self.assertEqual((names["model"], names["tokenizer"]), fake)
        needed = set(re.findall(r"\b(\w+)\(", "".join(RECIPES))) & set(vars(microgpt))
        self.assertTrue(needed <= set(names))


@needs_shipped
class Numbers(unittest.TestCase):
    def test_output(self):
        """The run shown at the top is the true output, all but the seconds left."""
        def without_seconds(text):
            return re.sub(r" +\d+ s left", " s left", text)
        self.assertEqual(without_seconds(block_after("python microgpt.py")),
                         without_seconds(default_run().out))

    def test_curve(self):
        """The red line has the loss of step 1 and of each row, the purple one the
        held-out loss."""
        shown = re.findall(r"line \[(.*)\]", README)
        rows = re.findall(r"(?m)^step +(\d+)  loss (\S+)", default_run().out)
        self.assertEqual(shown[5].split(", "), [loss for _, loss in rows])
        self.assertEqual(
            quoted(r'x-axis "step" \[(.*), " "\]').split(", "), [s for s, _ in rows])
        held_out = re.search(r"their loss is (\S+):", default_run().out)[1]
        self.assertEqual(shown[4].split(", "), [held_out] * len(rows))
        rounded = f"{float(held_out):.2f}"
        self.assertEqual(quoted(r"held-out loss at the end, (\d\.\d+);"), rounded)
        self.assertIn(f"This model gets to {rounded} after 1,000 names.", COMMENTS)

    def test_levels(self):
        """The levels beside the curve are those of counted letters, pairs and triples.
        """
        _, names, held_out = split_names()
        counts = [Counts(names, before) for before in range(3)]
        losses = [math.log(27)] + [count.loss(count.plus_one, held_out)
                                   for count in counts]
        levels = [f"{loss:.2f}" for loss in losses]
        lines = re.findall(r"line \[(.*)\]", README)[:4]
        self.assertEqual([line.split(", ") for line in lines],
                         [[level] * 11 for level in levels])
        self.assertEqual(list(quoted(r"guessing, ([\d.]+); .{,60} is, ([\d.]+); "
                                     r".{,60} which, ([\d.]+); .{,140} two, "
                                     r"(\d\.\d+)\.")), levels)
        self.assertEqual(quoted(r"counted on the ([\d,]+) names"), f"{len(names):,}")
        self.assertIn(f"a loss of {levels[2]} on the held-out ones", COMMENTS)

    def test_counting_few(self):
        """Counting the model's own 1,000 names gives the losses quoted, with plus one
        and better."""
        _, names, held_out = split_names()
        self.assertEqual(quoted(r"only ([\d,]+) names\. Counted on the same ([\d,]+),"),
                         ("1,000", "1,000"))
        few = [Counts(names[:1000], before) for before in (1, 2, 3)]
        losses = ([count.loss(count.plus_one, held_out) for count in few[:2]]
                  + [count.loss(count.leaning, held_out) for count in few[1:]])
        self.assertEqual(list(quoted(r"letters give ([\d.]+) and triples (\d\.\d+)\."
                                     r".{,200}? triples give ([\d.]+) and groups of "
                                     r"four (\d\.\d+)\.")),
                         [f"{loss:.2f}" for loss in losses])

    def test_hesitation(self):
        """exp(loss) of the levels of guessing, pairs and the model is as quoted."""
        names, held_out = split_names()[1:]
        pairs = Counts(names, 1)
        tokens = re.search(r"guessing among (\S+) tokens", default_run().out)[1]
        of_pairs = math.exp(pairs.loss(pairs.plus_one, held_out))
        self.assertEqual(quoted(r"hesitates: (\d+) at 3\.30, ([\d.]+) at 2\.46, "
                                r"([\d.]+) at 2\.35"),
                         ("27", f"{of_pairs:.1f}", tokens))

    def test_sure_and_right(self):
        """The likeliest token's mean probability, and how often it is right, are as
        quoted."""
        run, sure, right = default_run(), [], []
        for name in split_names()[2]:
            tokens = [26] + run.tokenizer.encode(name) + [26]
            for probs, target in zip(read_probs(run.model, tokens[:-1]), tokens[1:]):
                sure.append(max(probs))
                right.append(probs.index(max(probs)) == target)
        self.assertEqual(quoted(r"probability of ([\d.]+) on average, and is right in "
                                r"([\d.]+) of "
                                r"the ([\d,]+) guesses"),
                         (f"{sum(sure) / len(sure):.3f}",
                          f"{sum(right) / len(right):.3f}",
                          f"{len(sure):,}"))

    def test_temperatures(self):
        """The table of temperatures, and what is said of its names, is computed anew.
        """
        run, (docs, names, _) = default_run(), split_names()
        known, seen = set(docs), set(names[:1000])
        for temperature in (0.1, 0.5, 1, 2):
            rng = sampler()
            made = [generate(run.model, run.tokenizer, "", temperature, rng)
                    for _ in range(200)]
            found = [name for name in made if name in known]
            row = (f"| {temperature} | {len(found)} | {len(set(made))} | "
                   f"{', '.join(made[:5])} |\n")
            self.assertIn(row, README)
            if temperature == 0.1:
                said = quoted(r"The (\d+) of the first row are only (\d+) different")
                self.assertEqual(said,
                                 (str(len(found)), str(len(set(found)))))
            if temperature == 0.5:
                self.assertEqual(
                    quoted(r"(\d+) stand in the file, and none"), str(len(found)))
                self.assertFalse(seen & set(made))

    def test_data(self):
        """What README.md says of input.txt holds: number, longest, alphabet, no
        repeats, order."""
        names = split_names()[0]
        number, longest = quoted(
            r"`input.txt`: ([\d,]+) given names, a to z, at most (\d+)")
        self.assertEqual((number, longest),
                         (f"{len(names):,}", str(max(map(len, names)))))
        self.assertEqual(
            quoted(r"numbers for ([\d,]+) names"),
            f"{len(split_names()[1]):,}")
        self.assertIn(f"{number} names given", SOURCE)

    def test_parameters(self):
        """The numbers of parameters in the tables are those of models with these
        settings."""
        def count(**settings):
            sizes = {
                "n_layer": 1,
                "n_embd": 16,
                "n_head": 4,
                "block_size": 16,
                **settings}
            return len(GPT(27, rng=random.Random(0), **sizes).params)
        for name, value in (("n_layer", 2), ("n_embd", 8), ("n_embd", 32)):
            row = re.search(rf"`{name} = {value}` .*", README)[0]
            self.assertIn(f"| {count(**{name: value}):,} parameters", row)
        self.assertEqual(quoted(r"with ([\d,]+) parameters; with ([\d,]+) the shared"),
                         (f"{count() - 27 * 16:,}", f"{count():,}"))

    def test_cut(self):
        """With block_size = 8 as many names lose their end as the table says."""
        cut = sum(len(name) >= 8 for name in split_names()[0])
        self.assertEqual(quoted(r"([\d,]+) names lose their end"), f"{cut:,}")

    def test_fall(self):
        """The share of the fall with a rate of 0.001 follows from the losses in the
        table."""
        slow = float(re.search(r"`learning_rate = 0.001` \| ([\d.]+)", README)[1])
        default = float(re.search(r"\| none \| ([\d.]+)", README)[1])
        guessing = math.log(27)
        self.assertEqual(quoted(r"(\d+) % of the fall"),
                         f"{100 * (guessing - slow) / (guessing - default):.0f}")

    def test_ascii_codes(self):
        """Codes up to 122 would be needed, and the 97 below "a" never used."""
        self.assertEqual(quoted(r"code up to (\d+), and the (\d+) below"),
                         (str(ord("z")), str(ord("a"))))


class Shape(unittest.TestCase):
    def test_first_screen(self):
        """Fewer than 60 words stand before the first command."""
        self.assertLess(len(README.split("    python microgpt.py")[0].split()), 60)

    def test_length(self):
        """Without tables, code and pictures, README.md is 900 to 1,600 words long."""
        prose = re.sub(r"```.*?```", "", README, flags=re.S)
        words = [w for line in prose.splitlines() if not line.startswith("|")
                 for w in line.split()]
        self.assertTrue(900 <= len(words) <= 1600, len(words))

    def test_map(self):
        """Each test file that the map names is there, and each of ours is named or
        helps."""
        for name in re.findall(r"`(?:tests/)?(test_\w+\.py)`", README):
            self.assertTrue((ROOT / "tests" / name).is_file(), name)

    def test_settings_exist(self):
        """Each setting of the table stands at the top of microgpt.py, as it is written
        there."""
        for name in re.findall(r"(?m)^\| `(\w+) = [\d.]+` \|", README):
            self.assertRegex(SOURCE, rf"(?m)^{name} = ")


def read_probs(model, tokens):
    """Return the model's probabilities after each of the tokens, as floats."""
    cache, rows = model.new_cache(), []
    for position, token in enumerate(tokens):
        rows.append(data(softmax(model.forward(token, position, cache))))
    tape.clear()
    return rows


if __name__ == "__main__":
    unittest.main()
