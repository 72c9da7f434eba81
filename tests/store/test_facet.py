from __future__ import annotations

from jobmeter.store.facet import FacetNumbers, entries_of, signature_of, term


def test_a_facet_is_the_meta_under_its_keys() -> None:
    site, group, user = entries_of(signature_of({"site": ("B",), "x": ("y",), "site_id": ("A",), "user": ()}))
    assert site is not None
    assert site.value == '{"site_id":["A"],"site":["B"]}'
    assert set(site.terms) == {term("site"), term("site_id"), term("site_id", "A"), term("site", "B")}
    assert group is None
    assert user is not None
    assert user.terms == (term("user"),)


def test_names_that_run_together_stay_apart() -> None:
    assert term("a", "bc") != term("ab", "c")
    assert term("a") != term("a", "")


def test_the_same_value_of_two_facets_has_two_entries() -> None:
    site, _, user = entries_of(signature_of({"site": ("A",), "user": ("A",)}))
    assert site is not None
    assert user is not None
    assert site.digest != user.digest


def test_the_memory_of_numbers_is_bounded() -> None:
    numbers = FacetNumbers(limit=2)
    signatures = [signature_of({"user": (str(number),)}) for number in range(5)]
    for number, signature in enumerate(signatures):
        numbers.learn({signature: (None, None, number)})
    assert numbers.known(signatures) == {signatures[4]: (None, None, 4)}
    numbers.learn(dict.fromkeys(signatures, (None, None, 7)))
    assert numbers.known(signatures) == {}
