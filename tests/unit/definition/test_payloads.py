"""Is what comes with an event checked, stored and described as it was declared?"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import attrs
import pytest

from duraflow.codec import Codec
from duraflow.definition.payloads import (
    DescribedPayload,
    FieldsPayload,
    PayloadType,
    UnusablePayload,
    payload_type,
)
from duraflow.errors import InvalidArgument

if TYPE_CHECKING:
    from decimal import Decimal as Money

T = TypeVar("T")
UserId = NewType("UserId", int)
ID = UUID("12345678-1234-5678-1234-567812345678")
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1


class Stage(StrEnum):
    OPEN = "open"


class Rights(Flag):
    READ = 1
    WRITE = 2


@attrs.frozen
class Line:
    article: str
    price: Decimal
    tags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0


class Address(TypedDict):
    street: str
    number: NotRequired[int]
    city: Required[Annotated[str, "name"]]


class Loose(TypedDict, total=False):
    street: str
    city: Required[str]


@attrs.frozen
class Order:
    lines: list[Line]
    colors: set[Color] = attrs.field(factory=set)
    where: Point | None = None
    address: Address | None = None
    stage: Stage = Stage.OPEN
    rights: Rights = Rights.READ
    kind: Literal["new", 7] | None = "new"
    extra: Any = None
    prices: Mapping[str, Decimal] = attrs.field(factory=dict)
    pair: tuple[int, str] = (0, "")
    frozen: frozenset[int] = frozenset()
    owner: UserId = UserId(1)
    by_color: dict[Color, int] = attrs.field(factory=dict)
    items: Sequence[Point | Line] = attrs.field(factory=list)


@attrs.define
class Tree:
    name: str
    children: list[Tree] = attrs.field(factory=list)
    parent: Tree | None = None


@attrs.frozen
class Hidden:
    _secret: int
    given: int = attrs.field(alias="handed", default=0)
    computed: int = attrs.field(init=False, default=3)


@attrs.frozen
class Leaves:
    flag: bool = False
    whole: int = 0
    real: float = 0.0
    text: str = ""
    money: Decimal = Decimal(0)
    key: UUID = ID
    raw: bytes = b""
    day: date = date(2024, 2, 29)
    at: datetime = NOON
    wait: timedelta = timedelta(0)
    nothing: None = None


@attrs.frozen
class Page(Generic[T]):
    entries: list[T]


@attrs.frozen
class Imported:
    amount: Money
    day: typing.Optional[date] = None  # noqa: UP045  # the older way to write it must work too


def of(declared: object) -> PayloadType:
    """The payload type of a declaration that has one."""
    found = payload_type(declared)
    assert isinstance(found, FieldsPayload)
    return found


ORDER = Order(
    lines=[Line("tea", Decimal("1.50"), ("hot",)), Line("cup", Decimal(3))],
    colors={Color.RED, Color.BLUE},
    where=Point(1.5),
    address={"street": "Main", "city": "Rome"},
    rights=Rights.READ | Rights.WRITE,
    kind=7,
    extra={"x": [1, None]},
    prices={"tea": Decimal(1)},
    pair=(1, "a"),
    frozen=frozenset({3, 1}),
    owner=UserId(5),
    by_color={Color.RED: 1},
    items=[Point(1.0), Line("a", Decimal(1))],
)
STORED = {
    "lines": [
        {"article": "tea", "price": Decimal("1.50"), "tags": ["hot"]},
        {"article": "cup", "price": Decimal(3), "tags": []},
    ],
    "colors": ["blue", "red"],
    "where": {"x": 1.5, "y": 0.0},
    "address": {"street": "Main", "city": "Rome"},
    "stage": "open",
    "rights": 3,
    "kind": 7,
    "extra": {"x": [1, None]},
    "prices": {"tea": Decimal(1)},
    "pair": [1, "a"],
    "frozen": [1, 3],
    "owner": 5,
    "by_color": {"red": 1},
    "items": [{"x": 1.0, "y": 0.0}, {"article": "a", "price": Decimal(1), "tags": []}],
}


def test_an_object_is_stored_as_a_plain_mapping_and_comes_back() -> None:
    """What is dumped holds only values that the codec knows, and loads as an equal object."""
    order = of(Order)
    assert order.dump(ORDER) == STORED
    stored = Codec().copy(order.dump(ORDER))
    assert order.load(stored) == ORDER


def test_a_value_that_fits_is_given_back_as_it_is() -> None:
    """Loading an object that needs no conversion makes no copy."""
    line = Line("tea", Decimal(1))
    assert of(Line).load(line) is line


def test_an_object_is_checked_field_by_field() -> None:
    """An instance of the class is no proof that its fields are right."""
    with pytest.raises(InvalidArgument, match=r"^payload\.lines\[1\]\.price: expected Decimal, got str"):
        of(Order).load(Order(lines=[ORDER.lines[0], Line("cup", "3")]))  # type: ignore[arg-type]


def test_a_field_of_an_object_that_is_a_mapping_becomes_an_object() -> None:
    """Nested mappings inside an instance are loaded like those inside a mapping."""
    loaded = of(Order).load(Order(lines=[{"article": "tea", "price": Decimal(1)}]))  # type: ignore[list-item]
    assert loaded == Order(lines=[Line("tea", Decimal(1))])


def test_the_description_is_json_and_loads_the_same_data() -> None:
    """What a snapshot says about a payload type is enough to check and keep payloads without the class."""
    order = of(Order)
    description = order.describe()
    assert description == {
        "object": {
            "lines": {
                "list": {
                    "object": {"article": "str", "price": "decimal", "tags": {"array": "str"}},
                    "optional": ["tags"],
                }
            },
            "colors": {"set": {"literal": ["red", "blue"]}},
            "where": {"union": [{"object": {"x": "float", "y": "float"}, "optional": ["y"]}, "none"]},
            "address": {
                "union": [
                    {"object": {"street": "str", "number": "int", "city": "str"}, "optional": ["number"]},
                    "none",
                ]
            },
            "stage": {"literal": ["open"]},
            "rights": "int",
            "kind": {"union": [{"literal": ["new", 7]}, "none"]},
            "extra": "any",
            "prices": {"map": "decimal"},
            "pair": {"tuple": ["int", "str"]},
            "frozen": {"set": "int"},
            "owner": "int",
            "by_color": {"map": "int", "keys": {"literal": ["red", "blue"]}},
            "items": {
                "list": {
                    "union": [
                        {"object": {"x": "float", "y": "float"}, "optional": ["y"]},
                        {
                            "object": {"article": "str", "price": "decimal", "tags": {"array": "str"}},
                            "optional": ["tags"],
                        },
                    ]
                }
            },
        },
        "optional": sorted(set(STORED) - {"lines"}),
    }
    described = DescribedPayload(Codec().copy(description))  # type: ignore[arg-type]
    assert described.describe() == description
    assert described.dump(described.load(STORED)) == STORED
    with pytest.raises(InvalidArgument, match=r"^payload\.lines\[0\]: missing field 'article', 'price'"):
        described.load({"lines": [{}]})


def test_a_class_may_contain_itself() -> None:
    """Recursive classes are described by how far up the enclosing object is."""
    tree = Tree("a", [Tree("b", [Tree("c")])])
    described = of(Tree).describe()
    assert described == {
        "object": {
            "name": "str",
            "children": {"list": {"enclosing": 0}},
            "parent": {"union": [{"enclosing": 0}, "none"]},
        },
        "optional": ["children", "parent"],
    }
    dumped = of(Tree).dump(tree)
    assert of(Tree).load(dumped) == tree
    assert DescribedPayload(described).load(dumped) == dumped


def test_a_value_that_contains_itself_is_refused() -> None:
    """Endless data is an error of the caller, not a crash."""
    tree = Tree("a")
    tree.children.append(tree)
    with pytest.raises(InvalidArgument, match=r"^payload: is nested too deeply, or contains itself"):
        of(Tree).load(tree)


def test_fields_are_known_by_what_the_constructor_calls_them() -> None:
    """A private attribute and an alias are read and stored under the name that the constructor takes."""
    hidden = Hidden(1, handed=2)
    assert of(Hidden).dump(hidden) == {"secret": 1, "handed": 2}
    assert of(Hidden).load({"secret": 1, "handed": 2}) == hidden


def test_typed_dicts_know_what_is_required() -> None:
    """`total`, `Required` and `NotRequired` hold, also with annotations kept as text."""
    assert of(Address).load({"street": "a", "city": "b"}) == {"street": "a", "city": "b"}
    assert of(Loose).load({"city": "b"}) == {"city": "b"}
    for declared, data in ((Address, {"street": "a"}), (Loose, {"street": "a"})):
        with pytest.raises(InvalidArgument, match=r"^payload: missing field 'city'"):
            of(declared).load(data)


def test_generic_parameters_take_anything() -> None:
    """The type parameter of a generic class is not checked."""
    assert of(Page).load({"entries": [1, "a"]}) == Page([1, "a"])


def test_common_types_resolve_without_an_import_at_run_time() -> None:
    """An import that only type checkers see does not stop the usual types from being known."""

    @attrs.frozen
    class Bill:
        total: Decimal
        day: date

    Bill.__module__ = "builtins"
    assert of(Bill).describe() == {"object": {"total": "decimal", "day": "date"}}
    unknown = payload_type(Imported)
    assert isinstance(unknown, UnusablePayload)
    assert unknown.problem == (
        "Imported: an annotation of Imported cannot be resolved (name 'Money' is not defined); "
        "import what it names at run time, at module level"
    )


FITTING: list[tuple[str, Any]] = [
    ("flag", True),
    ("whole", 2**80),
    ("real", 1.5),
    ("real", 2),
    ("text", ""),
    ("money", Decimal("1E+3")),
    ("key", ID),
    ("raw", b"\x00"),
    ("day", date(1, 1, 1)),
    ("at", NOON),
    ("wait", timedelta(microseconds=-1)),
    ("nothing", None),
]


@pytest.mark.parametrize(("field", "value"), FITTING)
def test_a_fitting_leaf_is_taken(field: str, value: object) -> None:
    """Each declared type takes its own values; a float takes whole numbers too."""
    loaded = of(Leaves).load({field: value})
    assert getattr(loaded, field) == value
    assert of(Leaves).load(of(Leaves).dump(loaded)) == loaded


MISFITS: list[tuple[str, Any, str]] = [
    ("flag", 1, "expected bool, got int; give True or False"),
    ("flag", None, "expected bool, got NoneType; give True or False"),
    ("whole", True, "expected int, got bool; convert it with int(…)"),
    ("whole", 1.0, "expected int, got float; convert it with int(…)"),
    ("whole", "1", "expected int, got str; convert it with int(…)"),
    ("real", True, "expected float, got bool; convert it with float(…)"),
    ("real", Decimal(1), "expected float, got Decimal; convert it with float(…)"),
    ("text", b"a", "expected str, got bytes; convert it with str(…)"),
    ("money", 1.5, 'expected Decimal, got float; give Decimal("…")'),
    ("key", str(ID), 'expected UUID, got str; give UUID("…")'),
    ("raw", bytearray(), "expected bytes, got bytearray; encode it first"),
    ("day", NOON, "expected date, got datetime; give a date without time of day"),
    ("at", date(2024, 2, 29), "expected datetime, got date; give a datetime with a time zone"),
    ("wait", 60, "expected timedelta, got int; give a timedelta"),
    ("nothing", 0, "expected None, got int; give None"),
]


@pytest.mark.parametrize(("field", "value", "reason"), MISFITS)
def test_a_misfit_is_refused_with_what_to_do(field: str, value: Any, reason: str) -> None:
    """The error names the field, what was expected, what came, and the remedy."""
    with pytest.raises(InvalidArgument) as caught:
        of(Leaves).load({field: value})
    assert str(caught.value) == f"payload.{field}: {reason}"
    with pytest.raises(InvalidArgument):
        of(Leaves).load(Leaves(**{field: value}))


SHAPES: list[tuple[dict[str, Any], str]] = [
    ({"lines": "tea"}, "payload.lines: expected a list, got str"),
    ({"lines": [], "colors": [[]]}, "payload.colors[0]: expected one of 'red', 'blue', got []"),
    ({"lines": [], "colors": "red"}, "payload.colors: expected a set, got str"),
    ({"lines": [], "stage": "OPEN"}, "payload.stage: expected one of 'open', got 'OPEN'"),
    ({"lines": [], "rights": 8}, "payload.rights: expected one of 1, 2, got 8"),
    ({"lines": [], "kind": True}, "payload.kind: expected one of 'new', 7 or None, got bool"),
    ({"lines": [], "kind": 7.0}, "payload.kind: expected one of 'new', 7 or None, got float"),
    ({"lines": [], "prices": {1: Decimal(1)}}, "payload.prices[1]: expected str, got int"),
    ({"lines": [], "prices": {"a": 1}}, "payload.prices['a']: expected Decimal, got int"),
    ({"lines": [], "prices": []}, "payload.prices: expected a mapping, got list"),
    ({"lines": [], "pair": [1]}, "payload.pair: expected a tuple of 2, got 1"),
    ({"lines": [], "pair": 1}, "payload.pair: expected a tuple of 2, got int"),
    ({"lines": [], "pair": ["1", "a"]}, "payload.pair[0]: expected int, got str"),
    ({"lines": [], "where": {"x": "1"}}, "payload.where.x: expected float, got str"),
    ({"lines": [], "where": 1}, "payload.where: expected Point or None, got int"),
    ({"lines": [], "where": {}}, "payload.where: missing field 'x'"),
    ({"lines": [], "items": [{"x": 1.0, "z": 1}]}, "payload.items[0]: expected Point or Line, got dict"),
    (
        {"lines": [], "by_color": {"green": 1}},
        "payload.by_color['green']: expected one of 'red', 'blue', got 'green'",
    ),
    ({"lines": [], "coulour": 1}, "payload: unknown field 'coulour'; Order has: lines, colors"),
    ({}, "payload: missing field 'lines'; Order needs it"),
]


@pytest.mark.parametrize(("data", "message"), SHAPES)
def test_a_misfit_inside_is_named_by_its_path(data: dict[str, Any], message: str) -> None:
    """However deep the wrong value is, the error says where."""
    with pytest.raises(InvalidArgument) as caught:
        of(Order).load(data)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("data", [None, 5, "text", [], Point(1.0)])
def test_something_else_is_no_payload(data: object) -> None:
    """Only the class itself or a mapping of its fields is taken; the error names them."""
    wanted = r"^payload: expected Order, got .*; give one, or a mapping of its fields \(lines, colors, "
    with pytest.raises(InvalidArgument, match=wanted):
        of(Order).load(data)


def test_a_subclass_is_refused() -> None:
    """It would come back as its base class, without what it adds."""

    @attrs.frozen
    class Special(Line):
        more: int = 0

    with pytest.raises(InvalidArgument, match=r"^payload: expected Line, got its subclass Special"):
        of(Line).load(Special("a", Decimal(1)))


def test_what_the_class_refuses_is_an_invalid_argument() -> None:
    """An error of a validator is reported at the path of the object."""

    @attrs.frozen
    class Positive:
        amount: int = attrs.field(validator=attrs.validators.gt(0))

    with pytest.raises(InvalidArgument, match=r"^payload: Positive refuses these values: .*must be > 0"):
        of(Positive).load({"amount": 0})


def test_members_of_enums_stand_for_plain_text_and_numbers() -> None:
    """A StrEnum member given as `str` is stored as text, which needs no registered enum."""
    assert type(of(Leaves).dump(Leaves(text=Stage.OPEN, whole=Size.SMALL))) is dict
    dumped = of(Leaves).dump(Leaves(text=Stage.OPEN, whole=Size.SMALL))
    assert isinstance(dumped, dict)
    assert (type(dumped["text"]), type(dumped["whole"])) == (str, int)


def test_kinds_that_look_alike_once_stored_are_refused() -> None:
    """Better an error now than another class when the payload is read back."""

    @attrs.frozen
    class First:
        x: int

    @attrs.frozen
    class Second:
        x: int

    @attrs.frozen
    class Both:
        either: First | Second

    Both.__annotations__["either"] = First | Second
    both = of(Both)
    assert both.load(both.dump(Both(First(1)))) == Both(First(1))
    assert both.load(Both(Second(1))) == Both(Second(1))
    with pytest.raises(
        InvalidArgument, match=r"^payload\.either: once stored, this Second could not be told"
    ):
        both.dump(Both(Second(1)))


def test_a_literal_tells_kinds_apart() -> None:
    """Two classes with a Literal field of their own are a tagged union."""

    @attrs.frozen
    class Card:
        number: str
        kind: Literal["card"] = "card"

    @attrs.frozen
    class Cash:
        number: str
        kind: Literal["cash"] = "cash"

    @attrs.frozen
    class Paid:
        by: Any

    Paid.__annotations__["by"] = Card | Cash
    paid = of(Paid)
    for value in (Paid(Card("1")), Paid(Cash("1"))):
        assert paid.load(paid.dump(value)) == value


@attrs.frozen
class HasComplex:
    value: complex


@attrs.frozen
class HasIntKeys:
    values: dict[int, str]


class Pair(Enum):
    BOTH = (1, 2)


@attrs.frozen
class HasPair:
    value: Pair


@dataclasses.dataclass
class HasInitVar:
    value: int
    only: dataclasses.InitVar[int]


@attrs.frozen
class HasUnknown:
    value: Nowhere  # type: ignore[name-defined]  # noqa: F821


@attrs.frozen
class HasNested:
    inner: list[HasComplex]


UNUSABLE: list[tuple[object, str]] = [
    (int, "<class 'int'> is no payload type: give an attrs class"),
    ("Payment", "'Payment' is no payload type: give an attrs class"),
    (dict[str, int], "dict[str, int] is no payload type: give an attrs class"),
    (Line("a", Decimal(1)), "Line(article='a', price=Decimal('1'), tags=()) is no payload type"),
    (HasComplex, ".value is declared as builtins.complex; use str, int"),
    (HasIntKeys, ".values has keys of type <class 'int'>; JSON keys are text: use str"),
    (HasPair, ".value: <Pair.BOTH: (1, 2)> has no JSON form"),
    (
        HasInitVar,
        "HasInitVar cannot be made from its fields: its constructor and its fields disagree on only",
    ),
    (
        HasUnknown,
        "HasUnknown: an annotation of HasUnknown cannot be resolved (name 'Nowhere' is not defined)",
    ),
    (HasNested, ".inner[].value is declared as builtins.complex"),
]


@pytest.mark.parametrize(("declared", "problem"), UNUSABLE)
def test_what_cannot_be_checked_and_stored_is_unusable(declared: object, problem: str) -> None:
    """It becomes an object that the checks report, with the reason; it takes no payload."""
    found = payload_type(declared)
    assert isinstance(found, UnusablePayload)
    assert found.problem.startswith(problem)
    with pytest.raises(InvalidArgument):
        found.load({})
    with pytest.raises(InvalidArgument):
        found.dump({})


def test_no_type_is_no_type() -> None:
    """An event without a payload type has none."""
    assert payload_type(None) is None


def test_another_library_plugs_in() -> None:
    """An object with load, dump and describe is taken as it is; where only its description is left, all fits."""

    class Other:
        def load(self, data: Any, /) -> object:
            return data

        def dump(self, value: Any, /) -> object:
            return value

        def describe(self) -> Mapping[str, Any]:
            return {"json_schema": {"type": "object"}}

    other = Other()
    assert payload_type(other) is other
    described = DescribedPayload(other.describe())
    assert described.load([1]) == [1]
    assert described.dump([1]) == [1]
    assert described.describe() == {"json_schema": {"type": "object"}}


def test_payload_types_of_one_class_are_equal() -> None:
    """Equality is that of the declared class, or of the description."""
    assert payload_type(Line) == payload_type(Line)
    assert payload_type(Line) != payload_type(Point)
    assert DescribedPayload(of(Line).describe()) == DescribedPayload(of(Line).describe())
    assert hash(payload_type(Line)) == hash(payload_type(Line))


BAD_DESCRIPTIONS: list[tuple[Any, str]] = [
    ([], "description: expected an object"),
    ({"object": []}, "description: {'object': []} describes no type"),
    ({"object": {"a": "number"}}, "description.object.a: 'number' is no type; known: any,"),
    ({"object": {"a": 5}}, "description.object.a: expected a type, got 5"),
    (
        {"object": {"a": {"list": "str", "more": 1}}},
        "description.object.a: {'list': 'str', 'more': 1} describes",
    ),
    ({"object": {"a": {"list": "x"}}}, "description.object.a.list: 'x' is no type"),
    ({"object": {"a": {"union": ["str"]}}}, "description.object.a: {'union': ['str']} describes no type"),
    ({"object": {"a": {"literal": [[]]}}}, "description.object.a: {'literal': [[]]} describes no type"),
    ({"object": {"a": {"enclosing": 1}}}, "description.object.a: {'enclosing': 1} describes no type"),
    ({"object": {"a": {"tuple": "str"}}}, "description.object.a: {'tuple': 'str'} describes no type"),
    ({"object": {}, "optional": ["a"]}, "description.optional: expected a list of names of fields"),
    ({"object": {}, "optional": "a"}, "description.optional: expected a list of names of fields"),
    ({"object": {1: "str"}}, "description.object: 1 is not the name of a field"),
]


@pytest.mark.parametrize(("description", "message"), BAD_DESCRIPTIONS)
def test_a_wrong_description_is_named_by_its_path(description: Any, message: str) -> None:
    """A damaged snapshot gives an error that says where, never a KeyError."""
    with pytest.raises(InvalidArgument) as caught:
        DescribedPayload(description)
    assert str(caught.value).startswith(message)


@attrs.frozen
class Bare:
    a: list  # type: ignore[type-arg]
    b: set  # type: ignore[type-arg]
    c: tuple  # type: ignore[type-arg]
    d: dict  # type: ignore[type-arg]
    e: object
    f: Any
    g: typing.Union[int, typing.Optional[str]]  # noqa: UP007, UP045  # the older way to write it must work too
    h: list[Line | Line]  # noqa: PYI016  # the same twice is the same
    i: dict[Any, int]
    j: Page[int]
    k: frozenset  # type: ignore[type-arg]


def test_containers_without_parameters_hold_anything() -> None:
    """A bare `list` is a list of anything, and so on; unions are flattened, None comes last."""
    described = of(Bare).describe()["object"]
    line = {"object": {"article": "str", "price": "decimal", "tags": {"array": "str"}}, "optional": ["tags"]}
    assert described == {
        "a": {"list": "any"},
        "b": {"set": "any"},
        "c": {"array": "any"},
        "d": {"map": "any"},
        "e": "any",
        "f": "any",
        "g": {"union": ["int", "str", "none"]},
        "h": {"list": line},
        "i": {"map": "int"},
        "j": {"object": {"entries": {"list": "any"}}},
        "k": {"set": "any"},
    }
    value = Bare([1], {2}, (3,), {"x": 4}, 5, 6, "7", [], {"8": 9}, Page([10]), frozenset())
    assert of(Bare).load(of(Bare).dump(value)) == value


def test_items_of_a_set_must_be_hashable() -> None:
    """What a set cannot hold is a misfit, not a crash."""
    with pytest.raises(InvalidArgument, match=r"^payload\.b: has items that cannot be in a set"):
        of(Bare).load(
            {"a": [], "b": [[]], "c": [], "d": {}, "e": 1, "f": 1, "g": 1, "h": [], "i": {}, "k": []}
            | {"j": Page([])}
        )


if sys.version_info >= (3, 12):  # the statement `type` is new there: before, there is nothing to look through

    def test_type_aliases_are_looked_through() -> None:
        """`type Name = …` is what it stands for; one that contains itself cannot be described."""
        place: dict[str, Any] = {}
        exec("type Names = list[str]\ntype Json = list[Json] | str", place)  # no syntax of Python 3.11

        @attrs.frozen
        class Aliased:
            value: Any

        Aliased.__annotations__["value"] = place["Names"]
        assert of(Aliased).describe() == {"object": {"value": {"list": "str"}}}
        Aliased.__annotations__["value"] = place["Json"]
        found = payload_type(Aliased)
        assert isinstance(found, UnusablePayload)
        assert found.problem == ".value[]: the type Json contains itself; use Any for the inner part"


def test_an_attribute_that_was_never_set_is_a_misfit() -> None:
    """An object left half made is refused with the name of what it lacks."""
    line = object.__new__(Line)
    with pytest.raises(InvalidArgument, match=r"^payload: its attribute 'article' was never set"):
        of(Line).load(line)


def test_a_wrong_annotation_is_reported() -> None:
    """An annotation that cannot be evaluated makes the type unusable, with the reason."""

    @attrs.frozen
    class Wrong:
        value: Any

    Wrong.__annotations__["value"] = "1 +"
    found = payload_type(Wrong)
    assert isinstance(found, UnusablePayload)
    assert found.problem.startswith("Wrong: an annotation of ")
