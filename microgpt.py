"""microgpt: a GPT in one file of plain Python. It learns names and invents new ones.

    python microgpt.py       trains for some seconds, then prints 20 invented names
    python -i microgpt.py    does the same, and can then be asked to finish a name:

        generate(model, tokenizer, "em", 0.5)    a new try with every call
        generate(model, tokenizer, "em", 0)      always the likeliest next letter

A GPT reads the beginning of a text and guesses what comes next. This one reads names.
Each letter is a token, and so is BOS, "beginning of sequence", which also marks the end
of a name. The name "ava" gives the model four exercises:

    it reads         it should guess
    BOS              a
    BOS a            v
    BOS a v          a
    BOS a v a        BOS (the name is over)

A guess is a list of probabilities, one for each token. It is computed from the tokens
read so far and from 4,192 numbers, the parameters, which are random at first. Training
shows the model name after name, and each time moves the parameters a little in the
direction that makes the right answers likelier. To invent a name, the model draws a
token by its probabilities, reads it, and goes on until it draws BOS.

input.txt holds 29,693 names given in the United States in 2018, one per line. Names are
short, so training takes seconds, and anybody can judge the new ones. GPT stands for
generative (it makes text) pre-trained (on text) transformer (see section 3).
"""
import gc
import math
import random
import sys
import time
from operator import mul

# Settings, also called hyperparameters, are chosen by us; parameters are found by
# training. To compare two settings, compare the loss, which measures how wrong the
# guesses are, on held-out names, which were not trained on.

# The text: any file in the current folder, with one document, such as a name, per line.
# Of a long document, only the first block_size characters are read.
input_file = "input.txt"
num_held_out = 300  # documents kept for the test, at most a tenth of all

# The model, explained in section 3.
n_layer = 1  # number of blocks, each made of attention and an MLP
n_embd = 16  # how many numbers describe a token
n_head = 4  # attention heads, which share these numbers evenly
block_size = 16  # the most tokens of a text that it reads (unrelated to blocks)

# The training, explained in section 4.
num_steps = 1000  # one document per step
learning_rate = 0.01  # a step seldom moves a parameter further than this
beta1 = 0.85  # how long Adam remembers gradients
beta2 = 0.99  # how long Adam remembers the squares of gradients

# The sampling, explained in section 5.
temperature = 0.5  # low is careful, high is daring
num_samples = 20  # how many names to invent at the end
seed = 42  # the same seed gives the same run, on the same Python


# ------------------------------------------------------------------------------------
# 1. Autograd, or automatic gradients: find out which way each number should move
#
# The model is one long formula. Parameters and tokens go in, and the loss comes out.
# To make the loss smaller, we need the gradient of each parameter. A gradient of 3
# means: raise this parameter by a tiny h, and the loss rises by about 3 * h. In school
# this is the slope, or derivative. Where it is positive, the parameter should go down.
#
# The chain rule builds gradients from the slopes of single operations. If x moves y
# with slope 3, and y moves the loss with slope 2, then x moves the loss with slope
# 3 * 2 = 6. So we must know which operations led to the loss. A float has forgotten how
# it was made. A Value remembers the Values it was computed from, its inputs, and its
# slope for each of them.

# Every computed Value is put at the end of the tape, so it comes after its inputs.
tape = []


class Value:
    """A number that remembers how it was computed.

    >>> a = Value(3.0)
    >>> loss = a * a
    >>> loss.backward()
    >>> a.grad
    6.0
    >>> h = 0.0001                              # is that right? raise a by a tiny h:
    >>> round(((3 + h) ** 2 - 3 ** 2) / h, 3)   # the loss rises 6 times as much
    6.0
    >>> a.data -= 0.1 * a.grad                  # learning: move a against its gradient
    >>> (a * a).data                            # the loss was 9
    5.76
    """

    # A fixed list of fields saves time, as training makes millions of Values.
    __slots__ = ("data", "grad", "inputs", "local_grads")

    def __init__(self, data, inputs=(), local_grads=()):
        self.data = data  # the number itself
        self.grad = 0.0  # its gradient, once backward() has found it
        self.inputs = inputs  # the Values it was computed from
        self.local_grads = local_grads  # its slope for each input
        if inputs:
            tape.append(self)

    def __add__(self, other):
        if not isinstance(other, Value):
            other = Value(other)
        # If a rises by h, then a + b rises by h: the slope is 1.
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        if not isinstance(other, Value):
            other = Value(other)
        # If a rises by h, then a * b rises by h * b: the slope for a is b.
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, n):
        # For a plain number n, the slope of x ** n is n * x ** (n - 1).
        return Value(self.data ** n, (self,), (n * self.data ** (n - 1),))

    def exp(self):
        # e ** x is its own slope.
        result = math.exp(self.data)
        return Value(result, (self,), (result,))

    def log(self):
        # The natural logarithm, which undoes exp, has the slope 1 / x.
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def relu(self):
        # ReLU, "rectified linear unit", turns negative numbers into 0. Moving such a
        # number a little changes nothing, so the slope is 0.
        if self.data <= 0:
            return Value(0.0, (self,), (0.0,))
        return Value(self.data, (self,), (1.0,))

    # The other operators are made of those above. The names with r are for a number on
    # the left: 1 / a calls a.__rtruediv__(1), and sum() begins with 0 + a.
    def __neg__(self): return self * -1
    def __sub__(self, other): return self + -other
    def __truediv__(self, other): return self * other ** -1
    def __radd__(self, other): return self + other
    def __rsub__(self, other): return -self + other
    def __rmul__(self, other): return self * other
    def __rtruediv__(self, other): return self ** -1 * other

    def __repr__(self):
        return f"Value(data={self.data}, grad={self.grad})"

    def backward(self):
        """Compute the gradient of this Value, the loss, for every Value behind it.

        Adds it to their grad. Empties the tape: to go on, compute Values anew.
        """
        if self not in tape:
            raise RuntimeError("nothing on the tape made this Value: compute it again")

        # This Value is the loss, and the loss rises exactly as fast as itself.
        self.grad = 1.0

        # Go from the newest Value to the oldest. All uses of a result are newer than
        # it, so by its turn each has added its share to the result's gradient. It must
        # be complete then, because it is passed on to the inputs only once.
        while tape:
            result = tape.pop()
            grad = result.grad
            if grad != 0:  # 0 has no effect on the inputs
                for value, local_grad in zip(result.inputs, result.local_grads):
                    # Slopes on the way to the loss multiply: the chain rule. And each
                    # use adds: if a rises by h in a * a, the loss rises by 3 * h for
                    # the first a and by 3 * h for the second, together by 6 * h.
                    value.grad += local_grad * grad


def dot(xs, ys):
    """Return the dot product of two lists of Values: multiply in pairs, then sum up.

    >>> dot([Value(1.0), Value(2.0)], [Value(3.0), Value(10.0)]).data
    23.0
    """
    if len(xs) != len(ys):
        raise ValueError(f"cannot pair {len(xs)} Values with {len(ys)}")
    x_data = [x.data for x in xs]
    y_data = [y.data for y in ys]

    # sum(x * y for x, y in zip(xs, ys)) is the same, but makes two Values per pair. One
    # Value for all makes training five times as fast. The slope for each x is its y,
    # and the slope for each y is its x. xs + ys joins the lists.
    return Value(sum(map(mul, x_data, y_data)), xs + ys, y_data + x_data)


# ------------------------------------------------------------------------------------
# 2. Tokenizer: from text to numbers and back
#
# A token needs a number, its id, to find its row in a table of parameters (section 3).
# Ids mean nothing beyond that: "a" and "b" are neighbours, but need not be alike.


class Tokenizer:
    """Turns text into ids and back, for the characters that stand in the documents.

    >>> tokenizer = Tokenizer(["abcdefghijklmnopqrstuvwxyz"])
    >>> tokenizer.encode("ava")
    [0, 21, 0]
    >>> tokenizer.decode([0, 21, 0])
    'ava'
    """

    def __init__(self, documents):
        self.chars = sorted(set("".join(documents)))

        # 26 letters get the ids 0 to 25, and BOS gets 26. That makes 27 tokens.
        self.BOS = len(self.chars)
        self.vocab_size = len(self.chars) + 1

    def encode(self, text):
        """Return the ids of the characters; raise ValueError if one is unknown."""
        for char in text:
            if char not in self.chars:
                known = "".join(self.chars)
                raise ValueError(f"{char!r} is not one of the characters {known!r}")
        return [self.chars.index(char) for char in text]

    def decode(self, ids):
        """Return the text for ids, which must not contain BOS."""
        return "".join(self.chars[i] for i in ids)


# ------------------------------------------------------------------------------------
# 3. GPT: from the tokens so far to a score for each possible next token
#
# A token becomes a vector x, made of what it is and where it stands. Blocks add to it:
# in each, attention brings in what the tokens so far have to offer, and an MLP works on
# the result. Then a matrix turns x into scores. Such a model is called a transformer.
#
# A vector is a list of Values, a matrix a list of rows, which are vectors. Comments
# give shapes for the settings above and 27 tokens: [16] is a vector of 16 Values,
# [27][16] a matrix of 27 rows of 16.


def random_matrix(rows, columns, rng):
    """Return a matrix of random parameters; rng is a random number generator."""
    # Random, because equal parameters that are used alike get equal gradients and stay
    # equal: the rows of a matrix might all learn the same. Small, two thirds of them
    # within 0.08 of 0, so that all scores start near 0 and no token is preferred.
    return [[Value(rng.gauss(0, 0.08)) for _ in range(columns)] for _ in range(rows)]


def add(xs, ys):
    """Return the sum of two vectors, number by number."""
    return [x + y for x, y in zip(xs, ys)]


def linear(x, matrix):
    """Return matrix times vector: for each row, its dot product with x."""
    # A dot product tells how well x matches a row. It grows where their signs agree and
    # shrinks where they differ: [1, -1] and [2, -2] give 4, [1, -1] and [-2, 2] give
    # -4, [1, -1] and [2, 2] give 0. What the rows match is learnt.
    return [dot(row, x) for row in matrix]


def rmsnorm(x):
    """Return x scaled to a mean square of 1 (root mean square normalization).

    >>> [round(number.data, 2) for number in rmsnorm([Value(30.0), Value(40.0)])]
    [0.85, 1.13]
    """
    # x grows as blocks add to it. The results of the next matrix would grow along, and
    # what was learnt about them would no longer fit. So the matrix reads a copy of x of
    # a fixed size. The 1e-5 prevents a division by 0.
    mean_square = dot(x, x) / len(x)
    scale = (mean_square + 1e-5) ** -0.5
    return [number * scale for number in x]


def softmax(scores):
    """Return probabilities: their sum is 1, and higher scores get more of it.

    >>> [round(p.data, 2) for p in softmax([Value(2.0), Value(0.0)])]
    [0.88, 0.12]
    """
    # exp makes every score positive, and one point more makes it e = 2.72 times as
    # large. Dividing by the sum makes the new sum 1. As exp(1000) is too large for a
    # float, the largest score is subtracted from all. That divides every exp by the
    # same number, which cancels, so a plain number without slopes will do.
    largest = max(score.data for score in scores)
    exps = [(score - largest).exp() for score in scores]
    scale = 1 / sum(exps)
    return [number * scale for number in exps]


def attention(x, block, memory, n_head):
    """Return what the newest token, with vector x, gets from all so far: [16] -> [16].

    memory holds the keys and values of the tokens before, and gets those of x.
    """
    # The newest token asks all tokens so far, itself included, for what helps to guess
    # the next. For this, each token has three vectors: a query, a key and a value
    # (which is not the class). The matrices that make them from x are learnt.
    keys = memory["keys"]
    values = memory["values"]
    query = linear(x, block["wq"])  # what it looks for
    keys.append(linear(x, block["wk"]))  # what it can be found by
    values.append(linear(x, block["wv"]))  # what it then gives

    # After BOS, "a", "v", it is "v" that asks. If its query matches the key of "a"
    # best, softmax may turn the matches into the weights 0.1, 0.7, 0.2. Then it gets
    #     0.1 * value of BOS + 0.7 * value of "a" + 0.2 * value of "v".
    # At position 0, BOS finds only itself, with weight 1. No token sees the future,
    # because later tokens have not been read.
    #
    # One set of weights would mix all 16 numbers alike. But "v" may need one thing from
    # "a" and another from BOS. So 4 heads with weights of their own get 4 numbers each
    # of query, key and value.
    head_dim = len(x) // n_head
    output = []
    for start in range(0, len(x), head_dim):
        stop = start + head_dim
        head_query = query[start:stop]

        # A match sums up head_dim products, some positive, some negative. Like the lead
        # in a game of tossing coins, such a sum grows with the root of their number:
        # about 2 after 4 tosses, 10 after 100. Divided by the root, scores stay small.
        # Scores of 2 and 0 give weights of 0.88 and 0.12. 20 and 0 give 1 and 0, where
        # a small change of the query has no effect: slope 0, nothing is learnt.
        matches = [dot(head_query, key[start:stop]) for key in keys]
        weights = softmax([match / head_dim ** 0.5 for match in matches])

        # The weighted sum of the values, one number at a time: dot does that, too.
        for i in range(start, stop):
            output.append(dot(weights, [value[i] for value in values]))

    # So far each number comes from one head. The last matrix mixes those of all heads.
    return linear(output, block["wo"])


def mlp(x, block):
    """Return x put through two matrices, with ReLU between: [16] -> [64] -> [16]."""
    # In the MLP, "multi-layer perceptron", a token works on what attention brought.
    # Each of 64 rows asks whether x matches it, and ReLU turns a mismatch into 0. Four
    # rows for each number of x is customary, to have room for many questions. The
    # second matrix turns the answers into 16 numbers, to be added to x. Without ReLU,
    # the two steps would be one, as 3 * (2 * x) is 6 * x.
    hidden = [number.relu() for number in linear(x, block["fc1"])]
    return linear(hidden, block["fc2"])


def random_block(n_embd, rng):
    """Return the matrices of a block, by their usual names."""
    # w stands for weights, a word for parameters. fc stands for fully connected: each
    # number of the result depends on each number of x.
    return {
        "wq": random_matrix(n_embd, n_embd, rng),  # [16][16] makes queries
        "wk": random_matrix(n_embd, n_embd, rng),  # [16][16] makes keys
        "wv": random_matrix(n_embd, n_embd, rng),  # [16][16] makes values
        "wo": random_matrix(n_embd, n_embd, rng),  # [16][16] makes the output
        "fc1": random_matrix(4 * n_embd, n_embd, rng),  # [64][16] asks
        "fc2": random_matrix(n_embd, 4 * n_embd, rng),  # [16][64] uses the answers
    }


class GPT:
    """The model: its parameters, and the formula from tokens to scores."""

    def __init__(self, vocab_size, n_layer, n_embd, n_head, block_size, rng):
        """Draw the parameters with rng; raise ValueError for sizes that cannot work."""
        if min(n_layer, n_embd, n_head, block_size) < 1 or n_embd % n_head != 0:
            raise ValueError(
                f"n_layer {n_layer}, n_embd {n_embd}, n_head {n_head}, block_size "
                f"{block_size}: all must be 1 or more, and n_embd a multiple of n_head"
            )
        self.n_head = n_head
        self.block_size = block_size

        # An embedding is a vector that stands for something: a row of wte (weights of
        # token embeddings) for a token, a row of wpe for a position. A single number
        # could only put the letters in an order. 16 leave room for many properties, and
        # training finds out which are useful. That it is 16 is our choice.
        self.wte = random_matrix(vocab_size, n_embd, rng)  # [27][16]
        self.wpe = random_matrix(block_size, n_embd, rng)  # [16 positions][16]

        # The language-model head (not an attention head) turns a vector into scores.
        self.lm_head = random_matrix(vocab_size, n_embd, rng)  # [27][16]

        self.blocks = []
        for _ in range(n_layer):
            self.blocks.append(random_block(n_embd, rng))

        # All that the model knows is in these numbers: 27 * 16 + 16 * 16 + 27 * 16 here
        # and 4 * 16 * 16 + 2 * 64 * 16 in the block make 4,192.
        matrices = [self.wte, self.wpe, self.lm_head]
        for block in self.blocks:
            matrices.extend(block.values())
        self.params = []
        for matrix in matrices:
            for row in matrix:
                self.params.extend(row)

    def new_cache(self):
        """Return an empty cache: a memory of keys and values for each block."""
        return [{"keys": [], "values": []} for _ in self.blocks]

    def forward(self, token, position, cache):
        """Read one more token; return the logits, the scores of the next: [27]."""
        # What the token is and where it stands are added, not joined, so x stays at 16
        # numbers. Training can choose vectors that can still be told from their sum:
        # with 10, 20, 30 for tokens and 1, 2, 3 for positions, 23 can only be token 20
        # at position 3. Without positions, attention would not notice any order, as a
        # sum has none: this one block would guess the same after "mar" and "amr".
        token_vector = self.wte[token]  # [16]
        position_vector = self.wpe[position]  # [16]
        x = add(token_vector, position_vector)

        # In a new model, the numbers of x are about 0.1 here. What a block adds is no
        # smaller, and random as long as the block has learnt nothing, so the token
        # would be lost in it. Scaled to 1, the token stands out.
        x = rmsnorm(x)

        # As a block adds to x, it need not rebuild what x holds already. This helps the
        # gradient, too: the slope of x + f(x) is 1 plus that of f. Through many blocks
        # slopes multiply, and a product of small ones fades to 0 without the 1.
        for block, memory in zip(self.blocks, cache):
            x = add(x, attention(rmsnorm(x), block, memory, self.n_head))
            x = add(x, mlp(rmsnorm(x), block))

        # Here x may be of any size: twice the x gives twice the scores, a surer guess.
        return linear(x, self.lm_head)


# ------------------------------------------------------------------------------------
# 4. Training: make the right next token likelier
#
# The loss of a guess is -log(p), where p is the probability of the right token: 0 for
# p = 1, 0.69 for p = 0.5, 4.61 for p = 0.01, and more without limit. So to be sure and
# wrong costs most, while 1 - p would never cost more than 1.
#
# A new model gives each token about 1/27, a loss of about log 27 = 3.296. A table of
# how often one letter follows another, counted in all names that are not held out, has
# a loss of 2.46 on the held-out ones. This model gets to 2.35 after 1,000 names. 0 is
# impossible: after "mar" comes "y" in one name and "k" in another.


def document_loss(model, tokenizer, document):
    """Return the mean loss of the guesses for a document, a Value.

    Of a long document, only the first block_size tokens after BOS are guessed.
    """
    # ava becomes 26, 0, 21, 0, 26. From the first BOS the first letter is guessed. The
    # last BOS is there to be guessed, so the model also learns when to stop.
    tokens = [tokenizer.BOS] + tokenizer.encode(document) + [tokenizer.BOS]
    num_guesses = min(len(tokens) - 1, model.block_size)

    cache = model.new_cache()
    losses = []
    for position in range(num_guesses):
        logits = model.forward(tokens[position], position, cache)
        probs = softmax(logits)
        target = tokens[position + 1]
        losses.append(-probs[target].log())

    # The mean, not the sum, so that short and long names can be compared.
    return sum(losses) / num_guesses


def mean_loss(model, tokenizer, documents):
    """Return the mean loss of documents that are only read; empty the tape."""
    total = 0.0
    for document in documents:
        total += document_loss(model, tokenizer, document).data
        tape.clear()  # as no backward() empties it
    return total / len(documents)


# How should a parameter p move? Plain gradient descent is p.data -= rate * p.grad. But
# the next name may want the opposite. And some parameters have large gradients, others
# small ones, so no rate suits all.
#
# Adam (Kingma and Ba, 2015) keeps two averages for each parameter: m of its gradients,
# and v of their squares. The root of v is the usual size of a gradient, and p moves by
# rate * m / root of v. If all gradients are 5, m is 5, v is 25, and p moves by the
# rate. If half of them are 5 and half are -5, m is near 0, and p hardly moves. So p
# follows what names agree on, whether its gradients are large or small.
#
# Each step keeps 0.85 (beta1) of m and adds 0.15 of the gradient. As m starts at 0, it
# is too small at first: if all gradients were 1, it would be 0.15 after one step and
# 0.15 * 0.85 + 0.15 = 0.2775 after two, which is 1 - 0.85 ** 2. Dividing by this
# number, m_weight, mends it. v is mended in the same way.


def train(model, tokenizer, documents, num_steps, learning_rate):
    """Fit the model to one document per step; return the losses of all steps.

    Raises FloatingPointError or ValueError when training breaks down.
    """
    m = [0.0] * len(model.params)
    v = [0.0] * len(model.params)
    losses = []
    tenth = math.ceil(num_steps / 10)
    start = time.time()

    for step in range(1, num_steps + 1):
        # Forward: how wrong are the guesses?
        document = documents[(step - 1) % len(documents)]
        loss = document_loss(model, tokenizer, document)
        losses.append(loss.data)
        if not math.isfinite(loss.data):
            raise FloatingPointError(f"the loss of step {step} is {loss.data}")

        # Backward: which way should each parameter move? backward() adds to grad, so it
        # is set to 0 before. All other Values are new in each step.
        for p in model.params:
            p.grad = 0.0
        loss.backward()

        # Adam. Large moves help at first, but let each name pull the parameters to and
        # fro. So that they settle, the rate falls towards 0. 1e-8 avoids dividing by 0.
        rate = learning_rate * (1 - (step - 1) / num_steps)
        m_weight = 1 - beta1 ** step
        v_weight = 1 - beta2 ** step
        for i, p in enumerate(model.params):
            m[i] = beta1 * m[i] + (1 - beta1) * p.grad  # average gradient
            v[i] = beta2 * v[i] + (1 - beta2) * p.grad * p.grad  # average square
            m_hat = m[i] / m_weight
            v_hat = v[i] / v_weight
            p.data -= rate * m_hat / (math.sqrt(v_hat) + 1e-8)

        # Some names are harder than others, so the loss jumps from step to step. A row
        # shows the mean of the last tenth of the steps, and what the model would invent
        # now (section 5), always from the same random numbers.
        if step == 1 or step % tenth == 0 or step == num_steps:
            mean = sum(losses[-tenth:]) / len(losses[-tenth:])
            bar = "#" * round(6 * mean)
            left = (time.time() - start) / step * (num_steps - step)
            name = generate(model, tokenizer, "", temperature, random.Random(seed))
            row = f"step {step:6}  loss {mean:.4f}  {bar:22}{left:4.0f} s left  {name}"
            print(row, flush=True)
    return losses


# ------------------------------------------------------------------------------------
# 5. Sampling: draw a token, let the model read it, draw the next


def generate(model, tokenizer, prompt, temperature, rng=random):
    """Return a text that begins with prompt and goes on with tokens drawn by rng.

    Empties the tape. Raises ValueError if the prompt is too long or has an unknown
    character, or if temperature is below 0.
    """
    limit = model.block_size - 1
    if len(prompt) > limit:
        raise ValueError(f"the prompt has {len(prompt)} characters; {limit} would fit")
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}, but must be 0 or more")

    # Read BOS and the prompt, except for the last token.
    tokens = [tokenizer.BOS] + tokenizer.encode(prompt)
    cache = model.new_cache()
    for position in range(len(prompt)):
        model.forward(tokens[position], position, cache)

    # Read the last token, choose the next, append it; then read that one, and so on.
    for position in range(len(prompt), model.block_size):
        logits = model.forward(tokens[position], position, cache)
        if temperature == 0:
            # Leave nothing to chance: take the likeliest token.
            scores = [logit.data for logit in logits]
            token = scores.index(max(scores))
        else:
            # Scores of 2 and 0 mean probabilities of 0.88 and 0.12. Temperature 0.5
            # makes them 4 and 0, or 0.98 and 0.02: more careful. Temperature 2 makes
            # them 1 and 0, or 0.73 and 0.27: more daring.
            probs = softmax([logit / temperature for logit in logits])
            weights = [p.data for p in probs]
            token = rng.choices(range(len(weights)), weights)[0]
        if token == tokenizer.BOS:
            break
        tokens.append(token)

    tape.clear()  # as in mean_loss
    return tokenizer.decode(tokens[1:])


# ------------------------------------------------------------------------------------
# 6. The run: read, train, test, invent


def read_documents(path, block_size):
    """Return the lines of a UTF-8 file, cut to block_size characters.

    Raises OSError if it cannot be read, ValueError if it has no text or is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f"{path} is empty: write a document on each line")

    # The model reads BOS and then the document. Where they do not fit, it does not
    # learn how the document ends.
    needed = max(len(line) for line in lines) + 1
    num_cut = sum(len(line) >= block_size for line in lines)
    if num_cut > 0:
        print(f"{num_cut:,} documents lose their end: block_size = {needed} holds all")
    return [line[:block_size] for line in lines]


def main():
    """Train a model as the settings say, test it, and let it invent names."""
    # input.txt begins with the most popular names. Without shuffling, the model would
    # train on these and be tested on the rarest.
    rng = random.Random(seed)
    documents = read_documents(input_file, block_size)
    rng.shuffle(documents)

    # Does the model learn what names are like, or only the names it is shown? Held-out
    # names, which it never sees, can tell. Repeats of names that it sees are dropped.
    num_training = len(documents) - min(num_held_out, len(documents) // 10)
    training = documents[:num_training]
    known = set(training)
    held_out = [document for document in documents if document not in known]

    tokenizer = Tokenizer(documents)
    model = GPT(tokenizer.vocab_size, n_layer, n_embd, n_head, block_size, rng)
    untrained = generate(model, tokenizer, "", temperature, random.Random(seed))
    print(f"{len(documents):,} documents, such as {', '.join(documents[:3])[:50]}")
    print(f"{tokenizer.vocab_size} tokens: BOS and {''.join(tokenizer.chars)[:50]}")
    print(f"{len(model.params):,} parameters; invented before training: {untrained}")
    print(f"loss of blind guessing: {math.log(tokenizer.vocab_size):.3f}")
    print("Ctrl-C ends the training early and keeps what is learnt")
    try:
        train(model, tokenizer, training, num_steps, learning_rate)
    except KeyboardInterrupt:
        print("training ended early")
    except (FloatingPointError, ValueError) as error:  # such as log(0)
        advice = f"training broke down: try a learning_rate below {learning_rate}"
        raise RuntimeError(advice) from error

    # exp undoes the log in the loss: a loss of log 27 is guessing among 27 tokens.
    print(f"{len(held_out)} documents were held out")
    if held_out:
        loss = mean_loss(model, tokenizer, held_out)
        print(f"their loss is {loss:.3f}: guessing among {math.exp(loss):.1f} tokens")

    # Are the names new? Those in the file are marked. They need not be copies: most of
    # the file was not shown, and likely letters often make a real name.
    for _ in range(num_samples):
        name = generate(model, tokenizer, "", temperature, rng)
        print(f"{name:20} in {input_file}" if name in documents else name)
    return model, tokenizer


if __name__ == "__main__":
    # Python's garbage collector searches for objects that refer to each other in a
    # circle. Here are none, and searching takes a sixth of the time. Pythons other than
    # CPython need it to free any memory.
    if sys.implementation.name == "cpython":
        gc.disable()
    model, tokenizer = main()
