"""Measure every number of README.md that is measured.

    python -m tests.measure [group ...]

The groups are settings, noise, exercises, sizes and speeds; without an argument all of
them are measured, which takes about half an hour. Each line tells the name of a number,
what README.md says, what was measured now, and "differs" if the two differ. README.md
is asked for the row with a certain text in its first cell, and for one column of this
row; "-" means that it has no such row. The marks of code, `, do not count.

Losses and counts are the same in each run, and must be equal to the last digit.
(README.md has those of CPython 3.11. From 3.12 on, sum() rounds differently, which may
change a digit, and more where a training is unstable.) Times and memory depend on the
computer. A single time is compared with that of the default run, and may be a third
off; so may memory. A range, "a to b", only has to overlap the measured one.

The exit status is 1 if one of the numbers that must be equal differs.
"""
import concurrent.futures
import contextlib
import gc
import io
import math
import os
import re
import statistics
import sys
import tempfile
import time
import types
from collections import Counter
from pathlib import Path

from tests import speed

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "microgpt.py").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


# A run of the program -----------------------------------------------------------------
def edited(edits):
    """Return microgpt.py with texts replaced; each must stand there once."""
    source = SOURCE
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"this must stand once in microgpt.py: {old!r}")
        source = source.replace(old, new)
    return source


def run(edits=(), **settings):
    """Do what `python microgpt.py` does with these edits and settings.

    edits are pairs of an old and a new text. Returned are the program (a module of its
    own), the model, the tokenizer, the training and the held-out documents, the losses
    of all steps, the held-out loss, the printed text, and the CPU seconds it took.
    """
    program = types.ModuleType("microgpt")
    exec(compile(edited(edits), "microgpt.py", "exec"), program.__dict__)
    program.input_file = str(ROOT / "input.txt")
    for name, value in settings.items():
        setattr(program, name, value)
    result = types.SimpleNamespace(program=program)
    train, mean_loss = program.train, program.mean_loss

    def kept_train(model, tokenizer, training, *args):
        result.training = training
        result.losses = train(model, tokenizer, training, *args)
        return result.losses

    def kept_mean_loss(model, tokenizer, held_out):
        result.held_out = held_out
        result.held_out_loss = mean_loss(model, tokenizer, held_out)
        return result.held_out_loss

    program.train, program.mean_loss = kept_train, kept_mean_loss
    printed = io.StringIO()
    if sys.implementation.name == "cpython":
        gc.disable()  # as microgpt.py does
    start = time.process_time()
    try:
        with contextlib.redirect_stdout(printed):
            result.model, result.tokenizer = program.main()
    finally:
        gc.enable()
    result.seconds = time.process_time() - start
    result.printed = printed.getvalue()
    return result


def losses_of_names(result):
    """Return the loss of each held-out name."""
    losses = []
    for name in result.held_out:
        loss = result.program.document_loss(result.model, result.tokenizer, name)
        losses.append(loss.data)
        result.program.tape.clear()
    return losses


# What is compared ---------------------------------------------------------------------
def read_rows():
    """Return {first cell: [cells of a row, ...]} for all tables of README.md."""
    rows = {}
    for line in README.splitlines():
        if line.startswith("|"):
            cells = line.replace("`", "").strip("| ").split("|")
            cells = [cell.strip() for cell in cells]
            rows.setdefault(cells[0], []).append(cells)
    return rows


ROWS = read_rows()


def said(row, column):
    """Return what README.md says in this column of the row with this first cell."""
    found = ROWS.get(row, [])
    if len(found) > 1:
        return "in several rows"
    if not found or column >= len(found[0]):
        return "-"
    return found[0][column]


def numbers_in(text):
    """Return the numbers that stand in a text."""
    found = re.findall(r"\d+(?:\.\d+)?", text.replace(",", ""))
    return [float(number) for number in found]


def digits(number, count):
    """Return a number with so many significant digits: 18.6 with one is 20."""
    return f"{float(f'{number:.{count}g}'):g}"


class Number:
    """A measured number that must be equal to that of README.md."""

    must_be_equal = True

    def __init__(self, row, column, text, what=""):
        self.row = row
        self.column = column
        self.text = text  # what was measured, as README.md should write it
        self.name = f"{row}: {what}" if what else row

    def agrees(self, text):
        """Return whether README.md, which says this text, is right."""
        return text == self.text

    def shown(self, text):
        """Return what to show of this text of README.md."""
        return text


class Among(Number):
    """A measured number that must be one of those in a longer text of README.md."""

    def agrees(self, text):
        alone = rf"(?<![\d.,]){re.escape(self.text)}(?!\d|[.,]\d)"  # not in 12.347
        return re.search(alone, text) is not None

    def shown(self, text):
        return self.text if self.agrees(text) else text


class Rough(Number):
    """A measured number that may be a third off, told with count significant digits."""

    must_be_equal = False

    def __init__(self, row, column, value, count, what=""):
        super().__init__(row, column, digits(value, count), what)
        self.value = value

    def agrees(self, text):
        numbers = numbers_in(text)
        if len(numbers) != 1:
            return False
        return abs(numbers[0] - self.value) <= max(numbers[0], self.value) / 3


class Range(Number):
    """A measured range that only has to overlap that of README.md."""

    must_be_equal = False

    def __init__(self, row, column, low, high, what=""):
        low, high = f"{low:.1f}", f"{high:.1f}"
        super().__init__(row, column, low if low == high else f"{low} to {high}", what)

    def agrees(self, text):
        numbers, measured = numbers_in(text), numbers_in(self.text)
        if not 1 <= len(numbers) <= 2:
            return False
        return numbers[0] <= measured[-1] and measured[0] <= numbers[-1]


# Settings -----------------------------------------------------------------------------
CHANGES = [
    ("num_steps", 100), ("num_steps", 5000), ("n_layer", 2), ("n_layer", 4),
    ("n_embd", 8), ("n_embd", 32), ("n_head", 1), ("n_head", 8), ("block_size", 8),
    ("learning_rate", 0.001), ("learning_rate", 0.03), ("learning_rate", 0.1),
]


def loss_and_seconds(settings):
    """Return the held-out loss of a run as text, and its CPU seconds.

    If it breaks down, the text says so, and the seconds are None.
    """
    try:
        result = run(**settings)
    except RuntimeError:
        return "breaks down", None
    return f"{result.held_out_loss:.3f}", result.seconds


def loss_and_seconds_of_ten():
    """Return the same for the first 10 names of input.txt."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.txt"
        names = (ROOT / "input.txt").read_text(encoding="utf-8").splitlines()[:10]
        path.write_text("\n".join(names) + "\n", encoding="utf-8")
        return loss_and_seconds({"input_file": str(path)})


def settings(pool):
    """Yield, for each change of a setting, the held-out loss and the time."""
    jobs = {"none": pool.submit(loss_and_seconds, {})}
    for name, value in CHANGES:
        jobs[f"{name} = {value}"] = pool.submit(loss_and_seconds, {name: value})
    jobs["the first 10 names only"] = pool.submit(loss_and_seconds_of_ten)
    _, default_seconds = jobs["none"].result()
    for row, job in jobs.items():
        loss, seconds = job.result()
        yield Among(row, 1, loss, "held-out loss")
        if seconds is not None:
            yield Rough(row, 2, seconds / default_seconds, 1, "time")


# Noise --------------------------------------------------------------------------------
MODEL = "model = GPT(tokenizer.vocab_size, n_layer, n_embd, n_head, block_size, rng)"


def loss_of_start(start, n_layer):
    """Return the held-out loss of a run with parameters drawn by another generator."""
    other = MODEL.replace("rng)", f"random.Random({start}))")
    return run([(MODEL, other)], n_layer=n_layer).held_out_loss


def standard_error():
    """Return the standard error of the default run's held-out loss."""
    losses = losses_of_names(run())
    return statistics.stdev(losses) / math.sqrt(len(losses))


def noise(pool):
    """Yield how far luck moves the held-out loss."""
    one_block = [pool.submit(loss_of_start, start, 1) for start in range(1, 9)]
    two_blocks = [pool.submit(loss_of_start, start, 2) for start in range(1, 5)]
    error = pool.submit(standard_error)
    one_block = [job.result() for job in one_block]
    two_blocks = [job.result() for job in two_blocks]
    deviation = statistics.stdev(one_block)
    yield Number("standard deviation over 8 starts", 1, f"{deviation:.3f}")
    yield Number("standard error over 300 names", 1, f"{error.result():.3f}")
    mean = statistics.mean(two_blocks)
    yield Number("n_layer = 2, mean of the same 4 starts", 1, f"{mean:.3f}")
    mean = statistics.mean(one_block[:4])
    yield Number("n_layer = 1, mean of 4 starts", 1, f"{mean:.3f}")


# Exercises ----------------------------------------------------------------------------
LOSS = "        loss = document_loss(model, tokenizer, document)\n"
DRAW = "            token = rng.choices(range(len(weights)), weights)[0]\n"
MLP_END = "    return linear(hidden, block[\"fc2\"])\n"

FINAL_NORM = [("linear(x, self.lm_head)", "linear(rmsnorm(x), self.lm_head)")]
GELU = [("number.relu() for", "gelu(number) for")]
TIED_TWICE = [
    ("lm_head = random_matrix(vocab_size, n_embd, rng)", "lm_head = self.wte"),
]
TIED = TIED_TWICE + [
    ("[self.wte, self.wpe, self.lm_head]", "[self.wte, self.wpe]"),
]
TOP_5_BY_PROBABILITY = [(DRAW, """\
            kept = sorted(range(len(weights)), key=lambda i: -weights[i])[:5]
            token = rng.choices(kept, [weights[i] for i in kept])[0]
""")]
TOP_5_BY_ID = [(DRAW, """\
            kept = sorted(range(len(weights)), key=lambda i: -weights[i])[:5]
            kept.sort()
            token = rng.choices(kept, [weights[i] for i in kept])[0]
""")]
BATCHES = [(LOSS, """\
        first = 8 * (step - 1)
        batch = [documents[i % len(documents)] for i in range(first, first + 8)]
        loss = sum(document_loss(model, tokenizer, document) for document in batch) / 8
""")]
DROPOUT = [
    ("def mlp(x, block):\n", "dropout_rng = random.Random(1)\n"
                             "dropout_is_on = False\n\n\n"
                             "def mlp(x, block):\n"),
    (MLP_END, """\
    if dropout_is_on:
        for i in range(len(hidden)):
            hidden[i] = hidden[i] * (0 if dropout_rng.random() < 0.1 else 1 / 0.9)
""" + MLP_END),
    (LOSS, "        global dropout_is_on\n"
           "        dropout_is_on = True\n" + LOSS + "        dropout_is_on = False\n"),
]
LOG_SUM_EXP = [
    ("        probs = softmax(logits)\n", ""),
    ("losses.append(-probs[target].log())", """\
largest = max(logit.data for logit in logits)
        total = sum((logit - largest).exp() for logit in logits)
        losses.append(total.log() + largest - logits[target])"""),
]
SUB_WORDS = [("= Tokenizer(documents)", "= SubWords(documents, training)")]


def gelu(x):
    """Return the Gaussian error linear unit of a Value, in its form with tanh."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)
    tanh = 1 - 2 / ((2 * inner).exp() + 1)
    return 0.5 * x * (1 + tanh)


def merged(pieces, pair):
    """Return pieces with each two that are this pair made one, from left to right."""
    result = []
    i = 0
    while i < len(pieces):
        if tuple(pieces[i:i + 2]) == pair:
            result.append(pieces[i] + pieces[i + 1])
            i += 2
        else:
            result.append(pieces[i])
            i += 1
    return result


class SubWords:
    """A tokenizer whose tokens are characters and what 20 merges make of them.

    Each merge takes the most frequent neighbouring pair of the training names, the
    first in the alphabet if there are several: byte-pair encoding.
    """

    def __init__(self, documents, training):
        self.chars = sorted(set("".join(documents)))  # main() prints these
        self.pairs = []
        texts = [list(name) for name in training]
        for _ in range(20):
            counts = Counter()
            for pieces in texts:
                counts.update(zip(pieces, pieces[1:]))
            pair = max(sorted(counts), key=counts.get)
            texts = [merged(pieces, pair) for pieces in texts]
            self.pairs.append(pair)
        self.pieces = self.chars + ["".join(pair) for pair in self.pairs]
        self.BOS = len(self.pieces)
        self.vocab_size = len(self.pieces) + 1

    def encode(self, text):
        """Return the ids of the pieces of a text."""
        pieces = list(text)
        for pair in self.pairs:
            pieces = merged(pieces, pair)
        return [self.pieces.index(piece) for piece in pieces]

    def decode(self, ids):
        """Return the text for ids."""
        return "".join(self.pieces[i] for i in ids)


def loss_of(edits, new_settings):
    """Return the held-out loss of an edited program."""
    return run(edits, **new_settings).held_out_loss


def names_found(edits):
    """Return how many of 200 names, invented at temperature 1, stand in input.txt."""
    result = run(edits, num_samples=200, temperature=1)
    invented = result.printed.split("\n")[-201:-1]
    return sum(line.endswith(f" in {result.program.input_file}") for line in invented)


def sub_words():
    """Return the loss per character, and the mean number of tokens of a name: as
    sub-words, and as characters.
    """
    result = run(SUB_WORDS, SubWords=SubWords)
    encode = result.tokenizer.encode
    losses = []
    for name, loss in zip(result.held_out, losses_of_names(result)):
        losses.append(loss * (len(encode(name)) + 1) / (len(name) + 1))
    tokens = statistics.mean(len(encode(name)) + 1 for name in result.training)
    chars = statistics.mean(len(name) + 1 for name in result.training)
    return statistics.mean(losses), tokens, chars


def break_down():
    """Return at which step a run with learning_rate 1 breaks down, and the error."""
    try:
        run(learning_rate=1)
    except RuntimeError as error:
        step = re.search(r"step (\d+)", str(error.__cause__))
        return step[1] if step else "unknown", type(error.__cause__).__name__
    return "none", "none"


def log_sum_exp():
    """Return, in the words of README.md, what log-sum-exp does to the default run, and
    to one with learning_rate 1.
    """
    plain = [f"{loss:.4f}" for loss in run().losses]
    other = [f"{loss:.4f}" for loss in run(LOG_SUM_EXP).losses]
    digits_words = "the same digits" if plain == other else "other digits"
    try:
        run(LOG_SUM_EXP, learning_rate=1)
    except RuntimeError:
        return digits_words, "breaks down"
    return digits_words, "gets to its end"


EXERCISES = {  # what is done: first cell, edits, settings
    "final rmsnorm": ("final rmsnorm", FINAL_NORM, {}),
    "GELU": ("GELU for ReLU", GELU, {"gelu": gelu}),
    "tied": ("tied embeddings", TIED, {}),
    "tied, listed twice": ("tied embeddings", TIED_TWICE, {}),
    "batches": ("batches of 8 names", BATCHES, {}),
    "8,000 single steps": ("batches of 8 names", [], {"num_steps": 8000}),
    "dropout": ("dropout of 0.1", DROPOUT, {}),
}
SAMPLING = {  # what is done: edits
    "five in the order of ids": TOP_5_BY_ID,
    "five, likeliest first": TOP_5_BY_PROBABILITY,
    "without top-k": [],
}


def exercises(pool):
    """Yield what to expect of each exercise."""
    losses = {what: (row, pool.submit(loss_of, edits, new_settings))
              for what, (row, edits, new_settings) in EXERCISES.items()}
    counts = {what: pool.submit(names_found, edits) for what, edits in SAMPLING.items()}
    sub_word_job, break_down_job = pool.submit(sub_words), pool.submit(break_down)
    log_sum_exp_job = pool.submit(log_sum_exp)
    for what, (row, job) in losses.items():
        yield Among(row, 2, f"{job.result():.3f}", what)
    for what, job in counts.items():
        yield Among("top-k sampling, k = 5", 2, str(job.result()), what)
    loss, tokens, chars = sub_word_job.result()
    yield Among("sub-word tokens", 2, f"{loss:.3f}", "held-out loss per character")
    yield Among("sub-word tokens", 2, f"{tokens:.1f}", "tokens per name")
    yield Among("sub-word tokens", 2, f"{chars:.1f}", "characters per name")
    step, error = break_down_job.result()
    yield Among("log-sum-exp", 2, step, f"step of the {error} at learning_rate 1")
    for words in log_sum_exp_job.result():
        yield Among("log-sum-exp", 2, words, "with it")


# Sizes and speeds ---------------------------------------------------------------------
def sizes(pool):
    """Yield parameters, time and peak memory of wider models and of longer texts."""
    for rows, default in ((speed.widths(), 16), (speed.lengths(), 15)):
        kind = "n_embd" if default == 16 else "characters"
        for key, found in rows.items():
            row = f"{kind} {key}" if default == 16 else f"{key} {kind}"
            yield Number(row, 1, f"{found['parameters']:,}", "parameters")
            yield Rough(row, 2, found["ms"] / rows[default]["ms"], 2, "time")
            if found["megabytes"] is not None:
                yield Rough(row, 3, found["megabytes"], 3, "peak MB")


def speeds(pool):
    """Yield how many times as long a step takes with an idea undone."""
    for row, found in speed.speeds().items():
        if row != speed.AS_IT_IS:
            yield Range(row, 1, found["low"], found["high"], "times as long")


# In this order: a process starts with the peak memory of its parent, which must be
# small when sizes() starts some. The pool's work is not done in this process.
GROUPS = {"settings": settings, "noise": noise, "exercises": exercises, "sizes": sizes,
          "speeds": speeds}


def main(names):
    """Measure these groups, print a line for each number, return the exit status."""
    unknown = set(names) - set(GROUPS)
    if unknown:
        print(f"no such group: {' '.join(sorted(unknown))}")
        print(f"there are: {' '.join(GROUPS)}")
        return 2
    start = time.time()
    num_numbers = num_missing = num_differing = status = 0
    print(f"{'':62}{'README.md':>15}{'measured':>19}", flush=True)
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for group, measure in GROUPS.items():
            if names and group not in names:
                continue
            for number in measure(pool):
                text = said(number.row, number.column)
                differs = text != "-" and not number.agrees(text)
                line = f"{number.name:62}{number.shown(text):>15}{number.text:>19}"
                print(line + ("  differs" if differs else ""), flush=True)
                num_numbers += 1
                num_missing += text == "-"
                num_differing += differs
                if differs and number.must_be_equal:
                    status = 1
    minutes = (time.time() - start) / 60
    print(f"{num_numbers} numbers, {num_differing} differ, "
          f"{num_missing} are not in README.md: {minutes:.1f} minutes")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
