"""The same GPT without autograd: every gradient is derived by hand, on plain floats.

This is the work that autograd saves. Everything is a list of rows, one for each token,
and all tokens go through the model together, a layer at a time. Each layer is followed
by its way back, where d_x means: the gradient of the loss with respect to x.
"""

import math
from itertools import chain
from operator import mul


def dot(x, y):
    return sum(map(mul, x, y))


def add(xs, ys):
    return [[a + b for a, b in zip(x, y)] for x, y in zip(xs, ys)]


def transpose(rows):
    return list(zip(*rows))


def linear(xs, matrix):
    return [[dot(row, x) for row in matrix] for x in xs]


def linear_back(xs, matrix, d_ys):
    d_xs = linear(d_ys, transpose(matrix))
    d_matrix = linear(transpose(d_ys), transpose(xs))
    return d_xs, d_matrix


def relu(xs):
    return [[max(a, 0.0) for a in x] for x in xs]


def relu_back(xs, d_ys):
    return [[d if a > 0 else 0.0 for a, d in zip(x, d_y)] for x, d_y in zip(xs, d_ys)]


def rmsnorm(xs):
    scales = [(dot(x, x) / len(x) + 1e-5) ** -0.5 for x in xs]
    return [[a * scale for a in x] for x, scale in zip(xs, scales)], scales


def rmsnorm_back(xs, scales, d_ys):
    d_xs = []
    for x, scale, d_y in zip(xs, scales, d_ys):
        shared = scale**3 * dot(x, d_y) / len(x)  # each number of x changes the scale
        d_xs.append([scale * d - shared * a for a, d in zip(x, d_y)])
    return d_xs


def softmax(scores):
    largest = max(scores)
    exps = [math.exp(score - largest) for score in scores]
    total = sum(exps)
    return [e / total for e in exps]


def softmax_back(probs, d_probs):
    mean = dot(probs, d_probs)
    return [p * (d - mean) for p, d in zip(probs, d_probs)]


def attend(queries, keys, values):
    """Return what the tokens gather with one head, and their weights for it."""
    weights = []
    for t, matches in enumerate(linear(queries, keys), start=1):
        scores = [match / len(keys[0]) ** 0.5 for match in matches[:t]]
        weights.append(softmax(scores) + [0.0] * (len(keys) - t))  # none for the future
    return linear(weights, transpose(values)), weights


def attend_back(queries, keys, values, weights, d_gathered):
    d_weights, d_columns = linear_back(weights, transpose(values), d_gathered)
    d_scores = map(softmax_back, weights, d_weights)
    d_matches = [[d / len(keys[0]) ** 0.5 for d in row] for row in d_scores]
    d_queries, d_keys = linear_back(queries, keys, d_matches)
    return d_queries, d_keys, transpose(d_columns)


def split(xs, n_head):
    """Return the share of each head: its part of every row."""
    size = len(xs[0]) // n_head
    return [[x[i : i + size] for x in xs] for i in range(0, len(xs[0]), size)]


def join(shares):
    """Undo split: put the shares of all heads side by side."""
    return [list(chain(*rows)) for rows in zip(*shares)]


def block(xs, matrices, n_head):
    """Return the rows that a block makes of xs, and all that its way back needs."""
    wq, wk, wv, wo, fc1, fc2 = matrices
    seen, seen_scales = rmsnorm(xs)
    projected = [split(linear(seen, matrix), n_head) for matrix in (wq, wk, wv)]
    heads = list(zip(*projected))  # of each head: queries, keys, values
    shares, weights = zip(*[attend(*head) for head in heads])
    gathered = join(shares)
    middle = add(xs, linear(gathered, wo))
    normed, scales = rmsnorm(middle)
    hidden = linear(normed, fc1)
    kept = (
        xs,
        seen,
        seen_scales,
        heads,
        weights,
        gathered,
        middle,
        normed,
        scales,
        hidden,
    )
    return add(middle, linear(relu(hidden), fc2)), kept


def block_back(kept, matrices, n_head, d_ys):
    """Return the gradients of a block's xs, and of its six matrices."""
    wq, wk, wv, wo, fc1, fc2 = matrices
    xs, seen, seen_scales, heads, weights, gathered, middle, normed, scales, hidden = (
        kept
    )
    d_relu, d_fc2 = linear_back(relu(hidden), fc2, d_ys)
    d_normed, d_fc1 = linear_back(normed, fc1, relu_back(hidden, d_relu))
    d_middle = add(
        d_ys, rmsnorm_back(middle, scales, d_normed)
    )  # two paths: two shares

    d_gathered, d_wo = linear_back(gathered, wo, d_middle)
    d_shares = split(d_gathered, n_head)
    d_heads = [attend_back(*h, w, d) for h, w, d in zip(heads, weights, d_shares)]
    d_queries, d_keys, d_values = map(join, zip(*d_heads))

    from_queries, d_wq = linear_back(seen, wq, d_queries)
    from_keys, d_wk = linear_back(seen, wk, d_keys)
    from_values, d_wv = linear_back(seen, wv, d_values)
    d_seen = add(from_queries, add(from_keys, from_values))
    d_xs = add(d_middle, rmsnorm_back(xs, seen_scales, d_seen))
    return d_xs, [d_wq, d_wk, d_wv, d_wo, d_fc1, d_fc2]


def forward(matrices, tokens, n_head):
    """Return the logits after each token, and all that the way back needs."""
    wte, wpe, lm_head, *others = matrices
    embedded = add([wte[token] for token in tokens], wpe)
    xs, scales = rmsnorm(embedded)
    blocks = []
    for i in range(0, len(others), 6):
        xs, kept = block(xs, others[i : i + 6], n_head)
        blocks.append((kept, others[i : i + 6]))
    return linear(xs, lm_head), (embedded, scales, blocks, xs)


def loss_and_grads(matrices, tokens, n_head):
    """Return the loss of a document, and its gradients in the shape of the matrices.

    These are wte, wpe, lm_head, and then wq, wk, wv, wo, fc1, fc2 of each block.
    """
    wte, wpe, lm_head = matrices[:3]
    inputs, targets = tokens[:-1][: len(wpe)], tokens[1:]
    n = len(inputs)
    logits, (embedded, scales, blocks, xs) = forward(matrices, inputs, n_head)
    probs = [softmax(row) for row in logits]
    loss = -sum(math.log(row[target]) for row, target in zip(probs, targets)) / n

    d_logits = [[p / n for p in row] for row in probs]
    for row, target in zip(d_logits, targets):
        row[target] -= (
            1 / n
        )  # the gradient of -log softmax: probs, minus 1 at the target
    d_xs, d_lm_head = linear_back(xs, lm_head, d_logits)
    d_blocks = []
    for kept, block_matrices in reversed(blocks):
        d_xs, d_matrices = block_back(kept, block_matrices, n_head, d_xs)
        d_blocks = d_matrices + d_blocks
    d_embedded = rmsnorm_back(embedded, scales, d_xs)

    d_wte = [[0.0] * len(row) for row in wte]
    for token, d_row in zip(inputs, d_embedded):
        d_wte[token] = [d + e for d, e in zip(d_wte[token], d_row)]
    d_wpe = d_embedded + [[0.0] * len(row) for row in wpe[n:]]
    return loss, [d_wte, d_wpe, d_lm_head, *d_blocks]
