"""config.toml: strict, with errors that name the key and the mend."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passby.node.config import KEYS, Config, load, nearest, parse, render, with_value
from passby.protocol.errors import ConfigError, UsageError

LEAST = 'name = "Anna"\ncell = "881969c9b7fffff"\n'


def test_a_name_and_a_cell_are_enough() -> None:
    config = parse(LEAST)
    assert config.name == "Anna"
    assert config.mdns
    assert config.currency == "EUR"
    assert config.listen
    assert config.measure is None


def test_every_field_is_explained() -> None:
    assert tuple(KEYS) == tuple(sorted(KEYS, key=list(KEYS).index))
    assert set(KEYS) == set(Config.__struct_fields__)


@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20),
    listen=st.lists(st.integers(0, 99_999).map("/ip4/127.0.0.1/tcp/{}".format), max_size=4),
    mdns=st.booleans(),
    measure=st.sampled_from([None, "us", "imperial"]),
)
def test_what_is_written_is_read_back(
    name: str, listen: list[str], mdns: bool, measure: str | None
) -> None:
    config = Config(
        name=unicodedata.normalize("NFC", f"A{name}"),
        cell="881969c9b7fffff",
        listen=tuple(listen),
        mdns=mdns,
        measure=measure,
    )
    assert parse(render(config)) == config


@pytest.mark.parametrize(
    ("line", "named", "hint"),
    [
        ("radius = 5", "'radius'", "radius_m"),
        ("colour = 'red'", "'colour'", "Known keys"),
        ("radius_m = '5'", "radius_m", "whole number"),
        ("radius_m = -1", "radius_m", "whole number"),
        ("radius_m = 1.5", "radius_m", "whole number"),
        ("mdns = 1", "mdns", "true or false"),
        ("currency = 'eur'", "currency", "capital"),
        ("measure = 'metric'", "measure", "imperial"),
        ("log_level = 'loud'", "log_level", "warning"),
        ("listen = '/ip4/0.0.0.0/tcp/1'", "listen", "a list"),
        ("listen = [1]", "listen", "a list"),
        ("listen = ['localhost:4411']", "listen", "/ip4/0.0.0.0/tcp/4411"),
        ("bootstrap = ['neighbour.example']", "bootstrap", "/p2p/12D3"),
    ],
)
def test_a_mistake_is_named_with_what_would_do(line: str, named: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(LEAST + line, "/home/me/config.toml")
    assert "/home/me/config.toml" in caught.value.message
    assert named in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="cell is missing"):
        parse('name = "Anna"')


@pytest.mark.parametrize("cell", ["8819", "000000000000000", "851969c9bffffff", "x" * 15])
def test_a_cell_must_be_a_cell_of_the_published_size(cell: str) -> None:
    with pytest.raises(ConfigError, match="cell"):
        parse(f'name = "Anna"\ncell = "{cell}"')


def test_broken_toml_names_the_line() -> None:
    with pytest.raises(ConfigError, match="line 3"):
        parse(LEAST + "= 5")


def test_a_file_that_is_not_text_is_an_error_for_people(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none")


@pytest.mark.parametrize(
    ("key", "typed", "value"),
    [
        ("name", "Bo", "Bo"),
        ("radius_m", "700", 700),
        ("mdns", "off", False),
        ("mdns", "yes", True),
        ("listen", "/ip4/0.0.0.0/tcp/1, /ip4/0.0.0.0/tcp/2", None),
        ("bootstrap", "", ()),
        ("measure", "imperial", "imperial"),
        ("measure", "none", None),
    ],
)
def test_a_typed_value_replaces_its_line_and_no_other(key: str, typed: str, value: object) -> None:
    text = "# mine\n" + render(parse(LEAST))
    changed = with_value(text, key, typed)
    if value is not None or key == "measure":
        assert getattr(parse(changed), key) == value
    assert changed.startswith("# mine\n")
    differing = [
        pair
        for pair in zip(text.splitlines(), changed.splitlines(), strict=True)
        if pair[0] != pair[1]
    ]
    assert len(differing) <= 1


def test_a_key_the_file_does_not_mention_is_added() -> None:
    assert parse(with_value(LEAST, "radius_m", "9")).radius_m == 9
    assert with_value(LEAST, "radius_m", "9").startswith(LEAST.rstrip())


def test_a_value_over_several_lines_is_replaced_whole() -> None:
    text = LEAST + "listen = [\n  '/ip4/0.0.0.0/tcp/1',\n  '/ip4/0.0.0.0/tcp/2',\n]\n"
    assert parse(with_value(text, "listen", "/ip4/0.0.0.0/tcp/3")).listen == ("/ip4/0.0.0.0/tcp/3",)


@pytest.mark.parametrize(
    ("key", "typed"),
    [("radius_m", "far"), ("currency", "euro"), ("mdns", "maybe"), ("name", ""), ("radius_m", "²")],
)
def test_a_value_that_does_not_fit_changes_nothing_and_says_what_would(
    key: str, typed: str
) -> None:
    with pytest.raises(UsageError, match=key) as caught:
        with_value(LEAST, key, typed)
    assert caught.value.hint


def test_the_nearest_key_is_meant() -> None:
    assert "'currency'" in nearest("curency")
    with pytest.raises(UsageError, match="nmae") as caught:
        with_value(LEAST, "nmae", "Bo")
    assert "'name'" in caught.value.hint
