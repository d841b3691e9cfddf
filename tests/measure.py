"""Measure again what the tables of README.md say.

    python -m tests.measure            # everything, in an hour or two
    python -m tests.measure --quick    # the default run and what is cheap, in a minute

Each job below computes numbers for rows of README.md, found by their first cell. They
agree if they stand in that row, in this order. README.md has the digits of CPython
3.11. From 3.12 on, sum() rounds differently, which may change a last digit, and more
where a training is unstable or as long as 20,000 steps. Times are shown, but not
compared.
"""

import contextlib
import copy
import io
import math
import re
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import mean, stdev

from tests.solutions import ROOT, SOLUTIONS, changes, run

# --- Held-out losses of changed programs

VECTOR = "add(wte[token], wpe[position])"
ATTENTION = "attention(rmsnorm(x), block, keys, values, n_head)"
MLP = "mlp(rmsnorm(x), block)"
ADAM = "adam_step(model.params, m, v, step, rate)"
DESCENT = "for p in model.params: p.data -= rate * p.grad"
WITHOUT = {
    "without attention": [(f"x = add(x, {ATTENTION})", "pass")],
    "without the MLP": [(f"x = add(x, {MLP})", "pass")],
    "without any block": [("\nn_layer = ...", "\nn_layer = 0")],
    "without positions": [(VECTOR, "wte[token]")],
    "without residual connections": [(f"add(x, {f})", f) for f in (ATTENTION, MLP)],
    "without the norm after the embedding": [(f"rmsnorm({VECTOR})", VECTOR)],
    "without ReLU": [("match.relu() for match", "match for match")],
    "without the root in attention": [("match / len(query) ** 0.5", "match")],
    "without Adam": [
        (ADAM, DESCENT),
        ("\nlearning_rate = ...", "\nlearning_rate = 0.1"),
    ],
    "without the falling learning rate": [(" * (1 - (step - 1) / num_steps)", "")],
    "without shuffling": [("rng.shuffle(documents)", "pass")],
}
DOCUMENTS = "read_documents(input_file)"
FIRST_TEN = [(DOCUMENTS, DOCUMENTS + "[:10]")]


def held_out(row, pairs=(), steps=(), **settings):
    """Return the held-out loss, or those after each of these numbers of steps."""
    losses = []
    for number in [{"num_steps": num_steps} for num_steps in steps] or [{}]:
        try:
            loss = run(pairs, num_samples=0, **settings, **number).loss
            losses.append(f"{loss:.3f}")
        except AssertionError:
            losses.append("stops")
    return {row: losses}


def setting(name, value):
    return held_out(f"{name} = {value}", **{name: value})


def starts():
    """Return how the loss varies with the random start, with one block and with two."""
    one, two = [], []
    for start in range(1, 9):
        pair = "block_size, rng)\n", f"block_size, random.Random({start}))\n"
        one.append(run([pair], num_samples=0).loss)
        if start <= 4:
            two.append(run([pair], num_samples=0, n_layer=2).loss)
    return {
        "standard deviation over 8 starts": [f"{stdev(one):.3f}"],
        "n_layer = 1, mean of 4 starts": [f"{mean(one[:4]):.3f}"],
        "n_layer = 2, mean of the same 4 starts": [f"{mean(two):.3f}"],
    }


def parameters(row, pairs=(), **settings):
    """Return the number of parameters, after training for 100 steps."""
    program = run(pairs, num_steps=100, num_held_out=0, num_samples=0, **settings)
    return {row: [f"{len(program.model.params):,}"]}


def texts(length):
    """Return the number of parameters for texts of this length, after training."""
    text = f"''.join(rng.choices('abcdefghijklmnopqrstuvwxyz', k={length}))"
    pair = DOCUMENTS, f"[{text} for _ in range(100)]"
    return parameters(f"{length} characters", [pair], block_size=length + 1)


def losses_of_names(program):
    """Return the loss of each held-out name."""
    model, tokenizer = program.model, program.tokenizer
    return [program.mean_loss(model, tokenizer, [name]) for name in program.held_out]


def sub_words():
    """Return the loss per character, then the tokens and characters of a name."""
    program = run(changes("sub-word tokens"), num_samples=0)
    tokens = [len(program.tokenizer.encode(name)) + 1 for name in program.held_out]
    characters = [len(name) + 1 for name in program.held_out]
    losses = zip(losses_of_names(program), tokens, characters)
    loss = mean(loss * n_tokens / n_chars for loss, n_tokens, n_chars in losses)
    numbers = [f"{loss:.3f}", f"{mean(tokens):.1f}", f"{mean(characters):.1f}"]
    return {"sub-word tokens": numbers}


# --- The default run: what it invents, and how sure it is


def default_run():
    """Return what can be told from one run."""
    program = run(num_samples=0)
    losses = losses_of_names(program)
    rows = {
        "none": [f"{program.loss:.3f}"],
        "standard error over 300 names": [f"{stdev(losses) / len(losses) ** 0.5:.3f}"],
        "each letter": counting(program, 0),
        "the letter before": counting(program, 1),
        "the two letters before": counting(program, 2),
    }
    for row, part in (("the last hundred names", -100), ("the hundred before", -200)):
        names = program.training[: program.num_steps][part:][:100]
        loss = program.mean_loss(program.model, program.tokenizer, names)
        rows[row] = [f"{loss:.3f}"]
    for temperature in (0.1, 0.5, 1, 2):
        rows[str(temperature)] = invented(program, temperature)
    bins = defaultdict(list)
    for p, right in best_guesses(program):
        tenth = min(7, int(10 * p))
        bins[f"0.{tenth} to 0.{tenth + 1}"].append((p, right))
    bins["0.7 to 1"] = bins.pop("0.7 to 0.8")
    for row, found in sorted(bins.items()):
        probs, right = zip(*found)
        rows[row] = [str(len(found)), f"{mean(probs):.3f}", f"{mean(right):.3f}"]
    return rows


def picture():
    """Return the picture of the loss, where a column is worth 0.0125."""
    point = "sum(losses[-100:]) / 100, mean_loss(model, tokenizer, held_out)"
    keep = f"{ADAM}\n        if step % 100 == 0: points.append(({point}))"
    program = run(
        [("tape = []", "tape = []\npoints = []"), (ADAM, keep)], num_samples=0
    )
    lines = []
    for number, (training, held_out) in enumerate(program.points, 1):
        line = [" "] * 40
        for mark, loss in (("|", 2.46), (".", training), ("o", held_out)):
            line[round((loss - 2.3) / 0.0125)] = mark
        lines.append(f"{100 * number:4}  {''.join(line).rstrip()}")
    return {"picture": ["\n".join(lines)]}


def invented(program, temperature):
    """Return how many of 200 names are real, how many differ, and the first three."""
    rng = copy.copy(program.rng)  # the same numbers for each temperature
    sample = partial(program.generate, program.model, program.tokenizer, "")
    names = [sample(temperature, rng) for _ in range(200)]
    real = sum(name in program.documents for name in names)
    return [str(real), str(len(set(names))), ", ".join(names[:3])]


def top_5():
    program = run(changes("top-k sampling, k = 5"), num_samples=0)
    return {"top-k sampling, k = 5": invented(program, 1)[:1]}


def best_guesses(program):
    """Return the probability of each likeliest token, and 1 if it was right, else 0."""
    model, tokenizer = program.model, program.tokenizer
    found = []
    for name in program.held_out:
        tokens = [tokenizer.BOS] + tokenizer.encode(name) + [tokenizer.BOS]
        cache = model.new_cache()
        for position in range(len(tokens) - 1):
            logits = model.forward(tokens[position], position, cache)
            probs = [p.data for p in program.softmax(logits)]
            token = probs.index(max(probs))
            found.append((probs[token], int(token == tokens[position + 1])))
        program.tape.clear()
    return found


# --- Counting: what tables of frequencies achieve
#
# A context is what counting looks at: the last few letters, with or without their
# position. A probability starts as 1/27, and each context, from small to large, makes
# it more precise: (hits + strength * probability) / (cases + strength). With a single
# context, and a strength of 27, this is the usual plus one.


def guesses(names, kinds):
    """Yield the weight of each guess, its contexts, and the right character."""
    for name in names:
        text = "^^^" + name + "$"
        for i in range(3, len(text)):
            contexts = [(text[i - size : i], known and i) for size, known in kinds]
            yield 1 / (len(name) + 1) / len(names), contexts, text[i]


def look_up(counted, tested, kinds):
    """Return, for each guess on the tested names, its weight, and its hits and cases."""
    hits, cases = Counter(), Counter()
    for _, contexts, right in guesses(counted, kinds):
        cases.update(contexts)
        hits.update((context, right) for context in contexts)
    return [
        (weight, [(hits[context, right], cases[context]) for context in contexts])
        for weight, contexts, right in guesses(tested, kinds)
    ]


def counting_loss(rows, strengths):
    loss = 0.0
    for weight, pairs in rows:
        p = 1 / 27
        for (hits, cases), strength in zip(pairs, strengths):
            p = (hits + strength * p) / (cases + strength)
        loss -= weight * math.log(p)
    return loss


def counting(program, size):
    """Return the losses after counting all names, and 1,000, with so many letters."""
    parts = program.training, program.training[:1000]
    tables = [look_up(part, program.held_out, [(size, False)]) for part in parts]
    return [f"{counting_loss(rows, [27]):.2f}" for rows in tables]


def careful_counting(row, *with_position):
    """Return the losses of counting with up to three letters and the best strengths.

    They are those that guess each fifth of the names best from the other four.
    """
    program = run(num_steps=0, num_samples=0)
    kinds = [(size, known) for size in range(4) for known in with_position]
    losses = []
    for num_names in (1000, 5000, 20000):
        names, rows = program.training[:num_names], []
        for fold in range(5):
            others = [name for i, name in enumerate(names) if i % 5 != fold]
            rows += look_up(others, names[fold::5], kinds)
        best = [32] * len(kinds)
        for i in list(range(len(kinds))) * 3:
            tries = [best[:i] + [2**power] + best[i + 1 :] for power in range(1, 10)]
            best = min(tries, key=partial(counting_loss, rows))
        rows = look_up(names, program.held_out, kinds)
        losses.append(f"{counting_loss(rows, best):.3f}")
    return {row: losses}


# --- All jobs, and the comparison

PLAIN = list(SOLUTIONS)[
    :-2
]  # the last two, top-k and sub-words, are measured otherwise
QUICK = [
    default_run,
    picture,
    partial(setting, "num_steps", 100),
    partial(setting, "n_layer", 0),
]
SLOW = [
    partial(setting, "num_steps", 5000),
    *[partial(setting, "n_layer", value) for value in (2, 4)],
    *[partial(setting, "n_embd", value) for value in (8, 32)],
    *[partial(setting, "n_head", value) for value in (1, 8)],
    partial(setting, "block_size", 8),
    *[partial(setting, "learning_rate", value) for value in (0.001, 0.03, 0.1)],
    partial(held_out, "the first 10 names only", FIRST_TEN),
    starts,
    *[partial(parameters, f"n_embd {n}", n_embd=n) for n in (8, 16, 32, 64)],
    *[partial(texts, length) for length in (15, 31, 63, 127)],
    *[partial(held_out, name, changes(name)) for name in PLAIN],
    partial(held_out, "tied embeddings", changes("tied embeddings")[:1]),
    partial(held_out, "log-sum-exp", changes("log-sum-exp"), learning_rate=0.3),
    partial(held_out, "log-sum-exp", changes("log-sum-exp"), learning_rate=1),
    partial(held_out, "batches of 8 names", steps=[8000]),
    top_5,
    sub_words,
    *[partial(held_out, row, WITHOUT[row], [1000, 5000]) for row in WITHOUT],
    partial(careful_counting, "careful counting", False),
    partial(careful_counting, "careful counting with the position", False, True),
    partial(held_out, "as shipped", steps=[1000, 5000, 20000]),
    partial(held_out, "without attention", WITHOUT["without attention"], [20000]),
]


def timed(job):
    """Return the rows of a job, and the CPU seconds it took."""
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        rows = job()
    return rows, time.process_time() - began


def main(jobs):
    """Do the jobs, print each row and then the differences; return their number."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("`", "")
    differences = []
    with ProcessPoolExecutor() as pool:
        for done in [pool.submit(timed, job) for job in jobs]:
            rows, seconds = done.result()
            for row, numbers in rows.items():
                print(f"{row:40}  {'  '.join(numbers)}  ({seconds:.0f} s)", flush=True)
                said = re.findall(rf"(?m)^\| *{re.escape(row)} *\|.*", readme)
                if row == "picture":
                    said = [readme]
                whole = [rf"(?<![\w.,]){re.escape(n)}(?!\w|[.,]\d)" for n in numbers]
                if not re.search(".*".join(whole), " ".join(said)):
                    differences.append(f"{row}: {numbers}, but README.md: {said}")
    print(f"{len(differences)} differences", *differences, sep="\n")
    return len(differences)


if __name__ == "__main__":
    sys.exit(main(QUICK if "--quick" in sys.argv else QUICK + SLOW) > 0)
