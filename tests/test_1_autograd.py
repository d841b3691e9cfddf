"""Section 1 of microgpt.py: Value, the tape, backward(), and dot."""

import math
from unittest import mock

from microgpt import Value, dot, tape
from tests import helpers as h

PAIRS = [(2.0, 3.0), (-1.5, 0.5), (0.25, -4.0), (-2.0, -0.75)]
ANY = [(2.0,), (-1.5,), (0.25,), (-0.75,)]
POSITIVE = [(2.0,), (0.5,), (0.25,), (7.0,)]

# Name, operation, where to try it, and how floats do it if that is written otherwise.
# Those that the others are made of come first, so that a slip shows where it is.
OPERATIONS = [
    ("a + b", lambda a, b: a + b, PAIRS),
    ("a * b", lambda a, b: a * b, PAIRS),
    ("a ** 3", lambda a: a**3, ANY),
    ("a ** -1", lambda a: a**-1, ANY),
    ("a ** 0.5", lambda a: a**0.5, POSITIVE),
    ("a ** 0", lambda a: a**0, ANY),
    ("exp", lambda a: a.exp(), ANY, math.exp),
    ("log", lambda a: a.log(), POSITIVE, math.log),
    ("relu", lambda a: a.relu(), ANY, lambda a: max(a, 0.0)),
    ("a + 3", lambda a: a + 3, ANY),
    ("3 + a", lambda a: 3 + a, ANY),
    ("a * 3", lambda a: a * 3, ANY),
    ("3 * a", lambda a: 3 * a, ANY),
    ("-a", lambda a: -a, ANY),
    ("a - b", lambda a, b: a - b, PAIRS),
    ("a - 3", lambda a: a - 3, ANY),
    ("3 - a", lambda a: 3 - a, ANY),
    ("a / b", lambda a, b: a / b, PAIRS),
    ("a / 3", lambda a: a / 3, ANY),
    ("3 / a", lambda a: 3 / a, ANY),
    ("sum", lambda a, b: sum([a, b, a]), PAIRS),  # begins with 0 + a
]


class Arithmetic(h.TestCase):
    def test_each_slope(self):
        """Every operation has the slopes that are measured, whatever stands left."""
        for name, operation, points, *_ in OPERATIONS:
            for point in points:
                with self.subTest(name, point=point):
                    self.assertSlopes(operation, point)

    def test_each_value(self):
        """Every operation gives the number that it gives with plain floats."""
        for name, operation, points, *other in OPERATIONS:
            on_floats = other[0] if other else operation
            for point in points:
                with self.subTest(name, point=point):
                    result = operation(*h.values(point)).data
                    self.assertAlmostEqual(result, on_floats(*point), places=12)

    def test_wrong_slope_is_noticed(self):
        """Negative control: a slope that is wrong by a thousandth fails the check."""

        def wrong(value):
            result = math.exp(value.data)
            return Value(result, (value,), (result * 1.001,))

        with mock.patch.object(Value, "exp", wrong), self.assertRaises(AssertionError):
            self.assertSlopes(lambda a: a.exp(), [0.5])

    def test_zero_to_the_zero(self):
        """0 ** 0 is 1 with slope 0, and 0 ** 1 is 0 with slope 1."""
        for n, result in ((0, 1), (1, 0)):
            a = Value(0.0)
            power = a**n
            power.backward()
            self.assertEqual((power.data, a.grad), (result, n))

    def test_relu_corner(self):
        """relu has slope 0 below 0 and in its corner, at 0 itself, and 1 above."""
        slopes = [h.gradients(Value.relu, [x])[0] for x in (-2.0, 0.0, 1e-9, 2.0)]
        self.assertEqual(slopes, [0, 0, 1, 1])

    def test_relu_hides_no_nan(self):
        """A nan survives relu, so a training that broke down is noticed."""
        self.assertTrue(math.isnan(Value(math.nan).relu().data))


class Backward(h.TestCase):
    def test_used_twice(self):
        """A Value that is used twice collects the gradients of both uses."""
        self.assertEqual(h.gradients(lambda a: a + a, [3.0]), [2])
        self.assertEqual(h.gradients(lambda a: a * a, [3.0]), [6])

    def test_many_paths(self):
        """50 doublings make 2 ** 50 paths, but every Value is walked only once."""

        def doubled(a):
            for _ in range(50):
                a = a + a
            return a

        self.assertEqual(h.gradients(doubled, [1.0]), [2**50])

    def test_deep(self):
        """A formula 10,000 operations deep needs no recursion."""

        def deep(a):
            for _ in range(10_000):
                a = a + 0.5
            return a * 7

        self.assertEqual(h.gradients(deep, [1.0]), [7])

    def test_loss_itself(self):
        """The loss rises exactly as fast as itself: 1, whatever its grad was before."""
        loss = Value(2.0) * 3
        loss.grad = 5.0
        loss.backward()
        self.assertEqual(loss.grad, 1)

    def test_what_is_on_the_tape(self):
        """Computed Values join the end of the tape; parameters, constants never do."""
        parameter = Value(2.0)
        first = parameter * 3
        second = first.exp()
        self.assertEqual(tape, [first, second])

    def test_refused(self):
        """backward() refuses what is not on the tape: never computed, used, cleared."""
        leaf, cleared = Value(1.0), Value(3.0) * 3
        tape.clear()
        used = Value(2.0) * 3
        used.backward()
        for value in (leaf, used, cleared):
            with self.assertRaises(AssertionError) as refused:
                value.backward()
            self.assertIn(repr(value), str(refused.exception))

    def test_refused_changes_nothing(self):
        """A refused backward() changes no gradient and leaves the tape as it was."""
        gone = Value(1.0)
        loss = Value(2.0) * 3
        self.assertRaises(AssertionError, gone.backward)
        self.assertEqual((gone.grad, loss.grad, tape), (0, 0, [loss]))

    def test_tape_is_used_up(self):
        """backward() takes the whole tape at once, even if interrupted halfway."""

        class Interrupt:
            def __iter__(self):
                raise KeyboardInterrupt

        halfway = Value(6.0, (Value(2.0),), Interrupt())
        self.assertRaises(KeyboardInterrupt, (halfway * 5).backward)
        self.assertEqual(tape, [])

    def test_grads_add_up(self):
        """The gradients of two losses add up until somebody sets them to 0."""
        a = Value(2.0)
        (a * 3).backward()
        (a * 4).backward()
        self.assertEqual(a.grad, 7)

    def test_abandoned(self):
        """An unused result disturbs no gradient, even if its slope is infinite."""
        a = Value(2.0)
        a * math.inf  # passes on nothing: 0 * inf would be nan
        (a * 3).backward()
        self.assertEqual(a.grad, 3)


class Dot(h.TestCase):
    def long_way(self, *numbers):
        """The same with a Value for each * and each +."""
        half = len(numbers) // 2
        return sum(x * y for x, y in zip(numbers[:half], numbers[half:]))

    def dot(self, *numbers):
        half = len(numbers) // 2
        return dot([*numbers[:half]], [*numbers[half:]])

    def test_long_way(self):
        """dot gives the number and all gradients of the long way, * by * and + by +."""
        for way in (self.dot, self.long_way):
            point = [2.0, -1.0, 0.5, 3.0, 4.0, -6.0]
            self.assertEqual(way(*h.values(point)).data, -1)
            self.assertEqual(h.gradients(way, point), [3, 4, -6, 2, -1, 0.5])

    def test_one_value(self):
        """dot puts a single Value on the tape, however long the vectors are."""
        xs = h.values(range(100))
        dot(xs, xs)
        self.assertEqual(len(tape), 1)

    def test_lengths(self):
        """dot refuses vectors of two lengths, and tells both."""
        for n, m in ((2, 3), (3, 2)):
            with self.assertRaisesRegex(AssertionError, rf"\b{n}\b.*\b{m}\b"):
                dot(h.values(range(n)), h.values(range(m)))
