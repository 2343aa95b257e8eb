"""The codec keeps every value it takes, and refuses every other with the exact place."""

from __future__ import annotations

import enum
import json
import math
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import pytest

from duraflow.codec import Codec, Limits, canonical_json
from duraflow.errors import InvalidArgument

CET = timezone(timedelta(hours=1))


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796  # an alias
    BLUE = (0, 0, 255)


class Level(enum.IntEnum):
    LOW = 1


class Kind(enum.StrEnum):
    CASH = "cash"


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


@attrs.frozen
class Line:
    article: str
    price: Decimal
    tags: tuple[str, ...] = ()


@attrs.define
class Order:
    _id: UUID
    lines: tuple[Line, ...]
    color: Color
    extra: dict[str, Any] = attrs.field(factory=dict)
    shown: str = attrs.field(init=False, default="never")


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    label: str = field(default="p", init=False)


class Pair(NamedTuple):
    left: int
    right: str


class Name(str):
    __slots__ = ()


class Loner(str):
    """A string that equals nothing but itself."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class Nowhere(tzinfo):
    """A time zone that does not know its offset: such a datetime is naive."""

    def utcoffset(self, moment: datetime | None) -> None:
        return None

    dst = utcoffset

    def tzname(self, moment: datetime | None) -> None:
        return None


TYPES: tuple[type, ...] = (Color, Level, Kind, Rights, Line, Order, Point)
codec = Codec(types=TYPES)
ORDER = Order(UUID(int=7), (Line("tea", Decimal("1.50"), ("hot", "x")),), Color.BLUE, {"t": ((1, 2), [(3,)])})


def same(left: object, right: object) -> bool:
    """Equal and of equal types, all the way down; -0.0 is not 0.0 and 1.50 is not 1.5."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float | Decimal):
        return repr(left) == repr(right)
    return left == right


PLAIN: list[tuple[object, str]] = [
    (None, "null"),
    (True, "true"),
    (0, "0"),
    (-(2**70), "-1180591620717411303424"),
    (10**4300 - 1, "9" * 4300),
    (1.0, "1.0"),
    (0.1, "0.1"),
    (0.0, "0.0"),
    (0.0001, "0.0001"),
    (-9999999999999998.0, "-9999999999999998.0"),
    ("", '""'),
    ("Åsa \\u0000 \n\x7f\U0001f600", '"Åsa \\\\u0000 \\n\x7f\U0001f600"'),
    ([], "[]"),
    ({}, "{}"),
    ({"": [1, {"$$": "$", "v": "v"}]}, '{"":[1,{"$$":"$","v":"v"}]}'),
]
TAGGED: list[tuple[object, str, object]] = [
    (-0.0, "float", "-0.0"),
    (1e16, "float", "1e+16"),
    (-1e22, "float", "-1e+22"),
    (5e-324, "float", "5e-324"),
    (0.00001, "float", "1e-05"),
    (math.nextafter(0.0001, 0), "float", "9.999999999999999e-05"),
    (123456789012345680.0, "float", "1.2345678901234568e+17"),
    (sys.float_info.max, "float", "1.7976931348623157e+308"),
    (date(2024, 2, 29), "date", "2024-02-29"),
    (datetime(2024, 2, 29, 12, 30, tzinfo=UTC), "datetime", "2024-02-29T12:30:00+00:00"),
    (datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=CET), "datetime", "0001-01-01T00:00:00.000001+01:00"),
    (timedelta(days=1, microseconds=5), "timedelta_us", 86_400_000_005),
    (timedelta.min, "timedelta_us", -86_399_999_913_600_000_000),
    (timedelta.max, "timedelta_us", 86_399_999_999_999_999_999),
    (Decimal("1.50"), "decimal", "1.50"),
    (Decimal("-0E+7"), "decimal", "-0E+7"),
    (UUID(int=1), "uuid", "00000000-0000-0000-0000-000000000001"),
    (b"", "bytes", ""),
    (b"\x00\xff", "bytes", "AP8="),
    ({"$": 1}, "object", {"$$": 1}),
    ({"$": "date", "v": "2024-02-29"}, "object", {"$$": "date", "v": "2024-02-29"}),
    ({"$": 1, "$$": 2, "$x": 3, "x$": 4}, "object", {"$$": 1, "$$$": 2, "$$x": 3, "x$": 4}),
    ({"$": {"$": 1}}, "object", {"$$": {"$": "object", "v": {"$$": 1}}}),
    (Color.RED, "enum:Color", "RED"),
    (Color.CRIMSON, "enum:Color", "RED"),
    (Level.LOW, "enum:Level", "LOW"),
    (Kind.CASH, "enum:Kind", "CASH"),
    (Rights.READ | Rights.WRITE, "enum:Rights", 3),
    (Rights(0), "enum:Rights", 0),
    (Point(1.0, -0.0), "class:Point", {"x": 1.0, "y": {"$": "float", "v": "-0.0"}, "label": "p"}),
    (
        Line("tea", Decimal(2)),
        "class:Line",
        {"article": "tea", "price": {"$": "decimal", "v": "2"}, "tags": {"$": "tuple", "v": []}},
    ),
]


@pytest.mark.parametrize(("value", "text"), PLAIN, ids=lambda value: repr(value)[:30])
def test_plain_values_are_their_own_json(value: object, text: str) -> None:
    """What JSON and jsonb have anyway is written as it is, and comes back with its exact type."""
    assert codec.encode(value, path="x") == text
    assert same(codec.decode(text), value)


@pytest.mark.parametrize(("value", "tag", "stored"), TAGGED, ids=lambda value: repr(value)[:30])
def test_other_values_are_tagged(value: object, tag: str, stored: object) -> None:
    """Each other kind has one fixed stored form; a change of it would make stored data unreadable."""
    assert codec.to_plain([value], path="x") == [{"$": tag, "v": stored}]
    assert same(codec.copy([value]), [value])


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2, ("a", 1e22))), [1, [2, ["a", 1e22]]]),
        (Pair(1, "b"), [1, "b"]),
        (Name("x"), "x"),
        ({Name("k"): Name("x")}, {"k": "x"}),
        (OrderedDict(b=1, a=Name("n")), {"b": 1, "a": "n"}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (MappingProxyType({"a": MappingProxyType({"$": (1,)})}), {"a": {"$": [1]}}),
        (type("Ints", (int,), {})(5), 5),
        (type("Floats", (float,), {})(-0.0), -0.0),
        (type("Lists", (list,), {})([(1,)]), [[1]]),
        (type("Moments", (datetime,), {})(2024, 1, 1, tzinfo=CET), datetime(2024, 1, 1, tzinfo=CET)),
        (type("Days", (date,), {})(2024, 1, 1), date(2024, 1, 1)),
        (type("Spans", (timedelta,), {})(1), timedelta(1)),
        (type("Raw", (bytes,), {})(b"x"), b"x"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_subclasses_come_back_as_their_base(value: object, plain: object) -> None:
    """Tuples become lists, mappings dicts, and subclasses of built-in types the built-in type."""
    assert same(codec.copy(value), plain)


def test_objects_come_back_equal() -> None:
    """Private names, tuples at any depth inside, and attributes that the constructor does not take are kept."""
    ORDER.shown = "today"
    back = codec.copy({"order": ORDER, "t": (1,)})
    assert back == {"order": ORDER, "t": [1]}
    assert isinstance(back, dict)
    assert back["order"].extra == {"t": ((1, 2), [(3,)])}
    assert back["order"].color is Color.BLUE


@pytest.mark.parametrize("cls", [Color, Line])
def test_a_registered_name_can_be_chosen(cls: type) -> None:
    """A mapping names the types; the first name of a class is written, all are read."""
    value = Color.RED if cls is Color else Line("tea", Decimal(1))
    old, new = Codec(types={"Old": cls}), Codec(types={"New": cls, "Old": cls})
    assert '"New"' in new.encode(value, path="x").replace(":New", '"New"')
    assert new.decode(old.encode(value, path="x")) == value


def test_plain_data_is_not_copied() -> None:
    """`to_plain` gives the very object back when it has nothing to convert."""
    value = {"a": [1, "b", {"c": None}], "d": 1.5}
    assert codec.to_plain(value, path="x") is value


def test_conversion_leaves_the_given_value_alone() -> None:
    """Only the containers on the way to a converted value are copied; none is changed."""
    quiet = [1]
    value = {"a": [quiet, {"b": Decimal(1)}], "quiet": quiet}
    tree = codec.to_plain(value, path="x")
    assert value == {"a": [[1], {"b": Decimal(1)}], "quiet": [1]}
    assert isinstance(tree, dict)
    assert tree["quiet"] is quiet


def test_from_plain_gives_independent_values() -> None:
    """A tree out of a larger document is read as `decode` reads text, and shares nothing with it."""
    tree = json.loads(json.dumps({"inner": codec.to_plain({"a": [ORDER, [1]]}, path="x")}))["inner"]
    back = codec.from_plain(tree)
    assert back == {"a": [ORDER, [1]]}
    tree["a"][1].append(2)
    assert back == {"a": [ORDER, [1]]}


@pytest.mark.parametrize(
    "tree", [{1, 2}, math.nan, {"a": object()}, "\ud800"], ids=["set", "nan", "object", "surrogate"]
)
def test_from_plain_wants_a_plain_tree(tree: object) -> None:
    """What no JSON reader gives is refused, not guessed at; a lone surrogate is harmless when reading."""
    if tree == "\ud800":
        assert codec.from_plain(tree) == tree
    else:
        with pytest.raises(InvalidArgument, match="stored value: is not a plain JSON tree"):
            codec.from_plain(tree)


def cycle() -> object:
    """A grandchild that holds its grandparent."""
    value: dict[str, Any] = {"lines": [{"a": 1}]}
    value["lines"].append({"parent": value})
    return value


def proxy_cycle() -> object:
    """A cycle through a read-only view."""
    value: dict[str, Any] = {}
    value["me"] = MappingProxyType(value)
    return [value]


def deep(levels: int, bottom: Callable[[], Any]) -> object:
    """`bottom` inside that many lists."""
    value = bottom()
    for _ in range(levels):
        value = [value]
    return value


def at_price(price: object) -> object:
    """A value in the middle of a context."""
    return {"order": {"lines": [1, 2, 3, {"price": price}]}}


AT = "context.order.lines[3].price"
BAD: list[tuple[object, str, str]] = [
    (at_price({1}), AT, "is of the type set, which JSON does not have: use a sorted list"),
    (at_price(frozenset()), AT, "is of the type frozenset"),
    (at_price(bytearray()), AT, r"use bytes\(value\)"),
    (at_price(time(1)), AT, r"use value\.isoformat\(\)"),
    (at_price(iter(())), AT, "is of the type tuple_iterator"),
    (at_price(Path("x")), AT, "convert it to JSON values first"),
    (at_price(object()), AT, "is of the type object"),
    (at_price(Color), AT, "is of the type EnumType"),
    (at_price(1j), AT, "is of the type complex"),
    (at_price(math.nan), AT, "is nan, which JSON does not have"),
    (at_price(-math.inf), AT, "is -inf"),
    (at_price(Decimal("NaN")), AT, "is the Decimal NaN, which is not a finite number"),
    (at_price(Decimal("-Infinity")), AT, "is the Decimal -Infinity"),
    (at_price(datetime(2024, 1, 1)), AT, r"is the datetime 2024-01-01T00:00:00 without a time zone: add one"),  # noqa: DTZ001
    (at_price(datetime(2024, 1, 1, tzinfo=Nowhere())), AT, "without a time zone"),
    (at_price(10**4300), AT, "is an integer of more than 4300 digits"),
    (at_price(-(10**4300)), AT, "is an integer of more than 4300 digits"),
    (at_price("a\0b"), AT, "contains the character NUL"),
    (at_price(Name("\0")), AT, "contains the character NUL"),
    (at_price("a\ud800"), AT, r"contains the lone surrogate U\+D800"),
    (at_price("\ud83d\ude00"), AT, r"contains the lone surrogate U\+D83D"),
    (at_price({"a": "\\u0000", "b": "\0"}), AT + ".b", "contains the character NUL"),
    (at_price({"k\0": 1}), AT, r'has a key "k\\u0000" that contains the character NUL'),
    (at_price({"k\udfff": 1}), AT, r'has a key "k\\udfff" that contains the lone surrogate U\+DFFF'),
    (at_price({Loner("a"): 1, Loner("a"): 2}), AT, 'has two keys that are both written "a"'),
    (at_price({1: 2}), AT, r"has the key 1 of type int; JSON keys are strings: use str\(key\)"),
    (at_price({"a": 1, None: 2}), AT, "has the key None of type NoneType"),
    (at_price({Kind.CASH: 2}), AT, "has the enum member .* as a key"),
    (at_price(MappingProxyType({b"a": 2})), AT, "has the key b'a' of type bytes"),
    (at_price(MappingProxyType({"a b": {1}})), AT + '["a b"]', "is of the type set"),
    (at_price({Name("n"): [{1}]}), AT + ".n[0]", "is of the type set"),
    (at_price(Line("tea", Decimal("NaN"))), AT + ".price", "is the Decimal NaN"),
    (at_price(Order(UUID(int=1), (1, {2}), Color.RED)), AT + ".lines[1]", "is of the type set"),  # type: ignore[arg-type]
    ({1}, "context", "is of the type set"),
    ("\0", "context", "contains the character NUL"),
    (cycle(), "context.lines[1].parent", "contains itself"),
    (proxy_cycle(), "context[0].me.me", "contains itself"),
    (deep(65, lambda: 1), "context" + "[0]" * 64, "is nested more than 64 levels deep"),
    (deep(64, dict), "context" + "[0]" * 64, "is nested more than 64 levels deep"),
    (deep(64, lambda: ORDER), "context" + "[0]" * 64, "is nested more than 64 levels deep"),
]


@pytest.mark.parametrize(
    ("value", "path", "reason"), BAD, ids=[f"{path[:40]}-{reason[:30]}" for _, path, reason in BAD]
)
def test_bad_values_are_refused_with_their_place(value: object, path: str, reason: str) -> None:
    """The error names the path inside the value, the reason and what to do."""
    for write in (codec.encode, codec.to_plain):
        with pytest.raises(InvalidArgument, match=reason) as caught:
            write(value, path="context")
        assert caught.value.argument == path


@pytest.mark.parametrize("max_depth", [1, 2, 3])
def test_a_cycle_is_called_a_cycle_under_a_tight_depth_limit(max_depth: int) -> None:
    """The reason "nested too deep" would send the reader to the wrong remedy."""
    inner: dict[str, Any] = {}
    value = MappingProxyType(inner)
    inner["me"] = value
    with pytest.raises(InvalidArgument, match="contains itself") as caught:
        Codec(limits=Limits(max_depth=max_depth)).encode(value, path="x")
    assert caught.value.argument == "x.me"


@pytest.mark.parametrize("value", [Color.RED, Level.LOW, Kind.CASH, Rights.READ], ids=repr)
def test_unregistered_enums_are_refused(value: enum.Enum) -> None:
    """A str or int enum is not silently written as its value: it would come back as something else."""
    with pytest.raises(
        InvalidArgument, match=rf"register it with Codec\(types=\[{type(value).__name__}\]\)"
    ) as caught:
        Codec().encode({"a": [value]}, path="payload")
    assert caught.value.argument == "payload.a[0]"


@pytest.mark.parametrize("value", [Line("a", Decimal(1)), Point(1.0, 2.0)], ids=repr)
def test_unregistered_classes_are_refused(value: object) -> None:
    """The remedy is the line of code to write."""
    with pytest.raises(InvalidArgument, match=rf"register it with Codec\(types=\[{type(value).__name__}\]\)"):
        Codec().encode(value, path="payload")


def test_a_subclass_of_a_registered_class_is_not_taken_for_it() -> None:
    """It would come back as its base class."""

    @attrs.frozen
    class Gift(Line):
        pass

    with pytest.raises(InvalidArgument, match="Gift: register it"):
        codec.encode(Gift("tea", Decimal(1)), path="x")


def test_an_attribute_that_was_never_set_is_named() -> None:
    """An object without all its fields cannot be stored."""
    with pytest.raises(InvalidArgument, match="was never set") as caught:
        codec.encode(Line.__new__(Line), path="x")
    assert caught.value.argument == "x.article"


class Stamp(datetime):
    """A datetime that holds more than a datetime, as pandas has one."""

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        return super().isoformat(sep, timespec) + "123"


class Span(timedelta):
    """A timedelta that equals none, as one with nanoseconds does."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    __hash__ = timedelta.__hash__


@pytest.mark.parametrize("value", [Stamp(2024, 1, 1, tzinfo=UTC), Span(1)], ids=["datetime", "timedelta"])
def test_subclasses_that_hold_more_are_refused(value: object) -> None:
    """Nanoseconds and "not a time" are not dropped in silence."""
    with pytest.raises(InvalidArgument, match="cannot hold exactly"):
        codec.encode([value], path="x")


def test_integers_obey_the_limit_of_the_interpreter() -> None:
    """With a lower limit for int to text, the long integer is named instead of an error of json."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(700)
    try:
        with pytest.raises(InvalidArgument, match="too long an integer for this interpreter") as caught:
            codec.encode([10**699, 10**700], path="x")
    finally:
        sys.set_int_max_str_digits(before)
    assert caught.value.argument == "x[1]"


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("a" * 98, 100),
        ("é" * 49, 100),
        (["é"] * 19 + ["aa"], 100),
        ({"k" * 94: 1}, 100),
        (10**99, 100),
        (b"a" * 57, 96),
    ],
    ids=["ascii", "utf8", "list", "key", "int", "bytes"],
)
def test_the_size_limit_is_exact(value: object, size: int) -> None:
    """A value of exactly `max_bytes` UTF-8 bytes is taken, one byte less of room and it is refused."""
    written = Codec().encode(value, path="x")
    size = len(written.encode())
    assert Codec(limits=Limits(max_bytes=size)).encode(value, path="x") == written
    with pytest.raises(
        InvalidArgument, match=rf"takes .*{size - 1} bytes as JSON|limit is {size - 1} "
    ) as caught:
        Codec(limits=Limits(max_bytes=size - 1)).encode(value, path="x")
    assert caught.value.argument == "x"
    assert caught.value.reason.startswith("takes ")


@pytest.mark.parametrize(
    "part",
    [10**4000, Decimal(10**4000), b"x" * 4000, "x" * 4000, {"k" * 4000: 1}],
    ids=lambda part: type(part).__name__,
)
def test_large_parts_count_while_walking(part: object) -> None:
    """A large part that occurs often is refused before the whole text is made."""
    with pytest.raises(InvalidArgument, match=r"^x: takes more than 1,048,576 bytes"):
        codec.encode([part] * 2000, path="x")


def test_a_small_value_that_is_huge_as_json_is_refused_at_once() -> None:
    """Shared parts count as often as they are written: 64 levels of doubling end quickly."""
    value: object = "x" * 40
    for _ in range(60):
        value = [value, value]
    with pytest.raises(InvalidArgument, match="takes more than 1,048,576 bytes") as caught:
        codec.encode(value, path="context")
    assert caught.value.argument == "context"


def test_mixed_keys_do_not_multiply_the_work() -> None:
    """A mapping that has to be rebuilt is walked once on each level, not twice."""
    value: object = 1
    for _ in range(60):
        value = {"a": value, Name("b"): 1}
    assert codec.copy(value) == value


@pytest.mark.parametrize("depth", [1, 64, 256])
def test_the_depth_limit_is_exact(depth: int) -> None:
    """`max_depth` containers inside each other are taken, and one more is not, of every kind of container."""
    bounded = Codec(types=[Order, Color], limits=Limits(max_depth=depth))

    def order(inner: object) -> Order:
        return Order(UUID(int=1), (), Color.RED, {"i": inner})

    wraps: list[Callable[[Any], Any]] = [
        lambda v: [v],
        lambda v: {"a": v},
        lambda v: MappingProxyType({"a": v}),
    ]
    for wrap in wraps:
        value: Any = 1
        for _ in range(depth):
            value = wrap(value)
        assert bounded.copy(value) == value
        with pytest.raises(InvalidArgument, match=f"more than {depth} levels"):
            bounded.encode(wrap(value), path="x")
    if depth > 2:
        value = 1
        for _ in range(depth // 2):
            value = order(value)
        assert bounded.copy(value) == value
        with pytest.raises(InvalidArgument, match=f"more than {depth} levels"):
            bounded.encode(order(value), path="x")


@pytest.mark.parametrize("name", ["max_bytes", "max_depth"])
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, 268_435_456], ids=repr)
def test_limits_are_validated(name: str, value: object) -> None:
    """A wrong limit is refused when it is given, with its name."""
    with pytest.raises(InvalidArgument, match="must be an int from 1 to") as caught:
        Limits(**{name: value})  # type: ignore[arg-type]
    assert caught.value.argument == name


def test_limits_take_their_bounds() -> None:
    """The largest limits are those of jsonb and of Python's recursion."""
    assert Limits() == Limits(max_bytes=1_048_576, max_depth=64)
    assert Limits(max_bytes=268_435_455, max_depth=256) != Limits()


@dataclass
class Seeded:
    seed: InitVar[int]
    x: int = 0


@dataclass(init=False)
class Placed:
    x: int

    def __init__(self, x: int, /) -> None:
        self.x = x


@attrs.define(init=False)
class Odd:
    x: int

    def __init__(self, y: int) -> None:
        self.x = y


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        ([Line, enum.Enum("Line", ["A"])], "are both named 'Line': give a mapping with a name for each"),
        ([int], "is no enum, attrs class or dataclass"),
        ([ORDER], "is no enum, attrs class or dataclass"),
        ({"": Line}, "cannot be the name of a type"),
        ({"a\0": Line}, "cannot be the name of a type"),
        ({1: Line}, "cannot be the name of a type"),
        ([Seeded], "its constructor wants 'seed'"),
        ([Odd], "its constructor wants 'y'"),
        ([Placed], "its constructor wants 'x'"),
    ],
    ids=["same name", "builtin", "object", "empty", "nul", "number", "initvar", "own init", "positional"],
)
def test_wrong_types_are_refused_at_construction(types: Any, reason: str) -> None:
    """A codec that could not read back what it writes is never made."""
    with pytest.raises(InvalidArgument, match=reason) as caught:
        Codec(types=types)
    assert caught.value.argument == "types"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON that a codec wrote"),
        ("[1", "is not JSON that a codec wrote"),
        ("1 2", "is not JSON that a codec wrote"),
        ("[NaN]", "NaN is no JSON number"),
        ("1" * 4301, "is not JSON that a codec wrote"),
        ("[" * 100_000, "is not JSON that a codec wrote"),
        ('{"$":"date"}', "an object with the key"),
        ('{"$":"date","v":"2024-01-01","w":1}', "an object with the key"),
        ('{"$":["date"],"v":1}', "an object with the key"),
        ('{"$":"later","v":1}', "has the unknown tag 'later': it was written by a newer version or by hand"),
        ('{"\\u0024":"later","v":1}', "has the unknown tag 'later'"),
        ('{"$":"enum:Gone","v":1}', r"register the type with Codec\(types=\[Gone\]\)"),
        ('{"$":"class:Gone","v":{}}', r"register the type with Codec\(types=\[Gone\]\)"),
        ('[{"$":"enum:Color","v":"GREEN"}]', "tagged 'enum:Color' cannot be read: KeyError: 'GREEN'"),
        ('[{"$":"enum:Color","v":["RED"]}]', "tagged 'enum:Color' cannot be read: TypeError"),
        ('{"$":"class:Line","v":{"article":"a"}}', "tagged 'class:Line' cannot be read: TypeError"),
        ('{"$":"class:Line","v":[]}', "tagged 'class:Line' cannot be read"),
        ('{"$":"class:Point","v":{"x":1,"y":1,"z":1}}', "tagged 'class:Point' cannot be read: TypeError"),
        ('{"$":"date","v":"2024-13-01"}', "tagged 'date' cannot be read: ValueError"),
        ('{"$":"decimal","v":"x"}', "tagged 'decimal' cannot be read: InvalidOperation"),
        ('{"$":"bytes","v":"?"}', "tagged 'bytes' cannot be read: Error"),
        ('{"$":"tuple","v":"ab"}', "tagged 'tuple' cannot be read: TypeError"),
        ('{"$":"object","v":1}', "tagged 'object' cannot be read: AttributeError"),
    ],
    ids=lambda value: value[:40],
)
def test_unreadable_text_is_refused(text: str, reason: str) -> None:
    """What no codec wrote, or a codec with other types, is an error that says what to do."""
    with pytest.raises(InvalidArgument, match=reason) as caught:
        codec.decode(text)
    assert caught.value.argument == "stored value"


def test_a_new_field_with_a_default_reads_old_values() -> None:
    """A class may grow: what was stored before gets the default."""
    assert codec.decode('{"$":"class:Line","v":{"article":"a","price":1}}') == Line("a", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [' {"a" : 1} ', '{"a": 1}\n', '{"a":1}'])
def test_white_space_does_not_matter(text: str) -> None:
    """PostgreSQL prints spaces; a person may add more."""
    assert codec.decode(text) == {"a": 1}


def test_decode_gives_independent_values() -> None:
    """Two reads share no container."""
    one, two = codec.decode('{"a": []}'), codec.decode('{"a": []}')
    assert isinstance(one, dict)
    one["a"].append(1)
    assert two == {"a": []}


def test_a_codec_is_immutable() -> None:
    """It may be shared: neither its fields nor its types can be changed."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        codec.limits = Limits()  # type: ignore[misc]
    with pytest.raises(TypeError):
        codec.types["x"] = Line  # type: ignore[index]


def test_canonical_json_is_one_text() -> None:
    """Sorted at every level, compact, not escaped: equal trees have equal hashes."""
    assert (
        canonical_json({"b": {"z": 1, "a": 2.0}, "a": ["é", None]}) == '{"a":["é",null],"b":{"a":2.0,"z":1}}'
    )
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(math.nan)
