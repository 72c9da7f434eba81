from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct, defstruct

from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import load
from jobmeter.settings.options import options
from jobmeter.settings.sample import Language, sample
from tests.settings.declarations import Colour, Database, Everything, Score

LANGUAGES = get_args(Language)


def _loaded(kind: type[Struct], text: str, language: str) -> Struct:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"s.{language}"
        file.write_text(text, encoding="utf-8", newline="")
        return load(kind, file=file, environment={}, prefix=None).settings


def _pair(declared: Any, values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    return values.map(lambda value: (declared, value))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
elements = st.builds(Score, name=texts.filter(bool), value=st.floats(0, 1e300))
plain = st.one_of(
    _pair(str, texts),
    _pair(int, st.integers(-(2**63), 2**63 - 1)),
    _pair(float, st.floats(allow_nan=False, allow_infinity=False)),
    _pair(bool, st.booleans()),
    _pair(Literal["a", "b-c", "no"], st.sampled_from(["a", "b-c", "no"])),
    _pair(Colour, st.sampled_from(Colour)),
    _pair(Path, st.just(Path("/a b"))),
    _pair(int | str, st.integers(0, 9) | texts),
    _pair(str | None, st.none() | texts),
    _pair(datetime | None, st.none() | st.datetimes(timezones=st.just(UTC))),
    _pair(tuple[str, ...], st.lists(texts, max_size=3).map(tuple)),
    _pair(tuple[Score, ...], st.lists(elements, max_size=2).map(tuple)),
    _pair(dict[str, int], st.dictionaries(texts, st.integers(0, 9), max_size=2)),
    _pair(frozenset[int], st.frozensets(st.integers(0, 9), max_size=3)),
    _pair(Score, elements),
)
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name not in ("in", "is", "as", "if"))


def _struct(fields: dict[str, tuple[Any, Any]]) -> type[Struct]:
    declared = [
        (f"x_{name}", Annotated[kind, Meta(description=f"About {name}.")], _default(value))
        for name, (kind, value) in fields.items()
    ]
    return defstruct("Generated", declared, frozen=True, kw_only=True)


def _default(value: Any) -> Any:
    return msgspec.field(default_factory=lambda: value) if isinstance(value, dict) else value


def _nested(inner: dict[str, tuple[Any, Any]]) -> tuple[Any, Any]:
    kind = _struct(inner)
    return kind, kind()


@given(
    st.dictionaries(names, plain | st.dictionaries(names, plain, max_size=3).map(_nested), max_size=5),
    st.sampled_from(LANGUAGES),
    st.booleans(),
)
def test_a_sample_loads_back_to_the_defaults(
    fields: dict[str, tuple[Any, Any]], language: Language, defaults: bool
) -> None:
    kind = _struct(fields)
    text = sample(kind, language, defaults=defaults)
    assert _loaded(kind, text, language) == kind()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("defaults", [False, True])
def test_every_type_can_be_sampled(language: Language, defaults: bool) -> None:
    assert _loaded(Everything, sample(Everything, language, defaults=defaults), language) == Everything()


@pytest.mark.parametrize("language", LANGUAGES)
def test_required_keys_stand_with_a_value_to_replace(language: Language) -> None:
    loaded = _loaded(Database, sample(Database, language), language)
    assert loaded == Database(password="...")


@pytest.mark.parametrize("language", LANGUAGES)
def test_uncommenting_every_line_gives_a_file_whose_keys_are_all_known(language: Language) -> None:
    text = sample(Everything, language)
    keys = [line.replace("# ", "", 1) for line in text.splitlines() if _is_setting(line)]
    try:
        _loaded(Everything, "\n".join(keys), language)
    except SettingsFaulty as faulty:
        assert not [fault for fault in faulty.faults if fault.reason == "is not known"], text


def _is_setting(line: str) -> bool:
    body = line.strip().removeprefix("# ")
    key = body.split(" = ")[0].split(":")[0].strip("[]").split(".")[-1]
    return key in Everything.__struct_fields__ or key in Database.__struct_fields__


def test_a_sample_says_description_type_bounds_and_need() -> None:
    text = sample(Database)
    assert "# Its port. (whole number from 1 to 65535)\n# port = 5432\n" in text
    assert '# Its password. (text; required)\npassword = "..."\n' in text


def test_the_elements_of_a_list_are_explained() -> None:
    explained = "#   Each of them:\n#     name: (text, required)\n#     value: (number, at least 0)\n"
    assert explained in sample(Everything)


def test_options_list_every_key_with_its_path() -> None:
    found = {option.key: option for option in options(Everything)}
    assert found["database.port"].default == "5432"
    assert found["database.password"].default == "required"
    assert found["database.password"].secret
    assert found["scores[].name"].expects == "text"
    assert found["since"].default == ""
